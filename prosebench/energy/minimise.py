"""Energy minimisation whose numbers are the same on every processor.

L-BFGS (Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.4) with a backtracking line search. Sums are
exact (`math.fsum`), since a linear-algebra library adds in an order that depends on the processor, and a minimisation
magnifies the last digit: the same start would lead to other trajectories on another machine.
"""

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prosebench.energy.meter import Meter

_LINE_SEARCH = 20
"""The largest number of evaluations in one line search."""
_KEPT_PAIRS = 10
"""The number of latest steps whose curvature is remembered."""
_LONGEST_NM = 0.02
"""The longest way in nm that a step may move a coordinate. Beyond it, the quadratic approximation says
nothing about a molecule."""
_SUFFICIENT = 1e-4
"""A step is accepted when the energy falls by at least this share of what the slope promises (Armijo's
condition)."""
_SMALLEST_DECREASE = 2e-9
"""The minimum counts as reached when a step lowers the energy by less than this share of it."""


class _Point(NamedTuple):
    positions_nm: NDArray[np.float64]
    energy_kt: float
    gradient: NDArray[np.float64]


class _Pair(NamedTuple):
    """A step, the change of the gradient along it, and the scalar product of the two."""

    step: NDArray[np.float64]
    change: NDArray[np.float64]
    curvature: float


def minimisation_limit(max_steps: int) -> int:
    """The largest number of evaluations that `minimised` takes: two a step, and the line search that exceeds
    this number."""
    return 2 * max_steps + _LINE_SEARCH if max_steps else 0


def minimised(meter: Meter, start_nm: NDArray[np.float64], max_steps: int) -> NDArray[np.float64]:
    """Positions (atoms, 3) after at most max_steps of L-BFGS; every evaluation goes through the meter."""
    if max_steps == 0:
        return start_nm.copy()
    here, pairs, spent = _evaluated(meter, start_nm), deque[_Pair](maxlen=_KEPT_PAIRS), 1
    for _ in range(max_steps):
        if spent >= 2 * max_steps:
            break
        there, evaluations = _line_search(meter, here, _direction(here.gradient, pairs))
        spent += evaluations
        if there is None and not pairs:
            break
        if there is None:
            # Curvature from further away may mislead: once more along the gradient.
            pairs.clear()
            continue
        decrease = here.energy_kt - there.energy_kt
        _remember(pairs, here, there)
        here = there
        if decrease <= _SMALLEST_DECREASE * max(1.0, abs(here.energy_kt)):
            break
    return here.positions_nm


def _evaluated(meter: Meter, positions_nm: NDArray[np.float64]) -> _Point:
    energies, gradients = meter.energy_and_gradient(positions_nm[None])
    return _Point(positions_nm, float(energies[0]), np.asarray(gradients[0], dtype=np.float64))


def _direction(gradient: NDArray[np.float64], pairs: deque[_Pair]) -> NDArray[np.float64]:
    """Minus the inverse Hessian, as the pairs know it, times the gradient (atoms, 3): the two-loop recursion."""
    direction, shares = -gradient, list[float]()
    for pair in reversed(pairs):
        shares.append(_dot(pair.step, direction) / pair.curvature)
        direction = direction - shares[-1] * pair.change
    if pairs:
        direction = direction * (pairs[-1].curvature / _dot(pairs[-1].change, pairs[-1].change))
    for pair, share in zip(pairs, reversed(shares), strict=True):
        direction = direction + (share - _dot(pair.change, direction) / pair.curvature) * pair.step
    return direction


def _line_search(meter: Meter, here: _Point, direction: NDArray[np.float64]) -> tuple[_Point | None, int]:
    """The first of ever shorter steps that lowers the energy enough, or None; and the number of evaluations
    it took."""
    slope, furthest = _dot(here.gradient, direction), float(np.abs(direction).max())
    if not slope < 0.0:
        return None, 0
    length = min(1.0, _LONGEST_NM / furthest)
    for evaluations in range(1, _LINE_SEARCH + 1):
        there = _evaluated(meter, here.positions_nm + length * direction)
        if there.energy_kt <= here.energy_kt + _SUFFICIENT * length * slope:
            return there, evaluations
        length *= 0.5
    return None, _LINE_SEARCH


def _remember(pairs: deque[_Pair], here: _Point, there: _Point) -> None:
    """Keep a step if its curvature is positive; any other would spoil the inverse Hessian."""
    step, change = there.positions_nm - here.positions_nm, there.gradient - here.gradient
    curvature = _dot(step, change)
    if curvature > 1e-10 * _dot(change, change):
        pairs.append(_Pair(step, change, curvature))


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The scalar product: the sum of all products, rounded once."""
    return math.fsum((a * b).ravel().tolist())
