"""Optimal transport by the network simplex of POT, without a full cost matrix where that would be large.

Of all pairs of points few carry mass. The simplex gets some pairs that may, and its prices tell which others would
lower the cost: these join, until there are none (column generation; Dantzig and Wolfe, Oper. Res. 1960, 8, 101). A
small problem, between points drawn from both sides, gives the prices to begin with. Nothing here is taken on trust:
`analysis.wasserstein.certify` judges the plan.
"""

from collections.abc import Iterator

import numpy as np
import ot
import scipy.sparse as sp
from numpy.typing import NDArray

from prosebench.transport import Plan, pair_costs

Floats = NDArray[np.float64]
Pairs = NDArray[np.int64]

_DENSE_POINTS = 700
DENSE_PAIRS = _DENSE_POINTS**2
"""The largest number of pairs of points for which the simplex gets all pairs at once."""
_NEIGHBOURS = 12
"""The number of pairs that each point has at the start, and the most that join for a point in one round."""
_BLOCK_PAIRS = 50_000
"""The number of costs that are held at a time. So few stay in a cache of the CPU."""
_MAX_ROUNDS = 100
_MAX_PIVOTS = 1_000_000_000
_TOLERANCE = 1e-11
"""A pair joins only if it lies below its prices by more than this share of the largest cost. Less does not
matter."""


class TransportError(RuntimeError):
    """The solver of an optimal transport problem stopped before the optimum."""


def simplex_plan(
    x: Floats, y: Floats, x_weights: Floats, y_weights: Floats, *, period: float | None = None
) -> Plan:
    """The plan of least total cost that moves weights (n,) on points x (n, d) to weights (m,) on points y (m, d).

    Weights are positive and of equal sum. With a period, coordinates lie in [0, period]. Raises TransportError where
    the simplex stops early.
    """
    if len(x) * len(y) <= DENSE_PAIRS:
        every = np.arange(len(x) * len(y))
        return _solved(x, y, x_weights, y_weights, every, period)[0]
    pairs = np.union1d(_first_pairs(x, y, x_weights, y_weights, period), _chain(x, y, x_weights, y_weights))
    for _ in range(_MAX_ROUNDS):
        plan, values = _solved(x, y, x_weights, y_weights, pairs, period)
        joining = _cheaper(x, y, values, plan.prices, period)
        if not len(joining):
            return plan
        pairs = np.union1d(pairs, joining)
    raise TransportError(
        f"optimal transport of {len(x)} to {len(y)} points: {_MAX_ROUNDS} rounds were not enough"
    )


def least_values(x: Floats, y: Floats, prices: Floats, *, period: float | None = None) -> Floats:
    """For each point of x (n, d) the least of cost + price over all points y (m, d), by blocks of x."""
    return np.concatenate([(costs + prices).min(1) for _, costs in _blocks(x, y, period)])


def _solved(
    x: Floats, y: Floats, x_weights: Floats, y_weights: Floats, pairs: Pairs, period: float | None
) -> tuple[Plan, Floats]:
    """The best plan over some pairs, and the value of each point of x at its prices."""
    rows, columns = np.divmod(pairs, len(y))
    costs = pair_costs(x[rows], y[columns], period)
    # The solver's tolerances are absolute, for costs of about 1.
    scale = float(costs.max()) or 1.0
    graph = sp.coo_array((costs / scale, (rows, columns)), shape=(len(x), len(y)))
    flows, log = ot.emd(
        x_weights, y_weights, graph, _MAX_PIVOTS, log=True, center_dual=False, check_marginals=False
    )
    if log["warning"]:
        raise TransportError(f"optimal transport of {len(x)} to {len(y)} points: {log['warning']}")
    used = flows.data > 0.0
    rows, columns = flows.row[used].astype(np.int64), flows.col[used].astype(np.int64)
    return Plan(rows, columns, flows.data[used], -scale * log["v"]), scale * log["u"]


def _first_pairs(x: Floats, y: Floats, x_weights: Floats, y_weights: Floats, period: float | None) -> Pairs:
    """The pairs (k,) of best value for each point of either side, at prices found between some points of either."""
    of_x, of_y = (_drawn(weights, _DENSE_POINTS) for weights in (x_weights, y_weights))
    equal = np.full(_DENSE_POINTS, 1.0 / _DENSE_POINTS)
    _, values = _solved(x[of_x], y[of_y], equal, equal, np.arange(_DENSE_POINTS**2), period)
    prices = -least_values(y, x[of_x], -values, period=period)
    pairs = _best(x, y, prices, period)
    columns, rows = np.divmod(_best(y, x, -least_values(x, y, prices, period=period), period), len(x))
    return np.union1d(pairs, rows * len(y) + columns)


def _best(x: Floats, y: Floats, prices: Floats, period: float | None) -> Pairs:
    number = min(_NEIGHBOURS, len(y))
    found = []
    for start, costs in _blocks(x, y, period):
        places = np.argpartition(costs + prices, number - 1, axis=1)[:, :number]
        found.append(((start + np.arange(len(costs)))[:, None] * len(y) + places).reshape(-1))
    return np.concatenate(found)


def _cheaper(x: Floats, y: Floats, values: Floats, prices: Floats, period: float | None) -> Pairs:
    """Pairs that lie below their prices, of each point of x those that do most."""
    number = min(_NEIGHBOURS, len(y))
    found = []
    for start, costs in _blocks(x, y, period):
        largest = float(costs.max())
        costs += prices
        costs -= values[start : start + len(costs), None]
        some = np.flatnonzero(costs.min(1) < -_TOLERANCE * largest)
        places = np.argpartition(costs[some], number - 1, axis=1)[:, :number]
        below = np.take_along_axis(costs[some], places, axis=1) < -_TOLERANCE * largest
        found.append(((start + some)[:, None] * len(y) + places)[below])
    return np.concatenate(found)


def _chain(x: Floats, y: Floats, x_weights: Floats, y_weights: Floats) -> Pairs:
    """Pairs that suffice to move all mass: those of the monotone plan along the first coordinate."""
    orders = [
        np.argsort(side[:, 0], kind="stable") if side.shape[1] else np.arange(len(side)) for side in (x, y)
    ]
    steps = [np.cumsum(weights[order]) for weights, order in zip((x_weights, y_weights), orders, strict=True)]
    every = np.sort(np.concatenate([*steps, [0.0]]))
    # Both ends of each stretch: rounding may put a step of one side before or behind one of the other.
    places = np.concatenate([every, np.nextafter(every, np.inf), (every[1:] + every[:-1]) / 2.0])
    rows, columns = (
        order[np.minimum(np.searchsorted(step, places), len(order) - 1)]
        for step, order in zip(steps, orders, strict=True)
    )
    return rows * len(y) + columns


def _drawn(weights: Floats, number: int) -> Pairs:
    """The indices (number,) of some points, evenly spaced in the sum of weights."""
    steps = np.cumsum(weights) / weights.sum()
    return np.minimum(np.searchsorted(steps, (np.arange(number) + 0.5) / number), len(weights) - 1)


def _blocks(x: Floats, y: Floats, period: float | None) -> Iterator[tuple[int, Floats]]:
    """The cost matrix, some rows at a time, each time with the number of the first row."""
    rows = max(1, _BLOCK_PAIRS // len(y))
    for start in range(0, len(x), rows):
        yield start, cost_matrix(x[start : start + rows], y, period)


def cost_matrix(x: Floats, y: Floats, period: float | None) -> Floats:
    """Squared distances (n, m), coordinate by coordinate; with a period, differences are wrapped to half of it."""
    costs = np.zeros((len(x), len(y)))
    for of_x, of_y in zip(x.T, y.T, strict=True):
        gap = np.abs(of_x[:, None] - of_y)
        if period is not None:
            np.minimum(gap, period - gap, out=gap)
        gap *= gap
        costs += gap
    return costs
