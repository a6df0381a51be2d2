"""The figure of `analysis.statistics.calibration`: how often intervals hold the truth, and how often tests cry wolf."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from analysis.figures.style import (
    INK,
    PAGE_INCHES,
    REFERENCE_FILL,
    new_figure,
    panel_title,
    save,
    shared_legend,
    styled,
)
from analysis.statistics.calibration import (
    ACCEPTED,
    DISTANCE,
    DISTANCES,
    MEANS,
    MIXTURES,
    RATIOS,
    SAMPLERS,
    SIZES,
    WAYS,
    Rate,
    calibrate,
    coverage,
    distance_coverage,
    false_alarms,
    mixture_coverage,
    ratio_coverage,
)
from analysis.statistics.comparisons import LEVEL
from analysis.statistics.estimates import CONFIDENCE
from prosebench.store.storage import write_bytes


def calibration_figure(trials: int = 1000) -> Figure:
    """Rates against the number of peptides: coverage of the intervals used and of two that are not; of
    ratios; alarms."""
    with styled():
        figure = new_figure(PAGE_INCHES, 4.0)
        panels = figure.subplots(2, len(SAMPLERS) + 1).ravel()
        for axes, name in zip(panels, SAMPLERS, strict=False):
            _coverage_panel(axes, name, trials)
        _distance_panel(panels[len(SAMPLERS)], trials)
        _ratio_panel(panels[-3], trials)
        _alarm_panel(panels[-2], trials)
        _mixture_panel(panels[-1], trials)
        for axes in panels:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.set_xticks(range(len(SIZES)), [f"{p}×{s}" for p, s in SIZES])
            axes.set_xlabel("peptides × seeds")
        for axes in panels[1 : len(SAMPLERS) + 1]:
            axes.tick_params(labelleft=False)
        panels[0].set_ylabel("true mean inside")
        shared_legend(figure, panels)
        return figure


def write_calibration(target: Path, trials: int = 1000) -> list[Rate]:
    """Write `calibration.csv` and the figure `calibration` into a folder; returns the rates."""
    rates = calibrate(trials)
    table = pd.DataFrame([asdict(one) | {"error": one.error} for one in rates])
    write_bytes(target / "calibration.csv", table.to_csv(index=False, lineterminator="\n").encode())
    save(calibration_figure(trials), target / "calibration")
    return rates


def _coverage_panel(axes: Axes, name: str, trials: int) -> None:
    _accepted(axes)
    marks = {
        "interval of the tables": ("#0072B2", "o"),
        "Student's t": ("#009E73", "^"),
        "percentile bootstrap": ("#D55E00", "s"),
    }
    for way, look in marks.items():
        found = [coverage(name, *size, trials=trials, interval=WAYS[way], how=way) for size in SIZES]
        _rates(axes, found, look, way)
    axes.set_ylim(0.65, 1.0)
    panel_title(axes, name)


def _distance_panel(axes: Axes, trials: int) -> None:
    _accepted(axes)
    for name, look in zip(DISTANCES, (("#0072B2", "D"), ("#CC79A7", "*")), strict=True):
        _rates(axes, [distance_coverage(name, *size, trials=trials) for size in SIZES], look, name)
    axes.set_ylim(0.65, 1.0)
    panel_title(axes, f"{DISTANCE.heading} of samplers")


def _ratio_panel(axes: Axes, trials: int) -> None:
    _accepted(axes)
    for name, look in zip(RATIOS, (("#56B4E9", "P"), ("#000000", "X")), strict=True):
        _rates(axes, [ratio_coverage(name, *size, trials=trials) for size in SIZES], look, name)
    axes.set(ylim=(0.65, 1.0), ylabel="true ratio inside")
    panel_title(axes, "ratio of two methods")


def _mixture_panel(axes: Axes, trials: int) -> None:
    _accepted(axes)
    colours, markers = {"mean": "#0072B2", "geometric mean": "#009E73"}, ("o", "s")
    for name, marker in zip(MIXTURES, markers, strict=True):
        for mean in MEANS:
            found = [mixture_coverage(name, mean, *size, trials=trials) for size in SIZES]
            _rates(axes, found, (colours[mean], marker), f"{mean}, {name}")
    axes.set(ylim=(0.3, 1.0), ylabel="true mean inside")
    panel_title(axes, "states missed on some peptides")


def _alarm_panel(axes: Axes, trials: int) -> None:
    looks_of = {"perfect": ("#CC79A7", ("v", "^")), "heavy-tailed": ("#E69F00", ("D", "s"))}
    for kind, (colour, markers) in looks_of.items():
        for rows, marker in zip((2, 4), markers, strict=True):
            found = [false_alarms(*size, trials=trials, rows=rows, kind=kind) for size in SIZES]
            _rates(axes, found, (colour, marker), f"{rows} {kind} ones")
    axes.axhline(LEVEL, color=INK, linewidth=0.6, linestyle=(0, (4, 2)))
    axes.set(ylim=(0.0, 0.12), ylabel="declared worse")
    panel_title(axes, "equally good methods")


def _accepted(axes: Axes) -> None:
    axes.axhspan(*ACCEPTED, color=REFERENCE_FILL, alpha=0.5, linewidth=0)
    axes.axhline(CONFIDENCE, color=INK, linewidth=0.6, linestyle=(0, (4, 2)))


def _rates(axes: Axes, found: Sequence[Rate], look: tuple[str, str], label: str) -> None:
    colour, marker = look
    axes.errorbar(
        range(len(SIZES)), [one.rate for one in found], [one.error for one in found],
        color=colour, marker=marker, markersize=3.5, linewidth=0.9, label=label,
    )  # fmt: skip
