"""What a finite reference adds to the error of a score: a block bootstrap of its frames, by linearisation.

A score is a function of the reference's weights on its frames; its derivative there, one number a frame, is the
influence of the frame. A bootstrap that draws blocks of correlated frames with replacement then has, to first order,
the variance sum over blocks of (sum over the block's frames of influence / n)^2, without any new distance. Influences:
of W2 squared and W1 the Kantorovich potential (del Barrio and Loubes, Ann. Probab. 2019, 47, 926), of the Jensen-
Shannon divergence log2(p / m) / 2 of the frame's state. Where blocks are too short, the effective number of frames
that the reference states sets a lower limit: variance of the influence / effective frames.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.metrics.frames import evenly
from analysis.metrics.jsd import N_STATES, state_shares, states

Floats = NDArray[np.floating]
BLOCK_FACTOR = 4.0
"""The length of a block in units of the correlation time. Shorter blocks miss part of the correlation."""


class Frames(NamedTuple):
    """How independent the frames of a reference are: the number of the block (n,) that each belongs to, and how many
    independent frames there are in effect.
    """

    blocks: NDArray[np.int64]
    effective: float


N_POTENTIAL = 500
"""The number of frames on each side whose optimal transport gives the potentials. The potentials of all other
frames follow from these."""


def blocks_of(
    trajectory: NDArray[np.integer], frame: NDArray[np.integer], correlation_frames: float
) -> NDArray[np.int64]:
    """Number of the block (n,) of each frame: stretches of BLOCK_FACTOR correlation times of one trajectory."""
    length = max(1, math.ceil(BLOCK_FACTOR * correlation_frames)) if correlation_frames > 1.0 else 1
    pairs = np.stack(
        [np.asarray(trajectory, dtype=np.int64), np.asarray(frame, dtype=np.int64) // length], axis=1
    )
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def mean_error(influence: Floats, blocks: NDArray[np.int64], effective_frames: float) -> float:
    """Standard error of the mean of an influence (n,) under a bootstrap of blocks (n,) of frames.

    It is at least the error of effective_frames independent frames.
    """
    centred = np.asarray(influence, dtype=np.float64) - np.mean(influence)
    sums = np.bincount(blocks, centred) / len(centred)
    n_blocks = len(sums)
    by_blocks = float((sums**2).sum()) * n_blocks / max(n_blocks - 1, 1)
    by_number = float(centred.var()) / max(min(effective_frames, len(centred)), 1.0)
    return math.sqrt(max(by_blocks, by_number))


def energy_error(
    sample: Floats,
    reference: Floats,
    blocks: NDArray[np.int64],
    effective_frames: float,
    *,
    power: Literal[1, 2],
) -> float:
    """Error of W1 (power 1) or W2 of energies, in kT, that the reference (n,) causes; NaN where one is infinite."""
    if not (np.isfinite(sample).all() and np.isfinite(reference).all()):
        return math.nan
    order = np.argsort(reference, kind="stable")
    ordered = np.asarray(reference, dtype=np.float64)[order]
    ranks = (np.arange(len(ordered)) + 0.5) / len(ordered)
    partner = np.quantile(np.asarray(sample, dtype=np.float64), ranks, method="inverted_cdf")
    gap = ordered - partner
    slope = np.sign(gap) if power == 1 else 2.0 * gap
    potential = np.empty(len(ordered))
    steps = np.diff(ordered) * (slope[1:] + slope[:-1]) / 2.0
    potential[order] = np.concatenate([[0.0], np.cumsum(steps)])
    error = mean_error(potential, blocks, effective_frames)
    return error if power == 1 else _of_root(error, float(np.mean(gap**2)))


def plane_error(
    sample: Floats,
    reference: Floats,
    blocks: NDArray[np.int64],
    effective_frames: float,
    value: float,
    *,
    period: float | None = None,
) -> float:
    """Error of a W2 of this value between points (n, d) and reference (m, d) that the reference causes.

    With a period the costs are those on a torus. NaN where a point or the value is not finite.
    """
    if not (math.isfinite(value) and np.isfinite(sample).all() and np.isfinite(reference).all()):
        return math.nan
    import ot

    from analysis.metrics.simplex import cost_matrix

    every = [np.asarray(side, dtype=np.float64) for side in (sample, reference)]
    if period is not None:
        every = [np.mod(side, period) for side in every]
    x, y = (side[evenly(len(side), N_POTENTIAL)] for side in every)
    costs = cost_matrix(x, y, period)
    scale = float(costs.max())
    if not scale > 0.0:
        return 0.0
    sides = (np.full(len(side), 1.0 / len(side)) for side in (x, y))
    _, log = ot.emd(*sides, costs / scale, log=True, center_dual=False)
    inner = scale * np.asarray(log["u"])
    potential = np.concatenate(
        [
            (cost_matrix(part, x, period) - inner).min(axis=1)
            for part in np.array_split(every[1], max(1, len(reference) // 500))
        ]
    )
    return _of_root(mean_error(potential, blocks, effective_frames), value**2)


def jsd_error(
    sample: Floats,
    reference: Floats,
    blocks: NDArray[np.int64],
    effective_frames: float,
    n_states: int = N_STATES,
) -> float:
    """Error of a Jensen-Shannon divergence between states that the reference causes, the states held fixed."""
    of_reference, of_sample, n_shares = states(reference, sample, n_states)
    p, q = state_shares(of_reference, n_shares), state_shares(of_sample, n_shares)
    influence = 0.5 * np.log2(p / ((p + q) / 2.0))
    return mean_error(influence[of_reference], blocks, effective_frames)


def _of_root(error_of_square: float, square: float) -> float:
    """The error of a root: the error of its square / (2 root), but never more than the root of that error."""
    if not error_of_square > 0.0:
        return 0.0
    if not square > 0.0:
        return math.sqrt(error_of_square)
    return min(error_of_square / (2.0 * math.sqrt(square)), math.sqrt(error_of_square))
