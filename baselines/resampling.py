"""Resampling: which particles live on, and how often. All schemes draw index i on average n W_i times.

Systematic, stratified and residual resampling scatter less about that average than multinomial resampling (Douc, Cappé
and Moulines, ISPA 2005, 64).
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prosebench.frames.importance import normalise

Scheme = Literal["systematic", "stratified", "multinomial", "residual"]


def resample(
    log_weights: NDArray[np.floating], n: int, scheme: Scheme, rng: np.random.Generator
) -> NDArray[np.int64]:
    """n indices, ascending, into the particles that log-weights (m,) belong to.

    Raises ValueError where no log-weight is finite.
    """
    weights = normalise(log_weights)
    if scheme == "residual":
        return _residual(weights, n, rng)
    if scheme == "systematic":
        points = (np.arange(n) + rng.random()) / n
    elif scheme == "stratified":
        points = (np.arange(n) + rng.random(n)) / n
    else:
        points = np.sort(rng.random(n))
    return _at(weights, points)


def _residual(weights: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """As many copies as are certain, floor(n W_i), and the rest multinomially by what is left of the weights."""
    # Without the small shift, equal weights (49 * (1 / 49) < 1) would have no certain copy at all.
    expected = n * weights
    certain = np.floor(expected * (1.0 + 1e-12)).astype(np.int64)
    left = n - int(certain.sum())
    indices = np.repeat(np.arange(len(weights)), certain)
    if left:
        indices = np.concatenate(
            [indices, _at(np.maximum(expected - certain, 0.0), np.sort(rng.random(left)))]
        )
    return np.sort(indices)


def _at(weights: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices at points of [0, 1) along the weights laid end to end; never one of weight 0."""
    ends = np.cumsum(weights)
    found = np.searchsorted(ends, points * ends[-1], side="right")
    return np.minimum(found, np.flatnonzero(weights > 0)[-1])
