"""What a ledger cannot be, told by its own numbers."""

import numpy as np
import pytest

from analysis.submission.ledger import check_claims, check_ledger
from prosebench.energy.meter import Counts, Ledger
from prosebench.ensemble import Ensemble
from prosebench.names import EXTERNAL
from prosebench.record import Record
from tests.prosebench.test_record import RECORD


def record(**changes: Counts) -> Record:
    return RECORD.model_copy(update={"ledger": Ledger(**changes)})


def frames(*claims: int) -> Ensemble:
    return Ensemble(
        np.zeros((len(claims), 2, 3)), np.zeros(len(claims)), evaluations=np.array(claims, dtype=int)
    )


@pytest.mark.parametrize(
    ("evaluations", "energies", "gradients", "right"),
    [
        (0, 0, 0, True),
        (10, 10, 0, True),
        # A call that gives both is one evaluation; two calls are two.
        (10, 10, 10, True),
        (20, 10, 10, True),
        (21, 10, 10, False),
        (9, 10, 3, False),
        (9, 3, 10, False),
        (0, 1, 0, False),
        (5, 0, 0, False),
    ],
)
@pytest.mark.parametrize("phase", ["sampling", "preparation"])
def test_a_call_gives_energies_or_gradients_or_both(
    phase: str, evaluations: int, energies: int, gradients: int, right: bool
) -> None:
    counts = Counts(evaluations=evaluations, energies=energies, gradients=gradients)
    said = list(check_ledger(record(**{phase: counts})))
    assert (said == []) == right
    assert all(one.startswith(f"{phase} in its ledger has {evaluations:,} evaluations, but ") for one in said)


def test_no_more_failures_than_calls_and_no_more_calls_than_the_budget() -> None:
    failing = Counts(evaluations=10, energies=10, failures=11)
    assert list(check_ledger(record(preparation=failing))) == [
        "preparation in its ledger has more failures than evaluations"
    ]
    assert list(check_ledger(record(sampling=failing.model_copy(update={"failures": 10})))) == []
    spent = Counts(evaluations=101, energies=101)
    assert list(check_ledger(record(sampling=spent))) == ["its ledger has 101 evaluations at a budget of 100"]
    # Preparation stands apart from the budget.
    assert list(check_ledger(record(preparation=spent))) == []


def test_frames_must_say_when_they_were_sampled() -> None:
    silent = Ensemble(np.zeros((1, 2, 3)), np.zeros(1))
    assert list(check_claims(silent, RECORD)) == ["its frames do not say when they were sampled"]
    assert list(check_claims(frames(), RECORD)) == []


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ((50, 101), "its frames were sampled after up to 101 evaluations, its ledger has 100"),
        ((-1, 50), "its frames were sampled after up to 50 evaluations, its ledger has 100"),
        ((50, 40), "its frames are not in the order in which they were sampled"),
        ((3, 3, 3, 3), "it has 4 frames after 3 evaluations; a frame takes one at least"),
    ],
)
def test_claims_that_cannot_be_are_said(claims: tuple[int, ...], said: str) -> None:
    assert said in list(check_claims(frames(*claims), RECORD))


def test_other_programs_may_ask_for_no_energies_but_not_go_backwards() -> None:
    cell = RECORD.cell.model_copy(update={"method": EXTERNAL})
    theirs = RECORD.model_copy(update={"cell": cell})
    assert list(check_claims(frames(0, 0, 0), theirs)) == []
    assert list(check_claims(frames(5, 1), theirs)) == [
        "its frames are not in the order in which they were sampled"
    ]
