"""The long table of scores: what is written comes back, and which lines stand for a row."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.scores.table import (
    COLUMNS,
    FLOATS,
    LARGEST_SPREAD,
    TEXTS,
    WHOLE,
    doubt_text,
    read_scores,
    scored_lines,
    scored_places,
    tidy,
    unconverged,
    under,
    write_scores,
)
from tests.analysis.tables.lines import lines_of


def table(*lines: dict[str, object]) -> pd.DataFrame:
    return tidy(
        pd.DataFrame([line for some in lines for line in ([some] if isinstance(some, dict) else some)])
    )


@pytest.fixture
def scores() -> pd.DataFrame:
    return table(
        *lines_of("md", {"AA": [1.0 / 3.0, np.inf], "KG": [np.nan, 5e-324]}),
        *lines_of("md", {"AA": [2.0]}, temperature_kelvin=498.0),
        *lines_of("tbg", {"NA": [np.nan]}, metric="", status="skipped", reason='needs "50 %", more'),
    )


def test_every_column_has_its_kind_and_lines_their_order(scores: pd.DataFrame):
    assert list(scores.columns) == list(COLUMNS)
    assert set(TEXTS) | set(WHOLE) | set(FLOATS) == set(COLUMNS)
    assert {scores[name].dtype.kind for name in WHOLE} == {"i"}
    assert {scores[name].dtype.kind for name in FLOATS} == {"f"}
    shuffled = tidy(scores.sample(frac=1.0, random_state=3))
    keys = ["row", "peptide", "seed"]
    assert shuffled[keys].equals(scores[keys])


def test_what_a_line_does_not_say_is_nothing_of_its_kind():
    made = table(dict.fromkeys(TEXTS, "x") | {"suite": None, "seed": np.nan})
    assert made.loc[0, "suite"] == ""
    assert made.loc[0, "seed"] == 0
    assert np.isnan(made.loc[0, "value"])


def test_every_digit_comes_back_and_the_same_table_gives_the_same_bytes(scores: pd.DataFrame, tmp_path: Path):
    path = write_scores(tmp_path, scores)
    pd.testing.assert_frame_equal(read_scores(path), scores, check_exact=True)
    first = path.read_bytes()
    write_scores(tmp_path, read_scores(path))
    assert path.read_bytes() == first


def test_names_that_look_like_nothing_stay_names(tmp_path: Path):
    """NA and NAN are peptides: asparagine, alanine."""
    odd = table(
        *lines_of("nan", {"NA": [1.0], "NAN": [2.0]}, reason="null"),
        *lines_of("None", {"AA": [np.nan]}, reason=""),
    )
    found = read_scores(write_scores(tmp_path, odd))
    assert set(found["peptide"]) == {"NA", "NAN", "AA"}
    assert set(found["row"]) == {"nan", "None"}
    assert set(found["reason"]) == {"null", ""}
    pd.testing.assert_frame_equal(found, odd)


def test_a_table_of_an_older_version_is_refused_with_the_remedy(scores: pd.DataFrame, tmp_path: Path):
    path = tmp_path / "scores.csv"
    scores.drop(columns=["gap", "planned"]).to_csv(path, index=False)
    with pytest.raises(ValueError, match="lacks the columns planned, gap; score the run again"):
        read_scores(path)


def test_what_could_not_be_scored_has_no_line_among_the_scored():
    statuses = {"A": "done", "B": "partial", "C": "unscored", "D": "skipped", "E": "failed", "F": "waiting"}
    every = table(*(lines_of("md", {name: [1.0]}, status=status) for name, status in statuses.items()))
    assert list(scored_lines(every)["peptide"]) == ["A", "B"]


def test_lines_under_a_weighting_stand_for_every_row_once():
    both = {"AA": [1.0]}
    scores = table(
        *lines_of("md", both),
        *(
            line
            for kind in ("smoothed", "filtered", "unweighted")
            for line in lines_of("flow", both, weighting=kind)
        ),
        *(line for kind in ("filtered", "unweighted") for line in lines_of("old", both, weighting=kind)),
    )
    chosen = under(scores)
    stands = sorted(zip(chosen["row"], chosen["weighting"], strict=True))
    assert stands == [("flow", "smoothed"), ("md", ""), ("old", "filtered")]
    # Asked for by name, the filter stands for those that have it, and nothing takes the place of what is missing.
    assert list(under(scores, "filtered")["weighting"]) == ["filtered", "", "filtered"]
    assert set(under(scores, "unweighted")["row"]) == {"md", "flow", "old"}
    assert set(under(scores[scores["row"] == "old"], "smoothed")["weighting"]) == {"filtered"}


def test_references_whose_halves_stay_apart_are_named_once_each():
    scores = table(
        *lines_of("md", {"AA": [1.0, 2.0]}, reference_spread=LARGEST_SPREAD),
        *lines_of("md", {"KG": [1.0, 2.0]}, reference_spread=LARGEST_SPREAD + 0.01),
        *lines_of("md", {"KG": [1.0]}, reference_spread=9.0, temperature_kelvin=498.0),
        *lines_of("md", {"SS": [1.0]}, reference_spread=np.nan),
        *lines_of("md", {"WW": [np.nan]}, reference_spread=9.0, status="failed"),
    )
    assert unconverged(scores) == ["KG", "KG-498K"]
    assert doubt_text(scores) == "references not converged:\nKG, KG-498K"
    assert doubt_text(scores[scores["peptide"] == "AA"]) == ""
    assert scored_places(scores) == [("AA", 310.0), ("KG", 310.0), ("KG", 498.0), ("SS", 310.0)]
