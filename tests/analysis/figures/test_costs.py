import numpy as np
import pandas as pd
import pytest

from analysis.figures.costs import (
    by_temperature,
    pairs_by_peptide,
    seconds_by_length,
    throughput,
    weights_by_length,
)
from analysis.figures.scaling import curves, scaling
from analysis.metrics.registry import BY_NAME
from prosebench.names import FLOOR


def line(
    length: int, peptide: str, row: str, metric: str, value: float, **changes: object
) -> dict[str, object]:
    common = {
        "suite": "s",
        "budget": 1000,
        "seed": 0,
        "frames": 100,
        "status": "done",
        "reference": "r",
        "weighting": "",
        "reference_spread": np.nan,
        "reference_error": np.nan,
    }
    place = {
        "length": length,
        "peptide": peptide,
        "row": row,
        "method": row,
        "metric": metric,
        "value": value,
    }
    return common | {"temperature_kelvin": 310.0} | place | changes


@pytest.fixture
def scores() -> pd.DataFrame:
    lines = []
    for length in (2, 4):
        for number in range(3):
            for row, level in (("md", 1.0), ("prose-snis", 0.5), (FLOOR, 0.1)):
                for seed in (0, 1):
                    values = {"energy-w2": level * length + 0.1 * number + 0.01 * seed, "torus-w2": level}
                    values |= {
                        "sampling-seconds": 2.0 * length,
                        "device-seconds": 8.0 * length,
                        "sampling-evaluations": 1000.0,
                        "wall-seconds": 9.0,
                    }
                    if row == "prose-snis":
                        values |= {"ess": 0.4 / length, "k-hat": 0.2 * length}
                    lines += [
                        line(length, f"{length}P{number}", row, *item, seed=seed) for item in values.items()
                    ]
    return pd.DataFrame(lines)


def test_seconds_are_per_ten_thousand_evaluations(scores: pd.DataFrame):
    figure = seconds_by_length(scores)
    assert figure is not None
    bars = figure.axes[0].containers[0]
    assert bars.lines[0].get_ydata().tolist() == pytest.approx([40.0, 80.0])
    assert {one.get_label() for one in figure.axes[0].containers} == {"md", "prose-snis"}
    assert seconds_by_length(scores[scores.length == 2]) is None


def test_weights_against_length_show_the_limit_of_trust(scores: pd.DataFrame):
    figure = weights_by_length(scores)
    assert figure is not None
    assert figure.axes[0].containers[0].lines[0].get_ydata().tolist() == pytest.approx([0.2, 0.1])
    assert 0.7 in figure.axes[1].lines[-1].get_ydata()
    equal = scores.assign(
        value=scores["value"].mask((scores.metric == "k-hat") & (scores.length == 2), -np.inf)
    )
    figure = weights_by_length(equal)
    assert figure is not None
    assert figure.axes[1].containers[0].lines[0].get_ydata().tolist() == pytest.approx([0.8])
    assert "6 cells: −∞ (equal weights: no tail)" in figure.axes[1].texts[0].get_text()
    assert weights_by_length(scores[scores.row == "md"]) is None


def test_rows_that_differ_in_temperature_alone_are_one_line(scores: pd.DataFrame):
    hot = [
        scores[scores.row == "prose-snis"].assign(
            row=f"prose-snis at {kelvin:g} K", temperature_kelvin=kelvin
        )
        for kelvin in (310.0, 500.0)
    ]
    figure = by_temperature(pd.concat(hot), ["ess", "energy-w2"])
    assert figure is not None
    assert [one.get_label() for one in figure.axes[0].containers] == ["prose-snis"]
    assert figure.axes[0].containers[0].lines[0].get_xdata().tolist() == [310.0, 500.0]
    assert by_temperature(scores, ["ess"]) is None


def test_a_pair_counts_wins_and_is_refused_where_it_is_unequal(scores: pd.DataFrame):
    figure = pairs_by_peptide(scores, "prose-snis", "md", ["energy-w2", "torus-w2"])
    assert figure is not None
    assert "prose-snis better on 6 of 6" in figure.axes[0].get_title(loc="left")
    unequal = scores.assign(frames=np.where(scores.row == "md", 50, 100))
    assert pairs_by_peptide(unequal, "prose-snis", "md", ["energy-w2"]) is None
    marked = pairs_by_peptide(unequal, "prose-snis", "md", ["energy-w2"], allow=["frames"])
    assert marked is not None
    assert any("100 against 50 frames" in text.get_text() for text in marked.axes[0].texts)
    other_budget = scores.assign(budget=np.where(scores.row == "md", 50, 100))
    assert pairs_by_peptide(other_budget, "prose-snis", "md", ["energy-w2"]) is None


def test_throughput_has_an_ideal_line_and_efficiency():
    rows = [{"ranks": n, "evaluations_per_second": 100.0 * n**0.5} for n in (1, 4)]
    figure = throughput(rows, "ranks")
    assert figure is not None
    assert figure.axes[0].lines[1].get_ydata().tolist() == [100.0, 400.0]
    assert figure.axes[1].lines[0].get_ydata().tolist() == [1.0, 0.5]
    assert throughput(rows, "batch") is None
    assert throughput(rows[:1], "ranks") is None
    batches = throughput([{"batch": n, "evaluations_per_second": 9.0 * n} for n in (1, 64)], "batch")
    assert batches is not None
    assert len(batches.axes) == 1


def test_curves_against_seconds_stand_at_mean_costs(scores: pd.DataFrame):
    metric = BY_NAME["energy-w2"]
    found, levels = curves(scores[scores.length == 4], metric, "device-seconds")
    assert [(curve.row, curve.costs) for curve in found] == [("prose-snis", [32.0]), ("md", [32.0])]
    assert set(levels) == {FLOOR}
    figure = scaling(scores, ["energy-w2"], "wall-seconds")
    assert figure.axes[-1].get_xlabel() == "wall time (s)"
    without, _ = curves(scores[scores.metric != "device-seconds"], metric, "device-seconds")
    assert without == []
