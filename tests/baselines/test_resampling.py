"""Resampling: how often an index may be drawn at all, and what never is."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.resampling import Scheme, _at, resample
from prosebench.frames.importance import normalise

SCHEMES = get_args(Scheme)
log_weights = st.lists(st.one_of(st.floats(-30.0, 30.0), st.just(-np.inf)), min_size=1, max_size=12).filter(
    lambda values: max(values) > -np.inf
)


def copies(values: list[float], n: int, scheme: Scheme, seed: int) -> np.ndarray:
    drawn = resample(np.array(values), n, scheme, np.random.default_rng(seed))
    assert drawn.shape == (n,)
    assert (np.diff(drawn) >= 0).all()
    return np.bincount(drawn, minlength=len(values))


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(values=log_weights, n=st.integers(0, 40), seed=st.integers(0, 99))
def test_the_dead_are_never_drawn_and_numbers_are_kept(
    scheme: Scheme, values: list[float], n: int, seed: int
) -> None:
    found = copies(values, n, scheme, seed)
    assert found.sum() == n
    assert not found[np.isneginf(values)].any()


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(values=log_weights, n=st.integers(1, 40), seed=st.integers(0, 99))
def test_systematic_draws_are_within_one_of_their_number(values: list[float], n: int, seed: int) -> None:
    expected = n * normalise(np.array(values))
    found = copies(values, n, "systematic", seed)
    assert (found >= np.floor(expected - 1e-9)).all()
    assert (found <= np.ceil(expected + 1e-9)).all()


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(values=log_weights, n=st.integers(1, 40), seed=st.integers(0, 99))
def test_stratified_draws_are_within_two_and_residual_ones_have_what_is_certain(
    values: list[float], n: int, seed: int
) -> None:
    expected = n * normalise(np.array(values))
    assert (np.abs(copies(values, n, "stratified", seed) - expected) < 2.0).all()
    assert (copies(values, n, "residual", seed) >= np.floor(expected - 1e-9)).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_weight_that_is_all_is_drawn_always(scheme: Scheme) -> None:
    assert copies([-800.0, 0.0, -800.0], 5, scheme, 0).tolist() == [0, 5, 0]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_offset_of_all_log_weights_changes_nothing(scheme: Scheme) -> None:
    values = np.random.default_rng(1).normal(size=30)
    for offset in (-5000.0, 5000.0):
        np.testing.assert_array_equal(
            copies(list(values), 30, scheme, 7), copies(list(values + offset), 30, scheme, 7)
        )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_that_are_nothing_are_refused(scheme: Scheme) -> None:
    with pytest.raises(ValueError, match="none of 3 log-weights is finite"):
        resample(np.array([-np.inf, np.nan, -np.inf]), 3, scheme, np.random.default_rng(0))


def test_a_point_that_rounding_puts_at_the_end_draws_the_last_that_lives() -> None:
    """(n - 1 + u) / n is 1 for a u close enough to 1."""
    last = (9.0 + np.nextafter(1.0, 0.0)) / 10
    assert last == 1.0
    assert _at(np.array([0.5, 0.5, 0.0]), np.array([0.0, last])).tolist() == [0, 1]


def test_schemes_scatter_less_than_multinomial_draws() -> None:
    values = list(np.log(np.random.default_rng(0).dirichlet(np.ones(20))))
    spread = {
        scheme: np.var([copies(values, 20, scheme, seed) for seed in range(300)], axis=0).sum()
        for scheme in SCHEMES
    }
    others = [spread[scheme] for scheme in SCHEMES if scheme != "multinomial"]
    assert max(others) < 0.8 * spread["multinomial"]
