"""Which rows there are, on what they stand, which are bold, and where their intervals end."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.metrics.registry import BY_NAME
from analysis.tables.comparisons import comparison_groups
from analysis.tables.main import main_table
from analysis.tables.text import latex, markdown
from prosebench.names import EXTERNAL
from tests.analysis.tables.lines import lines_of, row_of


def test_temperatures_do_not_compete(scores: pd.DataFrame):
    hot = scores[scores["row"].isin(["md", "worse"])].assign(temperature_kelvin=498.0)
    table = main_table(pd.concat([scores, hot]))
    cold_rows, hot_rows = table.groups
    assert [row.row for row in hot_rows] == ["md", "worse"]
    assert table.group_title(hot_rows[0]) == "498 K, 1,000 energy evaluations"
    assert cold_rows == list(main_table(scores).rows)


def test_rows_stand_in_order_with_the_floor_last(scores: pd.DataFrame):
    table = main_table(scores)
    assert [row.row for row in table.rows] == ["prose-snis", "tbg", "md", "half", "worse", "reference-draw"]
    assert table.rows[-1].floor
    # Distances are averaged geometrically, over seeds and over peptides.
    assert row_of(table, "md").estimates["energy-w2"].value == pytest.approx((1.0 * 1.2 * 1.1 * 1.3) ** 0.25)
    assert row_of(table, "md").peptides == "2/2"
    assert row_of(table, "md").seeds == "2"


def test_the_best_is_bold_with_all_that_cannot_be_told_from_it(scores: pd.DataFrame):
    rng = np.random.default_rng(0)
    names = [f"{one}{other}" for one in "ACDEF" for other in "AK"]

    def around(level: float) -> dict[str, list[float]]:
        return {name: (level + rng.normal(0.0, 0.1, 2)).tolist() for name in names}

    many = [
        *lines_of("prose-snis", around(1.0)),
        *lines_of("md", around(1.02)),
        *lines_of("worse", around(1.5)),
    ]
    table = main_table(pd.DataFrame(many))
    assert {row.row for row in table.rows if "energy-w2" in row.best} == {"prose-snis", "md"}
    # Two peptides cannot tell anything apart: nobody has won.
    few = main_table(scores)
    assert not any(row.best for row in few.rows)


def test_no_spread_however_wide_makes_a_hopeless_method_equal_to_the_best():
    """energy-w2 in kT that was measured on four dipeptides: the spread of the first is larger than its mean's error."""
    measured = {
        "bg": [4181.1, 4931.0, 3495.6, 12346.5],
        "prose-snis": [24.8, 64.1, 29.1, 119.1],
        "parallel-tempering": [1.14, 4.76, 2.08, 5.75],
        "md": [0.636, 1.447, 1.152, 3.216],
    }
    lines = [
        line
        for row, values in measured.items()
        for line in lines_of(
            row, {name: [one] for name, one in zip(("AA", "KG", "SS", "VF"), values, strict=True)}
        )
    ]
    table = main_table(pd.DataFrame(lines))
    assert {row.row for row in table.rows if row.best} == {"md"}
    assert any("by their logarithms" in line for line in table.footer)


def test_a_weighted_row_competes_by_all_of_its_weights_and_shows_the_filter_behind_it():
    names = [f"{one}{other}" for one in "ACDEF" for other in "AK"]
    table = main_table(
        pd.DataFrame(
            [
                *lines_of("md", {name: [2.0, 2.1] for name in names}),
                *lines_of("flow", {name: [3.0, 3.1] for name in names}, weighting="smoothed"),
                *lines_of("flow", {name: [1.0, 1.1] for name in names}, weighting="filtered"),
                *lines_of("old", {name: [4.0, 4.1] for name in names}, weighting="filtered"),
            ]
        )
    )
    by_label = {row.label: row for row in table.rows}
    assert list(by_label) == ["md", "flow", "flow, filtered", "old, filtered"]
    assert {row.label for row in table.rows if row.best} == {"md"}
    assert by_label["flow"].estimates["energy-w2"].value == pytest.approx(3.05, rel=1e-3)
    assert (by_label["flow, filtered"].secondary, by_label["old, filtered"].secondary) == (True, False)
    assert "flow, filtered" in markdown(table)


def test_intervals_end_where_that_of_the_floor_does_on_the_peptides_of_the_row():
    """The floor is 0.1 on some peptides and 1 on others: a row on the latter alone is bounded by those."""
    low, high = ("AA", "AK", "AS"), ("KK", "KS", "KG")
    on_high = {"KK": [0.8, 0.9], "KS": [1.0, 1.1], "KG": [1.2, 1.25]}
    of_floor = {name: [0.09, 0.11] for name in low} | on_high
    spread = ([1.0, 1.1], [9.0, 9.5], [1.1, 1.3])
    wide = dict(zip(high, spread, strict=True))
    lines = [
        *lines_of("reference-draw", of_floor),
        *lines_of("md", wide),
        *lines_of("worse", dict.fromkeys(low, spread[0]) | wide),
        *lines_of("flow", wide, weighting="smoothed"),
        *lines_of("flow", wide, weighting="filtered"),
    ]
    table = main_table(pd.DataFrame(lines))
    alone = {row.row: row for row in main_table(pd.DataFrame(lines_of("reference-draw", of_floor))).rows}
    (expected,) = main_table(pd.DataFrame(lines_of("reference-draw", on_high))).rows
    ends = {row.label: row.estimates["energy-w2"].low for row in table.rows}
    for label in ("md", "flow", "flow, filtered"):
        assert ends[label] == pytest.approx(expected.estimates["energy-w2"].low)
        assert ends[label] < expected.estimates["energy-w2"].value
    assert ends["worse"] == pytest.approx(
        max(alone["reference-draw"].estimates["energy-w2"].low, ends["worse"])
    )
    assert ends["worse"] < ends["md"]
    # Of peptides that the floor was not run on nothing is known.
    fewer = pd.DataFrame(
        [line for line in lines if (line["row"], line["peptide"]) != ("reference-draw", "KG")]
    )
    assert row_of(main_table(fewer), "md").estimates["energy-w2"].low < 0.8


def test_no_interval_reaches_below_the_floors_and_unconverged_references_are_marked():
    wide = {"AA": [0.2], "KG": [5.0], "SS": [0.3]}
    floor = lines_of("reference-draw", {name: [0.15] for name in wide})
    doubted = lines_of("md", wide, reference_spread=2.5)
    table = main_table(pd.DataFrame([*floor, *doubted]))
    md = row_of(table, "md")
    assert md.estimates["energy-w2"].low == pytest.approx(0.15)
    assert "not converged (AA, KG, SS)" in md.note
    assert "Not converged: the references of AA, KG, SS" in markdown(table)
    assert "Few peptides: 3." in markdown(table)
    many = lines_of("md", {f"P{number}": [0.2] for number in range(12)}, length=4)
    assert "Few peptides: 3." in markdown(main_table(pd.DataFrame([*floor, *doubted, *many])))
    assert "Few peptides" not in markdown(main_table(pd.DataFrame(many)))
    assert "not converged" not in markdown(main_table(pd.DataFrame(lines_of("md", wide))))


def test_the_best_has_the_smallest_geometric_mean_although_another_has_the_smaller_mean():
    names = [f"{one}{other}" for one in "ACDEF" for other in "AK"]
    good = {name: [0.1, 0.11] for name in names[1:]} | {names[0]: [21.0, 22.0]}
    plain = {name: [2.0, 2.1] for name in names}
    table = main_table(pd.DataFrame([*lines_of("md", good), *lines_of("prose-snis", plain)]))
    by_mean = main_table(
        pd.DataFrame([*lines_of("md", good), *lines_of("prose-snis", plain)]),
        [replace(BY_NAME["energy-w2"], scale="linear")],
    )
    md, other = (row_of(by_mean, name).estimates["energy-w2"].value for name in ("md", "prose-snis"))
    assert md > other
    assert {row.row for row in table.rows if row.best} == {"md"}


def test_rows_of_fewer_frames_do_not_compete():
    scores = pd.DataFrame(
        [
            *lines_of("md", {"AA": [1.0], "KG": [1.0]}, frames=12),
            *lines_of("prose-snis", {"AA": [2.0], "KG": [2.0]}),
            *lines_of("smc", {"AA": [3.0], "KG": [2.5]}),
        ]
    )
    assert not row_of(main_table(scores), "md").best


def test_a_row_on_fewer_peptides_does_not_compete(scores: pd.DataFrame):
    half = row_of(main_table(scores), "half")
    assert half.peptides == "1/2"
    assert not half.best
    assert "no memory" in half.note


def test_declared_rows_are_never_bold_and_take_no_bold_away():
    names = [f"{one}{other}" for one in "ACDEF" for other in "AK"]

    def level(value: float) -> dict[str, list[float]]:
        return {name: [value + 0.01 * number, value] for number, name in enumerate(names)}

    metered = [
        *lines_of("prose-snis", level(1.0)),
        *lines_of("md", level(1.5)),
    ]
    # Better than all, of more frames, on more peptides; and several, which would use up a correction.
    declared = [
        line
        for number in range(8)
        for line in lines_of(
            f"theirs-{number} (declared)", {**level(0.1), "GG": [0.1]}, method=EXTERNAL, frames=5000
        )
    ]
    table = main_table(pd.DataFrame(metered + declared))
    assert {row.row for row in table.rows if row.best} == {"prose-snis"}
    assert row_of(table, "md").peptides == "10/11"
    assert "Declared: " in markdown(table)
    assert "Declared: " not in markdown(main_table(pd.DataFrame(metered)))
    groups = comparison_groups(pd.DataFrame(metered + declared), allow=("peptides", "frames"))
    alone = comparison_groups(pd.DataFrame(metered))
    (pair,) = (one for one in groups[0].comparisons if not one.marks)
    assert pair == alone[0].comparisons[0]
    assert sum("declared costs" in one.marks for one in groups[0].comparisons) == 16


def test_peptides_are_counted_in_the_suite_and_not_in_the_run():
    two = main_table(pd.DataFrame(lines_of("md", {"AA": [1.0], "KG": [2.0]}, planned=30)))
    assert two.rows[0].peptides == "2/30"
    own = main_table(pd.DataFrame(lines_of("md", {"AA": [1.0], "WW": [2.0]}, suite="my-own")))
    assert own.rows[0].peptides == "2/2"


def test_a_row_alone_has_won_nothing():
    table = main_table(
        pd.DataFrame(lines_of("md", {"AA": [1.0, 2.0]}) + lines_of("reference-draw", {"AA": [0.1]}))
    )
    assert not any(row.best for row in table.rows)


def test_more_is_better_for_ess():
    low, high = (
        lines_of("md", {"AA": [0.1, 0.12]}, metric="ess"),
        lines_of("prose-snis", {"AA": [0.5, 0.52]}, metric="ess"),
    )
    table = main_table(pd.DataFrame(low + high))
    assert [row.row for row in table.rows if "ess" in row.best] == ["prose-snis"]


def test_groups_are_named_by_what_varies(scores: pd.DataFrame):
    longer = scores.assign(peptide=scores["peptide"] + "AA", length=4)
    assert "2 residues, 1,000 energy evaluations" in latex(main_table(pd.concat([scores, longer])))
    assert "2 residues" not in latex(main_table(scores))
