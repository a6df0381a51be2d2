"""A cell over four ranks on two nodes: killed and asked to stop, it leaves the record of one rank."""

import os
import re
import signal
from pathlib import Path

import pytest

from jobs.failures import read_failure
from jobs.launch import run_local
from jobs.plan import lay_out, plan_cells
from prosebench.record import read_provenance
from prosebench.suite import load_suite
from tests.jobs.conftest import results, run
from tests.jobs.test_ranks import ranks_of
from tests.slurm.conftest import Site, end_of, until

SUITE = """
name = "spread"
peptides = ["AA"]
budgets = [400000]
frames = 60
[methods.replicas]
method = "md-replicas"
replicas = 32
minimise_steps = 5
chunk_evaluations = 4000
"""
# SLURM 22.05 mangles the long addresses of MPICH's other network module where the machine is busy.
SPREAD = 'ranks = 4\nextra = {nodes = 2}\nenvironment = {MPIR_CVAR_CH4_NETMOD = "ofi"}\n'


@pytest.fixture
def spread(site: Site) -> Site:
    site.suite.write_text(SUITE)
    site.profile(SPREAD)
    return site


def _alone(site: Site) -> dict[str, bytes]:
    """What one rank leaves on this machine."""
    directory: Path = site.folder / "alone"
    run_local(lay_out(plan_cells(load_suite(str(site.suite))), directory), directory, workers=1)
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
    following = spread.start()
    spread.wait_for_chunks(more_than=stored)
    run("scancel", "--signal=USR2", re.sub("_0$", "", spread.beats()[0]["job"]))
    until("it is back in the queue", lambda: "goes back into the queue" in spread.log())
    end_of(following)
    assert results(spread.directory) == expected
    assert read_provenance(folder).ranks == 4
    assert read_provenance(folder).sittings == 3


def test_launchers_that_make_no_world_are_refused(spread: Site) -> None:
    spread.profile(SPREAD + 'mpi_launcher = "srun --mpi=none"')
    said = end_of(spread.start(), code=1)
    assert "4 ranks were asked for, but the launcher started a world of 1" in said
    assert "mpi_launcher" in said
