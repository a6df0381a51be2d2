"""What all schedulers share: options put together, jobs by cells and commands, patience, and commands that refuse."""

import os
import re
from itertools import pairwise
from pathlib import Path

import pytest

from jobs.cluster.arrays import Submission
from jobs.cluster.profile import Cluster, Need
from jobs.cluster.schedulers import scheduler
from jobs.cluster.schedulers.scheduler import (
    NoAnswer,
    NoScheduler,
    Pace,
    QueuedJob,
    ask,
    at_once,
    cells_of,
    commands_of,
    describe_queue,
    merged,
    schedulers,
)


def submission(name: str, **content: list[list[str]]) -> Submission:
    return Submission(name=name, directory=Path("/run"), minutes=60, signal_seconds=60, **content)


def job(name: str, index: int, reason: str = "", pending: bool = False) -> QueuedJob:
    return QueuedJob(name, index, f"7_{index}", "state", reason, "me", pending)


def test_a_profile_changes_options_and_leaves_them_out() -> None:
    ours = {"mem": "4G", "n": 2, "x": True}
    assert merged(ours, {"mem": False, "n": 3, "y": "z"}) == {"n": 3, "x": True, "y": "z"}
    # Zero is a value.
    assert merged(ours, {"n": 0}) == {"mem": "4G", "n": 0, "x": True}
    assert ours == {"mem": "4G", "n": 2, "x": True}


def test_some_jobs_at_once() -> None:
    assert at_once(Cluster()) == ""
    assert at_once(Cluster(jobs_at_once=5)) == "%5"


def test_cells_and_commands_are_those_of_jobs_that_are_still_queued() -> None:
    submissions = [
        submission("a", jobs=[["one", "two"], ["three"]]),
        submission("b", commands=[["list"], ["run"]]),
    ]
    queued = [job("a", 1), job("b", 0), job("foreign", 0), job("a", 9)]
    assert cells_of(submissions, queued) == {"three": queued[0]}
    assert commands_of(submissions, queued) == [["list"]]
    assert cells_of(submissions, []) == {}


def test_the_queue_in_a_line() -> None:
    jobs = [
        job("a", 0),
        job("a", 1, "Priority", True),
        job("a", 2, "None", True),
        job("a", 3, "Priority", True),
    ]
    assert describe_queue(jobs) == "jobs: 1 running, 3 pending (Priority)"
    assert describe_queue([job("a", 0, "old reason")]) == "jobs: 1 running, 0 pending"


def test_a_scheduler_is_asked_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(scheduler.time, "monotonic", lambda: now[0])
    pace, asked = Pace(), []
    for tick in range(4 * 300):
        now[0] = 100.0 + tick / 4
        if pace.is_due():
            asked.append(now[0])
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert asked[0] == 100.0
    assert pauses == sorted(pauses)
    assert pauses[0] < 2.0
    assert 19.0 < pauses[-1] <= 20.5
    assert len(asked) < 30


@pytest.mark.parametrize("name", list(schedulers()))
def test_what_makes_resuming_work_cannot_be_changed(name: str) -> None:
    one = schedulers()[name]
    for option in sorted(one.set_by_us):
        with pytest.raises(ValueError, match=f"{option} is set by prosebench itself"):
            one.check(Need(extra={option: "x"}))
    with pytest.raises(ValueError, match=f"{one.time_limit} has a key of its own: minutes"):
        one.check(Need(extra={one.time_limit: "1:00:00"}))
    one.check(Need(extra={"my-own": "x"}))


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command of a scheduler, to be written."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "qask"


def written(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


OURS = re.compile("JOB_")


def test_variables_of_the_job_around_us_are_taken_away(
    command: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(command, 'echo "[$JOB_ID] [$SITE] $1"; cat')
    monkeypatch.setenv("JOB_ID", "7")
    monkeypatch.setenv("SITE", "here")
    assert ask(["qask", "-x"], OURS, "Q", "input") == "[] [here] -x\ninput"


def test_a_refusal_is_one_line_without_the_name_of_the_command_twice(command: Path) -> None:
    written(command, "echo 'qask: error: Unknown queue' >&2; echo >&2; echo 'qask: giving up' >&2; exit 3")
    with pytest.raises(NoScheduler, match=r"^qask refused: Unknown queue; giving up$") as refused:
        ask(["qask"], OURS, "Q")
    assert not isinstance(refused.value, NoAnswer)
    written(command, "exit 4")
    with pytest.raises(NoScheduler, match="qask refused: status 4"):
        ask(["qask"], OURS, "Q")


def test_silence_is_no_refusal_since_it_may_have_been_heard(
    command: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(command, "echo 'Socket timed out on send/recv operation' >&2; exit 1")
    with pytest.raises(NoAnswer, match="qask got no answer: Socket timed out"):
        ask(["qask"], OURS, "Q")
    monkeypatch.setattr(scheduler, "_PATIENCE_SECONDS", 0.2)
    written(command, "exec sleep 20")
    with pytest.raises(NoAnswer, match=r"qask did not answer within 0\.2 s"):
        ask(["qask"], OURS, "Q")


def test_output_that_is_no_text_does_not_end_the_program(command: Path) -> None:
    written(command, r"printf 'job \xff\xfe done'")
    assert ask(["qask"], OURS, "Q").startswith("job ")


def test_a_missing_command_names_the_kind_of_cluster() -> None:
    with pytest.raises(NoScheduler, match=r"no command 'no-such' .* login node of a Q cluster\?"):
        ask(["no-such"], OURS, "Q")
