import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.metrics.score import distances, score
from analysis.scores.convergence import floor
from analysis.scores.run import score_run
from analysis.scores.yardsticks import stuck, with_ceiling, with_floor, with_yardsticks
from analysis.tables.comparisons import comparison_groups, csv_text, excess_markdown, markdown
from analysis.tables.main import main_table
from prosebench.names import CEILING, FLOOR
from prosebench.record import cell_folders, read_cell
from prosebench.reference import Reference


@pytest.fixture(scope="module")
def scores(run_folder: Path, reference_folder: Path) -> pd.DataFrame:
    return with_ceiling(score_run(run_folder, [reference_folder]), [reference_folder])


def test_the_ceiling_is_what_one_frame_over_and_over_scores(reference: Reference):
    many = reference.spare.select(np.full(50, 3))
    expected = score(many, reference, n_frames=50, seed=0)
    found = stuck(reference, 3, 50)
    for name, value in found.items():
        # Fifty equal points differ from one by a pseudo-count of 1e-10 a state.
        assert value == pytest.approx(expected.value(name), rel=1e-6)


def test_every_budget_has_a_ceiling_that_competes_with_none(scores: pd.DataFrame):
    made = scores[scores.method == CEILING]
    assert set(made.budget) == {60, 600}
    assert set(made.seed) == {0, 1}
    rows = [row for row in main_table(scores).rows if row.ceiling]
    assert [row.label for row in rows] == ["ceiling", "ceiling"]
    assert not any(row.best for row in rows)


def test_without_a_reference_there_is_no_ceiling(scores: pd.DataFrame, tmp_path: Path):
    plain = scores[scores.method != CEILING].assign(peptide="ZZ")
    assert with_ceiling(plain, [tmp_path]).equals(plain)


def test_a_run_without_the_control_has_a_floor_all_the_same(
    run_folder: Path, reference_folder: Path, reference: Reference, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    scores = score_run(run, [reference_folder])
    without = scores[scores["method"] != FLOOR]
    shown = with_yardsticks(without, [reference_folder], directory=run)
    made = shown[shown["method"] == FLOOR]
    assert set(made["budget"]) == {60, 600}
    assert set(made["peptide"]) == set(without[without["status"] == "done"]["peptide"])
    here = (made["peptide"] == reference.sequence) & (made["budget"] == 60) & (made["metric"] == "torus-w2")
    asked = max(read_cell(folder).frames for folder in cell_folders(run))
    assert made[here]["value"].tolist() == [floor(reference, 60, asked)["torus-w2"]]
    assert set(made[here]["frames"]) == {60}
    labels = [row.label for row in main_table(shown).rows if row.budget == 60]
    assert labels.count("floor") == labels.count("ceiling") == 1
    kept = sorted(path.name for path in (run / "scores").glob("floor-*"))
    assert kept
    pd.testing.assert_frame_equal(with_yardsticks(without, [reference_folder], directory=run), shown)
    assert sorted(path.name for path in (run / "scores").glob("floor-*")) == kept


def test_at_a_budget_below_the_frames_asked_for_the_floor_is_against_all_of_them(
    run_folder: Path, reference_folder: Path, reference: Reference
) -> None:
    """As a cell of the control would be: few frames, but as many of the reference as every method meets."""
    scores = score_run(run_folder, [reference_folder])
    few = scores[(scores["method"] != FLOOR) & (scores["budget"] == 60)].assign(budget=20)
    made = with_floor(few, [reference_folder], directory=run_folder)
    made = made[(made["method"] == FLOOR) & (made["peptide"] == reference.sequence)]
    expected = distances(
        reference.spare.select(slice(0, 20)),
        reference.scored.select(slice(0, 60)),
        reference.tica,
        reference.peptide.topology,
    )
    assert dict(zip(made["metric"], made["value"], strict=True)) == expected
    assert set(made["frames"]) == {20}


def test_where_the_control_was_run_its_cells_are_the_floor(run_folder: Path, reference_folder: Path) -> None:
    scores = score_run(run_folder, [reference_folder])
    assert with_floor(scores, [reference_folder], directory=run_folder).equals(scores)


def test_a_computed_floor_is_about_what_cells_of_the_control_score(
    run_folder: Path, reference_folder: Path
) -> None:
    scores = score_run(run_folder, [reference_folder])
    without = scores[scores["method"] != FLOOR]
    computed = with_floor(without, [reference_folder], directory=run_folder)
    for metric in ("energy-w2", "torus-w2"):
        found, cells = (
            table[(table["method"] == FLOOR) & (table["metric"] == metric) & (table["budget"] == 600)][
                "value"
            ]
            for table in (computed, scores)
        )
        assert 0.5 < found.mean() / cells.mean() < 2.0


def test_comparisons_and_excess_are_written(scores: pd.DataFrame):
    groups = comparison_groups(scores)
    rows = {row for group in groups for one in group.comparisons for row in (one.row, one.other)}
    assert rows == {"md", "flow_a&b", "clashing"}
    assert "Refused at 60: md and flow_a&b are not compared: 12 against 60 frames." in markdown(groups)
    assert "12 against 60 frames" in markdown(comparison_groups(scores, allow=["frames"])).split("Refused")[0]
    assert {
        group.comparisons[0].other for group in comparison_groups(scores, against="md") if group.comparisons
    } == {"md"}
    assert csv_text(groups).count("\n") == 1 + sum(len(group.comparisons) for group in groups)
    assert "| 600 | md |" in excess_markdown(scores)
    assert markdown([]) == csv_text([]) == ""
