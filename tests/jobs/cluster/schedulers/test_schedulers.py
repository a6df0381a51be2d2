"""PBS and LSF on stand-ins for their commands: scripts are taken and run, jobs are found, ended and judged."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.status import find_log, read_states
from jobs.cluster.arrays import read_submissions
from jobs.cluster.hints import ask_scheduler
from jobs.cluster.profile import Cluster, Need
from jobs.cluster.schedulers.scheduler import NoScheduler, ended_jobs, queued_jobs, schedulers, this_user
from jobs.cluster.submit import follow, submit_commands, submit_missing, write_scripts
from prosebench.check.doctor import Finding
from prosebench.cli.doctor import _schedulers
from prosebench.record import read_provenance
from prosebench.suite import load_suite, narrow
from tests.jobs.cluster.schedulers.stand_ins import install

PATIENCE_SECONDS = 240.0


@pytest.fixture(params=["pbs", "lsf"])
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster of stand-ins, in whose environment the variables of a job around us stand."""
    commands = install(tmp_path / "site", request.param)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_USER", this_user())
    monkeypatch.setenv("PBS_ARRAY_INDEX", "99")
    monkeypatch.setenv("LSB_JOBINDEX", "99")
    return Cluster(scheduler=request.param, minutes=5, signal_seconds=60, pack_minutes=0.01, memory_gb=2)


def until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.2)


def test_a_suite_as_an_array(site: Cluster, small_suite: Path, tmp_path: Path) -> None:
    suite = narrow(load_suite(str(small_suite)), budgets=[300])
    cells, directory = plan_cells(suite), tmp_path / "50%J run"
    folders = lay_out(cells, directory)
    plan, (submission,) = submit_missing(cells, directory, site, [])
    assert len(plan.works) == len(cells) == submission.size == 2
    follow(folders, directory, lambda line: None)
    until(lambda: not queued_jobs(read_submissions(directory)))
    assert [state.state for state in read_states(directory)] == ["done", "done"]
    for index in range(2):
        (log,) = submission.logs.glob(f"*_{index}.log")
        assert "1 of 1 cells finished" in log.read_text()
        assert f"job {log.stem} on " in log.read_text()
        assert find_log(directory, log.stem) == log
    assert submit_missing(cells, directory, site, [])[1] == []


def test_what_waits_is_found_and_not_submitted_again(
    site: Cluster, small_suite: Path, tmp_path: Path
) -> None:
    (tmp_path / "site" / "hold").touch()
    cells, directory = plan_cells(narrow(load_suite(str(small_suite)), budgets=[300])), tmp_path / "run"
    lay_out(cells, directory)
    submit_missing(cells, directory, site, [])
    plan, submissions = submit_missing(cells, directory, site, [])
    assert (plan.queued, submissions) == (2, [])
    states, queue = ask_scheduler(read_states(directory), directory)
    assert queue.startswith("jobs: 0 running, 2 pending (")
    assert all("in job 7_" in state.reason for state in states)
    jobs = queued_jobs(read_submissions(directory))
    assert {job.user for job in jobs} == {this_user()}
    asked = tmp_path / "site" / "asked"
    asked.unlink()
    schedulers()[site.scheduler].cancel(jobs)
    # One question for all jobs, and one order.
    assert [line.split()[0] for line in asked.read_text().splitlines()] == {
        "pbs": ["qstat", "qdel"],
        "lsf": ["bkill"],
    }[site.scheduler]
    assert queued_jobs(read_submissions(directory)) == []
    how = {how for _, how in ended_jobs(read_submissions(directory)).values()}
    assert how == {{"pbs": "ENDED (no exit status)", "lsf": "FAILED (exit code 130)"}[site.scheduler]}
    assert "job 7_0 ended as" in ask_scheduler(read_states(directory), directory)[0][0].reason


@pytest.mark.parametrize("site", ["pbs"], indirect=True)
def test_an_answer_that_makes_no_sense_is_no_answer(site: Cluster, tmp_path: Path) -> None:
    (tmp_path / "site" / "hold").touch()
    submission = submit_commands([["list", "suites"]], tmp_path / "run", site, Need())
    jobs = queued_jobs([submission])
    (tmp_path / "site" / "garbled").touch()
    for question in (
        lambda: queued_jobs([submission]),
        lambda: schedulers()["pbs"].cancel(jobs),
        lambda: schedulers()["pbs"].requeue("7_0"),
    ):
        with pytest.raises(NoScheduler, match="qstat said what is not JSON"):
            question()


def test_a_warned_job_stops_and_goes_on_where_it_stopped(
    site: Cluster, small_suite: Path, tmp_path: Path, unhurried: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job has 20 seconds, and its cell takes 24: LSF starts the job again, PBS leaves it to the user."""
    short = site.model_copy(update={"minutes": 1, "signal_seconds": 40})
    monkeypatch.setenv("UNHURRIED_SECONDS", "0.4")
    suite = load_suite(str(small_suite))
    methods = {"md": suite.methods["md"] | {"method": f"{unhurried}-md", "chunk_steps": 5}}
    suite = suite.model_copy(update={"methods": methods, "budgets": (300,)})
    cells, directory = plan_cells(suite), tmp_path / "run"
    (folder,) = lay_out(cells, directory)
    _, (submission,) = submit_missing(cells, directory, short, [])
    until(lambda: not queued_jobs([submission]))
    (log,) = submission.logs.glob("*_0.log")
    said = log.read_text()
    assert "goes back into the queue: 1 cells are left" in said
    if site.scheduler == "pbs":
        assert "qrerun refused: Unauthorized Request; the next `prosebench run` continues" in said
        assert not (folder / "record.json").exists()
        monkeypatch.setenv("UNHURRIED_SECONDS", "0")
        _, (submission,) = submit_missing(cells, directory, short, [])
        until(lambda: not queued_jobs([submission]))
    else:
        assert said.count("job 7_0 on ") > 1
        assert "1 of 1 cells finished" in said
    assert read_provenance(folder).sittings > 1
    assert [state.state for state in read_states(directory)] == ["done"]


def test_commands_and_how_they_ended(site: Cluster, tmp_path: Path) -> None:
    need = Need(minutes=5)
    submission = submit_commands([["list", "suites"], ["no-such-command"]], tmp_path / "run", site, need)
    until(lambda: len(ended_jobs([submission])) == 2)
    ended = ended_jobs([submission])
    assert ended[submission.name, 0][1] == "COMPLETED"
    assert ended[submission.name, 1][1].startswith("FAILED (exit ")
    assert "quickstart" in (submission.logs / f"{ended[submission.name, 0][0]}.log").read_text()
    one = submit_commands([["list", "suites"]], tmp_path / "one", site, need)
    until(lambda: len(ended_jobs([one])) == 1)
    assert ended_jobs([one])[one.name, 0][1] == "COMPLETED"


def test_a_refusal_is_one_line_and_leaves_nothing(site: Cluster, tmp_path: Path) -> None:
    nowhere = site.model_copy(update={"partition": "nowhere"})
    need = nowhere.need("list", "list")
    with pytest.raises(NoScheduler, match=r"(qsub|bsub) refused: .*[Qq]ueue"):
        submit_commands([["list", "suites"]], tmp_path / "run", nowhere, need)
    assert read_submissions(tmp_path / "run") == []
    with pytest.raises(NoScheduler, match="jobs over several nodes are for SLURM alone"):
        submit_commands([["train"]], tmp_path / "run", site, Need(), nodes=2)


def test_answers_of_the_site(site: Cluster) -> None:
    scheduler = schedulers()[site.scheduler]
    assert scheduler.max_array_size() in (20, 30)
    assert "stand-in" in scheduler.version()
    assert scheduler.there()
    assert Finding(f"{scheduler.title} (untried)", "ok", scheduler.version()) in list(_schedulers())
    assert scheduler.gpus(Need(gpus=2, workers=3)) == 6
    if site.scheduler == "pbs":
        with pytest.raises(NoScheduler, match=r"qrerun refused: .*Unauthorized"):
            scheduler.requeue("7_1")


def test_resources_of_a_profile_stand_beside_ours(site: Cluster, small_suite: Path, tmp_path: Path) -> None:
    extra = {"pbs": {"l": "software=1"}, "lsf": {"R": 'select[type=="any"]', "x": True}}[site.scheduler]
    cells, directory = plan_cells(load_suite(str(small_suite))), tmp_path / "run"
    lay_out(cells, directory)
    asking = site.model_copy(update={"extra": extra, "jobs_at_once": 3})
    _, (path,) = write_scripts(cells, directory, asking, [], tmp_path / "mine.array")
    lines = path.read_text().splitlines()
    if site.scheduler == "pbs":
        assert "#PBS -l software=1" in lines
        assert "#PBS -l select=1:ncpus=1:mem=2048mb" in lines
        assert "#PBS -J 0-1%3" in lines
    else:
        assert '#BSUB -R "span[hosts=1] rusage[mem=2048MB]"' in lines
        assert "#BSUB -R 'select[type==\"any\"]'" in lines
        assert "#BSUB -x" in lines
        assert any(line.endswith('[1-2]%3"') for line in lines)
    schedulers()[site.scheduler].submit(path)


def test_scripts_of_an_earlier_plan_are_removed(site: Cluster, small_suite: Path, tmp_path: Path) -> None:
    one_a_job = site.model_copy(update={"max_array_size": 1})
    cells, directory = plan_cells(load_suite(str(small_suite))), tmp_path / "run"
    lay_out(cells, directory)
    (tmp_path / "mine-7.array").write_text("#!/bin/bash\n# my own\n")
    _, paths = write_scripts(cells, directory, one_a_job, [], tmp_path / "mine.array")
    assert [path.name for path in paths] == ["mine.array", "mine-2.array"]
    write_scripts(cells[:1], directory, site, [], tmp_path / "mine.array")
    assert sorted(path.name for path in tmp_path.glob("*.array")) == ["mine-7.array", "mine.array"]
    # Where nothing is left to do, no script is left that would do it again.
    write_scripts([], directory, site, [], tmp_path / "mine.array")
    assert [path.name for path in tmp_path.glob("*.array")] == ["mine-7.array"]


def test_a_scheduler_that_is_not_here_says_so() -> None:
    for scheduler in (schedulers()["pbs"], schedulers()["lsf"]):
        assert not scheduler.there()
        with pytest.raises(NoScheduler, match=f"login node of a {scheduler.title} cluster"):
            scheduler.version()
