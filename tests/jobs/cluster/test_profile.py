"""Cluster profiles: examples load, what is unknown is refused by name, every option of sbatch can be reached."""

import subprocess
from pathlib import Path

import pytest

from jobs.cluster.arrays import Submission
from jobs.cluster.profile import Cluster, ClusterError, cluster_names, load_cluster
from jobs.cluster.schedulers.slurm import Slurm
from jobs.cluster.script import opening_lines, program
from prosebench.method import method_entry_points
from tests.jobs.conftest import run


@pytest.mark.parametrize("name", cluster_names())
def test_shipped_examples_load(name: str) -> None:
    cluster = load_cluster(name)
    assert cluster.name == name
    assert cluster.description


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('partion = "main"', "unknown key 'partion'; known keys: partition, account"),
        ("[methods.prose]\ngpu = 1", "unknown key 'gpu' for method 'prose'; known: partition, account"),
        ("minutes = 0", "minutes: Input should be greater than 0"),
        ('[methods.prose]\nminutes = "long"', "method 'prose': minutes: Input should be a valid integer"),
        ('extra = { job-name = "mine" }', "job-name is set by prosebench itself"),
        ("extra = { wait = true }", "wait is set by prosebench itself"),
        ("extra = { time = 5 }", "time has a key of its own: minutes"),
        ("ranks = 2\nworkers = 2", "site.toml: where cells span several ranks, jobs have one cell at a time"),
        ('modules = "cuda"', "modules: Input should be a list in brackets"),
        ('environment = { MY-PATH = "x" }', "environment.MY-PATH"),
        ('scheduler = "cron"', "unknown scheduler 'cron'; known: slurm, pbs, lsf"),
        ('scheduler = "pbs"\ngres = "gpu:2"', "gres is a word of SLURM; for PBS say the same"),
        ('scheduler = "lsf"\nextra = { J = "mine" }', "J is set by prosebench itself"),
        ('scheduler = "lsf"\nextra = { W = 5 }', "W has a key of its own: minutes"),
        ('scheduler = "pbs"\nextra = { walltime = "0:05:00" }', "walltime has a key of its own: minutes"),
        ('scheduler = "pbs"\nextra = { l = "walltime=0:05:00" }', "walltime has a key of its own: minutes"),
        ('scheduler = "pbs"\nextra = { exclusive = true }', "for PBS say the same with place under extra"),
        ('[methods.md]\nextra = { output = "x" }', "output is set by prosebench itself"),
        ("partition main", "is not TOML"),
    ],
)
def test_wrong_profiles_are_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(ClusterError, match=r"site\.toml") as refused:
        load_cluster(str(path))
    assert said in str(refused.value)


def test_an_absent_profile_names_the_examples() -> None:
    with pytest.raises(ClusterError, match="one of: cpu-nodes, gpu-nodes, whole-nodes"):
        load_cluster("mycluster")


def test_a_row_counts_before_its_method_and_the_profile() -> None:
    cluster = Cluster(cores=2, methods={"prose": {"gpus": 1, "cores": 8}, "prose-small": {"cores": 4}})
    assert cluster.need("md", "md").cores == 2
    assert (cluster.need("prose", "prose").gpus, cluster.need("prose", "prose").cores) == (1, 8)
    assert (cluster.need("prose-small", "prose").gpus, cluster.need("prose-small", "prose").cores) == (1, 4)


def test_options_of_sbatch() -> None:
    extra = {"mail_type": "END", "exclusive": True}
    cluster = Cluster(partition="gpu", qos="low", gpus=1, cores=4, memory_gb=8.5, workers=2, extra=extra)
    need = cluster.need("md", "md")
    assert Slurm().options(need, 30) == {
        "nodes": 1,
        "ntasks": 1,
        "time": 30,
        "cpus-per-task": 8,
        "mem": "17408M",
        "requeue": True,
        "partition": "gpu",
        "qos": "low",
        "gpus-per-node": 2,
        "mail-type": "END",
        "exclusive": True,
    }
    assert "gpus-per-node" not in Slurm().options(Cluster(gpus=1, gres="gpu:h100:1").need("md", "md"), 1)


def test_false_leaves_an_option_out() -> None:
    need = Cluster(extra={"mem": False, "exclusive": False, "nodelist": "n1"}).need("md", "md")
    options = Slurm().options(need, 30)
    assert options["nodelist"] == "n1"
    assert {"mem", "exclusive"}.isdisjoint(options)


@pytest.mark.parametrize(
    ("profile", "gpus"),
    [
        ({}, 0),
        ({"gpus": 1, "workers": 4}, 4),
        ({"gpus": 2, "ranks": 4}, 8),
        ({"gres": "gpu:h100:4,license:2"}, 4),
        ({"gres": "license:2"}, 0),
        ({"gres": "gpu"}, 1),
        ({"extra": {"gpus-per-node": "h100:2"}}, 2),
        ({"extra": {"gpus": 3}}, 3),
        ({"ranks": 2, "extra": {"gpus-per-task": 1}}, 2),
    ],
)
def test_gpus_of_a_job_are_counted_whichever_option_asks_for_them(profile: dict, gpus: int) -> None:
    assert Slurm().gpus(Cluster(**profile).need("md", "md")) == gpus


@pytest.mark.parametrize("name", cluster_names())
def test_tables_of_the_examples_name_what_there_is(name: str) -> None:
    known = {*method_entry_points(), "reference", "score", "train"}
    assert set(load_cluster(name).methods) <= known


def test_the_start_of_a_job() -> None:
    cluster = Cluster(modules=("cuda",), environment={"HF_HOME": "$SCRATCH/hf"}, setup=("source env.sh",))
    lines = "\n".join(opening_lines(cluster.need("md", "md")))
    places = [
        lines.index(one)
        for one in (
            "\nmodule load cuda\n",
            '\nexport PYTHONSAFEPATH="1"\n',
            '\nexport HF_HOME="$SCRATCH/hf"\n',
            "\nsource env.sh\n",
        )
    ]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("given", "profile", "used"),
    [
        ({"TMPDIR": "HERE"}, {}, "HERE"),
        ({"TMPDIR": "HERE", "SLURM_TMPDIR": "HERE/job"}, {}, "HERE/job"),
        ({"TMPDIR": "/of/the/login/node"}, {}, "none"),
        ({"TMPDIR": "HERE", "SLURM_TMPDIR": "/not/here"}, {}, "HERE"),
        ({"SLURM_TMPDIR": "HERE/job"}, {"TMPDIR": "/of/the/profile"}, "/of/the/profile"),
    ],
)
def test_what_is_temporary_goes_to_the_scratch_of_the_job(
    given: dict[str, str], profile: dict[str, str], used: str, tmp_path: Path
) -> None:
    (tmp_path / "job").mkdir()
    lines = [*opening_lines(Cluster(environment=profile).need("md", "md")), 'echo "${TMPDIR:-none}"']
    environment = {name: value.replace("HERE", str(tmp_path)) for name, value in given.items()}
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == used.replace("HERE", str(tmp_path))


@pytest.mark.parametrize(
    ("setup", "status", "said"),
    [
        (["true", "export A=b"], 0, "went on with b"),
        (["true # not false", "false"], 1, "this line of the cluster profile failed: false"),
        (["cd /nowhere"], 1, "this line of the cluster profile failed: cd /nowhere"),
        (["grep -q x /dev/null || true"], 0, "went on with "),
    ],
)
def test_a_setup_that_fails_ends_the_job(setup: list[str], status: int, said: str) -> None:
    lines = [*opening_lines(Cluster(setup=tuple(setup)).need("md", "md")), 'echo "went on with $A"']
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert ("went on" in done.stdout) == (status == 0)


def test_modules_that_are_not_there_end_the_job() -> None:
    lines = [*opening_lines(Cluster(modules=("no-such-module",)).need("md", "md")), "echo went on"]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "failed: module load no-such-module" in done.stderr


def test_the_start_of_a_job_may_be_another_for_a_method() -> None:
    table = {"modules": ["cuda"], "environment": {"B": "2"}, "prefix": ["apptainer", "exec", "a b.sif"]}
    cluster = Cluster(environment={"A": "1"}, modules=("gcc",), methods={"prose": table})
    need = cluster.need("prose", "prose")
    assert (need.modules, need.environment) == (("cuda",), {"A": "1", "B": "2"})
    submission = Submission(name="x", directory=Path("/run"), minutes=5, signal_seconds=60)
    assert program(submission, need).startswith("apptainer exec 'a b.sif' ")
    assert cluster.need("md", "md").modules == ("gcc",)


def test_a_training_job_has_a_worker_for_each_gpu() -> None:
    cluster = Cluster(cores=4, memory_gb=8, methods={"train": {"gpus": 1, "gres": "gpu:h100:1"}})
    need = cluster.need("train", "train").with_gpus(4)
    options = Slurm().options(need, 60, nodes=2)
    assert (need.workers, options["gres"], options["cpus-per-task"]) == (4, "gpu:h100:4", 16)
    assert (options["nodes"], options["ntasks"], options["mem"]) == (2, 2, "32768M")
    assert cluster.need("train", "train").with_gpus(0).workers == 1
    assert Cluster(workers=64).with_gpus(0).workers == 1
    assert Slurm().options(Cluster(gpus=1).with_gpus(2), 1)["gpus-per-node"] == 2


def test_a_rehearsal_warns_of_a_scheduler_that_was_never_tried() -> None:
    line = ["prosebench", "reference", "--suite", "nowhere.toml", "--executor", "pbs", "--dry-run"]
    said = run(*line, "--cluster", "cpu-nodes", check=False).stderr
    assert "PBS was tried on stand-ins for its commands alone" in said
    assert "needs --cluster FILE" in run(*line, check=False).stderr
