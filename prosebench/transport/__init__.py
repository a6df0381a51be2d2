"""Exact optimal transport between two sets of points under squared distances, native, without a cost matrix.

An auction finds prices near the optimum and shortest augmenting paths the optimum itself, all in double (auction.h
and paths.h tell how). Every instruction set rounds alike, so the plan is the same on every machine. The library
is that of the native energy (`prosebench.energy.native`); without it nothing here works and `available()` is False.
"""

import ctypes
import math
from ctypes import POINTER, c_double, c_int32, c_int64, c_void_p
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prosebench.energy.compiled import REBUILD, NativeUnavailable, instruction_set, load_library

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_PAIRS_FOR_SCALE = 1000
_LARGE_PRIME = 1_000_003


class _Problem(ctypes.Structure):
    """Mirror of struct TransportProblem in transport.cpp."""

    _fields_ = (
        [(name, c_int64) for name in ("n_rows", "n_columns")]
        + [("n_coordinates", c_int32)]
        + [(name, c_double) for name in ("period", "typical_cost")]
        + [(name, c_void_p) for name in ("rows", "columns", "row_masses", "column_masses")]
    )


class Plan(NamedTuple):
    """A transport plan: flow by flow (k,), which row's mass goes to which column; and the prices of the
    columns (m,)."""

    rows: Integers
    columns: Integers
    masses: NDArray[Any]
    prices: Floats


_Receive = ctypes.CFUNCTYPE(None, c_int64, *[POINTER(c_int64)] * 3)


def why_unavailable() -> str | None:
    """Why the native solver cannot be used here and what to do about it; None if it can."""
    try:
        _library()
        instruction_set()
    except NativeUnavailable as error:
        return str(error)
    return None


def available() -> bool:
    """Whether the native solver can be used on this machine."""
    return why_unavailable() is None


def pair_costs(x: Floats, y: Floats, period: float | None) -> Floats:
    """Squared distances (n,) of points x (n, d) and y (n, d); with a period they lie in [0, period) and differences
    are wrapped to at most half of it. Coordinates are added up in order: the same bits everywhere.
    """
    total = np.zeros(len(x))
    for of_x, of_y in zip(x.T, y.T, strict=True):
        gap = np.abs(of_x - of_y)
        if period is not None:
            gap = np.minimum(gap, period - gap)
        total += gap * gap
    return total


def optimal_plan(
    x: Floats, y: Floats, x_masses: Integers, y_masses: Integers, *, period: float | None = None
) -> Plan:
    """The plan of least total cost that moves masses on points x (n, d) to points y (m, d).

    Masses are positive and of equal sum; with a period, coordinates lie in [0, period). Raises ValueError for
    masses or coordinates that are not so, NativeUnavailable without the native library.
    """
    x, y = (np.ascontiguousarray(side, dtype=np.float64) for side in (x, y))
    x_masses, y_masses = (np.ascontiguousarray(side, dtype=np.int64) for side in (x_masses, y_masses))
    if not (x_masses.min() > 0 and y_masses.min() > 0 and x_masses.sum() == y_masses.sum()):
        raise ValueError("masses must be positive and of equal sum on both sides")
    pairs = np.arange(_PAIRS_FOR_SCALE)
    some = pair_costs(x[pairs % len(x)], y[pairs * _LARGE_PRIME // len(x) % len(y)], period)
    problem = _problem(x, y, period)
    problem.typical_cost = float(np.median(some)) or float(some.mean())
    problem.row_masses, problem.column_masses = x_masses.ctypes.data, y_masses.ctypes.data
    prices = np.empty(len(y))
    flows: list[Integers] = []

    def receive(n_flows: int, *lists: Any) -> None:
        flows.extend(np.ctypeslib.as_array(numbers, (n_flows,)).copy() for numbers in lists)

    failed = _library().prosebench_transport(
        ctypes.byref(problem), instruction_set().encode(), prices.ctypes.data, _Receive(receive)
    )
    if failed:
        raise MemoryError(f"no memory for the optimal transport of {len(x)} to {len(y)} points")
    rows, columns, masses = flows
    return Plan(rows, columns, masses, prices)


def least_values(x: Floats, y: Floats, prices: Floats, *, period: float | None = None) -> Floats:
    """For each point of x (n, d) the least of cost + price over all points y (m, d), looking at every pair."""
    x, y, prices = (np.ascontiguousarray(side, dtype=np.float64) for side in (x, y, prices))
    problem, values = _problem(x, y, period), np.empty(len(x))
    failed = _library().prosebench_least_values(
        ctypes.byref(problem), instruction_set().encode(), prices.ctypes.data, values.ctypes.data
    )
    if failed:
        raise MemoryError(f"no memory for {len(y)} points")
    return values


def _problem(x: Floats, y: Floats, period: float | None) -> _Problem:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not (len(x) and len(y)):
        raise ValueError(f"points have shapes {x.shape} and {y.shape}; need (n, d) and (m, d)")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("points must be finite")
    if period is not None and not (min(x.min(), y.min()) >= 0.0 and max(x.max(), y.max()) <= period):
        raise ValueError(f"coordinates must lie between 0 and the period {period:g}")
    return _Problem(
        n_rows=len(x),
        n_columns=len(y),
        n_coordinates=x.shape[1],
        period=period or 0.0,
        rows=x.ctypes.data,
        columns=y.ctypes.data,
    )


@cache
def _library() -> ctypes.CDLL:
    library = load_library()
    size = getattr(library, "prosebench_transport_size", None)
    if size is None or size() != ctypes.sizeof(_Problem):
        raise NativeUnavailable(
            f"the native library {library._name} is from other sources, without this optimal transport; {REBUILD}"
        )
    library.prosebench_transport.argtypes = [POINTER(_Problem), ctypes.c_char_p, c_void_p, _Receive]
    library.prosebench_least_values.argtypes = [POINTER(_Problem), ctypes.c_char_p, c_void_p, c_void_p]
    return library


def equal_masses(n: int, m: int) -> tuple[Integers, Integers]:
    """The smallest whole masses (n,) and (m,), each side's all equal, of equal sum."""
    common = math.gcd(n, m)
    return np.full(n, m // common, dtype=np.int64), np.full(m, n // common, dtype=np.int64)
