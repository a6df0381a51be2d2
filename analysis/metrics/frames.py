"""Which frames stand for an ensemble in a score, and under which weights.

An unweighted ensemble is thinned. A weighted one is resampled with replacement, in one of three ways: under all of its
weights, smoothed so that none rules (SMOOTHED); under the weights that the filter of the published protocol leaves
(FILTERED); and with no regard to its weights, as the method proposed its frames (UNWEIGHTED).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.metrics.weighting import FILTERED, PLAIN, SMOOTHED, UNWEIGHTED, Weighting
from prosebench.ensemble import Ensemble
from prosebench.frames.importance import clean_log_weights, filter_top, pareto_smooth, resample
from prosebench.reference import Reference


class Chosen(NamedTuple):
    """Places (m,) of the frames that are scored, and the log-weights by which they were drawn, None for none."""

    places: NDArray[np.int64]
    log_weights: NDArray[np.float64] | None


def finite_frames(ensemble: Ensemble) -> NDArray[np.bool_]:
    """Which frames (n,) have a finite energy and finite coordinates."""
    return np.isfinite(ensemble.energies_kt) & np.isfinite(ensemble.positions_nm).all(axis=(1, 2))


def usable_log_weights(ensemble: Ensemble) -> NDArray[np.float64] | None:
    """Log-weights (n,), with -inf (weight 0) for every frame that is not finite; None for an unweighted ensemble."""
    if ensemble.log_weights is None:
        return None
    return np.where(finite_frames(ensemble), clean_log_weights(ensemble.log_weights), -np.inf)


def compared_frames(asked: int, reference: Reference) -> int:
    """How many frames are compared on either side: as many as a cell keeps, or as the reference's scored half has.

    With more frames than the reference has, a perfect sampler would score less than the floor, where both sides are
    as many.
    """
    return min(asked, len(reference.scored))


def choose(ensemble: Ensemble, weighting: Weighting, n_frames: int, seed: int) -> Chosen:
    """The frames that stand for an ensemble under a weighting: n_frames, or all there are of fewer.

    PLAIN is for unweighted ensembles, the others are for weighted ones. Raises ValueError where no weight is finite.
    """
    weights = usable_log_weights(ensemble)
    if weights is None or weighting in (PLAIN, UNWEIGHTED):
        return Chosen(thin(ensemble, n_frames), None)
    kept = filter_top(weights) if weighting == FILTERED else np.arange(len(weights))
    used = pareto_smooth(weights)[0] if weighting == SMOOTHED else weights[kept]
    drawn = resample(used, min(n_frames, len(used)), np.random.default_rng(seed))
    return Chosen(kept[drawn], used)


def thin(ensemble: Ensemble, n_frames: int) -> NDArray[np.int64]:
    """Indices, ascending, of at most n_frames frames, evenly spaced.

    Spaced by index, or, where the ensemble knows its evaluations, by evaluations: a trajectory whose frames
    were kept more densely at first is thinned uniformly in time, and a frame that stands for a long stretch
    may count twice. Frames with equal evaluations (replicas side by side) share the stretch up to them
    evenly, each group starting one place later than the one before, so that no replica is preferred. Evaluations
    before the first interval are of a part that was discarded: no frame stands for them.
    """
    n = len(ensemble)
    if n <= n_frames or ensemble.evaluations is None or not ensemble.evaluations.any():
        return evenly(n, n_frames)
    order = np.argsort(ensemble.evaluations, kind="stable")
    values, starts, counts = np.unique(ensemble.evaluations[order], return_index=True, return_counts=True)
    group = np.repeat(np.arange(len(values)), counts)
    place = (np.arange(n) - starts[group] + group) % counts[group]
    order = order[np.lexsort((place, group))]
    within = (np.arange(n) - starts[group] + 1) / counts[group]
    start = max(0, 2 * values[0] - values[1]) if len(values) > 1 else 0
    times = values[group] - np.diff(values, prepend=start)[group] * (1.0 - within)
    targets = start + (np.arange(n_frames) + 1) * ((values[-1] - start) / n_frames)
    after = np.searchsorted(times, targets).clip(1, n - 1)
    nearest = after - (targets - times[after - 1] < times[after] - targets)
    return np.sort(order[nearest])


def evenly(n: int, n_chosen: int) -> NDArray[np.int64]:
    """Indices, ascending, of at most n_chosen of n things, evenly spaced by index; the last is among them."""
    number = min(n, n_chosen)
    return (np.arange(number) + 1) * n // max(number, 1) - 1


def prefix(ensemble: Ensemble, budget: int) -> Ensemble:
    """The frames that were there when `budget` evaluations had been spent.

    Raises ValueError for an ensemble that does not know its evaluations.
    """
    if ensemble.evaluations is None:
        raise ValueError("this ensemble does not know when its frames were sampled: it has no prefixes")
    return ensemble.select(ensemble.evaluations <= budget)
