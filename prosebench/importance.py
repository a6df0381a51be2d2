"""Importance weights: the filter of the published protocol, effective sample size, resampling.

Log-weights may have any offset. One that is not finite stands for a frame without a finite energy: its weight
is 0, and it still counts as a frame.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

PUBLISHED_FILTER_FRACTION = 0.002


def clean_log_weights(log_weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Log-weights (n,) as float64 with -inf (weight 0) wherever they are not finite."""
    values = np.asarray(log_weights, dtype=np.float64)
    return np.where(np.isfinite(values), values, -np.inf)


def normalise(log_weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weights (n,) that sum to 1. Raises ValueError where no log-weight is finite."""
    values = clean_log_weights(log_weights)
    largest = values.max(initial=-np.inf)
    if not np.isfinite(largest):
        raise ValueError(
            f"none of {len(values)} log-weights is finite: no frame had a finite energy and density"
        )
    weights = np.exp(values - largest)
    return weights / weights.sum()


def filter_top(
    log_weights: NDArray[np.floating], fraction: float = PUBLISHED_FILTER_FRACTION
) -> NDArray[np.int64]:
    """Indices, ascending, of the frames whose log-weight is at most the (1 - fraction) quantile.

    The frames above it, the highest `fraction` of all, are removed and not clipped, as in the published code
    (quantile by linear interpolation). Frames of weight 0 are kept: they count in the effective sample size.
    """
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"the filter fraction is {fraction}; it must be at least 0 and below 1")
    values = clean_log_weights(log_weights)
    if fraction == 0.0 or len(values) < 2:
        return np.arange(len(values))
    # No value lies between two neighbours in rank, so the lower neighbour of the quantile serves as the
    # threshold, and -inf never enters an interpolation. The tiny shift absorbs rounding where the rank is a
    # whole number.
    rank = math.floor((1.0 - fraction) * (len(values) - 1) + 1e-9)
    return np.flatnonzero(values <= np.partition(values, rank)[rank])


def ess(log_weights: NDArray[np.floating]) -> float:
    """Kish's effective sample size (sum w)^2 / sum w^2 divided by the number of weights: between 1/n and 1.

    0 where every weight is 0 (or there is none).
    """
    values = clean_log_weights(log_weights)
    if not np.isfinite(values).any():
        return 0.0
    return float(np.exp(2.0 * logsumexp(values) - logsumexp(2.0 * values)) / len(values))


def resample(log_weights: NDArray[np.floating], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw n indices with replacement, by probability proportional to weight (multinomial).

    Raises ValueError where no log-weight is finite.
    """
    return rng.choice(len(log_weights), size=n, p=normalise(log_weights))


def com_energy_adjustment(frames_normalised: NDArray[np.floating]) -> NDArray[np.float64]:
    """What the published code adds to the energy -log q of frames (n, atoms, 3) in normalised coordinates.

    With s = 1/sqrt(atoms) and c = |mean position|: -c^2 / (2 s^2) + log(c^2 / (sqrt(2) s^3 Gamma(3/2))), the
    negative log-density of a centre of mass at distance c under the training augmentation (a Gaussian with
    std s per axis). Returns (n,).
    """
    centres = np.asarray(frames_normalised, dtype=np.float64).mean(axis=1)
    squared = (centres**2).sum(axis=1)
    s = 1.0 / math.sqrt(frames_normalised.shape[1])
    return -squared / (2.0 * s**2) + np.log(squared / (math.sqrt(2.0) * s**3 * math.gamma(1.5)))
