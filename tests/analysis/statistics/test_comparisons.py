import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.metrics.registry import WASSERSTEIN
from analysis.statistics.comparisons import (
    UnequalComparison,
    compare,
    compare_rows,
    excess,
    holm,
    level,
    ratio_to_floor,
)


def lines(row: str, values: dict[str, list[float]], **changes: object) -> pd.DataFrame:
    common = {"row": row, "budget": 1000, "metric": "torus-k-jsd", "frames": 100, "reference": "r"}
    common |= {"reference_error": np.nan} | changes
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
    assert found.effect.value == pytest.approx(-0.5, abs=0.05)
    assert found.effect.high < -0.4
    assert (found.wins, found.losses, found.test) == (10, 0, "signed-rank")
    assert found.p == pytest.approx(2.0**-9)
    assert found.distinguishable


def test_order_of_rows_and_sides_does_not_matter():
    a, b = lines("a", many(1.0, 0.3, 0)), lines("b", many(1.1, 0.3, 1))
    one, other = compare(a, b), compare(b.sample(frac=1.0, random_state=0), a)
    assert one.p == pytest.approx(other.p)
    assert one.effect.value == pytest.approx(-other.effect.value)
    assert one.effect.low == pytest.approx(-other.effect.high)


def on(values: list[float]) -> dict[str, list[float]]:
    """One seed of each peptide."""
    return {f"P{i}": [value] for i, value in enumerate(values)}


WILD = {"AA": [4181.1], "KG": [4931.0], "SS": [3495.6], "VF": [12346.5]}
TAME = {"AA": [0.636], "KG": [1.447], "SS": [1.152], "VF": [3.216]}


def test_a_method_thousands_of_times_worse_on_every_peptide_is_told_apart_although_its_spread_is_enormous():
    """energy-w2 in kT of the Boltzmann generator and of MD, measured on four dipeptides."""
    found = compare(
        lines("bg", WILD, metric="energy-w2"), lines("md", TAME, metric="energy-w2"), n_comparisons=21
    )
    assert found.pair == "bg / md"
    assert found.effect.value == pytest.approx(
        np.exp(np.mean(np.log([6574.1, 3407.7, 3034.4, 3839.1]))), rel=1e-3
    )
    assert 2000.0 < found.effect.low < found.effect.high < 8000.0
    assert (found.test, found.losses) == ("paired t", 4)
    assert found.p < 0.05 / 21.0
    as_they_are = compare(lines("bg", WILD), lines("md", TAME), n_comparisons=21)
    assert as_they_are.pair == "bg − md"
    assert as_they_are.p > 0.05  # what the mean of differences would say


@pytest.mark.parametrize("metric", WASSERSTEIN)
def test_distances_are_compared_by_ratios_whatever_their_size(metric: str):
    rng = np.random.default_rng(0)
    small, factor = np.exp(rng.normal(0.0, 3.0, 4)), np.array([1.5, 2.0, 2.0, 2.5])
    found = compare(lines("a", on(factor * small), metric=metric), lines("b", on(small), metric=metric))
    assert found.effect.value == pytest.approx(factor.prod() ** 0.25)
    t = np.log(factor).mean() / (np.log(factor).std(ddof=1) / 2.0)
    assert found.p == pytest.approx(2.0 * stats.t.sf(t, 3))
    turned = compare(lines("b", on(small), metric=metric), lines("a", on(factor * small), metric=metric))
    assert turned.effect.value == pytest.approx(1.0 / found.effect.value)
    assert turned.effect.high == pytest.approx(1.0 / found.effect.low)
    assert turned.p == pytest.approx(found.p)


def test_a_distance_of_zero_or_without_end_wins_or_loses_and_breaks_nothing():
    plain = lines("b", on([1.0, 2.0, 3.0]), metric="energy-w2")
    for value, ratio, wins in ((0.0, 0.0, 1), (np.inf, np.inf, 0)):
        found = compare(lines("a", on([value, 2.0, 3.0]), metric="energy-w2"), plain)
        assert (found.effect.value, found.effect.low, found.wins) == (ratio, None, wins)
        assert found.test == "signed-rank"
        assert not found.distinguishable
    assert compare(plain, plain).effect.value == 1.0


def test_a_share_may_be_zero_and_is_compared_by_differences():
    a, b = lines("a", on([0.0, 0.01, 0.0]), metric="ess"), lines("b", on([0.1, 0.12, 0.1]), metric="ess")
    found = compare(a, b)
    assert found.effect.value == pytest.approx(-(0.1 + 0.11 + 0.1) / 3.0)
    assert found.distinguishable


def test_a_row_is_ranked_by_what_is_tested():
    assert level(lines("a", on([1.0, 100.0]), metric="energy-w2")) == pytest.approx(np.log(10.0))
    assert level(lines("a", on([1.0, 100.0]), metric="ess")) == pytest.approx(50.5)


def test_the_ratio_tells_from_the_floor_what_the_excess_cannot():
    row = lines("bg", WILD, metric="energy-w2")
    floor = lines("floor", {"AA": [0.222], "KG": [0.388], "SS": [0.512], "VF": [0.524]}, metric="energy-w2")
    assert excess(row, floor).low < 0.0
    assert ratio_to_floor(row, floor).low > 1000.0
    assert ratio_to_floor(floor, floor).ends == (1.0, 1.0)
    assert ratio_to_floor(row, floor[floor.peptide != "KG"]) is None
    assert ratio_to_floor(row, floor.assign(frames=10)) is None


def test_few_peptides_are_compared_by_students_test_and_one_by_welchs():
    few = compare(
        lines("a", {"P": [1.0], "Q": [1.1], "R": [0.9]}), lines("b", {"P": [2.0], "Q": [2.2], "R": [1.8]})
    )
    assert few.test == "paired t"
    assert few.p < 0.05
    one = compare(lines("a", {"P": [1.0, 1.1, 0.9]}), lines("b", {"P": [2.0, 2.1, 1.9]}))
    assert (one.test, one.effect.n_peptides) == ("Welch t", 1)
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
    assert found.effect.value == -np.inf
    assert (found.wins, found.effect.low) == (10, None)
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


def test_one_peptide_is_judged_with_the_error_of_its_reference():
    sides = [lines(row, {"AA": values}) for row, values in (("a", [0.10, 0.11]), ("b", [0.15, 0.16]))]
    known = compare(*sides)
    doubtful = compare(*(side.assign(reference_error=0.05) for side in sides))
    assert known.p < 0.05 < doubtful.p
    assert doubtful.effect.low < 0.0 < doubtful.effect.high
    ratios = [side.assign(metric="torus-w2") for side in sides]
    exact = compare(*ratios)
    shaken = compare(*(side.assign(reference_error=0.5 * side["value"]) for side in ratios))
    assert shaken.p > exact.p
    assert shaken.effect.low < exact.effect.low


def test_what_would_be_told_is_told_four_times_in_five():
    rng = np.random.default_rng(0)
    told, tried, seen = 0, 400, []
    first = {f"P{i}": [float(np.exp(rng.normal(0.0, 0.3)))] for i in range(4)}
    at = lines("b", first, metric="torus-w2")
    found = compare(lines("a", {name: [1.0] for name in first}, metric="torus-w2"), at).detectable
    assert found is not None
    shift, spread = np.log(found), np.log([one[0] for one in first.values()]).std(ddof=1)
    for _ in range(tried):
        differences = rng.normal(shift, spread, 4)
        seen.append(stats.ttest_1samp(differences, 0.0).pvalue)
    told = float(np.mean(np.array(seen) < 0.05))
    assert told == pytest.approx(0.8, abs=0.07)
    assert compare(lines("a", {"AA": [1.0, 2.0]}), lines("b", {"AA": [1.0, 2.0]})).detectable is None
