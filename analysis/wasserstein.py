"""Exact Wasserstein distances between two sets of points, weighted or not.

Every function returns the distance: for W2 the square root of the least mean squared cost. A point that is
not finite and has weight lies infinitely far from everything, so the distance is inf: nothing is trimmed.

Distances in a plane or on a torus come with a certificate: the gap between the plan's cost, summed over its
flows, and the bound that any prices of the points y give by duality: no plan costs less than
sum_i a_i min_j (c_ij + p_j) - sum_j b_j p_j. Both are recomputed in double from the points; a plan is good whoever
found it. Points that stand several times are merged into one first. Where all points that were given weigh the same,
`prosebench.transport` finds the plan; where weights differ, few points are left or there is no native library, the
network simplex of POT does (`analysis.metrics.simplex`). Neither holds a full cost
matrix.
"""

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.metrics.simplex import DENSE_PAIRS, TransportError, least_values, simplex_plan
from prosebench import transport

_GAP_TOLERANCE = 1e-9
_ROUNDING = 1e-12
"""The rounding error that is allowed in a sum of costs, as a share of the largest cost or price in it. No
double says more about such a sum."""

Floats = NDArray[np.floating]


class Certified(NamedTuple):
    """A W2 distance and its certificate: the share of its square by which that may at most lie above the
    least (0: exact)."""

    value: float
    gap: float


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
    return certified_w2(x, y, x_weights, y_weights, period=2.0 * np.pi).value


def euclidean_w2(
    x: Floats, y: Floats, x_weights: Floats | None = None, y_weights: Floats | None = None
) -> float:
    """W2 between points x (n, d) and y (m, d) with the squared Euclidean distance as cost.

    Raises TransportError where the solver does not reach the optimum.
    """
    return certified_w2(x, y, x_weights, y_weights).value


def certified_w2(
    x: Floats,
    y: Floats,
    x_weights: Floats | None = None,
    y_weights: Floats | None = None,
    *,
    period: float | None = None,
    solver: Literal["native", "simplex"] | None = None,
) -> Certified:
    """W2 between points x (n, d) and y (m, d), on a torus where there is a period, with its certificate.

    The solver is chosen as the module tells unless it is named. A point that is not finite makes the distance
    inf. Raises TransportError where the gap is above 1e-9 (and above what rounding explains), ValueError for
    bad points or weights.
    """
    is_uniform = x_weights is None and y_weights is None
    from_points, from_weights = _points(x, x_weights, n_axes=2)
    to_points, to_weights = _points(y, y_weights, n_axes=2)
    if from_points.shape[1] != to_points.shape[1]:
        raise ValueError(
            f"points have {from_points.shape[1]} and {to_points.shape[1]} coordinates; they must have the same number"
        )
    if not (np.isfinite(from_points).all() and np.isfinite(to_points).all()):
        return Certified(np.inf, 0.0)
    if period is not None:
        from_points, to_points = _wrapped(from_points, period), _wrapped(to_points, period)
    if solver == "native" and not is_uniform:
        raise ValueError("the native solver takes no weights; leave solver out, or name simplex")
    if is_uniform and _are_same(from_points, to_points):
        return Certified(0.0, 0.0)
    # Frames that stand several times in an ensemble, as resampled ones and those of a frozen walk, are one point each.
    x_points, x_counts, from_weights = _merged(from_points, from_weights)
    y_points, y_counts, to_weights = _merged(to_points, to_weights)
    # A few points of great mass would keep the native solver busy for minutes; the simplex has them in a second.
    are_few = len(x_points) * len(y_points) <= min(DENSE_PAIRS, len(from_points) * len(to_points) - 1)
    if solver == "native" or (solver is None and is_uniform and not are_few and transport.available()):
        x_each, y_each = transport.equal_masses(len(from_points), len(to_points))
        masses = x_counts * x_each[0], y_counts * y_each[0]
        plan = transport.optimal_plan(x_points, y_points, *masses, period=period)
        return certify(x_points, y_points, *masses, plan, period)
    plan = simplex_plan(x_points, y_points, from_weights, to_weights, period=period)
    return certify(x_points, y_points, from_weights, to_weights, plan, period)


def _merged(
    points: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """The distinct points (k, d), how often each occurs (k,), and its weight (k,); in their old order if all
    differ."""
    distinct, place, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    if len(distinct) == len(points):
        return points, np.ones(len(points), dtype=np.int64), weights
    merged = np.bincount(place.reshape(-1), weights, minlength=len(distinct)).astype(np.float64)
    return distinct, counts.astype(np.int64), merged


def certify(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    x_masses: NDArray[Any],
    y_masses: NDArray[Any],
    plan: transport.Plan,
    period: float | None,
) -> Certified:
    """W2 of a plan that moves masses (n,) of points x (n, d) to masses (m,) of points y (m, d), and its gap.

    Sums are rounded once (fsum): neither depends on the order of the flows. Raises TransportError for a plan that
    does not move all mass, or whose cost is not the least.
    """
    problem = f"optimal transport of {len(x)} to {len(y)} points"
    if not (
        (plan.masses > 0).all() and _moves(plan.rows, plan, x_masses) and _moves(plan.columns, plan, y_masses)
    ):
        raise TransportError(f"{problem}: the plan does not move every point's mass")
    total = float(x_masses.sum())
    costs = transport.pair_costs(x[plan.rows], y[plan.columns], period)
    cost = math.fsum(costs * plan.masses) / total
    prices = plan.prices - np.median(plan.prices)
    values = (transport.least_values if transport.available() else least_values)(x, y, prices, period=period)
    bound = math.fsum(np.concatenate([values * x_masses, -prices * y_masses])) / total
    excess = max(cost - bound, 0.0)
    largest = max(float(costs.max()), float(np.abs(prices).max()))
    if not excess <= _GAP_TOLERANCE * cost + _ROUNDING * largest:
        raise TransportError(f"{problem}: the plan costs {cost:.12g}, its lower bound is {bound:.12g}")
    return Certified(math.sqrt(cost), excess / cost if cost > 0.0 else 0.0)


def _moves(places: NDArray[np.int64], plan: transport.Plan, masses: NDArray[Any]) -> bool:
    """Whether a plan moves masses (n,), but for rounding, from or to the n points at these places of its flows."""
    moved = np.bincount(places, plan.masses, minlength=len(masses))
    return len(moved) == len(masses) and bool(
        np.allclose(moved, masses, rtol=1e-9, atol=1e-9 * masses.mean())
    )


def _wrapped(points: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    return np.asarray(np.mod(points, period), dtype=np.float64)


def _are_same(x: NDArray[np.float64], y: NDArray[np.float64]) -> bool:
    """Whether both sides are the same points, in whatever order."""
    return x.shape == y.shape and bool(
        np.array_equal(x[np.lexsort(x.T)], y[np.lexsort(y.T)]) if x.shape[1] else True
    )


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
