"""Scaling: what is measured, what grows, and that the figures can draw it."""

from pathlib import Path

import pytest

from analysis.figures.every import throughput
from jobs.cells.plan import plan_cells
from jobs.cluster.arrays import Submission
from jobs.cluster.packing import Work, pack
from jobs.cluster.profile import Cluster
from jobs.cluster.schedulers.scheduler import schedulers
from jobs.making.bench import BenchFailed, bench_suite, grow_cell, on_nodes, summary
from prosebench.record import Cell
from prosebench.suite import Suite, load_suite


@pytest.fixture
def suite(small_suite: Path) -> Suite:
    return load_suite(str(small_suite))


def test_a_suite_over_workers_is_measured_strong_and_weak(suite: Suite, tmp_path: Path) -> None:
    rows = bench_suite(suite, [2, 1], tmp_path / "scratch", rounds=1)
    assert [(row["workers"], row["mode"]) for row in rows] == [
        (1, "strong"), (1, "weak"), (2, "strong"), (2, "weak")
    ]  # fmt: skip
    # Two cells, each with 1500 evaluations of sampling and some of preparation; weak: twice the seeds.
    once = int(rows[0]["evaluations"])
    assert once > 2 * (1500 + 200)
    assert [row["evaluations"] for row in rows[1:3]] == [once, once]
    assert int(rows[3]["evaluations"]) > 1.9 * once
    for row in rows:
        assert row["evaluations_per_second"] == float(row["evaluations"]) / float(row["seconds"])
    assert not list((tmp_path / "scratch").iterdir())
    figure = throughput(rows, "workers")
    assert figure is not None
    assert [line.get_label() for line in figure.axes[0].lines[:2]] == [
        "suite small, strong",
        "suite small, weak",
    ]


def test_a_cell_that_fails_ends_the_bench(suite: Suite, tmp_path: Path) -> None:
    broken = suite.model_copy(update={"methods": {"md": {"time_step_fs": 1000.0, "warm_up_ps": 10.0}}})
    with pytest.raises(BenchFailed, match=r"AA-md-.*: .*time step"):
        bench_suite(broken, [1], tmp_path, rounds=1)


def test_speed_up_and_efficiency_are_against_the_smallest_machine() -> None:
    rows = [
        {"series": "a", "ranks": ranks, "evaluations_per_second": rate}
        for ranks, rates in ((2, (10.0, 30.0, 20.0)), (8, (60.0, 50.0, 70.0)))
        for rate in rates
    ]
    assert summary(rows, "ranks") == [
        {"series": "a", "ranks": 2, "evaluations_per_second": 20.0, "speed_up": 1.0, "efficiency": 1.0},
        {"series": "a", "ranks": 8, "evaluations_per_second": 60.0, "speed_up": 3.0, "efficiency": 0.75},
    ]


def test_weak_scaling_grows_the_budget_and_what_is_side_by_side(suite: Suite) -> None:
    cell = Cell(
        **plan_cells(suite)[0].model_dump()
        | {"method": "md-replicas", "settings": {"replicas": 4, "discard": 0.5}}
    )
    grown = grow_cell(cell, 3)
    assert grown.budgets == tuple(3 * budget for budget in cell.budgets)
    assert (grown.settings["replicas"], grown.settings["discard"]) == (12, 0.5)
    assert grown.id != cell.id


@pytest.mark.parametrize(
    ("scheduler", "option"),
    [("slurm", "#SBATCH --exclusive"), ("pbs", "#PBS -l place=excl"), ("lsf", "#BSUB -x")],
)
def test_a_suite_on_nodes_is_as_many_jobs_with_a_node_each(
    suite: Suite, tmp_path: Path, scheduler: str, option: str
) -> None:
    cells = plan_cells(suite.model_copy(update={"seeds": tuple(range(4))}))
    works = [Work(tmp_path / cell.folder_name, cell, 5.0, 1500) for cell in cells]
    cluster = on_nodes(Cluster(scheduler=scheduler), 2)
    (array,) = pack(works, cluster, 1000)
    assert [len(job) for job in array.jobs] == [4, 4]
    submission = Submission(name="x", directory=tmp_path, jobs=[["a"]], minutes=5, signal_seconds=60)
    assert option in schedulers()[scheduler].script(submission, array.need, cluster).splitlines()
