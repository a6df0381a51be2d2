"""LSF: arrays that count from 1, options in quotes, and resources that stand beside a profile's own."""

import shlex
from pathlib import Path

import pytest

from jobs.cluster.arrays import Submission
from jobs.cluster.profile import Cluster, Need
from jobs.cluster.schedulers.lsf import NOT_HANDED_ON, Lsf, _long, _option, _report

LSF = Lsf()


def submission(directory: str = "/run", jobs: int = 3) -> Submission:
    return Submission(
        name="prosebench-1f", directory=Path(directory), jobs=[["cell"]] * jobs, minutes=60, signal_seconds=90,
        scheduler="lsf",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({"LSB_JOBID": "123", "LSB_JOBINDEX": "5"}, "123_4"),
        ({"LSB_JOBID": "123", "LSB_JOBINDEX": "0"}, "123_0"),
        ({"LSB_JOBID": "123", "LSB_JOBINDEX": ""}, "123_0"),
        ({"LSB_JOBID": "123"}, "123_0"),
        ({}, ""),
    ],
)
def test_a_job_knows_itself(environment: dict[str, str], job: str) -> None:
    assert LSF.own_job(environment).job == job
    if job:
        assert _long(job).startswith("123[")


def test_numbers_here_are_one_less_than_theirs() -> None:
    assert _long("123_4") == "123[5]"
    assert _long(LSF.own_job({"LSB_JOBID": "9", "LSB_JOBINDEX": "7"}).job) == "9[7]"


@pytest.mark.parametrize(
    "value", ["plain", "two words", 'select[type=="any"]', "span[hosts=1] rusage[mem=4MB]", "a/b:c-d.e"]
)
def test_options_are_read_back_from_a_script_as_they_were(value: str) -> None:
    assert shlex.split(_option("R", value)) == ["-R", value]


def test_an_option_without_a_value() -> None:
    assert _option("x", True) == "-x"
    assert _option("n", 4) == "-n 4"


def test_resources_are_those_of_all_processes() -> None:
    need = Need(cores=2, memory_gb=1.5, workers=3, gpus=1, partition="long", account="me")
    assert LSF.options(need, 125) == {
        "n": 6,
        "R": "span[hosts=1] rusage[mem=4608MB]",
        "M": "4608MB",
        "W": 125,
        "q": "long",
        "P": "me",
        "gpu": "num=3",
    }


def test_a_profile_adds_resources_or_takes_ours_away() -> None:
    own = Need(extra={"R": "select[big]", "M": False})
    assert LSF.options(own, 60)["R"] == "span[hosts=1] rusage[mem=4096MB]"
    assert "M" not in LSF.options(own, 60)
    assert "R" not in LSF.options(Need(extra={"R": False}), 60)
    cluster = Cluster(extra={"R": "select[big]"}, jobs_at_once=2)
    lines = LSF.script(submission(), cluster, cluster).splitlines()
    assert [line for line in lines if line.startswith("#BSUB -R")] == [
        '#BSUB -R "span[hosts=1] rusage[mem=4096MB]"',
        '#BSUB -R "select[big]"',
    ]
    assert '#BSUB -J "prosebench-1f[1-3]%2"' in lines


def test_a_percent_sign_in_a_path_would_stand_for_something() -> None:
    assert _report(submission("/run")) == "/run/jobs/prosebench-1f/logs/%J_%I.lsf"
    assert _report(submission("/50%J run")) == "/dev/null"


def test_scripts_are_read_from_the_input_alone() -> None:
    assert LSF.how_to_submit(Path("/my run/array.sh")) == "bsub < '/my run/array.sh'"


def test_a_launcher_of_the_profile_starts_the_ranks() -> None:
    assert LSF.rank_launcher(Cluster(), Need()) == ["mpirun"]
    assert LSF.rank_launcher(Cluster(mpi_launcher="blaunch -z 'a b'"), Need()) == ["blaunch", "-z", "a b"]


@pytest.mark.parametrize(
    ("name", "handed_on"),
    [
        ("LSB_JOBID", False),
        ("LSF_ENVDIR", True),
        ("LSF_BSUB_X", False),
        ("BSUB_QUIET", False),
        ("LSFUSER", False),
        ("PATH", True),
    ],
)
def test_where_the_cluster_is_stays_known(name: str, handed_on: bool) -> None:
    assert (NOT_HANDED_ON.match(name) is None) == handed_on
