"""Exact Wasserstein distances between two sets of points, weighted or not.

Every function returns the distance: for W2 the square root of the least mean squared cost. A point that is
not finite and has weight lies infinitely far from everything, so the distance is inf: nothing is trimmed.
"""

import numpy as np
import ot
from numpy.typing import NDArray

_MAX_PIVOTS = 1_000_000_000
_ROWS_PER_BLOCK = 16
_GAP_TOLERANCE = 1e-10

Floats = NDArray[np.floating]


class TransportError(RuntimeError):
    """The solver of an optimal transport problem stopped before the optimum."""


def energy_w1(
    x: Floats, y: Floats, x_weights: Floats | None = None, y_weights: Floats | None = None
) -> float:
    """W1 between energies x (n,) and y (m,), in their unit: the area between the quantile functions."""
    return _line_distance(x, y, x_weights, y_weights, power=1)


def energy_w2(
    x: Floats, y: Floats, x_weights: Floats | None = None, y_weights: Floats | None = None
) -> float:
    """W2 between energies x (n,) and y (m,), in their unit: root mean squared difference of the quantile
    functions.
    """
    return _line_distance(x, y, x_weights, y_weights, power=2)


def torus_w2(x: Floats, y: Floats, x_weights: Floats | None = None, y_weights: Floats | None = None) -> float:
    """W2 in rad between points x (n, angles) and y (m, angles) on a torus.

    The squared cost of two points is the sum over angles of the squared difference, wrapped to at most pi.
    Raises TransportError where the solver does not reach the optimum.
    """
    return _plane_distance(x, y, x_weights, y_weights, period=2.0 * np.pi)


def euclidean_w2(
    x: Floats, y: Floats, x_weights: Floats | None = None, y_weights: Floats | None = None
) -> float:
    """W2 between points x (n, d) and y (m, d) with the squared Euclidean distance as cost.

    Raises TransportError where the solver does not reach the optimum.
    """
    return _plane_distance(x, y, x_weights, y_weights, period=None)


def _line_distance(
    x: Floats, y: Floats, x_weights: Floats | None, y_weights: Floats | None, power: int
) -> float:
    x, x_weights = _points(x, x_weights, n_axes=1)
    y, y_weights = _points(y, y_weights, n_axes=1)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return np.inf
    x_order, y_order = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    x_steps, y_steps = np.cumsum(x_weights[x_order]), np.cumsum(y_weights[y_order])
    # Between two steps of either cumulative weight both quantile functions are constant.
    steps = np.sort(np.concatenate([x_steps, y_steps]))
    widths = np.diff(steps, prepend=0.0)
    middles = steps - widths / 2.0
    x_values = x[x_order][np.minimum(np.searchsorted(x_steps, middles), len(x) - 1)]
    y_values = y[y_order][np.minimum(np.searchsorted(y_steps, middles), len(y) - 1)]
    return float((widths @ np.abs(x_values - y_values) ** power / widths.sum()) ** (1.0 / power))


def _plane_distance(
    x: Floats, y: Floats, x_weights: Floats | None, y_weights: Floats | None, period: float | None
) -> float:
    x, x_weights = _points(x, x_weights, n_axes=2)
    y, y_weights = _points(y, y_weights, n_axes=2)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"points have {x.shape[1]} and {y.shape[1]} coordinates; they must have the same number"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return np.inf
    return float(np.sqrt(_transport_cost(_cost_matrix(x, y, period), x_weights, y_weights)))


def _cost_matrix(x: NDArray[np.float64], y: NDArray[np.float64], period: float | None) -> NDArray[np.float64]:
    """Squared distances (n, m), filled by blocks of rows and coordinate by coordinate.

    No array is larger than the result. With a period, differences are wrapped to at most half of it.
    """
    if period is not None:
        x, y = np.mod(x, period), np.mod(y, period)
    columns = np.ascontiguousarray(y.T)
    costs = np.zeros((len(x), len(y)))
    for start in range(0, len(x), _ROWS_PER_BLOCK):
        rows = costs[start : start + _ROWS_PER_BLOCK]
        difference, other_way = np.empty_like(rows), np.empty_like(rows)
        for x_column, y_column in zip(x[start : start + len(rows)].T, columns, strict=True):
            np.subtract(x_column[:, None], y_column, out=difference)
            if period is not None:
                np.abs(difference, out=difference)
                np.subtract(period, difference, out=other_way)
                np.minimum(difference, other_way, out=difference)
            np.square(difference, out=difference)
            rows += difference
    return costs


def _transport_cost(
    costs: NDArray[np.float64], x_weights: NDArray[np.float64], y_weights: NDArray[np.float64]
) -> float:
    """Least total cost of moving one set of weights onto the other, by the network simplex of POT.

    Scales costs in place: the solver's tolerances are absolute, for costs of about 1.
    """
    largest = float(costs.max())
    if largest == 0.0:
        return 0.0
    costs /= largest
    cost, log = ot.emd2(
        x_weights,
        y_weights,
        costs,
        numItermax=_MAX_PIVOTS,
        log=True,
        center_dual=False,
        check_marginals=False,
    )
    problem = f"optimal transport of {len(costs)} to {costs.shape[1]} points"
    if log["warning"]:
        raise TransportError(f"{problem}: {log['warning']}")
    bound = log["u"] @ x_weights + log["v"] @ y_weights
    if not abs(cost - bound) <= _GAP_TOLERANCE:
        raise TransportError(f"{problem}: the plan costs {cost:.12g}, its lower bound is {bound:.12g}")
    return max(float(cost), 0.0) * largest


def _points(
    values: Floats, weights: Floats | None, n_axes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and weights as float64: weights sum to 1, points of weight 0 are gone."""
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != n_axes or not len(points):
        raise ValueError(f"points have shape {points.shape}; need at least one point and {n_axes} axes")
    if weights is None:
        return points, np.full(len(points), 1.0 / len(points))
    mass = np.asarray(weights, dtype=np.float64)
    if mass.shape != (len(points),):
        raise ValueError(f"weights have shape {mass.shape}; {len(points)} points need ({len(points)},)")
    if not (np.isfinite(mass).all() and (mass >= 0.0).all() and mass.sum() > 0.0):
        raise ValueError("weights must be finite, not negative, and not all zero")
    there = mass > 0.0
    return points[there], mass[there] / mass.sum()
