"""The time left that a user reads is that of the methods at hand."""

from dataclasses import replace
from pathlib import Path

from jobs.cells.display import paces, time_left, waiting_lines
from jobs.cells.plan import plan_cells
from jobs.cells.status import CellState
from prosebench.suite import load_suite, narrow


def test_every_row_has_its_own_pace() -> None:
    suite = narrow(
        load_suite("quickstart"),
        methods=["md", "prose-snis", "reference-draw"],
        peptides=["AA"],
        budgets=[1000],
        seeds=[0],
    )
    md, prose, control = (CellState(Path(), cell, "running", 400) for cell in plan_cells(suite))
    rates = {"md": 60.0, "prose-snis": 1.0}
    assert time_left([], rates) == time_left([control], rates) == []
    assert time_left([md], rates) == ["about 10 s left"]
    assert time_left([md, prose], rates) == ["about 10 min left"]  # the longest of the two
    assert time_left([prose, control], rates) == ["at least 10 min left"]
    assert time_left([md, replace(md, state="waiting"), replace(md, state="waiting")], rates) == [
        "about 30 s left"
    ]


def test_a_cell_that_has_just_begun_does_not_slow_its_row_down() -> None:
    suite = narrow(
        load_suite("quickstart"),
        methods=["md", "prose-snis", "reference-draw"],
        peptides=["AA"],
        budgets=[1000],
        seeds=[0],
    )
    md, prose, _ = (CellState(Path(), cell, "running", 400) for cell in plan_cells(suite))
    states = [
        replace(prose, sitting=(9000, 90.0)),
        replace(prose, sitting=(1, 10.0)),
        replace(md, sitting=(50_000, 5.0)),
        replace(md, sitting=(0, 0.0)),
    ]
    assert paces(states) == {"prose-snis": 9001 / 100, "md": 10_000}


def test_what_cells_wait_for_is_said_once_a_job() -> None:
    suite = narrow(load_suite("quickstart"), peptides=["AA"], budgets=[1000])
    cells = plan_cells(suite)[:6]
    reasons = ["in job 7_1: pending, Priority"] * 3 + ["job 5_0 ended as FAILED"] * 2 + [""]
    states = [
        CellState(Path("a/cells/b"), cell, "waiting", 0, why)
        for cell, why in zip(cells, reasons, strict=True)
    ]
    assert waiting_lines(states) == [
        "waiting: 2 cells; job 5_0 ended as FAILED",
        "waiting: 3 cells; in job 7_1: pending, Priority",
    ]
    assert waiting_lines(states[5:]) == []
    many = [
        CellState(Path("a/cells/b"), cells[0], "waiting", 0, f"in job 7_{task}: pending")
        for task in range(30)
    ]
    assert waiting_lines(many)[-1] == "and 22 more jobs"
