"""A cell that was run again: bytes where they must be equal, costs and spacing of frames elsewhere."""

import numpy as np
import pytest

from analysis.submission.rerun import LEAST_FRAMES, MOVEMENT_FACTOR, compare_rerun, gives_equal_bytes
from prosebench.energy.meter import Counts, Ledger
from prosebench.ensemble import Ensemble
from prosebench.record import Record
from tests.prosebench.test_record import RECORD


def record(sampling: int = 100_000, preparation: int = 1000, **changes: object) -> Record:
    ledger = Ledger(
        sampling=Counts(evaluations=sampling, energies=sampling),
        preparation=Counts(evaluations=preparation, energies=preparation),
    )
    return RECORD.model_copy(update={"ledger": ledger} | changes)


ELSEWHERE = {"versions": {"prosebench": "9.9"}}


def test_bytes_are_asked_for_by_the_same_versions_on_the_same_target_alone() -> None:
    assert gives_equal_bytes(record(), record())
    assert not gives_equal_bytes(record(), record(**ELSEWHERE))
    assert not gives_equal_bytes(record(), record(target={"engine": "batched"}))
    assert compare_rerun(record(), record()) == []
    for other in (record(ensemble_sha256="f" * 64), record(preparation=1001)):
        assert compare_rerun(record(), other) == ["running it again gives another ensemble or ledger"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"sampling": 100_100}, []),
        (
            {"sampling": 100_200},
            ["its ledger has 100,000 evaluations of sampling, running it again takes 100,200"],
        ),
        ({"preparation": 1100}, []),
        (
            {"preparation": 1200},
            ["its ledger has 1,000 evaluations of preparation, running it again takes 1,200"],
        ),
        ({"preparation": 0}, ["its ledger has 1,000 evaluations of preparation, running it again takes 0"]),
        ({"status": "skipped"}, ["it says done, running it again says skipped"]),
        # Another ensemble is no reason where another machine computes.
        ({"ensemble_sha256": "f" * 64}, []),
    ],
)
def test_elsewhere_costs_must_be_alike(changes: dict[str, object], said: list[str]) -> None:
    assert compare_rerun(record(), record(**ELSEWHERE, **changes)) == said  # type: ignore[arg-type]


def walk(n: int, step_nm: float, seed: int = 0) -> Ensemble:
    steps = np.random.default_rng(seed).normal(scale=step_nm, size=(n, 8, 3))
    return Ensemble(np.cumsum(steps, axis=0), np.zeros(n))


@pytest.mark.parametrize(
    ("factor", "right"), [(1.0, True), (0.9 * MOVEMENT_FACTOR, True), (1.4, False), (1 / 1.4, False)]
)
def test_frames_that_are_farther_apart_were_thinned_or_made_otherwise(factor: float, right: bool) -> None:
    ours = walk(400, 0.001)
    said = compare_rerun(record(), record(**ELSEWHERE), (walk(400, 0.001 * factor, seed=1), ours))
    assert (said == []) == right
    if not right:
        assert said[0].startswith("from one of its frames to the next, distances change by ")


def test_few_frames_say_nothing_and_another_number_says_all() -> None:
    few = LEAST_FRAMES - 1
    assert compare_rerun(record(), record(**ELSEWHERE), (walk(few, 0.1), walk(few, 0.001))) == []
    assert compare_rerun(record(), record(**ELSEWHERE), (walk(200, 0.001), walk(100, 0.001))) == [
        "it has 200 frames, running it again gives 100"
    ]


def test_frames_that_never_move_agree() -> None:
    still = Ensemble(np.repeat(walk(1, 0.1).positions_nm, 150, axis=0), np.zeros(150))
    assert compare_rerun(record(), record(**ELSEWHERE), (still, still)) == []
