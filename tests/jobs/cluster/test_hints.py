"""What a scheduler knows beside the disk: hints that never make a finished cell unfinished."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.cells.status import CellState
from jobs.cluster.arrays import Submission
from jobs.cluster.hints import _with_end, _with_queue, ask_scheduler, describe_end
from jobs.cluster.schedulers.scheduler import QueuedJob
from tests.prosebench.test_record import CELL


@pytest.fixture
def submission(tmp_path: Path) -> Submission:
    """Job 7_0 has left output."""
    made = Submission(name="prosebench-1f", directory=tmp_path, jobs=[["one"]], minutes=60, signal_seconds=60)
    made.write()
    (made.logs / "7_0.log").touch()
    return made


def state(kind: str, **changes: Any) -> CellState:
    fields: dict[str, Any] = {"folder": Path("one"), "cell": CELL, "state": kind, "spent": 5}
    return CellState(**fields | changes)


RUNS = QueuedJob("prosebench-1f", 0, "7_0", "RUNNING", "None", "me")
WAITS = QueuedJob("prosebench-1f", 0, "8_0", "PENDING", "Priority", "me", pending=True)


def told(
    kind: str, there: list[QueuedJob], queued: QueuedJob | None, directory: Path, **changes: Any
) -> CellState:
    return _with_queue(state(kind, **changes), {job.job: job for job in there}, queued, directory)


def test_a_running_cell_whose_job_has_left_the_queue_is_lost(submission: Submission) -> None:
    where = submission.directory
    assert told("running", [RUNS], RUNS, where, job="7_0").state == "running"
    lost = told("running", [], None, where, job="7_0", sitting=(4, 2.0))
    assert (lost.state, lost.reason, lost.rate) == ("lost", "job 7_0 is gone", None)
    # It waits again: what gave the last sign of life is over.
    again = replace(RUNS, state="PENDING", pending=True)
    assert told("running", [again], again, where, job="7_0").state == "lost"


def test_of_jobs_of_others_and_of_none_nothing_is_said(submission: Submission) -> None:
    where = submission.directory
    for job in ("", "99_0"):
        assert told("running", [], None, where, job=job) == state("running", job=job)


@pytest.mark.parametrize("kind", ["done", "skipped", "parked"])
def test_what_has_ended_is_not_talked_about(kind: str, submission: Submission) -> None:
    assert told(kind, [WAITS], WAITS, submission.directory) == state(kind)


def test_cells_that_wait_say_in_which_job_and_why(submission: Submission) -> None:
    where = submission.directory
    assert told("waiting", [WAITS], WAITS, where).reason == "in job 8_0: pending, Priority"
    assert told("waiting", [RUNS], RUNS, where).reason == "in job 7_0: running"
    failed = told("failed", [WAITS], WAITS, where, reason="it blew up (attempt 1)")
    assert failed.reason == "it blew up (attempt 1); in job 8_0: pending, Priority"
    silent = replace(WAITS, reason="None")
    assert told("waiting", [silent], silent, where).reason == "in job 8_0: pending"


def test_how_a_job_ended_is_said_of_the_cell_it_was_on(submission: Submission) -> None:
    name = submission.name
    ended = _with_end(state("lost"), (submission, 0), {(name, 0): ("7_0", "OUT_OF_MEMORY")})
    assert (ended.reason, ended.job) == ("job 7_0 ended as OUT_OF_MEMORY", "7_0")
    # Accounting is late, or says what it said before the end.
    for late in ({}, {(name, 0): ("7_0", "RUNNING")}):
        assert _with_end(state("lost"), (submission, 0), late).reason == "job 7_0 has left the queue"
    (submission.logs / "7_0.log").unlink()
    unknown = _with_end(state("waiting"), (submission, 0), {})
    assert unknown.reason == "job 0 of prosebench-1f has left the queue"
    assert _with_end(state("waiting"), None, {}) == state("waiting")


def test_without_a_scheduler_nothing_changes(
    submission: Submission, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    states, said = ask_scheduler([state("running", job="7_0")], submission.directory)
    assert states == [state("running", job="7_0")]
    assert "there is no command 'squeue' on this machine" in said
    assert ask_scheduler([state("waiting")], tmp_path / "no submissions") == ([state("waiting")], "")
    assert describe_end(submission.directory) == ""
