import numpy as np
import pandas as pd
import pytest

from analysis.comparisons import UnequalComparison, compare, compare_rows, excess, holm


def lines(row: str, values: dict[str, list[float]], **changes: object) -> pd.DataFrame:
    common = {"row": row, "budget": 1000, "metric": "energy-w2", "frames": 100, "reference": "r"} | changes
    return pd.DataFrame(
        [
            common | {"peptide": peptide, "seed": seed, "value": value}
            for peptide, of_seeds in values.items()
            for seed, value in enumerate(of_seeds)
        ]
    )


def many(level: float, spread: float, seed: int) -> dict[str, list[float]]:
    """Ten peptides of very different level: only pairing by peptide can see a small difference."""
    rng = np.random.default_rng(seed)
    return {f"P{i}": (10.0 * i + level + rng.normal(0.0, spread, 2)).tolist() for i in range(10)}


def test_differences_are_paired_by_peptide():
    found = compare(lines("a", many(1.0, 0.05, 0)), lines("b", many(1.5, 0.05, 1)))
    assert found.difference.value == pytest.approx(-0.5, abs=0.05)
    assert found.difference.high < -0.4
    assert (found.wins, found.losses, found.test) == (10, 0, "signed-rank")
    assert found.p == pytest.approx(2.0**-9)
    assert found.distinguishable


def test_order_of_rows_and_sides_does_not_matter():
    a, b = lines("a", many(1.0, 0.3, 0)), lines("b", many(1.1, 0.3, 1))
    one, other = compare(a, b), compare(b.sample(frac=1.0, random_state=0), a)
    assert one.p == pytest.approx(other.p)
    assert one.difference.value == pytest.approx(-other.difference.value)
    assert one.difference.low == pytest.approx(-other.difference.high)


def test_few_peptides_are_compared_by_students_test_and_one_by_welchs():
    few = compare(
        lines("a", {"P": [1.0], "Q": [1.1], "R": [0.9]}), lines("b", {"P": [2.0], "Q": [2.2], "R": [1.8]})
    )
    assert few.test == "paired t"
    assert few.p < 0.05
    one = compare(lines("a", {"P": [1.0, 1.1, 0.9]}), lines("b", {"P": [2.0, 2.1, 1.9]}))
    assert (one.test, one.difference.n_peptides) == ("Welch t", 1)
    assert one.distinguishable
    assert not compare(lines("a", {"P": [1.0]}), lines("b", {"P": [9.0]})).distinguishable


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"budget": 2000}, "budget", "1,000 against 2,000 evaluations"),
        ({"frames": 50}, "frames", "100 against 50 frames"),
        ({"drop": "P3"}, "peptides", "10 against 9 peptides, 9 in common"),
    ],
)
def test_unequal_conditions_are_refused_unless_asked_for_and_then_marked(
    changes: dict[str, object], kind: str, words: str
):
    values = many(1.5, 0.05, 1)
    values.pop(str(changes.get("drop")), None)
    a = lines("a", many(1.0, 0.05, 0))
    b = lines("b", values, **{name: value for name, value in changes.items() if name != "drop"})
    with pytest.raises(UnequalComparison, match=words):
        compare(a, b)
    assert compare(a, b, allow=[kind]).marks == (words,)
    assert compare(a, a).marks == ()
    with pytest.raises(ValueError, match="cannot allow unequal sky"):
        compare(a, b, allow=["sky"])


def test_other_references_are_never_compared():
    with pytest.raises(UnequalComparison, match="references"):
        compare(lines("a", {"P": [1.0]}), lines("b", {"P": [1.0]}, reference="s"), allow=["budget"])


def test_infinite_scores_lose_and_do_not_break_the_test():
    broken = many(1.0, 0.05, 0)
    broken["P4"] = [np.inf, 1.0]
    found = compare(lines("a", many(0.5, 0.05, 1)), lines("b", broken))
    assert found.difference.value == -np.inf
    assert (found.wins, found.difference.low) == (10, None)
    assert found.distinguishable


def test_equal_rows_are_not_told_apart():
    a = lines("a", many(1.0, 0.3, 0))
    assert compare(a, a.assign(row="b")).p == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_all_pairs_are_corrected_together_and_refusals_are_told():
    table = pd.concat(
        [
            lines("a", many(1.0, 0.05, 0)),
            lines("b", many(1.5, 0.05, 1)),
            lines("c", many(1.5, 0.05, 2), frames=10),
        ]
    )
    made, refused = compare_rows(table, ["a", "b", "c"])
    assert [(one.row, one.other) for one in made] == [("a", "b")]
    assert refused == [
        "a and c are not compared: 100 against 10 frames",
        "b and c are not compared: 100 against 10 frames",
    ]
    made, _ = compare_rows(table, ["a", "b", "c"], allow=["frames"])
    assert [one.n_comparisons for one in made] == [3, 3, 3]
    assert made[0].p_corrected == pytest.approx(3.0 * made[0].p)
    against, _ = compare_rows(table, ["a", "b", "c"], against="a", allow=["frames"])
    assert [(one.row, one.other) for one in against] == [("b", "a"), ("c", "a")]


def test_excess_over_the_floor_is_paired_and_needs_equal_frames():
    row = lines("a", many(1.0, 0.02, 0))
    floor = lines("floor", many(0.2, 0.02, 1))
    found = excess(row, floor)
    assert found is not None
    assert found.value == pytest.approx(0.8, abs=0.03)
    assert found.high - found.low < 0.1
    assert excess(row, floor.assign(frames=10)) is None
    assert excess(row, floor[floor.peptide != "P3"]) is None
