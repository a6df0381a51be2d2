"""Whatever stands in the environment of whoever submits, the jobs are those of the profile, and are found again."""

import os
import re
from pathlib import Path

import pytest

from tests.jobs.conftest import results, run
from tests.slurm.conftest import Site, until

HOSTILE = {
    "SBATCH_JOB_NAME": "mine",
    "SBATCH_PARTITION": "low",
    "SBATCH_TIMELIMIT": "1",
    "SBATCH_EXPORT": "NONE",
    "SQUEUE_STATES": "COMPLETED",
    "SQUEUE_PARTITION": "low",
    "SQUEUE_USERS": "nobody",
    "SQUEUE_FORMAT": "%i",
    "SCANCEL_STATE": "COMPLETING",
    "SCANCEL_NAME": "other",
}


@pytest.fixture(autouse=True)
def quick(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNHURRIED_SECONDS", "0")


def names(site: Site) -> str:
    return ",".join(path.name for path in site.directory.glob("jobs/prosebench-*"))


def queue(site: Site) -> list[str]:
    """Partition and time limit of each job, asked without variables in the way."""
    clean = {name: value for name, value in os.environ.items() if name not in HOSTILE}
    said = run("squeue", "-h", "--array", f"--name={names(site)}", "--format=%P %l", env=clean).stdout
    return said.split("\n")[:-1]


def test_options_in_the_environment(
    site: Site, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    site.profile(
        'extra = { hold = true }\nenvironment = { OURS = "a b" }\nsetup = ["echo \\"OURS is $OURS\\""]'
    )
    site.run()
    (job,) = queue(site)
    partition, limit = job.split()
    assert partition == "main"
    assert limit != "1:00"
    assert "0 to run" in site.run().stdout
    assert "0 running, 1 pending (JobHeldUser)" in site.status()
    assert "cancelled 1 job" in run("prosebench", "cancel", str(site.directory)).stdout
    until("the queue is empty", lambda: queue(site) == [])
    site.profile('environment = { OURS = "a b" }\nsetup = ["echo \\"OURS is $OURS\\""]')
    site.run("--follow")
    assert results(site.directory) == undisturbed
    assert "OURS is a b" in site.log()


def test_the_environment_of_the_profile_reaches_the_step(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that somebody submits where SBATCH_EXPORT says to hand nothing on."""
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")
    place = os.environ["PYTHONPATH"]
    site.profile(f'environment = {{ PYTHONPATH = "{place}", PATH = "{os.environ["PATH"]}" }}')
    options = ["--suite", str(site.suite), "--dir", str(site.directory), "--cluster"]
    run("prosebench", "submit", *options, str(site.folder / "cluster.toml"), cwd=site.folder)
    run("sbatch", "prosebench.array", cwd=site.folder)
    site.wait_until_idle()
    assert len(results(site.directory)) == 4, site.log()


def test_from_inside_an_allocation(site: Site, undisturbed: dict[str, bytes]) -> None:
    site.profile('partition = "low"')
    around = ["salloc", "--partition=main", "--ntasks=1", "--mem-per-cpu=300M", "--quiet"]
    done = run(*around, *site.command("--follow"))
    assert results(site.directory) == undisturbed, done.stdout + done.stderr


def test_a_queue_of_several_clusters(
    site: Site, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = re.search(r"^ClusterName\s*=\s*(\S+)", run("scontrol", "show", "config").stdout, re.MULTILINE)
    assert found
    monkeypatch.setenv("SLURM_CLUSTERS", found[1])
    site.profile("extra = { hold = true }")
    site.run()
    assert "1 pending" in site.status()
    assert "0 to run" in site.run().stdout
    assert "cancelled 1 job" in run("prosebench", "cancel", str(site.directory)).stdout
    site.profile()
    site.wait_until_idle()
    site.run("--follow")
    assert results(site.directory) == undisturbed


def test_percent_signs_in_paths(site: Site) -> None:
    site.directory = site.folder / "50%j of %A"
    site.run("--follow")
    (log,) = site.directory.glob("jobs/*/logs/*.log")
    assert re.fullmatch(r"\d+_0\.log", log.name)
    assert "finished" in log.read_text()


def test_doctor_asks_the_controller(cluster: Path, tmp_path: Path) -> None:
    assert re.search(r"SLURM +ok +slurm\S* \d+", run("prosebench", "doctor").stdout)
    conf = cluster / "etc" / "slurm.conf"
    text = re.sub(r"(?m)^SlurmctldPort=.*$", "", conf.read_text()) + "\nSlurmctldPort=1\n"
    (tmp_path / "slurm.conf").write_text(text)
    down = os.environ | {"SLURM_CONF": str(tmp_path / "slurm.conf"), "COLUMNS": "200"}
    said = run("prosebench", "doctor", env=down).stdout
    assert re.search(r"SLURM +absent +its commands are there, but it does not answer", said)
