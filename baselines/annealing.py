"""The path from a proposal q to a target p, and what is done along it: weights, times, Langevin moves.

At time t the density is log gamma_t = (1 - t) log q + t log p = log q + t log(p / q), with log p = -E, and the
log-densities of centre and orientation added where the proposal has a placement (see prosebench.proposal). Everything
that looks at all particles at once takes their log-weights; everything else is done particle by particle.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from prosebench.method import Carry, Run
from prosebench.proposal import Proposal

BLOCK = 256
"""The number of particles in a block. They share a random stream, so this number is part of what decides the
results."""

_BISECTIONS = 40


@dataclass(frozen=True, eq=False)
class Points:
    """Frames and what the path knows of them: all that reweighting, accepting and the next move need.

    positions_nm (n, atoms, 3); energies_kt, log_q and log_ratio = log(p / q) (n,); the gradients of the last two, in
    1/nm. A frame without a finite energy and density is dead: log_ratio -inf, gradients 0. Positions and gradients are
    float32, which is what is stored, so that a run goes on with the very numbers it stopped with.
    """

    positions_nm: NDArray[np.float32]
    energies_kt: NDArray[np.float64]
    log_q: NDArray[np.float64]
    log_ratio: NDArray[np.float64]
    log_q_gradient: NDArray[np.float32]
    log_ratio_gradient: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.log_q)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which points (n,) have a finite energy and density."""
        return np.isfinite(self.log_ratio)

    def knows_place(self) -> bool:
        """Whether moving all atoms of a frame together changes log p: whether the forces on them have a sum."""
        forces = self.log_q_gradient.astype(np.float64) + self.log_ratio_gradient
        sums, sizes = np.abs(forces.sum(axis=1)).sum(axis=1), np.abs(forces).sum(axis=(1, 2))
        return bool((sums > 1e-3 * sizes).any())

    def log_density(self, t: float) -> NDArray[np.float64]:
        """log gamma_t (n,); -inf for the dead."""
        return np.where(self.alive, self.log_q, 0.0) + _grown(self.log_ratio, t)

    def force(self, t: float) -> NDArray[np.float64]:
        """Gradient of log gamma_t (n, atoms, 3) in 1/nm."""
        return self.log_q_gradient + t * self.log_ratio_gradient.astype(np.float64)

    def select(self, index: NDArray[np.int64] | slice) -> "Points":
        """The points that an index picks."""
        return Points(**{name: array[index] for name, array in self.arrays().items()})

    def where(self, condition: NDArray[np.bool_], other: "Points") -> "Points":
        """These points where the condition (n,) holds, the others elsewhere."""
        mine, others = self.arrays(), other.arrays()
        return Points(
            **{
                name: np.where(condition.reshape(-1, *[1] * (mine[name].ndim - 1)), mine[name], others[name])
                for name in mine
            }
        )

    def alive_only(self, where: NDArray[np.bool_]) -> "Points":
        """These points, dead where the condition (n,) does not hold."""
        nothing = np.float32(0.0)
        return replace(
            self,
            log_ratio=np.where(where, self.log_ratio, -np.inf),
            log_q_gradient=np.where(where[:, None, None], self.log_q_gradient, nothing),
            log_ratio_gradient=np.where(where[:, None, None], self.log_ratio_gradient, nothing),
        )

    def arrays(self) -> Carry:
        """The arrays of all points, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class State:
    """All particles between two steps.

    log_weights (n,), normalised to a sum of 1; origins (n,): the draw that each descends from; steps done; the time t;
    log_z, the log of the integral of gamma_t so far, NaN where that leads to no log Z; step_nm2, the length of the next
    move; start_is_cut: whether usable draws were left out.
    """

    points: Points
    log_weights: NDArray[np.float64]
    origins: NDArray[np.int64]
    step: int
    t: float
    log_z: float
    step_nm2: float
    start_is_cut: bool

    def carry(self) -> Carry:
        """Everything as arrays; `of` reads them."""
        scalars = np.array([self.step, self.t, self.log_z, self.step_nm2, self.start_is_cut])
        return self.points.arrays() | {
            "log_weights": self.log_weights,
            "origins": self.origins,
            "scalars": scalars,
        }

    @classmethod
    def of(cls, carry: Carry) -> "State":
        """The reverse of `carry`."""
        points = Points(**{k: v for k, v in carry.items() if k not in ("log_weights", "origins", "scalars")})
        step, t, log_z, step_nm2, cut = carry["scalars"].tolist()
        return cls(points, carry["log_weights"], carry["origins"], int(step), t, log_z, step_nm2, bool(cut))


def evaluated(run: Run, proposal: Proposal, frames_nm: NDArray[np.float32]) -> Points:
    """Points at frames (n, atoms, 3); costs one evaluation a frame. The ranks share both energies and densities."""
    energies, gradients = run.meter.energy_and_gradient(frames_nm)
    densities = run.ranks.map(
        lambda block: proposal.log_density_and_gradient(frames_nm[block]), blocks(len(frames_nm))
    )
    log_q, log_q_gradient = (np.concatenate(parts) for parts in zip(*densities, strict=True))
    log_p, log_p_gradient = -energies, -gradients
    with np.errstate(invalid="ignore", over="ignore"):
        if proposal.placement is not None:
            placed, placed_gradient = proposal.placement.energy_and_gradient(frames_nm)
            log_p, log_p_gradient = log_p - placed, log_p_gradient - placed_gradient
        alive = np.isfinite(log_p) & np.isfinite(log_q)
        return Points(
            frames_nm,
            energies,
            log_q,
            np.where(alive, log_p - log_q, -np.inf),
            np.where(alive[:, None, None], log_q_gradient, 0.0).astype(np.float32),
            np.where(alive[:, None, None], log_p_gradient - log_q_gradient, 0.0).astype(np.float32),
        )


def blocks(n: int, first: int = 0) -> list[slice]:
    """The particles first..n in blocks of BLOCK: each block has one random stream, and one rank does it in
    one go."""
    return [slice(start, min(start + BLOCK, n)) for start in range(first, n, BLOCK)]


def stream(run: Run, purpose: int, step: int, first: int) -> np.random.Generator:
    """The random stream of a purpose (1 or more) at a step, for the block that begins at particle `first`."""
    # The purpose comes last and is not 0: a seed sequence does not see zeros at its end.
    return np.random.Generator(
        np.random.Philox(np.random.SeedSequence([run.random_key, step, first, purpose]))
    )


def joined(parts: list[Points]) -> Points:
    """Several sets of points joined to one, in their order."""
    arrays = [part.arrays() for part in parts]
    return Points(**{name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]})


def reweighted(
    log_weights: NDArray[np.float64], log_ratio: NDArray[np.float64], change: float
) -> tuple[NDArray[np.float64], float]:
    """Log-weights (n,), normalised to a sum of 1, after t has grown by `change`, and the growth of log Z.

    log_weights are normalised too. The growth is the log of the weighted mean of (p / q)^change (Del Moral, Doucet and
    Jasra, J. R. Stat. Soc. B 2006, 68, 411). -inf, the weight 0, for the dead. Raises FloatingPointError where all are.
    """
    values = log_weights + _grown(log_ratio, change)
    total = float(logsumexp(values))
    if not math.isfinite(total):
        raise nothing_left(len(values))
    return values - total, total


def nothing_left(particles: int) -> FloatingPointError:
    """The error that is raised if all particles are dead."""
    return FloatingPointError(
        f"none of {particles} particles has a finite energy and density any more: the steps are too long; "
        "lower epsilon, or start from a better proposal"
    )


def conditional_ess(log_weights: NDArray[np.float64], log_ratio: NDArray[np.float64], change: float) -> float:
    """Effective share of particles that growing t by `change` leaves, whatever their weights were: 0 to 1.

    (sum W w)^2 / sum W w^2 with w = (p / q)^change (Zhou, Johansen and Aston, J. Comput. Graph. Stat. 2016, 25, 701).
    """
    shares, growth = np.exp(log_weights), _grown(log_ratio, change)
    alive = shares > 0.0
    largest = growth[alive].max(initial=-np.inf)
    if not math.isfinite(largest):
        return 0.0
    shares, factors = shares[alive], np.exp(growth[alive] - largest)
    return float((shares @ factors) ** 2 / (shares @ factors**2))


def next_time(
    log_weights: NDArray[np.float64], log_ratio: NDArray[np.float64], t: float, least_ess: float
) -> float:
    """The largest t' <= 1 to which t can grow with a conditional ESS of at least least_ess, by bisection."""
    if conditional_ess(log_weights, log_ratio, 1.0 - t) >= least_ess:
        return 1.0
    low, high = 0.0, 1.0 - t
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if conditional_ess(log_weights, log_ratio, middle) >= least_ess:
            low = middle
        else:
            high = middle
    return t + low


def langevin_move(
    points: Points,
    t: float,
    step_nm2: float,
    evaluate: Callable[[NDArray[np.float32]], Points],
    normals: NDArray[np.float64],
    uniforms: NDArray[np.float64] | None,
) -> tuple[Points, NDArray[np.bool_]]:
    """Points after one step of Langevin dynamics at time t, and which of them moved. Costs one evaluation a point.

    x' = x + h grad log gamma_t(x) + sqrt(2 h) normals, h = step_nm2; taken as it is where uniforms is None (ULA), else
    with probability min(1, gamma_t(x') k(x', x) / (gamma_t(x) k(x, x'))), which leaves gamma_t invariant (MALA; Roberts
    and Tweedie, Bernoulli 1996, 2, 341). Energies and gradients at x are those of the move before.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        drift = step_nm2 * points.force(t)
        frames = (points.positions_nm + drift + math.sqrt(2.0 * step_nm2) * normals).astype(np.float32)
        moved = evaluate(frames)
        if uniforms is None:
            return moved, np.ones(len(points), dtype=bool)
        way = frames.astype(np.float64) - points.positions_nm
        there = ((way - drift) ** 2).sum(axis=(1, 2))
        back = ((way + step_nm2 * moved.force(t)) ** 2).sum(axis=(1, 2))
        log_chance = moved.log_density(t) - points.log_density(t) + (there - back) / (4.0 * step_nm2)
    # A comparison with NaN is false: from one dead place to another there is no move.
    accepted = np.log(uniforms) < log_chance
    return moved.where(accepted, points), accepted


def _grown(log_ratio: NDArray[np.float64], change: float) -> NDArray[np.float64]:
    """change * log_ratio, -inf for the dead whatever the change."""
    alive = np.isfinite(log_ratio)
    return np.where(alive, change * np.where(alive, log_ratio, 0.0), -np.inf)
