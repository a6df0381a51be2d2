import numpy as np
import pandas as pd
import pytest

from analysis.statistics import Estimate, estimate


def table(values: np.ndarray) -> pd.DataFrame:
    """Values (peptides, seeds) as a long table."""
    return pd.DataFrame(
        [
            {"peptide": f"P{i}", "seed": j, "value": value}
            for i, row in enumerate(values)
            for j, value in enumerate(row)
        ]
    )


def test_every_peptide_counts_the_same_whatever_its_number_of_seeds():
    values = table(np.array([[1.0, 3.0], [10.0, 10.0]])).drop(index=3)
    found = estimate(values)
    assert found.value == pytest.approx(6.0)
    assert (found.n_peptides, found.n_seeds) == (2, 1)


def test_the_order_of_rows_does_not_matter():
    values = table(np.random.default_rng(0).normal(size=(4, 3)))
    assert estimate(values) == estimate(values.sample(frac=1.0, random_state=1))


def test_one_value_has_no_interval():
    assert estimate(table(np.array([[2.5]]))) == Estimate(2.5, None, None, 1, 1)


def test_one_peptide_leaves_the_spread_over_seeds_and_one_seed_that_over_peptides():
    for values in (np.array([[1.0, 2.0, 3.0]]), np.array([[1.0], [2.0], [3.0]])):
        found = estimate(table(values))
        assert found.low is not None
        assert found.high is not None
        assert 1.0 <= found.low < 2.0 < found.high <= 3.0


def test_infinite_values_stay_visible():
    found = estimate(table(np.array([[1.0, np.inf], [2.0, 2.0]])))
    assert found.value == np.inf
    assert found.high == np.inf
    assert np.isfinite(found.low)


def test_nan_stays_visible():
    found = estimate(table(np.array([[1.0, np.nan], [2.0, 2.0]])))
    assert np.isnan(found.value)
    assert (found.low, found.high) == (None, None)


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="no values"):
        estimate(table(np.zeros((0, 0))).reindex(columns=["peptide", "seed", "value"]))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(7)
    hits = []
    for _ in range(200):
        peptides = rng.normal(5.0, 1.0, size=(25, 1))
        found = estimate(table(peptides + rng.normal(0.0, 0.5, size=(25, 3))))
        hits.append(found.low <= 5.0 <= found.high)
    assert 0.88 <= np.mean(hits) <= 1.0


def test_overlap_of_intervals():
    one, other, point = (
        Estimate(1.0, 0.5, 1.5, 4, 2),
        Estimate(2.0, 1.4, 2.6, 4, 2),
        Estimate(1.6, None, None, 1, 1),
    )
    assert one.overlaps(other)
    assert other.overlaps(one)
    assert not one.overlaps(point)
    assert other.overlaps(point)
