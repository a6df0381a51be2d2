"""The native solver of optimal transport: against POT, on every instruction set, and its certificate."""

import shutil

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.metrics import simplex
from analysis.metrics.bench import _alone, _peak_gb, bench_wasserstein
from analysis.metrics.simplex import TransportError, simplex_plan
from analysis.wasserstein import certified_w2, certify, euclidean_w2, torus_w2
from prosebench import transport
from prosebench.energy.compiled import NativeUnavailable, load_library
from prosebench.energy.native import ENVIRONMENT_VARIABLE, INSTRUCTION_SETS

TURN = 2.0 * np.pi
native = pytest.mark.skipif(not transport.available(), reason=str(transport.why_unavailable()))


def _clouds(kind: str, n: int, m: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0.0, TURN, (n, d)), rng.uniform(0.0, TURN, (m, d)) ** 1.1 % TURN
    if kind == "ties":
        return np.floor(x), np.floor(y)
    if kind == "duplicates":
        return x[rng.integers(0, min(5, n), n)], y
    if kind == "clusters":
        return (x % 0.01) + (x[:, :1] > 2.0), (y % 0.01) + (y[:, :1] > 4.0)
    if kind == "outliers":
        return np.concatenate([x[1:], np.full((1, d), 1e6)]), y
    return x, y


def _oracle(x: np.ndarray, y: np.ndarray, period: float | None) -> float:
    gap = np.abs(x[:, None] - y[None])
    costs = ((np.minimum(gap, period - gap) if period else gap) ** 2).sum(-1)
    return float(np.sqrt(ot.emd2([], [], costs, numItermax=10**8)))


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler: nothing could be built")
def test_it_is_there_where_it_can_be_built():
    assert transport.why_unavailable() is None


@native
@pytest.mark.parametrize("period", [None, TURN])
@pytest.mark.parametrize("kind", ["plain", "ties", "duplicates", "clusters"])
@pytest.mark.parametrize(
    ("n", "m", "d"), [(1, 1, 2), (2, 2, 1), (97, 97, 2), (300, 300, 6), (120, 75, 14), (3, 200, 2)]
)
def test_agrees_with_the_network_simplex(kind, n, m, d, period):
    x, y = _clouds(kind, n, m, d)
    found = certified_w2(x, y, period=period)
    assert found.value == pytest.approx(_oracle(x, y, period), rel=1e-9, abs=1e-9)
    assert 0.0 <= found.gap <= 1e-9


@native
def test_one_far_point_does_not_blur_the_others():
    x, y = _clouds("outliers", 100, 100, 3)
    found = certified_w2(x, y)
    assert found.value == pytest.approx(_oracle(x, y, None), rel=1e-12)
    assert found.gap <= 1e-12


@native
def test_same_points_are_at_distance_zero_exactly():
    x, _ = _clouds("duplicates", 200, 200, 4)
    assert certified_w2(x, x[::-1]) == (0.0, 0.0)
    assert torus_w2(x, x + TURN * np.round(x)) < 1e-6


@native
def test_bits_are_the_same_on_every_instruction_set(monkeypatch):
    x, y = _clouds("plain", 400, 400, 5)
    masses = transport.equal_masses(400, 400)
    plans = []
    for name in INSTRUCTION_SETS:
        if not load_library().prosebench_supports(name.encode()):
            continue
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, name)
        plans.append(transport.optimal_plan(x, y, *masses, period=TURN))
    for plan in plans[1:]:
        for mine, first in zip(plan, plans[0], strict=True):
            np.testing.assert_array_equal(mine, first)


@native
@pytest.mark.parametrize("period", [None, TURN])
@pytest.mark.parametrize(("n", "m", "d"), [(150, 150, 3), (900, 400, 2), (500, 800, 6)])
def test_fall_back_agrees(n, m, d, period, monkeypatch):
    x, y = _clouds("plain", n, m, d)
    expected = certified_w2(x, y, period=period, solver="native")
    monkeypatch.setattr(transport, "available", lambda: False)
    found = certified_w2(x, y, period=period)
    assert found.value == pytest.approx(expected.value, rel=1e-9)
    assert found.gap <= 1e-9


def test_few_pairs_suffice_whatever_the_weights():
    x, y = _clouds("clusters", 800, 750, 3)
    weights = np.exp(3.0 * np.random.default_rng(1).normal(size=800))
    gap = np.abs(x[:, None] - y[None])
    expected = ot.emd2(weights / weights.sum(), np.full(750, 1.0 / 750), (gap**2).sum(-1), numItermax=10**8)
    found = certified_w2(x, y, weights)
    assert found.value == pytest.approx(np.sqrt(expected), rel=1e-8)
    assert found.gap <= 1e-9
    other_way = certified_w2(y, x, None, weights)
    assert other_way.value == pytest.approx(found.value, rel=1e-9)


def test_pairs_are_few(monkeypatch):
    used = []
    solve = simplex._solved
    monkeypatch.setattr(simplex, "_solved", lambda *given: used.append(len(given[4])) or solve(*given))
    x, y = _clouds("plain", 1500, 1500, 4)
    weights = np.full(1500, 1.0 / 1500)
    simplex_plan(x, y, weights, weights, period=TURN)
    assert max(used) < 1500 * 1500 / 4


def test_an_older_library_is_refused_with_the_remedy(monkeypatch):
    class Older:
        _name = "_kernel.so"

    monkeypatch.setattr(transport, "load_library", Older)
    transport._library.cache_clear()
    try:
        assert not transport.available()
        with pytest.raises(NativeUnavailable, match=r"setup\.py build_ext --inplace"):
            certified_w2(np.zeros((2, 1)), np.ones((2, 1)), solver="native")
        assert euclidean_w2(np.zeros((2, 1)), np.ones((2, 1))) == 1.0
    finally:
        monkeypatch.undo()
        transport._library.cache_clear()


@native
def test_least_values_look_at_every_pair():
    x, y = _clouds("plain", 50, 333, 3)
    prices = np.random.default_rng(1).normal(size=333)
    gap = np.abs(x[:, None] - y[None])
    costs = (np.minimum(gap, TURN - gap) ** 2).sum(-1)
    np.testing.assert_allclose(
        transport.least_values(x, y, prices, period=TURN), (costs + prices).min(1), rtol=1e-14
    )


@native
def test_certificate_finds_what_is_wrong():
    x, y = _clouds("plain", 80, 80, 2)
    masses = transport.equal_masses(80, 80)
    plan = transport.optimal_plan(x, y, *masses)
    assert certify(x, y, *masses, plan, None).gap <= 1e-12
    prices = plan.prices.copy()
    prices[7] -= 1e-3
    with pytest.raises(TransportError, match="lower bound"):
        certify(x, y, *masses, plan._replace(prices=prices), None)
    columns = plan.columns.copy()
    columns[[0, 1]] = columns[[1, 0]]
    with pytest.raises(TransportError, match="lower bound"):
        certify(x, y, *masses, plan._replace(columns=columns), None)
    columns[0] = columns[1]
    with pytest.raises(TransportError, match="every point's mass"):
        certify(x, y, *masses, plan._replace(columns=columns), None)


@native
def test_bad_input_is_refused():
    x, y = _clouds("plain", 4, 4, 2)
    ones = np.ones(4, dtype=np.int64)
    with pytest.raises(ValueError, match="equal sum"):
        transport.optimal_plan(x, y, ones, 2 * ones)
    with pytest.raises(ValueError, match="finite"):
        transport.optimal_plan(x * np.nan, y, ones, ones)
    with pytest.raises(ValueError, match="period"):
        transport.optimal_plan(x - 10.0, y, ones, ones, period=TURN)


@native
@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(1, 4), st.integers(0, 10**6))
def test_translation_and_triangle(n, d, seed):
    x, y = _clouds("plain", n, n, d, seed)
    shift = np.linspace(1.0, 2.0, d)
    assert euclidean_w2(x, x + shift) == pytest.approx(np.linalg.norm(shift), rel=1e-9)
    assert euclidean_w2(x + shift, y + shift) == pytest.approx(euclidean_w2(x, y), rel=1e-9)
    assert euclidean_w2(x, y) == pytest.approx(euclidean_w2(y, x), rel=1e-9)
    assert torus_w2(x, y) <= euclidean_w2(x, y) * (1.0 + 1e-9)
    z = _clouds("clusters", n, n, d, seed)[0]
    assert torus_w2(x, z) <= torus_w2(x, y) + torus_w2(y, z) + 1e-9


def test_native_refuses_weights():
    x, y = _clouds("plain", 12, 9, 2)
    with pytest.raises(ValueError, match="takes no weights"):
        certified_w2(x, y, np.arange(1.0, 13.0), solver="native")


@native
def test_bench_measures_all_side_by_side():
    dense, own, few = bench_wasserstein((2,), frames=200, rounds=1)
    assert [row["engine"] for row in (dense, own, few)] == ["dense", "native", "simplex"]
    assert dense["ratio"] == 1.0
    for row in (own, few):
        assert row["distance"] == pytest.approx(dense["distance"], rel=1e-9)
        assert 0.0 <= row["gap"] <= 1e-9


def test_bench_counts_the_memory_of_its_own_process_alone():
    """Linux begins the peak of a child with what its parent held."""
    ballast = np.ones(75_000_000)
    own = _peak_gb()
    assert own > ballast.nbytes / 1e9
    assert _alone(_peak_gb) < own - 0.3
