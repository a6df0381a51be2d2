"""References as an array, one job a peptide: preempted on the way, they are those that are made here."""

import numpy as np

from prosebench.store.storage import read_arrays
from tests.jobs.conftest import results, run
from tests.slurm.conftest import Site, end_of, take_all_nodes, until

SUITE = """
name = "references"
peptides = ["AA", "GG"]
budgets = [1000]
[methods.md]
"""
PLAN = [
    "--tempering-ns",
    "0.002",
    "--md-ns",
    "0.08",
    "--replicas",
    "8",
    "--lag-ns",
    "0.01",
    "--frames",
    "60",
    "--flow-rounds",
    "2",
    "--flow-draws",
    "1",
]


def test_references_as_an_array(site: Site) -> None:
    site.suite.write_text(SUITE)
    site.profile('partition = "low"')
    command = ["prosebench", "reference", "--suite", str(site.suite), *PLAN]
    here = [*command, "--out", str(site.folder / "mine"), "--dir", str(site.directory)]
    run(*here, "--workers", "2")
    # A cell that starts from the frames of another one knows by its path where they lie.
    site.directory.rename(site.folder / "here")
    there = [*command, "--out", str(site.folder / "theirs"), "--dir", str(site.directory)]
    there += ["--executor", "slurm", "--cluster", str(site.folder / "cluster.toml")]
    following = site.start(*there, "--follow")
    until("a cell is under way", lambda: bool(site.cells()))
    take_all_nodes()
    said = end_of(following)
    assert "2 of 2 references made" in said
    assert "goes back into the queue" in site.log()
    assert results(site.directory) == results(site.folder / "here")
    for name in ("AA.npz", "GG.npz"):
        mine, theirs = (read_arrays(site.folder / folder / name) for folder in ("mine", "theirs"))
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[key], theirs[key]) for key in mine if mine[key].dtype.kind == "f")
