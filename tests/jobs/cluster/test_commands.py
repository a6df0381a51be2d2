"""Jobs that run commands: what they start, and whether they go back into the queue."""

import signal
import subprocess
from pathlib import Path

import pytest

from jobs.cluster.arrays import Submission
from jobs.cluster.commands import run_command, torchrun
from jobs.cluster.schedulers.scheduler import OwnJob, QueuedJob, commands_of
from jobs.cluster.schedulers.slurm import Slurm


def submission(nodes: int) -> Submission:
    return Submission(
        name="x", directory=Path("run"), nodes=nodes, processes=4, minutes=60, signal_seconds=60
    )


def test_nodes_meet_at_the_first_of_them() -> None:
    job = {"SLURM_JOB_ID": "123", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7"}

    def line(**more: str) -> list[str]:
        return torchrun(submission(2), Slurm().own_job(job | more))

    first, second = line(SLURM_NODEID="0"), line(SLURM_NODEID="1")
    assert "--rdzv-endpoint=10.0.0.7:20123" in first
    assert set(first) ^ set(second) == {"--rdzv-conf=is_host=1", "--rdzv-conf=is_host=0"}
    again = line(SLURM_NODEID="0", SLURM_RESTART_COUNT="1")
    assert set(first) ^ set(again) == {"--rdzv-id=123-0", "--rdzv-id=123-1"}


def test_one_node_needs_no_meeting_place() -> None:
    line = torchrun(submission(1), OwnJob("", ""))
    assert "--standalone" in line
    assert "--nproc-per-node=4" in line


def test_commands_of_ended_jobs_are_not_taken_for_queued_ones() -> None:
    array = submission(1).model_copy(update={"commands": [["score", "a"], ["score", "b"], ["score", "c"]]})
    cells = submission(1).model_copy(update={"name": "y", "jobs": [["AA-md"]]})
    queued = [QueuedJob("x", 1, "7_1", "RUNNING", "None"), QueuedJob("y", 0, "8_0", "PENDING", "Priority")]
    assert commands_of([array, cells], queued) == [["score", "b"]]


@pytest.mark.parametrize(("words", "again"), [(["list", "suites"], False), (["no-such-command"], True)])
def test_a_command_that_was_just_finished_when_the_signal_came_is_not_queued_again(
    words: list[str],
    again: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def too_late(process: "subprocess.Popen[bytes]", arguments: list[str]) -> None:
        process.wait()

    monkeypatch.setattr("jobs.cells.signals._asked", [signal.SIGUSR2])
    monkeypatch.setattr("jobs.cluster.commands._stop", too_late)
    job = submission(1).model_copy(update={"processes": 1, "directory": tmp_path, "commands": [words]})
    assert run_command(job, 0, OwnJob("7_0", "node0")) == 0
    assert ("goes back into the queue" in capfd.readouterr().out) is again
