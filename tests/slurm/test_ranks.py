"""Cells over ranks on two nodes: killed, asked to stop and preempted, they leave the records of one rank."""

import os
import re
import signal
from pathlib import Path

import pytest

from jobs.cells.failures import read_failure
from jobs.cells.launch import run_local
from jobs.cells.plan import lay_out, plan_cells
from prosebench.record import read_provenance
from prosebench.suite import load_suite
from tests.jobs.cells.test_mpi import ranks_of
from tests.jobs.conftest import results, run
from tests.slurm.conftest import Site, end_of, take_all_nodes, until

SUITE = """
name = "spread"
peptides = ["AA"]
budgets = [400000]
frames = 60
[methods.replicas]
method = "unhurried"
replicas = 32
minimise_steps = 5
chunk_evaluations = 4000
"""
# SLURM 22.05 mangles the long addresses of MPICH's other network module where the machine is busy.
SPREAD = """
ranks = 4
extra = {nodes = 2}
environment = {MPIR_CVAR_CH4_NETMOD = "ofi", UNHURRIED_SECONDS = "0.2"}
"""


@pytest.fixture
def spread(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    # The profile says how long its jobs rest.
    monkeypatch.delenv("UNHURRIED_SECONDS")
    site.suite.write_text(SUITE)
    site.profile(SPREAD)
    return site


def _alone(site: Site) -> dict[str, bytes]:
    """What one rank leaves on this machine."""
    directory: Path = site.folder / "alone"
    run_local(lay_out(plan_cells(load_suite(str(site.suite))), directory), directory, workers=2)
    return results(directory)


def test_killed_and_stopped_ranks(spread: Site) -> None:
    expected = _alone(spread)
    following = spread.start()
    spread.wait_for_chunks()
    (folder,) = spread.cells()
    first = spread.beats()[0]["pid"]
    os.kill(next(pid for pid in ranks_of(folder) if pid != first), signal.SIGKILL)
    assert "one of its 4 ranks died" in end_of(following, code=1)
    until("no rank is left", lambda: not ranks_of(folder))
    failure = read_failure(folder)
    assert failure is not None
    assert "SIGKILL" in failure["reason"]

    # As at the time limit: SLURM signals the steps of a job, and these are the ranks.
    stored = spread.chunks()
    spread.profile(SPREAD.replace("ranks = 4", "ranks = 2"))
    following = spread.start()
    spread.wait_for_chunks(more_than=stored)
    run("scancel", "--signal=USR2", re.sub("_0$", "", spread.beats()[0]["job"]))
    until("it is back in the queue", lambda: "goes back into the queue" in spread.log())
    end_of(following)
    assert results(spread.directory) == expected
    assert read_provenance(folder).ranks == 2
    assert read_provenance(folder).sittings == 3
    print(
        "\na cell of 4 ranks killed, continued by 2 ranks on 2 nodes, stopped and continued: the record of one rank"
    )


def test_a_job_is_asked_to_stop_between_two_cells_and_then_preempted(spread: Site) -> None:
    spread.suite.write_text(SUITE.replace("budgets", "seeds = [0, 1]\nbudgets"))
    expected = _alone(spread)
    spread.profile(SPREAD + 'partition = "low"')
    following = spread.start()
    spread.wait_for_chunks()
    job = re.sub("_0$", "", spread.beats()[0]["job"])
    until("the first cell is finished", lambda: bool(list(spread.directory.glob("cells/*/record.json"))))
    # What SLURM is told to do at the time limit: signal the job itself, whether or not there are ranks just then.
    (script,) = spread.directory.glob("jobs/*/array.sh")
    assert "--signal=B:USR2@30" in script.read_text()
    run("scancel", "--batch", "--signal=USR2", job)
    until("it is back in the queue", lambda: "goes back into the queue" in spread.log())
    assert spread.beats()
    take_all_nodes()
    end_of(following)
    assert results(spread.directory) == expected
    assert not list(spread.directory.glob("cells/*/failure.json"))
    provenances = [read_provenance(folder) for folder in spread.cells()]
    assert {found.ranks for found in provenances} == {4}
    assert max(found.sittings for found in provenances) >= 2
    assert spread.log().count("number 0") == 3
    print("\ntwo cells of 4 ranks on 2 nodes, stopped between them and preempted: the records of one rank")


def test_launchers_that_make_no_world_are_refused(spread: Site) -> None:
    spread.profile(SPREAD + 'mpi_launcher = "srun --mpi=none"')
    said = end_of(spread.start(), code=1)
    assert "4 ranks were asked for, but the launcher started a world of 1" in said
    assert "mpi_launcher" in said
