"""The price of training: found by the name of the weights, paid back after as many peptides as arithmetic says."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.figures.price import price_figure
from analysis.figures.style import save
from analysis.tables.price import (
    arrival,
    payback_text,
    paybacks,
    price_markdown,
    price_of,
    prices,
)

FLOW = "prose-snis (prose-mini)"
TRAINED = prices()["prose-mini"].evaluations


def lines(rows: dict[str, dict[int, float]], peptides: tuple[str, ...] = ("AA", "KG")) -> pd.DataFrame:
    """Scores of rows that have one T-W2 at each budget, the first peptide half of it, the second twice."""
    common = {
        "suite": "s", "length": 2, "seed": 0, "status": "done", "weighting": "", "temperature_kelvin": 310.0,
        "metric": "torus-w2", "reference_error": np.nan,
    }  # fmt: skip
    factors = dict(zip(peptides, (0.5, 2.0), strict=False))
    return pd.DataFrame(
        [
            common | {"row": row, "method": row.split(" ")[0].split("-t")[0], "budget": budget}
            | {"peptide": peptide, "value": value * factor}
            for row, by_budget in rows.items()
            for budget, value in by_budget.items()
            for peptide, factor in factors.items()
        ]
    )  # fmt: skip


def test_dynamics_arrives_between_two_budgets_on_log_axes() -> None:
    curve = {100: 1.0, 10_000: 0.01}
    assert arrival(curve, 0.1) == (pytest.approx(1000.0), "")
    assert arrival(curve, 5.0) == (100.0, "≤")
    assert arrival(curve, 0.01) == (pytest.approx(10_000.0), "")
    assert arrival(curve, 0.001) == (10_000.0, ">")
    up_and_down = {100: 1.0, 1000: 0.1, 10_000: 0.5}
    assert arrival(up_and_down, 0.1) == (pytest.approx(1000.0), "")


def test_training_pays_after_as_many_peptides_as_arithmetic_says() -> None:
    (found,) = paybacks(lines({"md": {1000: 1.0, 100_000: 0.1}, FLOW: {1000: math.sqrt(0.1)}}))
    assert found.dynamics == pytest.approx(10_000.0)
    assert found.bound == ""
    assert found.distance == pytest.approx(math.sqrt(0.1))
    assert found.peptides == pytest.approx(TRAINED / 9000.0)
    # At that number both ways cost the same.
    assert TRAINED + found.peptides * found.spent == pytest.approx(found.peptides * found.dynamics)


def test_the_dynamics_that_arrives_first_counts() -> None:
    slow, fast = {1000: 1.0, 100_000: 0.1}, {1000: 0.5, 100_000: 0.1}
    (alone,) = paybacks(lines({"md": slow, FLOW: {1000: 0.2}}))
    (both,) = paybacks(lines({"md": slow, "md-tuned": fast, FLOW: {1000: 0.2}}))
    assert both.dynamics < alone.dynamics


def test_what_dynamics_never_reached_is_a_bound() -> None:
    (found,) = paybacks(lines({"md": {1000: 1.0, 100_000: 0.3}, FLOW: {1000: 0.2}}))
    assert found.bound == ">"
    assert payback_text(found).startswith("≤ ")
    assert "> 100,000" in price_markdown([found])


def test_what_dynamics_had_reached_before_its_first_budget_is_a_bound_too() -> None:
    """It may have been there much earlier: the flow pays no sooner than said."""
    (found,) = paybacks(lines({"md": {200_000: 0.1}, FLOW: {1000: 0.2}}))
    assert (found.dynamics, found.bound) == (200_000.0, "≤")
    assert payback_text(found).startswith("≥ ")
    assert "≤ 200,000" in price_markdown([found])


def test_a_flow_that_is_no_better_never_pays() -> None:
    (found,) = paybacks(lines({"md": {1000: 0.1}, FLOW: {1000: 0.2}}))
    assert found.peptides is None
    assert payback_text(found) == "never"
    (found,) = paybacks(lines({"md": {1000: 0.3}, FLOW: {1000: 0.2}}))
    assert payback_text(found) == "not told"


def test_preparation_counts_for_each_peptide() -> None:
    scores = lines({"md": {1000: 1.0, 100_000: 0.1}, FLOW: {1000: math.sqrt(0.1)}})
    prepared = scores[scores["row"] == FLOW].assign(metric="preparation-evaluations", value=4000.0)
    (found,) = paybacks(pd.concat([scores, prepared], ignore_index=True))
    assert found.spent == 5000.0
    assert found.peptides == pytest.approx(TRAINED / 5000.0)


def test_dynamics_counts_on_the_same_peptides_alone() -> None:
    scores = lines({"md": {1000: 1.0, 100_000: 0.1}, FLOW: {1000: math.sqrt(0.1)}})
    one = scores[~((scores["row"] == FLOW) & (scores["peptide"] == "KG"))]
    (found,) = paybacks(one)
    assert found.dynamics == pytest.approx(10_000.0)
    without = one[~((one["row"] == "md") & (one["peptide"] == "AA"))]
    assert not paybacks(without)


def test_weights_are_known_by_their_name_and_a_file_of_that_name_is_not() -> None:
    assert price_of("arbg-snis (arbg-small)") == prices()["arbg-small"]
    assert price_of("prose-snis (prose-mini.npz)") is None
    assert price_of("md") is None
    assert price_markdown([]) == ""
    assert price_figure([]) is None


def test_every_price_says_where_it_is_from() -> None:
    for price in prices().values():
        assert price.evaluations > 1e6
        assert price.source
        assert (price.training_hours is None) == (price.device == "")


def test_the_figure_has_a_line_and_a_level_for_each_row(tmp_path: Path) -> None:
    rows = {
        "md": {1000: 1.0, 100_000: 0.3},
        FLOW: {1000: 0.2, 10_000: 0.1},
        "arbg-snis (arbg-small)": {1000: 0.5},
    }
    figure = price_figure(paybacks(lines(rows)))
    assert figure is not None
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert {f"{FLOW}, T-W2 0.2", "arbg-snis (arbg-small), T-W2 0.5"} <= set(labels)
    save(figure, tmp_path / "price")
