"""A suite on a machine that lacks references: said before anything runs, waiting until they are there."""

from pathlib import Path

import pytest

from jobs.cells.status import read_states
from jobs.making.inputs import find_inputs
from prosebench.suite import load_suite, narrow
from tests.jobs.conftest import run
from tests.jobs.making.test_reference_cuts import PLAN, build

SUITE = """
name = "mine"
peptides = ["AA", "GG"]
budgets = [60]
frames = 60
[methods.md]
warm_up_ps = 0.1
[methods.reference-draw]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(SUITE)
    return path


def states(directory: Path) -> dict[str, str]:
    return {f"{one.cell.peptide} {one.cell.row}": one.state for one in read_states(directory)}


def test_peptides_without_a_reference_wait_and_are_counted(suite: Path, tmp_path: Path) -> None:
    line = ["prosebench", "run", "--suite", "mine.toml", "--dir", "run", "--workers", "1"]
    planned = run(*line, "--dry-run", cwd=tmp_path)
    assert "references here: 1 of 2" in planned.stdout
    assert "2 to run" in planned.stdout
    assert "2 cells wait for what is not here" in planned.stdout
    (lacking,) = (text for text in planned.stderr.splitlines() if text.startswith("references"))
    assert "1 of 2 (GG). Their cells wait. To make them: `prosebench reference --suite mine.toml`" in lacking
    done = run(*line, cwd=tmp_path)
    waiting = {"GG md": "waiting", "GG reference-draw": "waiting"}
    assert states(tmp_path / "run") == {"AA md": "done", "AA reference-draw": "done"} | waiting
    assert "Waiting: 2 cells; there is no reference of the peptide here. Rows: md, reference-draw" in (
        (tmp_path / "run" / "report" / "table.md").read_text()
    )
    assert "Three ways" not in done.stdout


def test_where_nothing_can_be_scored_the_status_says_so(suite: Path, tmp_path: Path) -> None:
    line = ["prosebench", "run", "--suite", "mine.toml", "--dir", "run", "--peptides", "GG"]
    done = run(*line, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "nothing could be scored" in done.stderr
    assert "Waiting: 2 cells; there is no reference" in done.stdout.replace("\n", " ")
    assert set(states(tmp_path / "run").values()) == {"waiting"}
    report = run("prosebench", "report", "run", cwd=tmp_path, check=False)
    assert report.returncode == 1


def test_what_had_no_reference_runs_once_there_is_one(suite: Path, tmp_path: Path) -> None:
    line = ["prosebench", "run", "--suite", "mine.toml", "--dir", "run", "--workers", "1"]
    run(*line, "--peptides", "GG", "--no-report", cwd=tmp_path)
    assert states(tmp_path / "run") == {"GG md": "done", "GG reference-draw": "waiting"}
    build(tmp_path / "made", PLAN)[2].reference.save(tmp_path / "references" / "GG.npz")
    run(*line, "--peptides", "GG", "--no-report", cwd=tmp_path)
    assert states(tmp_path / "run") == {"GG md": "done", "GG reference-draw": "done"}


def test_a_reference_at_another_temperature_is_none(suite: Path) -> None:
    warm = narrow(load_suite(str(suite)), peptides=["AA"], temperatures=[310.0, 393.0])
    inputs = find_inputs(warm, [], named="mine.toml")
    assert inputs.references == (("AA", 393.0),)
    (line,) = inputs.lines
    assert "`prosebench reference --suite mine.toml --temperature 393`" in line
    assert "fetch" not in line, "the published references are at 310 K"
