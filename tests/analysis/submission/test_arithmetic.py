"""Small sums by hand: prefixes, intervals, claims and copies."""

import numpy as np
import pytest

from analysis.metrics.frames import prefix
from analysis.metrics.reference_error import mean_error
from analysis.statistics.estimates import student_interval
from analysis.submission.frames import repeats
from analysis.submission.ledger import check_claims
from prosebench.ensemble import Ensemble
from tests.prosebench.test_record import RECORD


def frames(*claims: int) -> Ensemble:
    places = np.random.default_rng(0).normal(size=(len(claims), 5, 3))
    return Ensemble(places, np.zeros(len(claims)), evaluations=np.array(claims))


def test_a_prefix_has_all_that_was_paid_for() -> None:
    assert prefix(frames(1, 5, 10, 10, 11), 10).evaluations.tolist() == [1, 5, 10, 10]


def test_an_interval_of_two_draws_by_hand() -> None:
    """Student's quantile for one degree of freedom is 12.706, and two draws 2 apart have the error 1."""
    low, high = student_interval(np.array([-1.0, 1.0]))
    assert (low, high) == pytest.approx((-12.7062, 12.7062), abs=1e-4)


def test_the_larger_of_two_errors_counts() -> None:
    """A hundred coins are known to 0.1; to 0.5 where they are worth four; and to 1 in two blocks of a kind."""
    coins = np.tile([-1.0, 1.0], 50)
    assert mean_error(coins, np.arange(100), 100) == pytest.approx(0.1, rel=0.01)
    assert mean_error(coins, np.arange(100), 4) == pytest.approx(0.5)
    assert mean_error(coins, np.arange(100) % 2, 100) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("claims", "right"),
    [
        ((1, 2, 3), True),
        ((2, 2), True),
        ((3, 3, 3), True),
        ((1, 1, 3), False),
        ((0, 5, 6), False),
        ((4, 4, 4, 4, 4), False),
        ((5, 6, 7, 7, 7, 7, 7), True),
    ],
)
def test_claims(claims: tuple[int, ...], right: bool) -> None:
    assert (list(check_claims(frames(*claims), RECORD)) == []) == right


def test_frames_cost_an_evaluation_each() -> None:
    said = list(check_claims(frames(2, 2, 2), RECORD))
    assert said == ["it has 3 frames after 2 evaluations; a frame takes one at least"]


def test_copies_are_counted() -> None:
    some = frames(1, 2, 3)
    assert repeats(some) == (3, 3)
    assert repeats(some.select([0, 1, 1, 2, 2, 2])) == (6, 3)
