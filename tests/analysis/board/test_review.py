"""What reviews saw: kept with the ensemble that was looked at, and told in one line."""

import json
from pathlib import Path

import pytest

from analysis.board.review import FILE, CellReview, Review, read_review, review_text, write_review
from prosebench.store.storage import DamagedFile


def seen(
    sha: str = "ab", frames: int = 10, distinct: int = 10, weights: str = "none", rerun: str = ""
) -> CellReview:
    return CellReview.model_validate(
        {"ensemble_sha256": sha, "frames": frames, "distinct": distinct, "weights": weights, "rerun": rerun}
    )


def test_a_review_comes_back_and_nobody_s_is_empty(tmp_path: Path) -> None:
    assert read_review(tmp_path) == Review()
    review = Review(cells={"c1": seen(rerun="the same bytes"), "c2": seen(weights="recomputed")})
    write_review(tmp_path, review)
    assert read_review(tmp_path) == review


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": "believed"}, "cells.c1.weights"),
        ({"distinct": -1}, "cells.c1.distinct"),
        ({"rerun": "two\nlines"}, "cells.c1.rerun"),
        ({"opinion": "good"}, "unknown key 'cells.c1.opinion'"),
    ],
)
def test_a_file_that_is_no_review_is_named(change: dict[str, object], said: str, tmp_path: Path) -> None:
    content = {"schema_version": 1, "cells": {"c1": seen().model_dump() | change}}
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(DamagedFile, match=r"review\.json is not a review: ") as damaged:
        read_review(tmp_path)
    assert said in str(damaged.value)


def test_what_was_run_again_is_kept_for_the_very_same_ensemble() -> None:
    earlier = Review(
        cells={
            "same": seen(rerun="the same bytes"),
            "changed": seen("old", rerun="the same bytes"),
            "again": seen(rerun="the same bytes"),
            "gone": seen(rerun="the same bytes"),
        }
    )
    now = Review(
        cells={
            "same": seen(distinct=9),
            "changed": seen("new"),
            "again": seen(rerun="the same costs"),
            "new": seen(),
        }
    )
    kept = now.keeping(earlier).cells
    assert {name: one.rerun for name, one in kept.items()} == {
        "same": "the same bytes",
        "changed": "",
        "again": "the same costs",
        "new": "",
    }
    # All else is what was seen now.
    assert kept["same"].distinct == 9
    assert now.keeping(Review()) == now


def test_reviews_of_a_row_are_told_in_one_line() -> None:
    assert review_text([]) == ""
    assert review_text([seen()]) == "of 1 reviewed cells, run again at review: none"
    several = [
        seen(rerun="the same bytes", weights="recomputed"),
        seen(rerun="the same bytes", weights="as declared", distinct=5),
        seen(rerun="the same costs", weights="recomputed"),
        seen(),
    ]
    assert review_text(several) == (
        "of 4 reviewed cells, run again at review: 2 gave the same bytes and 1 gave the same costs; "
        "weights as declared in 1; weights recomputed in 2; 12.5% of the frames repeat another"
    )


def test_where_nothing_was_kept_nothing_repeats() -> None:
    assert "repeat" not in review_text([seen(frames=0, distinct=0)])
