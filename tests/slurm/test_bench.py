"""Scaling is measured in jobs: one cell over ranks, and a suite over nodes; and then drawn."""

from prosebench.store.storage import read_json
from tests.jobs.conftest import run
from tests.slurm.conftest import Site
from tests.slurm.test_ranks import SPREAD

SUITE = """
name = "scaling"
peptides = ["AA"]
budgets = [40000]
seeds = [0, 1]
frames = 60
[methods.replicas]
method = "md-replicas"
replicas = 32
minimise_steps = 5
chunk_evaluations = 4000
"""


def test_scaling_over_ranks_and_nodes(site: Site) -> None:
    site.suite.write_text(SUITE)
    site.profile(SPREAD.replace("ranks = 4\n", ""))
    command = ["prosebench", "bench", "scaling", "--suite", str(site.suite), "--dir", str(site.directory)]
    command += ["--ranks", "1,2", "--workers", "1,2", "--rounds", "1"]
    run(*command, "--executor", "slurm", "--cluster", str(site.folder / "cluster.toml"))
    for against in ("ranks", "nodes"):
        rows = read_json(site.directory / "bench" / f"scaling-{against}.json")
        assert [(row[against], row["mode"]) for row in rows] == [
            (number, mode) for number in (1, 2) for mode in ("strong", "weak")
        ]
        evaluations = [row["evaluations"] for row in rows]
        assert evaluations[0] == evaluations[1] == evaluations[2]
        assert evaluations[3] > 1.9 * evaluations[0]
        assert (site.directory / "figures" / f"throughput-{against}.png").stat().st_size > 10_000
    assert not list(site.directory.glob("scaling-*"))
