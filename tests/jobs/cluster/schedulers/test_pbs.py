"""PBS: how jobs are called by it and here, what is asked of it, and how jobs ended."""

from pathlib import Path

import pytest

from jobs.cluster.arrays import Submission
from jobs.cluster.profile import Cluster, Need
from jobs.cluster.schedulers.pbs import NOT_HANDED_ON, Pbs, _how, _in_array, _index, _short
from jobs.cluster.schedulers.scheduler import NoScheduler

PBS = Pbs()


@pytest.mark.parametrize(
    ("theirs", "ours", "index"),
    [
        ("123[4].server", "123_4", 4),
        ("123.server.site.org", "123_0", 0),
        ("123[].server", "123_0", 0),
        ("7[12]", "7_12", 12),
    ],
)
def test_names_of_jobs(theirs: str, ours: str, index: int) -> None:
    assert _short(theirs) == ours
    assert _index(theirs, {}) == index


def test_a_job_s_number_in_its_array_may_stand_beside_it() -> None:
    assert _index("123.server", {"array_index": "3"}) == 3
    assert _in_array("123_4") == "123[4]"


@pytest.mark.parametrize(
    ("status", "how"),
    [
        (0, "COMPLETED"),
        ("0", "COMPLETED"),
        (271, "FAILED (exit status 271)"),
        (None, "ENDED (no exit status)"),
    ],
)
def test_how_a_job_ended(status: object, how: str) -> None:
    assert _how(status) == how


@pytest.mark.parametrize(
    ("environment", "job", "number"),
    [
        ({"PBS_JOBID": "123[4].server", "PBS_ARRAY_INDEX": "4"}, "123_4", 123),
        ({"PBS_JOBID": "123.server"}, "123_0", 123),
        ({}, "", 0),
    ],
)
def test_a_job_knows_itself(environment: dict[str, str], job: str, number: int) -> None:
    own = PBS.own_job(environment)
    assert (own.job, own.number) == (job, number)


def test_resources_are_those_of_all_processes() -> None:
    need = Need(cores=2, memory_gb=1.5, workers=3, gpus=1, partition="long", account="me")
    assert PBS.options(need, 125) == {
        "select": "1:ncpus=6:mem=4608mb:ngpus=3",
        "walltime": "02:05:00",
        "queue": "long",
        "account": "me",
    }
    assert PBS.gpus(need) == 3
    spread = PBS.options(Need(ranks=4, cores=2), 60)
    assert spread["select"] == "1:ncpus=8:mem=16384mb:mpiprocs=4"
    with pytest.raises(NoScheduler, match="jobs over several nodes are for SLURM alone; on PBS"):
        PBS.options(need, 60, nodes=2)


@pytest.mark.parametrize(
    ("need", "said"),
    [
        (Need(qos="high"), "qos is a word of SLURM; for PBS say the same with an option under extra"),
        (Need(gres="gpu:1"), "gres is a word of SLURM"),
        (Need(constraint="v100"), "constraint is a word of SLURM"),
        (Need(extra={"exclusive": True}), "for PBS say the same with place under extra"),
        (Need(extra={"l": "walltime=9:00"}), "walltime has a key of its own: minutes"),
        (Need(extra={"J": "0-9"}), "J is set by prosebench itself"),
    ],
)
def test_what_pbs_has_no_word_for_is_refused(need: Need, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PBS.check(need)


def script(jobs: int, cluster: Cluster) -> list[str]:
    submission = Submission(
        name="prosebench-1f",
        directory=Path("/my run"),
        jobs=[["cell"]] * jobs,
        minutes=60,
        signal_seconds=90,
        scheduler="pbs",
    )
    return PBS.script(submission, cluster, cluster).splitlines()


def test_a_single_job_is_no_array_and_several_are() -> None:
    assert not [line for line in script(1, Cluster()) if line.startswith("#PBS -J")]
    assert "#PBS -J 0-2%2" in script(3, Cluster(jobs_at_once=2))


def test_a_job_is_warned_before_its_time_is_over_and_paths_may_have_spaces() -> None:
    lines = script(3, Cluster(extra={"m": "abe"}))
    assert "timeout --preserve-status --signal=USR2 3510 " in lines[-1]
    assert "'/my run/jobs/prosebench-1f'" in lines[-1]
    assert lines[-1].endswith('"${PBS_ARRAY_INDEX:-0}"')
    assert '#PBS -o "/my run/jobs/prosebench-1f/logs/"' in lines
    assert "#PBS -m abe" in lines
    assert PBS.how_to_submit(Path("/my run/array.sh")) == "qsub '/my run/array.sh'"


@pytest.mark.parametrize(
    ("name", "handed_on"),
    [("PBS_JOBID", False), ("PBS_SERVER", True), ("PBS_CONF_FILE", True), ("PBS_SERVER_X", False), ("NCPUS", False),
     ("PMI_RANK", False), ("PATH", True), ("MY_PBS_JOBID", True)],
)  # fmt: skip
def test_where_the_server_is_stays_known(name: str, handed_on: bool) -> None:
    assert (NOT_HANDED_ON.match(name) is None) == handed_on
