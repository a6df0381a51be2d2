"""Which frames stand for an ensemble: evenly in evaluations, by weight, and never one that is not finite."""

from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.metrics.frames import (
    choose,
    compared_frames,
    evenly,
    finite_frames,
    prefix,
    thin,
    usable_log_weights,
)
from prosebench.ensemble import Ensemble
from prosebench.frames.importance import ess
from prosebench.reference import Reference


def ensemble(n: int, weights: np.ndarray | None = None, evaluations: np.ndarray | None = None) -> Ensemble:
    return Ensemble(np.random.default_rng(0).normal(size=(n, 2, 3)), np.zeros(n), weights, evaluations)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(n=st.integers(1, 300), chosen=st.integers(1, 300))
def test_even_places_are_apart_by_the_same_number_or_one_more_and_the_last_is_there(n: int, chosen: int):
    found = evenly(n, chosen)
    assert len(found) == min(n, chosen)
    assert found[-1] == n - 1
    steps = np.diff(found, prepend=-1)
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1


def test_of_nothing_nothing_is_chosen():
    assert evenly(0, 5).size == 0
    assert evenly(5, 0).size == 0


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    steps=st.lists(st.integers(0, 9), min_size=2, max_size=60).filter(any),
    share=st.integers(1, 60),
    seed=st.integers(0, 9),
)
def test_thinned_frames_stand_for_equal_stretches(steps: list[int], share: int, seed: int):
    """Whatever the order in which frames are stored, each is within one step of the time that it stands for."""
    claims = np.cumsum(steps)
    order = np.random.default_rng(seed).permutation(len(claims))
    stored = ensemble(len(claims), evaluations=claims[order])
    found = thin(stored, share)
    assert len(found) == min(share, len(claims))
    if share >= len(claims):
        return
    times = np.sort(claims[order][found])
    targets = (np.arange(share) + 1) * claims[-1] / share
    assert (np.abs(times - targets) <= max(steps)).all()


def test_frames_without_finite_numbers_weigh_nothing():
    weights = np.array([0.0, 1.0, np.nan, 2.0, np.inf])
    some = ensemble(5, weights)
    positions, energies = some.positions_nm.copy(), some.energies_kt.copy()
    positions[1, 0, 0], energies[3] = np.nan, np.inf
    broken = Ensemble(positions, energies, weights)
    assert finite_frames(broken).tolist() == [True, False, True, False, True]
    found = usable_log_weights(broken)
    assert found is not None
    assert found.tolist() == [0.0, -np.inf, -np.inf, -np.inf, -np.inf]
    assert usable_log_weights(ensemble(3)) is None
    assert set(choose(broken, "smoothed", 50, 0).places) == {0}
    # The filter would take the only one away.
    with pytest.raises(ValueError, match="none of 4 log-weights is finite"):
        choose(broken, "filtered", 50, 0)
    with pytest.raises(ValueError, match="none of 5 log-weights is finite"):
        choose(Ensemble(positions * np.nan, energies, weights), "smoothed", 50, 0)


def test_the_filter_takes_the_highest_away_and_the_smoothing_none():
    rng = np.random.default_rng(1)
    weights = rng.normal(size=2000)
    heaviest = int(weights.argmax())
    some = ensemble(2000, weights)
    smoothed, filtered = (choose(some, weighting, 2000, 0) for weighting in ("smoothed", "filtered"))
    assert heaviest not in filtered.places
    assert heaviest in smoothed.places
    assert smoothed.log_weights is not None
    assert filtered.log_weights is not None
    assert (len(smoothed.log_weights), len(filtered.log_weights)) == (2000, 1996)
    assert 0.0 < ess(filtered.log_weights) <= 1.0


def test_unweighted_frames_are_those_that_were_proposed():
    weights = np.linspace(0.0, 50.0, 100)
    some = ensemble(100, weights)
    found = choose(some, "unweighted", 10, 0)
    assert found.log_weights is None
    assert found.places.tolist() == list(range(9, 100, 10))
    assert choose(ensemble(100), "", 10, 0).places.tolist() == found.places.tolist()


def test_draws_depend_on_the_seed_alone_and_are_as_many_as_asked_for_or_there():
    some = ensemble(50, np.random.default_rng(0).normal(size=50))
    one, again, other = (choose(some, "smoothed", 30, seed).places for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert len(one) == 30
    assert len(choose(some, "smoothed", 500, 1).places) == 50


def test_both_sides_of_a_score_have_as_many_frames():
    class Half:
        scored = ensemble(40)

    assert compared_frames(100, cast(Reference, Half())) == 40
    assert compared_frames(30, cast(Reference, Half())) == 30


def test_a_prefix_keeps_what_was_there():
    claims = np.array([10, 20, 20, 30])
    found = prefix(ensemble(4, evaluations=claims), 20)
    assert found.evaluations is not None
    assert found.evaluations.tolist() == [10, 20, 20]
    assert len(prefix(ensemble(4, evaluations=claims), 9)) == 0
    with pytest.raises(ValueError, match="does not know when its frames were sampled"):
        prefix(ensemble(4), 20)
