"""Divergence over k-means states: limits that are known."""

import numpy as np
import pytest

from analysis.metrics.jsd import kmeans_jsd


def _points(n: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 3)).astype(np.float32)


def test_equal_sets_have_none():
    assert kmeans_jsd(_points(), _points()) == pytest.approx(0.0, abs=1e-12)


def test_disjoint_states_have_one_bit():
    reference = np.concatenate([np.tile([[float(i), 0.0]], (10, 1)) for i in range(20)])
    reference += 1e-3 * np.random.default_rng(0).standard_normal(reference.shape)
    half = kmeans_jsd(reference, reference[:100])
    # Shares 1/20 on 20 states against 1/10 on 10: half of the entropy of mixing.
    mixed = 0.5 * (0.5 * np.log2(0.05 / 0.075) + 0.5 * np.log2(0.05 / 0.025) + np.log2(0.1 / 0.075))
    assert half == pytest.approx(mixed, rel=1e-6)


def test_points_that_are_not_finite_are_a_state_of_their_own():
    reference = _points()
    sample = reference.copy()
    sample[:100] = np.nan
    expected = 0.5 * (np.log2(1 / 0.75) + 0.5 * np.log2(0.5 / 0.75) + 0.5 * np.log2(0.5 / 0.25))
    assert kmeans_jsd(reference, sample) > expected - 0.05
    assert kmeans_jsd(reference, np.full_like(reference, np.inf)) == pytest.approx(1.0, rel=1e-6)


def test_small_references_have_as_many_states_as_points():
    assert kmeans_jsd(_points(5), _points(5)) == pytest.approx(0.0, abs=1e-12)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="nothing"):
        kmeans_jsd(_points(), _points(0))
    with pytest.raises(ValueError, match="reference"):
        kmeans_jsd(np.full((30, 2), np.nan), _points(5)[:, :2])
