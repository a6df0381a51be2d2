"""Names of runs that are sent, reasons of a refusal, and scores that are not those of the frames."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.scores.table import tidy, write_scores
from analysis.submission.submit import REMEDY, RefusedSubmission, compare_scores, submit
from tests.analysis.tables.lines import lines_of


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a b", "../up", "x\n", "-"])
def test_names_that_are_no_folder_are_refused_before_anything_is_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no name for a run: letters, digits and -_\. alone"):
        submit(tmp_path / "nowhere", tmp_path / "target", name=name)
    assert not (tmp_path / "target").exists()


def test_a_good_name_of_a_folder_without_cells_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no cells"):
        submit(tmp_path, tmp_path / "target", name="2026-01_theirs.v2")


def test_every_reason_is_told_and_what_to_do() -> None:
    one, two = RefusedSubmission(["bad"]), RefusedSubmission(["bad", "worse"])
    assert str(one) == f"1 reason against these results:\n  bad\n{REMEDY}"
    assert str(two).startswith("2 reasons against these results:\n  bad\n  worse\n")
    assert two.reasons == ("bad", "worse")


def scores(**values: float) -> pd.DataFrame:
    named = {name.replace("_", "-"): value for name, value in values.items()}
    lines = [line for name, value in named.items() for line in lines_of("md", {"AA": [value]}, metric=name)]
    return tidy(pd.DataFrame(lines))


def compared(claimed: pd.DataFrame, found: pd.DataFrame, folder: Path) -> list[str]:
    write_scores(folder, claimed)
    return compare_scores(folder, found)


def test_scores_within_what_machines_differ_by_pass(tmp_path: Path) -> None:
    assert compare_scores(tmp_path, scores(energy_w2=1.0)) == []
    assert compared(scores(energy_w2=1.0009, ess=0.0), scores(energy_w2=1.0, ess=5e-10), tmp_path) == []
    assert (
        compared(scores(energy_w2=np.inf, k_hat=np.nan), scores(energy_w2=np.inf, k_hat=np.nan), tmp_path)
        == []
    )


def test_another_score_is_told_with_both_numbers(tmp_path: Path) -> None:
    said = compared(scores(energy_w2=0.9, ess=0.5), scores(energy_w2=1.0, ess=0.5), tmp_path)
    assert said[0] == ("AA, md, 1,000 evaluations, seed 0: scores.csv says energy-w2 0.9, its frames give 1")
    assert "`prosebench score RUN_FOLDER` does it again" in said[1]
    assert len(said) == 2


def test_a_score_of_what_nobody_computed_is_another_score(tmp_path: Path) -> None:
    said = compared(scores(energy_w2=1.0, torus_w2=0.1), scores(energy_w2=1.0), tmp_path)
    assert "torus-w2 0.1, its frames give nan" in said[0]


def test_scores_of_other_weightings_or_references_are_none_of_these(tmp_path: Path) -> None:
    claimed = scores(energy_w2=1.0)
    assert compared(claimed, claimed.assign(reference="f" * 12), tmp_path) != []
    assert compared(claimed.assign(weighting="filtered"), claimed, tmp_path) != []
    # What was not scored, and lines of no cell, claim nothing.
    assert compared(claimed.assign(status="failed", value=7.0), claimed, tmp_path) == []
    assert compared(claimed.assign(cell_id="", value=7.0), claimed, tmp_path) == []
