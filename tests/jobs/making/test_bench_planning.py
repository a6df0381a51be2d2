"""Plans of many cells: every step is timed on as many cells as were asked for, and nothing is left."""

from pathlib import Path

import pytest

from jobs.making.bench_planning import bench_planning
from prosebench.suite import load_suite


def test_every_step_of_a_plan_is_timed(small_suite: Path, tmp_path: Path) -> None:
    """Seven cells of a suite that has two a seed."""
    rows = bench_planning(load_suite(str(small_suite)), tmp_path / "runs", number=7)
    assert len(rows) == 5
    for row in rows:
        assert row["cells"] == 7
        assert row["cells_per_second"] == pytest.approx(7 / float(row["seconds"]))
        assert float(row["cpu_seconds"]) > 0.0
    assert not list((tmp_path / "runs").iterdir())


def test_no_cells_are_no_plan(small_suite: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to plan: 0 cells"):
        bench_planning(load_suite(str(small_suite)), tmp_path, number=0)
