"""Comparisons of rows: who is compared with whom, what the effect is, and in which words it is told."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.statistics.comparisons import Comparison, ratio_to_floor
from analysis.statistics.estimates import Estimate
from analysis.tables.comparisons import (
    comparison_groups,
    csv_text,
    detectable_text,
    effect_texts,
    excess_markdown,
    excess_rows,
    markdown,
    titles,
)
from prosebench.names import CEILING, EXTERNAL, FLOOR
from tests.analysis.tables.lines import lines_of

NAMES = [f"{one}{other}" for one in "ACDE" for other in "AK"]


def around(value: float, *, factor: float = 1.0, metric: str = "energy-w2") -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    return {name: [factor * value * math.exp(0.1 * rng.normal())] * 2 for name in NAMES}


def table(*lines: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame([line for some in lines for line in some])


@pytest.fixture
def three() -> pd.DataFrame:
    return table(
        lines_of(FLOOR, around(0.1)),
        lines_of(CEILING, around(9.0)),
        lines_of("prose-snis", around(1.0)),
        lines_of("md", around(1.0, factor=2.0)),
        lines_of("smc-ula", around(1.0, factor=4.0)),
    )


def test_every_pair_of_samplers_is_compared_and_no_yardstick(three: pd.DataFrame):
    (group,) = comparison_groups(three)
    assert group.metric.name == "energy-w2"
    assert group.place == ("s", 2, 310.0, 1000)
    pairs = [(one.row, one.other) for one in group.comparisons]
    assert pairs == [("prose-snis", "smc-ula"), ("prose-snis", "md"), ("smc-ula", "md")]
    ratios = {pair: one.effect.value for pair, one in zip(pairs, group.comparisons, strict=True)}
    assert ratios == pytest.approx({pairs[0]: 0.25, pairs[1]: 0.5, pairs[2]: 2.0})
    assert {one.n_comparisons for one in group.comparisons} == {3}
    # All eight have the same sign: 2 / 2^8 by signed ranks, times three for the smallest of three.
    assert group.comparisons[0].p == pytest.approx(2.0 / 2**8)
    assert max(one.p_corrected for one in group.comparisons) == pytest.approx(6.0 / 2**8)


def test_against_one_row_each_other_is_compared_once(three: pd.DataFrame):
    (group,) = comparison_groups(three, against="md")
    assert [(one.row, one.other) for one in group.comparisons] == [("prose-snis", "md"), ("smc-ula", "md")]
    assert {one.n_comparisons for one in group.comparisons} == {2}


def test_temperatures_budgets_and_metrics_are_groups_of_their_own(three: pd.DataFrame):
    two = three[three["row"].isin(["md", "smc-ula"])]
    more = pd.concat(
        [
            two,
            two.assign(budget=99),
            two.assign(temperature_kelvin=498.0),
            two.assign(metric="torus-w2"),
        ]
    )
    found = [(group.place, group.metric.name) for group in comparison_groups(more)]
    assert sorted(found) == [
        (("s", 2, 310.0, 99), "energy-w2"),
        (("s", 2, 310.0, 1000), "energy-w2"),
        (("s", 2, 310.0, 1000), "torus-w2"),
        (("s", 2, 498.0, 1000), "energy-w2"),
    ]


def test_metrics_without_a_better_side_and_rows_alone_are_not_compared(three: pd.DataFrame):
    assert comparison_groups(three.assign(metric="log-z")) == []
    assert comparison_groups(three[three["row"].isin(["md", FLOOR])]) == []


def test_declared_rows_stand_beside_each_metered_one_and_are_marked(three: pd.DataFrame):
    two = three[three["row"].isin(["md", "smc-ula"])]
    theirs = [lines_of(f"theirs-{i} (declared)", around(0.5), method=EXTERNAL) for i in range(2)]
    (group,) = comparison_groups(table(two.to_dict("records"), *theirs))
    marked = [one for one in group.comparisons if one.marks]
    assert {one.marks for one in marked} == {("declared costs",)}
    assert len(marked) == 4
    assert not [one for one in marked if one.row.startswith("theirs") and one.other.startswith("theirs")]
    assert [one for one in group.comparisons if not one.marks] == list(comparison_groups(two)[0].comparisons)


def test_a_pair_on_other_peptides_is_refused_with_the_reason(three: pd.DataFrame):
    fewer = three[(three["row"] != "md") | (three["peptide"] != "AA")]
    (group,) = comparison_groups(fewer)
    assert [(one.row, one.other) for one in group.comparisons] == [("prose-snis", "smc-ula")]
    assert len(group.refused) == 2
    text = markdown([group])
    assert "Refused at 1,000: prose-snis and md are not compared: " in text
    (allowed,) = comparison_groups(fewer, allow=["peptides"])
    assert len(allowed.comparisons) == 3


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([("s", 2, 310.0, 1000)], ["1,000"]),
        ([("s", 2, 310.0, 1000), ("s", 2, 310.0, 99)], ["1,000", "99"]),
        ([("s", 2, 310.0, 9), ("t", 2, 310.0, 9)], ["s, 9", "t, 9"]),
        ([("s", 2, 310.0, 9), ("s", 4, 310.0, 9)], ["2 residues, 9", "4 residues, 9"]),
        ([("s", 2, 310.0, 9), ("s", 2, 310.5, 9)], ["310 K, 9", "310.5 K, 9"]),
    ],
)
def test_places_are_told_by_what_varies(places: list[tuple[str, int, float, int]], expected: list[str]):
    assert list(titles(iter(places)).values()) == expected


ONE = Comparison("energy-w2", "a", "b", Estimate(0.5, 0.25, 1.0, 10, 2), 7, 3, "signed-rank", 0.01, 0.02)


def test_effects_are_ratios_of_distances_and_differences_of_the_rest():
    assert effect_texts(ONE) == ("0.500", "[0.250, 1.00]")
    assert effect_texts(replace(ONE, metric="ess")) == ("0.50", "[0.25, 1.00]")
    assert ONE.pair == "a / b"
    assert replace(ONE, metric="ess").pair == "a − b"


@pytest.mark.parametrize(
    ("metric", "detectable", "text"),
    [
        ("energy-w2", 1.234, "×1.2"),
        ("ess", 0.01234, "±0.012"),
        ("ess", None, ""),
        ("ess", math.inf, ""),
        ("energy-w2", math.nan, ""),
    ],
)
def test_what_a_test_would_tell_is_a_factor_or_a_difference(metric: str, detectable: float | None, text: str):
    assert detectable_text(replace(ONE, metric=metric, detectable=detectable)) == text


def test_wins_are_told_of_the_better_side():
    """The first row has the smaller value on all peptides: eight wins of a distance, none of an ESS."""
    lines = [lines_of("prose-snis", around(0.1)), lines_of("md", around(0.2))]
    for metric, wins in (("energy-w2", "8 of 8"), ("ess", "0 of 8")):
        text = markdown(comparison_groups(table(*lines).assign(metric=metric)))
        assert f"| {wins} |" in text
        (row,) = csv.DictReader(io.StringIO(csv_text(comparison_groups(table(*lines).assign(metric=metric)))))
        assert (row["smaller"], row["larger"]) == ("8", "0")


def test_csv_has_every_digit_and_markdown_what_differs_in_bold(three: pd.DataFrame):
    groups = comparison_groups(three)
    rows = list(csv.DictReader(io.StringIO(csv_text(groups))))
    for row, one in zip(rows, groups[0].comparisons, strict=True):
        assert float(row["value"]) == one.effect.value
        assert float(row["p-corrected"]) == one.p_corrected
        assert row["effect"] == "ratio"
        assert row["distinguishable"] == "True"
    assert markdown(groups).count("| **") == 3
    assert markdown([]) == csv_text([]) == ""


def test_excess_is_that_over_the_floor_of_the_same_peptides(three: pd.DataFrame):
    (place, *_), labels = zip(*[(place, label) for place, label, _ in excess_rows(three)], strict=True)
    assert place == ("s", 2, 310.0, 1000)
    assert set(labels) == {"prose-snis", "md", "smc-ula", "ceiling"}
    ratios = {label: over["energy-w2"].value for _, label, over in excess_rows(three, ratio_to_floor)}
    assert ratios == pytest.approx({"prose-snis": 10.0, "md": 20.0, "smc-ula": 40.0, "ceiling": 90.0})
    differences = {label: over["energy-w2"].value for _, label, over in excess_rows(three)}
    floor = np.mean([values[0] for values in around(0.1).values()])
    assert differences["md"] == pytest.approx(19.0 * floor)
    text = excess_markdown(three)
    assert "E-W2 / floor" in text
    assert "| ceiling |" in text


def test_without_a_floor_there_is_no_excess(three: pd.DataFrame):
    assert excess_markdown(three[three["row"] != FLOOR]) == ""
