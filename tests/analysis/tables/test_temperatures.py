"""A run at two temperatures: each has a reference, a floor, a ceiling, a page and drawings of its own."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.board.board import Board, make_board
from analysis.board.kept_runs import collect, read_runs
from analysis.board.leaderboard import board_files
from analysis.report.page import reference_lines
from analysis.report.report import _published_references
from analysis.scores.run import score_run
from analysis.scores.table import scored_places
from analysis.scores.yardsticks import with_ceiling
from analysis.tables.comparisons import comparison_groups, excess_rows, markdown
from analysis.tables.main import main_table
from analysis.tables.text import markdown as table_markdown
from prosebench.energy.settings import TargetSettings
from prosebench.ensemble import Ensemble
from prosebench.names import CEILING
from prosebench.reference import Reference
from tests.analysis.conftest import FRAMES, RunBuilder, with_evaluations

HOT = 400.0


@pytest.fixture(scope="module")
def references(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """References of AA at 310 K, said to be the published one, and of other frames at HOT."""
    folder = tmp_path_factory.mktemp("two")
    replace(reference, source={"kind": "published"}).save(folder / "AA.npz")
    frames = reference.ensemble.select(np.arange(len(reference.ensemble))[::-1])
    cooler = Ensemble(frames.positions_nm, frames.energies_kt * 310.0 / HOT, frames.log_weights)
    replace(reference, temperature_kelvin=HOT, ensemble=cooler).save(folder / "AA-400K.npz")
    return folder


@pytest.fixture(scope="module")
def run(pool: Ensemble, references: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = RunBuilder(tmp_path_factory.mktemp("temperatures") / "warm")
    for kelvin, name in ((310.0, "AA"), (HOT, "AA-400K")):
        spare = Reference.load(references / f"{name}.npz").spare
        target = TargetSettings(temperature_kelvin=kelvin)
        for seed in (0, 1):
            for row, shift in (("md", 0.0), ("other", 2.0)):
                frames = pool.select(np.arange(120) + 100 * seed)
                moved = Ensemble(frames.positions_nm, frames.energies_kt * 310.0 / kelvin + shift)
                cell = builder.cell(row=row, seed=seed, target=target)
                builder.done(cell, with_evaluations(moved, np.arange(1, 121) * 5))
            cell = builder.cell(row="reference-draw", settings={}, seed=seed, target=target)
            draw = spare.select(np.random.default_rng(seed).permutation(len(spare))[:FRAMES])
            builder.done(cell, with_evaluations(draw, np.arange(1, FRAMES + 1)))
    return builder.directory


@pytest.fixture(scope="module")
def board(run: Path, references: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Board]:
    runs = tmp_path_factory.mktemp("kept")
    collect(run, runs, [references])
    return runs, make_board(read_runs(runs))


def test_rows_of_a_temperature_are_compared_with_each_other_alone(run: Path, references: Path) -> None:
    scores = with_ceiling(score_run(run, [references]), [references])
    assert scored_places(scores) == [("AA", 310.0), ("AA", HOT)]
    groups = comparison_groups(scores)
    assert set(scores["row"]) - {CEILING} == {
        f"{row} at {kelvin:g} K" for row in ("md", "other", "reference-draw") for kelvin in (310, HOT)
    }
    assert {(group.temperature_kelvin, len(group.comparisons)) for group in groups} == {(310.0, 1), (HOT, 1)}
    assert not any(group.refused for group in groups)
    assert "| 400 K, 600 |" in markdown(groups)
    over = {(place[2], place[3]) for place, label, _ in excess_rows(scores) if label.startswith("md")}
    assert over == {(310.0, 600), (HOT, 600)}
    text = table_markdown(main_table(scores))
    assert all(
        f"*{control} at {kelvin} K*" in text for control in ("floor", "ceiling") for kelvin in (310, 400)
    )


def test_the_report_looks_up_the_reference_of_each_temperature(run: Path, references: Path) -> None:
    scores = score_run(run, [references])
    assert _published_references(scores, [references]) == {"AA": True, "AA-400K": False}
    hashes = [Reference.load(references / f"{name}.npz").hash[:12] for name in ("AA", "AA-400K")]
    lines = reference_lines(scores, [references], run / "scores")
    assert hashes[0] != hashes[1]
    for line, name, digest in zip(lines, ("AA", "AA-400K"), hashes, strict=True):
        assert line.startswith(f"- **{name}**: ")
        assert digest in line


def test_the_board_loses_no_temperature(board: tuple[Path, Board], run: Path, references: Path) -> None:
    runs, made = board
    shown = with_ceiling(score_run(run, [references]), [references])
    assert len(made.scores) == len(shown)
    assert set(made.scores.loc[made.scores["method"] == CEILING, "temperature_kelvin"]) == {310.0, HOT}
    for name in ("AA", "AA-400K"):
        assert made.reference(name)["hash"] == Reference.load(references / f"{name}.npz").hash
        ((_, drawn),) = made.drawings("small", name)
        assert {row["row"].split(" ")[0] for row in drawn["tica"]["rows"]} == {"md", "other"}
    files = board_files(runs)
    assert {"peptides/small-AA.html", "peptides/small-AA-400K.html"} <= set(files)
    hot = files["peptides/small-AA-400K.html"].decode()
    assert "floor at 400 K" in hot
    assert "floor at 310 K" not in hot
    assert made.reference("AA-400K")["hash"] in hot
    figures = {name for name in files if name.startswith("figures/small-scaling-wasserstein")}
    assert figures == {f"figures/small-scaling-wasserstein-{kelvin}K.svg" for kelvin in (310, 400)}
    page = files["index.html"].decode()
    assert "small. 400 K. Distances" in page
    assert page.count("floor at 400 K") == page.count("floor at 310 K") == 2
    rows = json.loads(files["leaderboard.json"])["rows"]
    assert {(row["kind"], row["temperature_kelvin"]) for row in rows if row["kind"] != "method"} == {
        (kind, kelvin) for kind in ("floor", "ceiling") for kelvin in (310.0, HOT)
    }
    cells = list(csv.DictReader(io.StringIO(files["cells.csv"].decode())))
    assert {float(cell["temperature_kelvin"]) for cell in cells} == {310.0, HOT}
    assert len({(cell["cell_id"], cell["budget"]) for cell in cells}) == len(cells) == 24
