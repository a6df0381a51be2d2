"""The time left that a user reads is that of the methods at hand."""

from pathlib import Path

from jobs.display import time_left
from jobs.plan import plan_cells
from jobs.status import CellState
from prosebench.suite import load_suite, narrow


def test_every_row_has_its_own_pace() -> None:
    suite = narrow(load_suite("quickstart"), peptides=["AA"], budgets=[1000], seeds=[0])
    md, prose, control = (CellState(Path(), cell, "running", 400) for cell in plan_cells(suite))
    rates = {"md": 60.0, "prose-snis": 1.0}
    assert time_left([], rates) == time_left([control], rates) == []
    assert time_left([md], rates) == ["about 10 s left"]
    assert time_left([md, prose], rates) == ["about 5 min left"]  # (10 + 600) / 2
    assert time_left([prose, control], rates) == ["at least 5 min left"]
