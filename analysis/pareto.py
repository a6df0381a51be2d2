"""Pareto k-hat: how heavy the tail of importance weights is, and so whether a re-weighted mean can be trusted.

The largest weights are fitted by a generalised Pareto distribution; with a shape k above 0.7 estimates from them are
not reliable at any practical number of samples (Vehtari et al., J. Mach. Learn. Res. 2024, 25, 72).
"""

import math

import numpy as np
from numpy.typing import NDArray

from prosebench.importance import clean_log_weights

RELIABLE = 0.7
_LEAST_TAIL = 5


def k_hat(log_weights: NDArray[np.floating]) -> float:
    """Shape of the upper tail of the weights (n,): of the largest min(n / 5, 3 sqrt(n)) of them.

    NaN where fewer than 5 weights lie above the next smaller one; 0 where the weights are all equal.
    """
    values = np.sort(clean_log_weights(log_weights))
    values = values[np.isfinite(values)]
    n = len(values)
    number = int(min(0.2 * n, 3.0 * math.sqrt(n)))
    if number < _LEAST_TAIL:
        return math.nan
    weights = np.exp(values - values[-1])
    excess = weights[-number:] - weights[-number - 1]
    if excess[-1] <= 0.0:
        return 0.0
    excess = excess[excess > 0.0]
    return _pareto_shape(excess) if len(excess) >= _LEAST_TAIL else math.nan


def _pareto_shape(excess: NDArray[np.float64]) -> float:
    """Shape of a generalised Pareto distribution, by Zhang and Stephens (Technometrics 2009, 51, 316).

    Weakly drawn to 1/2 as in Vehtari et al., by 10 observations' worth. excess (n,) is ascending and positive.
    """
    n = len(excess)
    grid = np.arange(1, 30 + int(math.sqrt(n)) + 1)
    quartile = excess[int(n / 4.0 + 0.5) - 1]
    theta = 1.0 / excess[-1] + (1.0 - np.sqrt(len(grid) / (grid - 0.5))) / (3.0 * quartile)
    shapes = np.log1p(-theta[:, None] * excess).mean(axis=1)
    likelihood = n * (np.log(-theta / shapes) - shapes - 1.0)
    weights = np.exp(likelihood - likelihood.max())
    mean_theta = float((theta * weights).sum() / weights.sum())
    shape = float(np.log1p(-mean_theta * excess).mean())
    return (n * shape + 10.0 * 0.5) / (n + 10.0)
