"""Suites as arrays of jobs on four nodes: the same records as here, parked cells, many tiny cells, plain scripts."""

import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from jobs.cells.status import read_states
from prosebench.record import read_record
from tests.jobs.conftest import results, run
from tests.slurm.conftest import Site, end_of, take_all_nodes, until

TINY_CELLS = 500
PLAIN_JOBS = 30


def test_quickstart_on_four_nodes_with_gpus_killed_and_preempted(site: Site) -> None:
    """The shipped suite with small budgets: an array of twelve jobs, one killed, the rest preempted on the way."""
    arguments = [
        "--suite",
        "quickstart",
        "--methods",
        "md,prose-snis,reference-draw",
        "--budgets",
        "250,1000",
        "--set",
        "md.chunk_steps=50",
        "--no-report",
    ]
    arguments += ["--set", "prose-snis.chunk_proposals=100"]
    arguments += ["--set", "md.warm_up_ps=1.0", "--peptides", "AA,KG"]
    here, there = site.folder / "here", site.folder / "there"
    run("prosebench", "run", *arguments, "--dir", str(here))
    # GPUs spread the jobs: two a node.
    site.profile('partition = "low"\ngpus = 1\npack_minutes = 0.02\nworkers = 1')
    remote = [
        *arguments,
        "--dir",
        str(there),
        "--executor",
        "slurm",
        "--cluster",
        str(site.folder / "cluster.toml"),
    ]
    site.directory = there
    planned = run("prosebench", "run", *remote, "--dry-run").stdout
    assert "12 cells in 12 jobs: 12,000 evaluations" in planned
    assert not there.exists()
    run("prosebench", "run", *remote)
    site.wait_for_chunks(2)
    beat = next(iter(site.beats()))
    os.kill(beat["pid"], signal.SIGKILL)
    take_all_nodes()
    site.wait_until_idle()
    run("prosebench", "run", *remote, "--follow")
    assert results(there) == results(here)
    nodes = set(re.findall(r"job \S+ on (node\d), GPUs ([01]):", site.log()))
    assert {node for node, _ in nodes} == {"node0", "node1", "node2", "node3"}
    assert {gpu for _, gpu in nodes} == {"0", "1"}
    again = site.log().count("goes back into the queue")
    print(
        f"\nquickstart as an array of 12 jobs on {len(nodes)} GPUs of 4 nodes, one worker killed, {again} jobs "
        "preempted: records and ensembles are those of the local run"
    )


def test_status_is_read_elsewhere_while_jobs_run(site: Site, undisturbed: dict[str, bytes]) -> None:
    site.run()
    site.wait_for_chunks(4)
    folder = Path(run("which", "prosebench").stdout).parent
    elsewhere = {"env": os.environ | {"PATH": str(folder), "SLURM_CONF": "/nowhere", "COLUMNS": "200"}}
    paced = re.compile(r"running +[\d,]+ +[\d,]+ +\d+ s +\d+ s ago +job \S+")
    said: list[str] = []

    def shows_a_pace() -> bool:
        said.append(site.status(**elsewhere))
        return bool(paced.search(said[-1]))

    until("status shows a pace", shows_a_pace)
    print(f"\nstatus, read without SLURM while jobs run:\n{said[-1]}")
    site.wait_until_idle()
    assert results(site.directory) == undisturbed


def test_several_workers_in_a_job(site: Site, undisturbed: dict[str, bytes]) -> None:
    site.profile('workers = 2\npartition = "low"')
    following = site.start()
    site.wait_for_chunks(2)
    take_all_nodes()
    end_of(following)
    assert results(site.directory) == undisturbed
    assert not list(site.directory.glob("cells/*/failure.json"))


def test_a_cell_that_fails_three_times_is_parked_and_the_rest_goes_on(site: Site) -> None:
    site.suite.write_text(site.suite.read_text().replace("seeds = [0, 1]", "seeds = [0]"))
    row = '[methods.hasty]\nmethod = "md"\ntime_step_fs = 10.0\nwarm_up_ps = 1.0\nminimise_steps = 5\n'
    site.suite.write_text(site.suite.read_text() + row)
    for attempt in (1, 2, 3):
        done = site.run("--follow", check=False)
        assert done.returncode == 1
        assert f"(attempt {attempt})" in done.stderr
    states = {state.cell.row: state.state for state in read_states(site.directory)}
    assert states == {"md": "done", "hasty": "parked"}
    assert "1 parked, 0 to run" in site.run().stdout
    failure = next(site.directory.glob("cells/*/failure.json"))
    assert "Traceback" in failure.read_text()
    assert "left finite numbers" in site.status()
    again = site.run("--follow", "--retry-parked", check=False)
    assert "(attempt 1)" in again.stderr


def test_a_plain_script_does_the_same_work(site: Site, undisturbed: dict[str, bytes]) -> None:
    site.profile(
        'setup = ["echo the site says hello"]\nenvironment = { LAB = "$HOME/x" }\npack_minutes = 0.02'
    )
    place = [
        "--suite",
        str(site.suite),
        "--dir",
        str(site.directory),
        "--cluster",
        str(site.folder / "cluster.toml"),
    ]
    said = run("prosebench", "submit", *place, cwd=site.folder).stdout
    assert "sbatch --export=ALL prosebench.array" in said
    script = (site.folder / "prosebench.array").read_text()
    for line in (
        "#SBATCH --array=0-1",
        "#SBATCH --partition=main",
        "export PYTHONSAFEPATH",
        'export LAB="$HOME/x"',
    ):
        assert line in script
    run("sbatch", "prosebench.array", cwd=site.folder)
    until("both jobs have begun", lambda: len(list(site.directory.glob("jobs/*/logs/*.log"))) == 2)
    assert "0 to run" in site.run().stdout
    site.wait_until_idle()
    assert results(site.directory) == undisturbed
    assert "the site says hello" in next(site.directory.glob("jobs/*/logs/*.log")).read_text()


def test_what_sbatch_refuses_is_one_line(site: Site) -> None:
    site.profile('partition = "nowhere"')
    done = site.run(check=False)
    assert done.returncode == 2
    assert "sbatch refused" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(site.directory.glob("jobs/prosebench-*"))


def test_scoring_as_an_array(site: Site, undisturbed: dict[str, bytes]) -> None:
    """Jobs score a flow with what it gives to the frames of the reference; what they scored is not scored again."""
    with site.suite.open("a") as suite:
        suite.write('[methods.arbg-snis]\nweights = "wells"\n')
    place = ["--suite", str(site.suite), "--dir", str(site.directory)]
    run("prosebench", "run", *place, "--budgets", "1000", "--no-report")
    run("prosebench", "score", str(site.directory))
    here = (site.directory / "scores.csv").read_bytes()
    (site.directory / "scores.csv").unlink()
    for name in ("scores", "reference-weights"):
        shutil.rmtree(site.directory / name)
    place = ["--executor", "slurm", "--cluster", str(site.folder / "cluster.toml"), "--jobs", "2"]
    said = run("prosebench", "score", str(site.directory), *place).stdout
    assert "4 of 4 cells scored" in said
    assert (site.directory / "scores.csv").read_bytes() == here
    kept = {path: path.stat().st_mtime_ns for path in (site.directory / "scores").glob("*.json")}
    run("prosebench", "score", str(site.directory))
    assert kept == {path: path.stat().st_mtime_ns for path in (site.directory / "scores").glob("*.json")}
    site.wait_until_idle()
    assert len(list((site.directory / "jobs").glob("*/logs/*.log"))) == 2


def test_five_hundred_tiny_cells(site: Site) -> None:
    """Plan, submission and collection compute for little longer than those of one cell; and no longer than six times
    what 30 tiny jobs through submitit alone take."""
    site.profile("pack_minutes = 5")
    site.suite.write_text(tiny_suite(1))
    before = processor_seconds()
    site.run()
    of_one = processor_seconds() - before
    site.run("--follow")
    before = processor_seconds()
    site.run("--follow")
    of_one += processor_seconds() - before
    shutil.rmtree(site.directory)
    site.suite.write_text(tiny_suite(TINY_CELLS))
    plain = seconds(lambda: submitit_alone(site.folder / "plain"))
    before = processor_seconds()
    submitted = seconds(site.run)
    computed = processor_seconds() - before
    worked = seconds(lambda: site.run("--follow"))
    before = processor_seconds()
    collected = seconds(lambda: site.run("--follow"))
    computed += processor_seconds() - before
    print(
        f"\n{TINY_CELLS} cells: planned and submitted in {submitted:.1f} s, finished {worked:.1f} s later, looked "
        f"through again in {collected:.1f} s; {PLAIN_JOBS} jobs through submitit alone: {plain:.1f} s; processor: "
        f"{computed:.1f} s for {TINY_CELLS} cells, {of_one:.1f} s for one"
    )
    assert len(site.cells()) == TINY_CELLS
    assert all(read_record(folder).ledger.sampling.evaluations == 100 for folder in site.cells())
    assert computed < 3 * of_one
    assert submitted + collected < 6 * plain


def tiny_suite(cells: int) -> str:
    """A suite of so many cells of MD, of a second each."""
    seeds = ", ".join(map(str, range(cells)))
    return (
        f'name = "tiny"\npeptides = ["AA"]\nbudgets = [100]\nseeds = [{seeds}]\nframes = 10\n'
        '[target]\nengine = "openmm"\n[methods.md]\nwarm_up_ps = 0.02\nminimise_steps = 2\nchunk_steps = 100\n'
    )


def submitit_alone(folder: Path) -> None:
    """An array of tiny jobs, submitted and collected with nothing of ours."""
    import submitit

    executor = submitit.SlurmExecutor(folder)
    executor.update_parameters(partition="main", time=5, mem="500MB")
    jobs = executor.map_array(abs, list(range(PLAIN_JOBS)))
    assert [job.result() for job in jobs] == list(range(PLAIN_JOBS))


def processor_seconds() -> float:
    """What commands that have ended have taken of this machine's cores."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def seconds(action: Callable[[], object]) -> float:
    """Wall seconds of an action."""
    started = time.monotonic()
    action()
    return time.monotonic() - started
