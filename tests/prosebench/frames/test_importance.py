"""Importance weights against closed forms and stored numbers."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import genpareto, norm

from prosebench.frames.importance import (
    com_energy_adjustment,
    ess,
    filter_top,
    k_hat_text,
    normalise,
    pareto_k,
    pareto_smooth,
    pareto_tail_size,
    resample,
)

VECTORS = Path(__file__).parents[2] / "conformance"


@pytest.mark.parametrize("path", sorted(VECTORS.glob("metrics_*.npz")), ids=lambda path: path.stem)
def test_stored_numbers_are_reproduced(path):
    stored = np.load(path)
    assert ess(stored["log_weights"]) == pytest.approx(float(stored["ess_normalized"]), rel=1e-5)
    np.testing.assert_array_equal(
        filter_top(stored["log_weights"], 0.02), stored["kept_after_removing_top_2_percent"]
    )
    np.testing.assert_allclose(
        com_energy_adjustment(stored["com_x"]), stored["com_energy_adjustment"], atol=2e-6
    )


def test_ess_of_equal_and_of_single_weights():
    assert ess(np.full(50, 123.0)) == pytest.approx(1.0)
    assert ess(np.array([0.0] + [-np.inf] * 9)) == pytest.approx(0.1)
    assert ess(np.full(3, -np.inf)) == 0.0
    assert ess(np.log(np.array([1.0, 2.0, 3.0]))) == pytest.approx(36.0 / 14.0 / 3.0)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=30), st.floats(-1000, 1000))
def test_ess_is_bounded_and_does_not_see_an_offset(values, offset):
    log_weights = np.array(values)
    value = ess(log_weights)
    assert 1.0 / len(values) - 1e-9 <= value <= 1.0 + 1e-9
    assert ess(log_weights + offset) == pytest.approx(value, rel=1e-6)


def test_the_filter_removes_the_published_share():
    log_weights = np.random.default_rng(0).standard_normal(10_000)
    kept = filter_top(log_weights)
    assert len(kept) == 9980
    removed = np.setdiff1d(np.arange(10_000), kept)
    assert log_weights[removed].min() > log_weights[kept].max()
    assert (np.diff(kept) > 0).all()


@given(st.integers(1, 400), st.sampled_from([0.0, 0.002, 0.02, 0.5]))
def test_the_filter_is_a_quantile(n, fraction):
    log_weights = np.random.default_rng(n).standard_normal(n)
    expected = np.flatnonzero(log_weights <= np.quantile(log_weights, 1.0 - fraction))
    np.testing.assert_array_equal(filter_top(log_weights, fraction), expected)


def test_frames_without_an_energy_weigh_nothing_but_count():
    log_weights = np.array([0.0, np.nan, np.inf, -np.inf, 0.0])
    np.testing.assert_allclose(normalise(log_weights), [0.5, 0, 0, 0, 0.5])
    assert ess(log_weights) == pytest.approx(2 / 5)
    assert set(resample(log_weights, 100, np.random.default_rng(0))) == {0, 4}
    assert len(filter_top(np.array([-np.inf] * 50 + [0.0] * 50), 0.02)) == 100


def test_no_weight_at_all_is_an_error():
    with pytest.raises(ValueError, match="none of 3"):
        resample(np.full(3, np.nan), 10, np.random.default_rng(0))


def test_resampling_is_unbiased():
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    n = 200_000
    counts = np.bincount(resample(np.log(weights) + 700.0, n, np.random.default_rng(1)), minlength=4)
    sigma = np.sqrt(n * weights * (1 - weights))
    assert (np.abs(counts - n * weights) < 4 * sigma).all()


def test_centre_of_mass_term_is_the_density_of_a_distance():
    """exp(adjustment) is the density of the norm of a Gaussian in three dimensions."""
    n_atoms = 25
    s = 1.0 / math.sqrt(n_atoms)
    distances = np.linspace(1e-3, 8 * s, 2_000)
    frames = np.zeros((len(distances), n_atoms, 3))
    frames[:, :, 0] = distances[:, None]
    density = np.exp(com_energy_adjustment(frames))
    maxwell = math.sqrt(2 / math.pi) * distances**2 / s**3 * np.exp(-(distances**2) / (2 * s**2))
    np.testing.assert_allclose(density, maxwell, rtol=1e-10)


GRID = (np.arange(1000) + 0.5) / 1000


@pytest.mark.parametrize(
    ("log_weights", "k", "largest", "efficiency"),
    [
        (-0.7 * np.log(GRID), 0.6699004120429832, 0.06004057186689693, 0.1392296077485886),
        (-0.3 * np.log(GRID), 0.32341961351109616, 0.006847208957804224, 0.8323917867353622),
        (np.log(0.5 + 0.5 * GRID), -0.8178163337057582, 0.0013328364559882329, 0.9642197496707591),
        (2 * norm.ppf(GRID), 0.6648671180631174, 0.10343381961083704, 0.04741414494641111),
    ],
    ids=["pareto 0.7", "pareto 0.3", "bounded", "log-normal"],
)
def test_pareto_smoothing_gives_the_numbers_of_arviz(log_weights, k, largest, efficiency):
    """Expected: psislw of arviz-stats 0.8.0."""
    smoothed, shape = pareto_smooth(log_weights + 500.0)
    assert shape == pytest.approx(k, rel=1e-9)
    assert normalise(smoothed).max() == pytest.approx(largest, rel=1e-9)
    assert ess(smoothed) == pytest.approx(efficiency, rel=1e-9)
    assert pareto_k(log_weights) == pytest.approx(k, rel=1e-9)


@pytest.mark.parametrize(("n", "size"), [(30, 6), (100, 20), (225, 45), (400, 60), (10_000, 300)])
def test_the_tail_is_a_fifth_of_few_weights_and_three_roots_of_many(n: int, size: int) -> None:
    assert pareto_tail_size(n) == size
    # k-hat sees nothing of the weights below the tail but the largest of them.
    values = np.linspace(0.0, 1.0, n)
    changed = values - 5.0 * (np.arange(n) < n - size - 1)
    assert pareto_k(changed) == pareto_k(values)
    changed[n - size - 1] -= 0.01
    assert pareto_k(changed) != pareto_k(values)


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_k_hat_finds_the_shape_of_a_pareto_tail(k):
    weights = genpareto.rvs(k, size=100_000, random_state=1)
    assert pareto_k(np.log(weights)) == pytest.approx(k, abs=0.12)


def test_the_largest_weights_are_enough():
    log_weights = np.random.default_rng(0).standard_normal(5000)
    few = np.sort(log_weights)[-pareto_tail_size(5000) - 1 :]
    assert pareto_k(few, 5000) == pytest.approx(pareto_k(log_weights), rel=1e-12)


def test_smoothing_keeps_order_offset_and_the_rest():
    log_weights = 2.0 * np.random.default_rng(0).standard_normal(2000) - 300.0
    smoothed, _ = pareto_smooth(log_weights)
    order, size = np.argsort(log_weights), pareto_tail_size(2000)
    rest, tail = order[:-size], order[-size:]
    np.testing.assert_array_equal(smoothed[rest], log_weights[rest])
    assert (smoothed[tail] != log_weights[tail]).sum() > size - 5
    assert smoothed.max() <= log_weights.max()
    assert (np.diff(smoothed[order]) >= 0).all()


@pytest.mark.parametrize("log_weights", [np.zeros(4), np.full(50, -np.inf), np.array([])])
def test_no_tail_no_k_hat(log_weights):
    smoothed, shape = pareto_smooth(log_weights)
    assert math.isnan(shape)
    assert k_hat_text(shape).startswith("–")
    np.testing.assert_array_equal(smoothed, log_weights)


@pytest.mark.parametrize("log_weights", [np.zeros(500), np.full(500, -1e4), np.repeat([-3.0, 0.0], 250)])
def test_equal_weights_have_no_tail_at_all(log_weights):
    smoothed, shape = pareto_smooth(log_weights)
    assert shape == pareto_k(log_weights) == -math.inf
    assert k_hat_text(shape) == "−∞ (equal weights: no tail)"
    np.testing.assert_array_equal(smoothed, log_weights)


def test_k_hat_falls_without_end_as_bounded_weights_gather_at_their_largest():
    # The shape of 1 - (1 - u)^p is -p for uniform u; the fit draws it to 1/2 with the weight of 10 observations.
    found = [pareto_k(np.log(1.0 - (1.0 - GRID) ** power / 2.0)) for power in (1, 2, 4)]
    assert found[0] == pytest.approx(-0.86, abs=0.05)
    assert found[0] > found[1] > found[2] > pareto_k(np.zeros(1000)) == -math.inf


def test_frames_without_weight_stay_without():
    log_weights = np.random.default_rng(0).standard_normal(300)
    log_weights[:20] = np.nan
    smoothed, shape = pareto_smooth(log_weights)
    assert np.isneginf(smoothed[:20]).all()
    assert math.isfinite(shape)


def test_weights_of_which_only_one_counts_have_no_finite_k_hat():
    assert pareto_k(-1e3 * np.arange(500.0)) == math.inf
