"""How far a reference can be trusted: spread between its trajectories, effective frames, noise floor."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import mdtraj
import numpy as np
from numpy.typing import NDArray

from analysis.metrics.case import ReferenceFrames, views
from analysis.metrics.frames import evenly
from analysis.metrics.registry import DISTANCE_NAMES, DISTANCES
from analysis.metrics.score import distances
from prosebench.ensemble import Ensemble, concatenate
from prosebench.frames.features import tica_features, torsion_features
from prosebench.frames.tica import TicaBasis
from prosebench.reference import Reference

_WINDOW_FACTOR = 5.0
N_GROUPS = 8
MAX_COMPARED = 2000

WAYS = {"tempering": "parallel tempering", "plain-md": "plain MD"}
"""Other ways to the distribution of a reference than its own trajectories. The keys are their names in the
stored convergence, the values those for a reader."""

ERRORS = "standard-errors"
"""The key of `standard_errors` in the convergence of a reference."""


def convergence(
    trajectories: Sequence[Ensemble],
    basis: TicaBasis,
    topology: mdtraj.Topology,
    n_frames: int,
    *,
    n_groups: int | None = None,
) -> dict[str, Any]:
    """What trajectories of one peptide say about each other, as JSON.

    `spread`: for each Distance the mean and largest distance of a group of trajectories to the pool of the
    others, both thinned evenly to at most n_frames (empty for a single group); by default each is its own
    group. `effective_frames`: number of
    independent frames in all trajectories, for the slowest of sin and cos of phi, psi and the first TICA
    component; `slowest`: which of them that is; `correlation_frames`: frames per independent frame.
    """
    number = min(n_groups or len(trajectories), len(trajectories))
    groups = [concatenate(trajectories[first::number]) for first in range(number)]
    observables = [_observables(part, basis, topology) for part in trajectories]
    times = np.array(
        [correlation_time([part[:, i] for part in observables]) for i in range(observables[0].shape[1])]
    )
    slowest = int(times.argmax())
    total = sum(map(len, trajectories))
    return {
        "trajectories": len(trajectories),
        "groups": len(groups),
        "frames": total,
        "compared_frames": n_frames,
        "spread": _spread(groups, basis, topology, n_frames),
        "effective_frames": float(total / times[slowest]),
        "correlation_frames": float(times[slowest]),
        "slowest": _observable_name(slowest, observables[0].shape[1]),
    }


def floor(reference: Reference, n_frames: int, against: int | None = None) -> dict[str, float]:
    """What a perfect sampler would score: n_frames that are never scored against, against as many that are, or others.

    Where there are several trajectories, the two are of different ones. Where all frames are scored against, their
    second half stands in. Includes `frames`, the number of the first, or of the smaller side where `against` is left
    out. Raises ValueError where a side has no frames.
    """
    scored, spare = reference.scored, reference.spare
    if not len(spare):
        scored, spare = (
            scored.select(slice(0, len(scored) // 2)),
            scored.select(slice(len(scored) // 2, None)),
        )
    spare, scored = spare.select(slice(0, n_frames)), scored.select(slice(0, against or n_frames))
    values = distances(spare, scored, reference.tica, reference.peptide.topology)
    return values | {"frames": float(len(spare) if against else min(len(spare), len(scored)))}


_JUDGED = ("torus-w2", "tica-w2")
"""The distances by which a reference is judged. They are those that see slow motion."""


def spread_ratio(reference: Reference, n_frames: int = MAX_COMPARED) -> float:
    """How far the halves of a reference are apart, in units of what random draws from both would be.

    The halves are of different trajectories (`Reference.halves`), the draws are of all. The larger ratio of T-W2 and
    TICA-W2, up to n_frames frames on each side: 1 for a converged reference, but for noise. NaN where there is a single
    trajectory, or where the halves were not made by trajectory: then nothing can be told.
    """
    if reference.n_scored is not None or len(np.unique(reference.trajectory)) < 2:
        return math.nan
    n = min(n_frames, len(reference.scored), len(reference.spare))
    basis, topology = reference.tica, reference.peptide.topology
    halves = [part.select(slice(0, n)) for part in (reference.scored, reference.spare)]
    drawn = [reference.ensemble.select(slice(first, 2 * n, 2)) for first in (0, 1)]
    ratios = []
    for distance in DISTANCES:
        if distance.name in _JUDGED:
            apart, noise = (
                distance.between(*(views(one, basis, topology) for one in pair)).value
                for pair in (halves, drawn)
            )
            ratios.append(apart / noise if noise > 0.0 else math.nan)
    return float(np.nanmax(ratios))


def assess(
    reference: Reference,
    trajectories: Sequence[Ensemble],
    others: Mapping[str, Ensemble],
    n_groups: int = N_GROUPS,
) -> Reference:
    """The reference with its convergence and its floor.

    Trajectories are compared in n_groups groups, one alone being too short to say much. others, frames from independent
    ways to the same distribution by the names of WAYS, are compared with as many frames of the trajectories; the floor
    is of that size too, so they can stand side by side.
    """
    topology = reference.peptide.topology
    sizes = [*map(len, others.values()), len(reference) // 2, sum(map(len, trajectories)) // n_groups]
    n_frames = min(*sizes, MAX_COMPARED)
    whole = convergence(trajectories, reference.tica, topology, n_frames, n_groups=n_groups)
    scored = reference.scored.select(slice(0, n_frames))
    for name, frames in others.items():
        whole[name] = distances(_evenly(frames, n_frames), scored, reference.tica, topology)
    judged = reference.with_quality(whole, floor(reference, n_frames))
    return judged.with_quality(whole | {ERRORS: standard_errors(judged)}, judged.floor)


def standard_errors(reference: Reference) -> dict[str, float]:
    """The standard error that a reference adds to each Distance of a perfect sampler, in the Distance's unit.

    The frames of the floor are such a sampler. See `analysis.metrics.reference_error`; the reference states its floor
    and how many independent frames it has.
    """
    n_frames = int(reference.floor["frames"])
    sample = views(reference.spare.select(slice(0, n_frames)), reference.tica, reference.peptide.topology)
    truth = ReferenceFrames.of(reference, n_frames)
    return {one.name: one.error(sample, truth, reference.floor[one.name]) for one in DISTANCES}


def statement(convergence: Mapping[str, Any], floor: Mapping[str, float]) -> str:
    """One paragraph on how well a reference is converged, from what `convergence` and `floor` return."""
    text = (
        f"The reference rests on {convergence['frames']} frames "
        f"in {convergence['trajectories']} trajectories. "
        f"Its slowest observable, {convergence['slowest']}, is correlated over "
        f"{convergence['correlation_frames']:.3g} frames, which leaves "
        f"{convergence['effective_frames']:.3g} independent frames. "
    )
    spread = convergence["spread"]
    if spread:
        compared = ", ".join(
            f"{name} {spread[name]['mean']:.3g} (largest {spread[name]['max']:.3g}, floor {floor[name]:.3g})"
            for name in DISTANCE_NAMES
        )
        text += f"Each of {convergence['groups']} groups of trajectories against the pool of the others "
        text += f"gives on average {compared}."
        for way in [way for way in WAYS if way in convergence]:
            other = ", ".join(f"{name} {convergence[way][name]:.3g}" for name in DISTANCE_NAMES)
            text += f" {WAYS[way][0].upper()}{WAYS[way][1:]} against the reference gives {other}."
        if errors := convergence.get(ERRORS):
            added = ", ".join(f"{name} {errors[name]:.2g}" for name in DISTANCE_NAMES)
            text += f" To the scores of a perfect sampler the reference adds a standard error of {added}."
        return text
    halves = ", ".join(f"{name} {floor[name]:.3g}" for name in DISTANCE_NAMES)
    return (
        text + f"A single trajectory does not tell its convergence; two halves of its frames give {halves}."
    )


def correlation_time(series: Sequence[NDArray[np.floating]]) -> float:
    """Statistical inefficiency (at least 1) of an observable in trajectories (frames,).

    It is 1 + 2 times the sum of the autocorrelations over lags. Mean and variance are those of all
    trajectories together, so trajectories that stay in different places count as correlated over their whole
    length. The sum ends at the first lag beyond 5 times the integrated time up to there (Sokal's window), or
    at the end of the longest trajectory. 1 for a constant.
    """
    pooled = np.concatenate(series).astype(np.float64)
    variance = pooled.var()
    if variance <= 1e-24:
        return 1.0
    n_lags = max(map(len, series))
    products, counts = np.zeros(n_lags), np.zeros(n_lags)
    for part in series:
        centred = part.astype(np.float64) - pooled.mean()
        spectrum = np.fft.rfft(centred, 2 * len(part))
        products[: len(part)] += np.fft.irfft(np.abs(spectrum) ** 2, 2 * len(part))[: len(part)]
        counts[: len(part)] += np.arange(len(part), 0, -1)
    times = 1.0 + 2.0 * np.cumsum((products / counts / variance)[1:])
    if not len(times):
        return 1.0
    lags = np.arange(1, n_lags)
    beyond = np.flatnonzero(lags >= _WINDOW_FACTOR * times / 2.0)
    return float(max(1.0, times[beyond[0]] if len(beyond) else times.max()))


def _spread(
    trajectories: Sequence[Ensemble], basis: TicaBasis, topology: mdtraj.Topology, n_frames: int
) -> dict[str, dict[str, float]]:
    if len(trajectories) < 2:
        return {}
    values = []
    for i, part in enumerate(trajectories):
        others = concatenate([*trajectories[:i], *trajectories[i + 1 :]])
        values.append(distances(_evenly(part, n_frames), _evenly(others, n_frames), basis, topology))
    return {
        name: {"mean": float(np.mean([v[name] for v in values])), "max": max(v[name] for v in values)}
        for name in DISTANCE_NAMES
    }


def _evenly(ensemble: Ensemble, n_frames: int) -> Ensemble:
    return ensemble.select(evenly(len(ensemble), n_frames))


def _observables(ensemble: Ensemble, basis: TicaBasis, topology: mdtraj.Topology) -> NDArray[np.float32]:
    angles = torsion_features(ensemble.positions_nm, topology)
    component = basis.transform(tica_features(ensemble.positions_nm, topology))[:, :1]
    return np.concatenate([angles[:, : 2 * angles.shape[1] // 3], component], axis=1)


def observable(
    name: str, ensemble: Ensemble, basis: TicaBasis, topology: mdtraj.Topology
) -> NDArray[np.float32]:
    """Values (frames,) of an observable as `convergence` names its slowest; the first TICA component for any other."""
    values = _observables(ensemble, basis, topology)
    names = [_observable_name(index, values.shape[1]) for index in range(values.shape[1])]
    return values[:, names.index(name) if name in names else -1]


def _observable_name(index: int, n_observables: int) -> str:
    if index == n_observables - 1:
        return "the first TICA component"
    kind, number = divmod(index, (n_observables - 1) // 4)
    # The first residue has no phi: phi number 0 belongs to residue 2, psi number 0 to residue 1.
    return (
        f"{('sin phi', 'cos phi', 'sin psi', 'cos psi')[kind]} of residue {number + (2 if kind < 2 else 1)}"
    )
