"""Moments on targets with known answers, run for so long that a stated bias would be seen."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prosebench.check.case import Case, require
from prosebench.energy.analytic import HarmonicTarget, StretchedTarget
from prosebench.ensemble import Ensemble
from prosebench.frames.importance import normalise

N_SIGMA = 4.0
"""A moment may be off by this many standard errors. These come from batch means, which follow Student's t
with N_BATCHES - 1 degrees of freedom: a sound method exceeds the limit in one of 5,000 moments."""
N_BATCHES = 50
SEEN_SIGMA = N_SIGMA + 1.65
"""A bias of this many standard errors is seen with a probability of 95 %: one side of a normal distribution
has 5 % beyond 1.65 standard deviations."""
TRAJECTORY_BUDGET = 50_000
PROPOSAL_BUDGET = 10_000
"""The first budget, in evaluations, of methods that return weighted proposals. Those that return a trajectory
begin with TRAJECTORY_BUDGET."""
LONGEST = 60
"""The longest run of the check, in units of its first budget. Runs grow up to here until the check would see
the bias."""
EXACT_DRAWS = 2000
MOST_FRAMES = 100_000
REJECTION_BUDGET = 100_000
STRETCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
TELLING_SHARE = 0.15
"""The wells are made so stiff that the share of accepted moves comes close to this. There, leaving out the
rejected moves shifts the energy of a stiff atom most."""


class Moment(NamedTuple):
    """A mean with its standard error, the right value, and the standard deviation of what was averaged."""

    mean: float
    error: float
    right: float
    deviation: float

    @property
    def seen(self) -> float:
        """The bias, in standard deviations, that would have been seen."""
        return SEEN_SIGMA * self.error / self.deviation


def moments_are_right(case: Case) -> str:
    """Mean energy, mean position and variance on harmonic wells, within n standard errors by batch means.

    The run is made longer until a bias of `Case.smallest_bias` standard deviations would be seen.
    """
    if case.skipped():
        return "skipped"
    budget = first = TRAJECTORY_BUDGET if case.method.contract_spread_nm is None else PROPOSAL_BUDGET
    while True:
        ensemble = case.trial((budget,)).frames(case.fresh())
        moments = _moments_of(case.target, ensemble)
        for name, one in moments.items():
            _require_near(name, one)
        seen = max(one.seen for one in moments.values())
        if seen <= case.smallest_bias:
            return _verdict(case.target, moments, budget)
        needed = math.ceil(1.2 * budget * (seen / case.smallest_bias) ** 2)
        require(
            needed <= LONGEST * first,
            f"after {budget:,} evaluations no bias below {seen:.2g} standard deviations can be seen, which proves "
            f"nothing ({case.smallest_bias:g} would take {needed:,} evaluations, more than {LONGEST * first:,}): let "
            "contract_settings sample faster",
        )
        budget = needed


def _verdict(target: HarmonicTarget, moments: dict[str, Moment], budget: int) -> str:
    off = ", ".join(
        f"{name} {abs(one.mean - one.right) / one.error:.1f} sigma" for name, one in moments.items()
    )
    seen = ", ".join(f"{one.seen:.2f} of {name}" for name, one in moments.items())
    energy = next(iter(moments.values()))
    hotter = SEEN_SIGMA * energy.error / target.mean_energy_kt
    return (
        f"{off} off after {budget:,} evaluations; would have been seen, in 95 of 100 cases: a bias, in standard "
        f"deviations, of {seen}; {hotter:.1%} in temperature"
    )


def rejected_moves_count(case: Case) -> str:
    """A sampler that stores frames whenever its random numbers have it so does not store accepted moves alone.

    Frames that come at evaluations of their own choice are judged on wells of which one atom's are so stiff that most
    moves are rejected: to leave those out shifts this atom's energy by a third.
    """
    if case.skipped():
        return "skipped"
    if case.method.contract_spread_nm is not None or not case.method.prefixes:
        return "does not apply"
    one, other = (case.trial((500,), cell).frames(case.fresh()).evaluations for cell in ("one", "other"))
    if np.array_equal(np.asarray(one), np.asarray(other)):
        return "frames come at fixed evaluations, whatever the random numbers"
    stretch = min(STRETCHES, key=lambda stretch: abs(_share_stored(case, stretch) - TELLING_SHARE))
    target = _one_stiff_atom(case, stretch)
    ensemble = case.trial((REJECTION_BUDGET,), target=target).frames(case.fresh())
    energies = target.energies_by_atom(ensemble.positions_nm)[:, 0]
    mean, error = _batch_mean(energies, ensemble.log_weights)
    moment = Moment(mean, error, 1.5, math.sqrt(1.5))
    _require_near(
        "frames come at evaluations of their own choice, and on stiff wells their mean energy (kT)",
        moment,
        "; are only accepted moves stored? After a rejected one the old frame counts again",
    )
    share = len(energies) / REJECTION_BUDGET
    return (
        f"frames come at evaluations of their own choice; on stiff wells, where {share:.0%} of evaluations give a "
        f"frame, their energy is right; a bias of {moment.seen:.2f} standard deviations would have been seen"
    )


def _share_stored(case: Case, stretch: float) -> float:
    budget = 2000
    return len(case.trial((budget,), target=_one_stiff_atom(case, stretch)).frames(case.fresh())) / budget


def _one_stiff_atom(case: Case, stretch: float) -> StretchedTarget:
    """Wells ten times as wide as those of the case, but for the first atom's, which are narrower by the stretch."""
    stretches = np.full((case.peptide.n_atoms, 1), 0.1)
    stretches[0] = stretch
    return StretchedTarget(case.target, stretches)


def _moments_of(target: HarmonicTarget, ensemble: Ensemble) -> dict[str, Moment]:
    every = ensemble.select(slice(None, None, math.ceil(len(ensemble) / MOST_FRAMES)))
    exact = _averaged(target, target.draw(EXACT_DRAWS, np.random.default_rng(0)))
    seen = _averaged(target, every.positions_nm, every.energies_kt)
    right = (target.mean_energy_kt, 0.0, target.shift_variance_nm2)
    return {
        name: Moment(*_batch_mean(values, every.log_weights), expected, float(exact[name].std()))
        for (name, values), expected in zip(seen.items(), right, strict=True)
    }


def _require_near(name: str, moment: Moment, hint: str = "") -> None:
    mean, error, right, _ = moment
    sigmas = abs(mean - right) / error if error > 0 else math.inf
    require(
        sigmas < N_SIGMA,
        f"{name} is {mean:.4g} +- {error:.2g}, but {right:.4g} is right: {sigmas:.1f} standard errors off{hint}",
    )


def _averaged(
    target: HarmonicTarget, frames_nm: NDArray[np.floating], energies_kt: NDArray[np.float64] | None = None
) -> dict[str, NDArray[np.float64]]:
    """What is averaged, of each frame (n, atoms, 3), by name."""
    shifts = target.shifts(frames_nm)
    return {
        "mean energy (kT)": target.energy(frames_nm) if energies_kt is None else energies_kt,
        # Every second atom is averaged: in free wells the mean of all is 0, whatever the method does.
        "mean position (nm)": shifts[:, ::2].mean(axis=(1, 2)),
        "variance (nm^2)": (shifts**2).mean(axis=(1, 2)),
    }


def _batch_mean(values: NDArray[Any], log_weights: NDArray[np.float64] | None) -> tuple[float, float]:
    """Weighted mean and its standard error from the spread over batches, which holds for correlated frames too.

    All weights count: the filter of the published protocol would add a bias of its own. Frames of weight 0, which may
    have no finite energy, do not.
    """
    weights = np.full(len(values), 1 / len(values)) if log_weights is None else normalise(log_weights)
    products = np.where(weights > 0, weights * np.where(weights > 0, values, 0.0), 0.0)
    batches = np.array_split(np.arange(len(values)), N_BATCHES)
    totals = np.array([weights[batch].sum() for batch in batches])
    sums = np.array([products[batch].sum() for batch in batches])
    mean = sums.sum() / totals.sum()
    residuals = sums - mean * totals
    return float(mean), float(math.sqrt(N_BATCHES / (N_BATCHES - 1) * (residuals**2).sum()) / totals.sum())
