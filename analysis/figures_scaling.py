"""Figures over a suite: metrics against energy evaluations."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.statistics import Estimate, estimate
from analysis.style import (
    COLUMN_INCHES,
    FLOOR,
    PAGE_INCHES,
    REFERENCE_FILL,
    REFERENCE_LINE,
    Look,
    looks,
    new_figure,
    note,
    panel_title,
    row_order,
    shared_legend,
    styled,
)
from analysis.tables import METRICS, SCORED, Metric

FIGURES = {
    "wasserstein": ("energy-w2", "torus-w2", "tica-w2"),
    "jsd": ("torus-k-jsd", "tica-k-jsd"),
}
"""Metrics of each figure, by the figure's name."""


class Curve(NamedTuple):
    """One row of the benchmark: an estimate at each budget."""

    row: str
    budgets: list[int]
    estimates: list[Estimate]


def scaling(scores: pd.DataFrame, metrics: Sequence[str]) -> Figure:
    """Metrics against energy evaluations of sampling, log-log: a column a metric, a line of panels a
    length.

    A line joins a row's means over peptides; its band is the interval over peptides and seeds. The grey line
    and band are the floor: what frames of the reference itself score. A value that is not finite is marked at
    the upper edge.
    """
    shown = [metric for metric in METRICS if metric.name in metrics]
    scored = scores[scores["status"].isin(SCORED) & scores["metric"].isin(metrics)]
    lengths = sorted(scored["length"].unique().tolist()) or [0]
    rows = row_order(scored["row"])
    look = looks(rows)
    with styled():
        width = COLUMN_INCHES if len(shown) == 1 else PAGE_INCHES
        figure = new_figure(width, 0.35 + 2.05 * len(lengths))
        panels = figure.subplots(len(lengths), len(shown), squeeze=False)
        for line, length in enumerate(lengths):
            for column, metric in enumerate(shown):
                part = scored[(scored["length"] == length) & (scored["metric"] == metric.name)]
                _panel(panels[line, column], part, metric, look)
                if len(lengths) > 1:
                    panel_title(panels[line, column], f"{length} residues")
        for axes in panels[-1]:
            axes.set_xlabel("energy evaluations")
        shared_legend(figure, panels.ravel())
        return figure


def curves(part: pd.DataFrame, metric: Metric) -> tuple[list[Curve], Estimate | None]:
    """Curves of all rows of one metric and length, and the floor at the largest budget, if it was run."""
    found, floor = [], None
    methods = dict(zip(part["row"], part["method"], strict=True))
    for row in row_order(part["row"], methods):
        lines = part[part["row"] == row]
        budgets = sorted(lines["budget"].unique().tolist())
        scaled = lines.assign(value=lines["value"] * metric.factor)
        estimates = [estimate(scaled[scaled["budget"] == budget]) for budget in budgets]
        if methods[row] == FLOOR:
            floor = estimates[-1]
        else:
            found.append(Curve(row, budgets, estimates))
    return found, floor


def _panel(axes: Axes, part: pd.DataFrame, metric: Metric, look: dict[str, Look]) -> None:
    found, floor = curves(part, metric)
    axes.set(
        xscale="log",
        yscale="log",
        ylabel=f"{metric.heading} ({metric.unit})" if metric.unit else metric.heading,
    )
    if floor is not None and np.isfinite(floor.value):
        axes.axhspan(*floor.ends, color=REFERENCE_FILL, alpha=0.6, linewidth=0, zorder=0)
        axes.axhline(
            floor.value, color=REFERENCE_LINE, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1, label="floor"
        )
    for curve in found:
        _draw(axes, curve, look[curve.row])
    _tidy(axes, sorted({budget for curve in found for budget in curve.budgets}))
    if not found:
        note(axes, "nothing scored")


def _draw(axes: Axes, curve: Curve, look: Look) -> None:
    budgets = np.array(curve.budgets, dtype=float)
    values = np.array([found.value for found in curve.estimates])
    ends = np.array([found.ends for found in curve.estimates])
    finite = np.isfinite(values)
    axes.plot(
        budgets[finite],
        values[finite],
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markeredgecolor="white",
        markeredgewidth=0.4,
        label=curve.row,
        zorder=3,
    )
    if finite.sum() > 1:
        axes.fill_between(
            budgets[finite], *ends[finite].T, color=look.colour, alpha=0.18, linewidth=0, zorder=2
        )
    else:
        down, up = values[finite] - ends[finite, 0], ends[finite, 1] - values[finite]
        axes.errorbar(
            budgets[finite], values[finite], [down, up], color=look.colour, linewidth=0.8, capsize=2, zorder=2
        )
    if not finite.all():
        lost = budgets[~finite]
        axes.plot(
            lost,
            np.full(len(lost), 0.97),
            look.marker,
            color=look.colour,
            fillstyle="none",
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            label=curve.row if not finite.any() else None,
        )
        axes.annotate(
            r"$\infty$", (lost[0], 0.97), xycoords=axes.get_xaxis_transform(), xytext=(5, 0),
            textcoords="offset points", color=look.colour, va="center", fontsize=8,
        )  # fmt: skip


def _tidy(axes: Axes, budgets: list[int]) -> None:
    """Ticks at the budgets, and plain numbers on an axis that may span much less than a decade."""
    if budgets:
        axes.set_xlim(budgets[0] / 1.6, budgets[-1] * 1.6)
        marks = (
            budgets if len(budgets) <= 4 else sorted({budgets[0], budgets[len(budgets) // 2], budgets[-1]})
        )
        axes.set_xticks(marks, [_power(budget) for budget in marks])
        axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    if high / low < 30.0:
        narrow = high / low < 3.0
        axes.yaxis.set_major_locator(
            LogLocator(subs=tuple(np.arange(1.0, 10.0)) if narrow else (1.0, 2.0, 5.0))
        )
    if low > 1e-3 and high < 1e4:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y", which="major", color="#e6e6e6", linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)


def _power(number: int) -> str:
    """10000 as 10 to the 4, 200000 as 2 times 10 to the 5; small numbers as they are."""
    if number < 1000:
        return str(number)
    exponent = int(np.floor(np.log10(number)))
    factor = number / 10**exponent
    power = f"10^{{{exponent}}}"
    return f"${power}$" if factor == 1.0 else f"${factor:g}{{\\times}}{power}$"
