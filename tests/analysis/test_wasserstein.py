"""Exact distances against closed forms, scipy and the axioms of a metric."""

import time
import tracemalloc

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance

from analysis.metrics.simplex import TransportError
from analysis.wasserstein import energy_w1, energy_w2, euclidean_w2, torus_w2
from prosebench import transport

PI = np.pi
clouds = st.integers(1, 8).flatmap(lambda n: arrays(np.float64, (n, 2), elements=st.floats(-9, 9, width=32)))
lines = st.integers(1, 12).flatmap(lambda n: arrays(np.float64, n, elements=st.floats(-99, 99, width=32)))


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_translation_moves_every_point_by_the_same():
    x = _rng().standard_normal((60, 3))
    shift = np.array([3.0, 4.0, 12.0])
    assert euclidean_w2(x, x + shift) == pytest.approx(13.0)
    assert energy_w2(x[:, 0], x[:, 0] - 7.0) == pytest.approx(7.0)
    assert energy_w1(x[:, 0], x[:, 0] - 7.0) == pytest.approx(7.0)


def test_order_of_points_does_not_matter():
    x = _rng().standard_normal((50, 4))
    assert euclidean_w2(x, x[::-1]) == pytest.approx(0.0, abs=1e-12)
    assert torus_w2(x, _rng().permutation(x)) == pytest.approx(0.0, abs=1e-12)


def test_gaussians_on_a_line():
    quantiles = (np.arange(20_000) + 0.5) / 20_000
    from scipy.stats import norm

    x, y = norm.ppf(quantiles), 2.0 + 3.0 * norm.ppf(quantiles)
    assert energy_w2(x, y) == pytest.approx(np.sqrt(2.0**2 + 2.0**2), rel=1e-3)


def test_torus_wraps_each_angle_and_sums_over_angles():
    x = np.array([[PI - 0.1, 0.0, -PI + 0.2]])
    y = np.array([[-PI + 0.1, 0.3, PI - 0.2]])
    assert torus_w2(x, y) == pytest.approx(np.sqrt(0.2**2 + 0.3**2 + 0.4**2))


def test_torus_does_not_see_whole_turns():
    x, y = _rng().uniform(-PI, PI, (2, 30, 4))
    assert torus_w2(x + 2 * PI, y - 6 * PI) == pytest.approx(torus_w2(x, y), rel=1e-12)
    assert torus_w2(x, y) < PI * 2.0


def test_clouds_agree_with_an_assignment_solver():
    x, y = _rng().uniform(-PI, PI, (2, 40, 3))
    difference = np.abs(x[:, None] - y[None])
    for costs, value in (
        ((difference**2).sum(-1), euclidean_w2(x, y)),
        ((np.minimum(difference, 2 * PI - difference) ** 2).sum(-1), torus_w2(x, y)),
    ):
        assert value == pytest.approx(np.sqrt(costs[linear_sum_assignment(costs)].mean()), rel=1e-12)


@pytest.mark.parametrize(
    ("distance", "n_axes"), [(euclidean_w2, 2), (torus_w2, 2), (energy_w2, 1), (energy_w1, 1)]
)
def test_weights_equal_repeated_points(distance, n_axes):
    x, y = _rng().uniform(-3, 3, (2, 12, 2))
    if n_axes == 1:
        x, y = x[:, 0], y[:, 0]
    counts = _rng().integers(0, 4, 12) + np.array([1] + [0] * 11)
    repeated = distance(np.repeat(x, counts, axis=0), y)
    assert distance(x, y, x_weights=counts) == pytest.approx(repeated, rel=1e-9)
    assert distance(y, x, y_weights=counts * 0.37) == pytest.approx(repeated, rel=1e-9)


@pytest.mark.parametrize("distinct", [1, 20, 400, 4000])
def test_a_cloud_of_few_points_many_times_over_is_no_work(distinct):
    n = 5000
    few, y = _rng().uniform(-3, 3, (distinct, 4)), _rng().uniform(-3, 3, (n, 4))
    counts = np.bincount(_rng().integers(0, distinct, n), minlength=distinct)
    before = time.process_time()
    repeated = torus_w2(np.repeat(few, counts, axis=0), y)
    assert time.process_time() - before < 20, "minutes, where points are not merged"
    if distinct <= 20:
        assert repeated == pytest.approx(torus_w2(few, y, x_weights=counts), rel=1e-9)
    if distinct == 1:
        costs = np.abs((few - y + PI) % (2 * PI) - PI) ** 2
        assert repeated == pytest.approx(np.sqrt(costs.sum(1).mean()), rel=1e-9)


def test_clouds_that_repeat_on_both_sides():
    x, y = _rng().integers(0, 4, (2, 900, 2)).astype(float)
    costs = ((x[:, None] - y[None]) ** 2).sum(-1)
    exact = np.sqrt(costs[linear_sum_assignment(costs)].mean())
    assert euclidean_w2(x, y) == pytest.approx(exact, rel=1e-9)
    assert euclidean_w2(x, y[:450]) == pytest.approx(euclidean_w2(x, np.repeat(y[:450], 2, axis=0)), rel=1e-9)


@pytest.mark.parametrize("power", [1, 2])
def test_line_with_different_sizes_agrees_with_libraries(power):
    x, y = _rng().standard_normal(70), _rng().gamma(2.0, size=45)
    x_weights, y_weights = _rng().uniform(size=70), _rng().uniform(size=45)
    if power == 1:
        assert energy_w1(x, y, x_weights, y_weights) == pytest.approx(
            wasserstein_distance(x, y, x_weights, y_weights)
        )
    else:
        costs = (x[:, None] - y[None]) ** 2
        total = ot.emd2(x_weights / x_weights.sum(), y_weights / y_weights.sum(), costs)
        assert energy_w2(x, y, x_weights, y_weights) == pytest.approx(np.sqrt(total))


def test_line_and_plane_agree():
    x, y = _rng().standard_normal((20, 1)), _rng().standard_normal((33, 1))
    assert euclidean_w2(x, y) == pytest.approx(energy_w2(x[:, 0], y[:, 0]), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(clouds, clouds, clouds)
@pytest.mark.parametrize("distance", [euclidean_w2, torus_w2])
def test_plane_distances_are_metrics(distance, x, y, z):
    assert distance(x, y) == pytest.approx(distance(y, x), rel=1e-6, abs=1e-6)
    assert distance(x, x) == pytest.approx(0.0, abs=1e-6)
    assert distance(x, z) <= distance(x, y) + distance(y, z) + 1e-6


@settings(max_examples=60, deadline=None)
@given(lines, lines, lines)
def test_line_distances_are_metrics(x, y, z):
    for distance in (energy_w1, energy_w2):
        assert distance(x, y) == pytest.approx(distance(y, x), rel=1e-9, abs=1e-6)
        assert distance(x, x) == pytest.approx(0.0, abs=1e-6)
        assert distance(x, z) <= distance(x, y) + distance(y, z) + 1e-5
    assert energy_w1(x, y) <= energy_w2(x, y) + 1e-6
    assert energy_w1(x, y) == pytest.approx(wasserstein_distance(x, y), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_infinitely_far(bad):
    x = np.array([0.0, bad])
    y = np.array([0.0, 1.0])
    assert energy_w2(x, y) == energy_w1(y, x) == np.inf
    assert torus_w2(x[:, None], y[:, None]) == euclidean_w2(y[:, None], x[:, None]) == np.inf
    assert energy_w2(x, y, x_weights=np.array([1.0, 0.0])) == pytest.approx(np.sqrt(0.5))


def test_bad_input_is_refused():
    x = np.zeros((3, 2))
    with pytest.raises(ValueError, match="coordinates"):
        euclidean_w2(x, np.zeros((3, 4)))
    with pytest.raises(ValueError, match="at least one"):
        torus_w2(x[:0], x)
    with pytest.raises(ValueError, match="weights"):
        torus_w2(x, x, x_weights=np.ones(4))
    with pytest.raises(ValueError, match="negative"):
        energy_w2(x[:, 0], x[:, 0], x_weights=np.array([1.0, -1.0, 1.0]))


def test_a_solver_that_stops_early_is_an_error(monkeypatch):
    monkeypatch.setattr("analysis.metrics.simplex._MAX_PIVOTS", 3)
    x, y = _rng().standard_normal((2, 50, 2))
    weights = np.linspace(1.0, 2.0, 50)
    with pytest.raises(TransportError, match="50 to 50"), pytest.warns(UserWarning, match="numItermax"):
        euclidean_w2(x, y, weights)


@pytest.mark.skipif(not transport.available(), reason=str(transport.why_unavailable()))
def test_no_cost_matrix_is_held():
    n = 1500
    x, y = _rng().uniform(-PI, PI, (2, n, 14))
    tracemalloc.start()
    torus_w2(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * n * n / 4
