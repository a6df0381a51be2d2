import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.statistics.estimates import Estimate, estimate, mean_interval


def table(values: np.ndarray) -> pd.DataFrame:
    """Values (peptides, seeds) as a long table."""
    return pd.DataFrame(
        [
            {"peptide": f"P{i}", "seed": j, "value": value, "reference_error": np.nan}
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
    # Student's t for three values with standard deviation 1: 4.303 / sqrt(3) on each side.
    for values in (np.array([[1.0, 2.0, 3.0]]), np.array([[1.0], [2.0], [3.0]])):
        found = estimate(table(values))
        assert (found.low, found.high) == pytest.approx((2.0 - 2.4841, 2.0 + 2.4841), abs=1e-3)


def test_the_interval_stays_between_the_bounds():
    found = estimate(table(np.array([[1.0, 2.0, 3.0]])), bounds=(0.0, 4.0))
    assert (found.low, found.high) == (0.0, 4.0)


def test_the_error_of_the_reference_widens_the_interval_of_one_peptide_alone():
    values = table(np.array([[1.0, 1.1, 0.9]]))
    plain, wide = estimate(values), estimate(values.assign(reference_error=0.5))
    # The reference's share of the variance comes with many degrees of freedom.
    assert wide.high - wide.value == pytest.approx(1.96 * 0.5, rel=0.02)
    assert plain.high - plain.value < 0.26
    several = table(np.array([[1.0], [2.0], [3.0]]))
    assert estimate(several.assign(reference_error=5.0)) == estimate(several)


def test_a_skewed_sample_reaches_further_on_its_long_side():
    low, high = mean_interval(np.array([1.0, 1.1, 1.2, 1.3, 4.0]))
    assert high - 1.72 > 1.5 * (1.72 - low)


def test_infinite_values_stay_visible_without_an_interval():
    assert estimate(table(np.array([[1.0, np.inf], [2.0, 2.0]]))) == Estimate(np.inf, None, None, 2, 2)


def test_nan_stays_visible():
    found = estimate(table(np.array([[1.0, np.nan], [2.0, 2.0]])))
    assert np.isnan(found.value)
    assert (found.low, found.high) == (None, None)


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="no values"):
        estimate(table(np.zeros((0, 0))).reindex(columns=["peptide", "seed", "value"]))


def test_distances_are_averaged_on_the_scale_on_which_they_are_tested():
    values = {"AA": [1.0, 1.0], "KG": [100.0, 100.0], "SS": [10.0, 10.0]}
    table = pd.DataFrame(
        [
            {"peptide": peptide, "seed": seed, "value": value, "reference_error": np.nan}
            for peptide, of_seeds in values.items()
            for seed, value in enumerate(of_seeds)
        ]
    )
    found = estimate(table, scale="log", bounds=(2.0, np.inf))
    assert found.value == pytest.approx(10.0)
    assert found.low == 2.0  # cut at the floor
    half = stats.t.ppf(0.975, 2) * np.log(10.0) / np.sqrt(3)
    assert found.high == pytest.approx(10.0 * np.exp(half))
    seeds = {"peptide": "AA", "seed": range(5), "value": [1.0, 1.2, 1.1, 1.05, 1.15], "reference_error": 0.5}
    alone = pd.DataFrame(seeds)
    wide, narrow = (estimate(one, scale="log") for one in (alone, alone.assign(reference_error=np.nan)))
    assert wide.value == pytest.approx(np.exp(np.log(alone["value"]).mean()))
    assert wide.high - wide.low > narrow.high - narrow.low
    nothing = estimate(table.assign(value=0.0), scale="log")
    assert (nothing.value, nothing.low) == (0.0, None)
