"""What SLURM is told and what it says, as far as that needs no cluster; tests/slurm has one."""

import errno
import fcntl
from pathlib import Path

import pytest

from jobs.cluster.arrays import Submission, read_submissions, submitting
from jobs.cluster.profile import Cluster, Need
from jobs.cluster.schedulers import scheduler
from jobs.cluster.schedulers.scheduler import NoScheduler, joules_of
from jobs.cluster.schedulers.slurm import NOT_HANDED_ON, Slurm, jobs_in
from jobs.cluster.submit import submit_commands


def test_lines_that_name_a_cluster_are_no_jobs() -> None:
    said = """\
CLUSTER: east
prosebench-1|12|0|RUNNING|me|None
somebody else's|7|N/A|RUNNING|you|None

CLUSTER: west
prosebench-1|13|N/A|PENDING|me|Priority|odd
slurm_load_jobs: a warning
"""
    jobs = jobs_in(said, ["prosebench-1"])
    assert [(job.job, job.index, job.pending, job.reason) for job in jobs] == [
        ("12_0", 0, False, "None"),
        ("13", 0, True, "Priority|odd"),
    ]


def test_variables_of_a_job_around_us_are_not_handed_on() -> None:
    taken = {
        "SLURM_MEM_PER_CPU",
        "SBATCH_PARTITION",
        "SQUEUE_STATES",
        "SCANCEL_STATE",
        "SLURM_JOB_ID",
        "PMI_RANK",
    }
    kept = {"SLURM_CONF", "SLURM_CLUSTERS", "PATH", "HOME", "MY_SLURM_THING", "OMP_NUM_THREADS"}
    assert {name for name in taken | kept if NOT_HANDED_ON.match(name)} == taken


def test_a_percent_sign_in_a_path_stands_for_itself(tmp_path: Path) -> None:
    place = tmp_path / "50%j"
    submission = Submission(name="x", directory=place, jobs=[["a"], ["b"]], minutes=5, signal_seconds=60)
    cluster = Cluster(jobs_at_once=4)
    lines = Slurm().script(submission, cluster.need("md", "md"), cluster).splitlines()
    (output,) = (line for line in lines if line.startswith("#SBATCH --output="))
    assert output.removeprefix("#SBATCH --output=").strip("'") == f"{tmp_path}/50%%j/jobs/x/logs/%A_%a.log"
    assert "#SBATCH --array=0-1%4" in lines
    assert any(line.startswith("srun --export=ALL --cpus-per-task=1 ") for line in lines)


def test_accounting_counts_joules_where_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sacct = tmp_path / "sacct"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for lines, joules in (
        ("1200\n300\n\n4294967294\n18446744073709551614", 1500.0),
        ("0\n0", 0.0),
        ("", 0.0),
    ):
        sacct.write_text(f'#!/bin/sh\n[ "$4" = --format=ConsumedEnergyRaw ] && echo "{lines}"\n')
        sacct.chmod(0o755)
        assert Slurm().joules(["prosebench-1"]) == joules
        submission = Submission(name="x", directory=tmp_path, minutes=5, signal_seconds=60)
        assert joules_of([submission]) == ({"slurm": joules} if joules else {})
    sacct.write_text("#!/bin/sh\nexit 1\n")
    assert joules_of([submission]) == {}


@pytest.mark.parametrize(
    "answer",
    ["exec sleep 30", "echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1"],
)
def test_the_folder_of_a_submission_stays_where_nobody_knows_whether_it_was_taken(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(f"#!/bin/sh\n{answer}\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(scheduler, "_PATIENCE_SECONDS", 0.3)
    run = tmp_path / "run"
    with pytest.raises(
        NoScheduler, match=r"answer.*may have taken the jobs.*prosebench-.* stays, and the next"
    ):
        submit_commands([["list", "suites"]], run, Cluster(), Need())
    (kept,) = read_submissions(run)
    assert kept.commands == [["list", "suites"]]
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified' >&2; exit 1\n")
    with pytest.raises(NoScheduler, match="refused: invalid partition"):
        submit_commands([["list", "rows"]], tmp_path / "refused", Cluster(), Need())
    assert read_submissions(tmp_path / "refused") == []


def test_submitting_where_the_file_system_has_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with submitting(tmp_path):
        assert (tmp_path / "jobs" / "lock").exists()

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output"), submitting(tmp_path):
        pass
