"""Importance weights: the filter of the published protocol, effective sample size, resampling.

Log-weights may have any offset. One that is not finite stands for a frame without a finite energy: its weight
is 0, and it still counts as a frame.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

PUBLISHED_FILTER_FRACTION = 0.002
RELIABLE_PARETO_K = 0.7
"""The limit of k-hat. Above it, no practical number of samples makes estimates reliable (Vehtari et al.
2024)."""
_LEAST_TAIL = 5
_LEAST_EXCESS = 1e-300


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
    log-density of the distance c under the training augmentation, which draws centres from a Gaussian with std s per
    axis. Added to -log q, it divides the flow's density by that of the distance. Returns (n,).
    """
    centres = np.asarray(frames_normalised, dtype=np.float64).mean(axis=1)
    squared = (centres**2).sum(axis=1)
    s = 1.0 / math.sqrt(frames_normalised.shape[1])
    return -squared / (2.0 * s**2) + np.log(squared / (math.sqrt(2.0) * s**3 * math.gamma(1.5)))


def pareto_smooth(log_weights: NDArray[np.floating]) -> tuple[NDArray[np.float64], float]:
    """Pareto-smoothed log-weights (n,), with the offset of the given ones, and the shape k-hat of their tail.

    The largest min(n / 5, 3 sqrt(n)) weights are replaced, in their order, by quantiles of a generalised Pareto
    distribution fitted to them, and none ends above the largest raw weight (Vehtari et al., J. Mach. Learn.
    Res. 25 (2024) 72). Unlike the filter this removes nothing. Where fewer than 5 weights lie in the tail above
    the next smaller one, nothing is smoothed and nothing fitted. k-hat is then -inf where all weights of the tail are
    equal, as those of perfect proposals are: the limit of bounded tails whose mass gathers at their end.
    It is inf where they are too far apart for their sum to see more than a few of them, and NaN where too few are
    there to say anything. (ArviZ and the R package loo return inf in all three cases, which calls perfect weights
    useless.)
    """
    smoothed = clean_log_weights(log_weights)
    tail = _tail(smoothed, len(smoothed))
    if isinstance(tail, float):
        return smoothed, tail
    order, cutoff, excess, largest = tail
    shape, scale = _fit_pareto(excess)
    p = (np.arange(len(excess)) + 0.5) / len(excess)
    quantiles = scale * np.expm1(-shape * np.log1p(-p)) / shape if shape else -scale * np.log1p(-p)
    smoothed[order] = np.minimum(np.log(np.exp(cutoff - largest) + quantiles), 0.0) + largest
    return smoothed, shape


def pareto_k(largest_log_weights: NDArray[np.floating], n: int | None = None) -> float:
    """k-hat of n weights, of which the largest are given (all of them where n is left out).

    The tail's min(n / 5, 3 sqrt(n)) weights and one more are enough. NaN, inf or -inf as in `pareto_smooth`.
    """
    values = clean_log_weights(largest_log_weights)
    tail = _tail(values, len(values) if n is None else n)
    return tail if isinstance(tail, float) else _fit_pareto(tail[2])[0]


def k_hat_text(k_hat: float) -> str:
    """A k-hat to read, with what it says of the weights where it is no number."""
    if math.isnan(k_hat):
        return "– (too few weights for a tail)"
    if math.isinf(k_hat):
        return "∞ (a few weights are all)" if k_hat > 0 else "−∞ (equal weights: no tail)"
    return f"{k_hat:.2f}"


def pareto_tail_size(n: int) -> int:
    """How many of n weights are the tail: min(n / 5, 3 sqrt(n)), rounded down as in ArviZ."""
    return int(min(0.2 * n, 3.0 * math.sqrt(n)))


def _tail(
    log_weights: NDArray[np.float64], n: int
) -> tuple[NDArray[np.int64], float, NDArray[np.float64], float] | float:
    """Indices of the tail, ascending by weight; the next smaller log-weight; the excess of the weights over it,
    in units of the largest weight; the largest log-weight. Where there is no tail to fit, only k-hat."""
    order = np.argsort(log_weights, kind="stable")
    order = order[np.isfinite(log_weights[order])]
    size = min(pareto_tail_size(n), len(order) - 1)
    if size < _LEAST_TAIL:
        return math.nan
    cutoff, largest = float(log_weights[order[-size - 1]]), float(log_weights[order[-1]])
    order = order[-size:]
    excess = np.exp(log_weights[order] - largest) - math.exp(cutoff - largest)
    above = excess > _LEAST_EXCESS
    if not above.any():
        return -math.inf
    if above.sum() < _LEAST_TAIL:
        return math.inf if cutoff - largest < math.log(_LEAST_EXCESS) else math.nan
    return order[above], cutoff, excess[above], largest


def _fit_pareto(excess: NDArray[np.float64]) -> tuple[float, float]:
    """Shape (positive for a heavy tail) and scale of a generalised Pareto distribution.

    The empirical Bayes estimate of Zhang and Stephens (Technometrics 51 (2009) 316), the shape drawn to 1/2 with
    the weight of 10 observations as in Vehtari et al. 2024. excess (n,) is ascending and positive.
    """
    n = len(excess)
    points = 30 + math.isqrt(n)
    quartile = excess[int(n / 4 + 0.5) - 1]
    theta = 1.0 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))
    theta = theta / (3.0 * quartile) + 1.0 / excess[-1]
    shapes = np.log1p(-theta[:, None] * excess).mean(axis=1)
    profile = n * (np.log(-theta / shapes) - shapes - 1.0)
    best = float((theta * normalise(profile)).sum())
    shape = float(np.log1p(-best * excess).mean())
    return (n * shape + 5.0) / (n + 10.0), -shape / best
