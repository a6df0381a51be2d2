"""Intervals and tests hold what they say; every stream is fixed, so these rates are the same on every run."""

import numpy as np
import pandas as pd
import pytest

from analysis.figures.calibration import calibration_figure
from analysis.metrics.metric import Metric
from analysis.metrics.registry import DISTANCE_NAMES
from analysis.statistics.calibration import (
    ACCEPTED,
    DISTANCES,
    EQUALS,
    MEANS,
    RATIOS,
    SAMPLERS,
    SIZES,
    coverage,
    distance_coverage,
    false_alarms,
    mixture_coverage,
    percentile_interval,
    ratio_coverage,
    reference_coverage,
)
from analysis.statistics.estimates import Estimate, estimate, seed_interval

TRIALS = 500


@pytest.mark.parametrize("name", SAMPLERS)
def test_intervals_hold_the_true_mean_92_to_98_percent_of_the_time(name: str):
    for peptides, seeds in SIZES:
        found = coverage(name, peptides, seeds, trials=TRIALS)
        assert ACCEPTED[0] <= found.rate <= ACCEPTED[1], found


def test_a_percentile_bootstrap_would_not_pass():
    assert coverage("log-normal over peptides", 4, 2, trials=200, interval=percentile_interval).rate < 0.88


@pytest.mark.parametrize("name", DISTANCES)
def test_intervals_of_distances_hold_the_true_geometric_mean_also_where_they_end_at_the_floor(name: str):
    for peptides, seeds in SIZES:
        found = distance_coverage(name, peptides, seeds, trials=TRIALS)
        assert ACCEPTED[0] <= found.rate <= ACCEPTED[1], found


def test_intervals_cut_at_the_value_of_the_floor_would_not_pass(monkeypatch: pytest.MonkeyPatch):
    """A perfect sampler's true score lies as often below the floor's measured one as above it."""

    def cut(lines: pd.DataFrame, metric: Metric, floor: pd.DataFrame) -> Estimate:
        bounds = estimate(floor, scale=metric.scale).value, metric.bounds[1]
        return estimate(lines, bounds=bounds, scale=metric.scale)

    monkeypatch.setattr("analysis.statistics.calibration.metric_estimate", cut)
    for size in ((4, 2), (30, 3)):
        assert distance_coverage("E-W2 of perfect samplers", *size, trials=200).rate < 0.75


@pytest.mark.parametrize("name", RATIOS)
def test_intervals_hold_the_true_ratio_92_to_98_percent_of_the_time_also_of_scores_over_decades(name: str):
    for peptides, seeds in SIZES:
        found = ratio_coverage(name, peptides, seeds, trials=TRIALS)
        assert ACCEPTED[0] <= found.rate <= ACCEPTED[1], found


@pytest.mark.parametrize("kind", EQUALS)
@pytest.mark.parametrize("rows", [2, 4])
def test_a_method_is_hardly_ever_worse_than_one_just_as_good(rows: int, kind: str):
    for peptides, seeds in SIZES:
        found = false_alarms(peptides, seeds, trials=200, rows=rows, kind=kind)
        assert found.rate <= 0.05 + 2.0 * np.sqrt(0.05 * 0.95 / 200), found


def test_one_peptide_is_covered_with_its_reference_and_not_without(monkeypatch: pytest.MonkeyPatch):
    assert ACCEPTED[0] <= reference_coverage(trials=300).rate <= ACCEPTED[1]
    monkeypatch.setattr(
        "analysis.statistics.calibration.seed_interval", lambda values, _: seed_interval(values)
    )
    assert reference_coverage(trials=300).rate < 0.85


def test_the_figure_shows_every_sampler():
    figure = calibration_figure(trials=3)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:3] == [*SAMPLERS, "E-W2 of samplers"]
    assert titles[3:] == ["ratio of two methods", "equally good methods", "states missed on some peptides"]
    legend = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert {*DISTANCES} <= legend
    # A reader knows metrics by the headings of the tables, not by their names in the scores.
    assert not [text for text in (*titles, *legend) if any(metric in text for metric in DISTANCE_NAMES)]


def test_intervals_of_few_peptides_do_not_know_of_states_that_are_missed_elsewhere() -> None:
    """What the footers of tables warn of; the geometric mean suffers less, and neither does with many peptides."""
    rates = {
        (mean, size): mixture_coverage("20 % miss a state", mean, *size, trials=400).rate
        for mean in MEANS
        for size in ((4, 2), (30, 3))
    }
    assert rates["mean", (4, 2)] < 0.85
    assert rates["geometric mean", (4, 2)] > rates["mean", (4, 2)]
    assert rates["geometric mean", (30, 3)] > 0.90
    assert mixture_coverage("5 % miss a state", "mean", 10, 2, trials=400).rate < 0.85
