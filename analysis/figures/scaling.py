"""Figures over a suite: metrics against energy evaluations, and against seconds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.figures.style import (
    COLUMN_INCHES,
    PAGE_INCHES,
    REFERENCE_FILL,
    REFERENCE_LINE,
    Look,
    above,
    looks,
    new_figure,
    note,
    panel_title,
    shared_legend,
    styled,
)
from analysis.metrics.metric import Metric
from analysis.metrics.registry import TABLE_METRICS
from analysis.scores.rows import row_order, without_temperature
from analysis.scores.table import doubt_text, scored_lines, under
from analysis.statistics.estimates import Estimate, metric_estimate
from analysis.tables.published_md import published_curve
from prosebench.names import CEILING, FLOOR, PUBLISHED_KELVIN

FIGURES = {
    "wasserstein": ("energy-w2", "torus-w2", "tica-w2"),
    "jsd": ("torus-k-jsd", "tica-k-jsd"),
}
"""The metrics in each figure, by the name of the figure."""

AGAINST = {
    "evaluations": "energy evaluations",
    "device-seconds": "sampling time × devices (s)",
    "wall-seconds": "wall time (s)",
}
"""The quantities that metrics are drawn against, each with the label of its axis. Devices are cores or
accelerators; wall time is that of sampling and preparation.
"""


class Curve(NamedTuple):
    """One row of the benchmark: an estimate at each budget, and what the budget cost."""

    row: str
    budgets: list[int]
    estimates: list[Estimate]
    costs: list[float]


def scaling(scores: pd.DataFrame, metrics: Sequence[str], against: str = "evaluations") -> Figure:
    """Metrics against energy evaluations of sampling (or another of AGAINST), log-log: a column a metric, a
    line of panels a length.

    A line joins a row's means over peptides; its band is the interval over peptides and seeds. The grey line and
    band are the floor, what frames of the reference itself score; the dotted line is the ceiling. Of peptides whose
    dynamics was published, its mean is drawn beside ours. A value that is not finite is marked at the upper edge.
    """
    shown = [metric for metric in TABLE_METRICS if metric.name in metrics]
    scored = under(scored_lines(scores[scores["metric"].isin([*metrics, against])]))
    scored, at = _without_one_temperature(scored)
    lengths = sorted(scored["length"].unique().tolist()) or [0]
    rows = row_order(scored["row"])
    look = looks(rows)
    with styled():
        width = COLUMN_INCHES if len(shown) == 1 else PAGE_INCHES
        figure = new_figure(width, 0.35 + 2.05 * len(lengths))
        panels = figure.subplots(len(lengths), len(shown), squeeze=False)
        for line, length in enumerate(lengths):
            for column, metric in enumerate(shown):
                part = scored[scored["length"] == length]
                _panel(panels[line, column], part, metric, look, against)
                if len(lengths) > 1:
                    panel_title(panels[line, column], f"{length} residues")
        for axes in panels[-1]:
            axes.set_xlabel(AGAINST[against] + at)
        above(figure, doubt_text(scored))
        shared_legend(figure, panels.ravel())
        return figure


def _without_one_temperature(scored: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Scores whose rows do not all repeat one temperature, and what to say of it once: ", 400 K", or nothing."""
    plain = scored["row"].map(without_temperature)
    if plain.equals(scored["row"]) or scored["temperature_kelvin"].nunique() != 1:
        return scored, ""
    return scored.assign(row=plain), f", {scored['temperature_kelvin'].iloc[0]:g} K"


def curves(
    part: pd.DataFrame, metric: Metric, against: str = "evaluations"
) -> tuple[list[Curve], dict[str, Estimate]]:
    """Curves of all rows of one metric and length, and floor and ceiling at the largest budget, if they were run.

    The cost of a point is the mean over cells; a row without that cost has no curve.
    """
    found, levels = [], {}
    methods = dict(zip(part["row"], part["method"], strict=True))
    floor = part[(part["method"] == FLOOR) & (part["metric"] == metric.name)]
    for row in row_order(part["row"], methods):
        mine = part[part["row"] == row]
        lines = mine[mine["metric"] == metric.name]
        budgets = sorted(lines["budget"].unique().tolist())
        if not budgets:
            continue
        control = methods[row] in (FLOOR, CEILING)
        bounding = floor.iloc[:0] if control else floor
        estimates = [metric_estimate(lines[lines["budget"] == one], metric, bounding) for one in budgets]
        if control:
            levels[methods[row]] = estimates[-1]
            continue
        costs = [float(budget) for budget in budgets]
        if against != "evaluations":
            spent = mine[mine["metric"] == against].groupby("budget")["value"].mean()
            costs = [float(spent.get(budget, np.nan)) for budget in budgets]
        if np.isfinite(costs).all():
            found.append(Curve(row, budgets, estimates, costs))
    return found, levels


def _panel(axes: Axes, part: pd.DataFrame, metric: Metric, look: dict[str, Look], against: str) -> None:
    found, levels = curves(part, metric, against)
    axes.set(
        xscale="log",
        yscale="log",
        ylabel=metric.label,
    )
    styles = {FLOOR: ("floor", (0, (4, 2))), CEILING: ("ceiling", (0, (1, 1.5)))}
    for kind, (label, dashes) in styles.items():
        level = levels.get(kind)
        if level is None or not np.isfinite(level.value) or level.value <= 0.0:
            continue
        if kind == FLOOR:
            axes.axhspan(
                max(level.ends[0], 1e-12),
                level.ends[1],
                color=REFERENCE_FILL,
                alpha=0.6,
                linewidth=0,
                zorder=0,
            )
        axes.axhline(
            level.value, color=REFERENCE_LINE, linewidth=0.8, linestyle=dashes, zorder=1, label=label
        )
    costs = sorted({cost for curve in found for cost in curve.costs})
    if costs:
        axes.set_xlim(costs[0] / 1.6, costs[-1] * 1.6)
    single = [curve for curve in found if len(curve.costs) == 1]
    for curve in [*_apart(single), *(curve for curve in found if len(curve.costs) > 1)]:
        _draw(axes, curve, look[curve.row])
    beside = _draw_published(axes, part, metric) if found and against == "evaluations" else []
    limit(axes, [one for curve in found for one in curve.estimates], [*levels.values(), *beside])
    _tidy(axes, costs, exact=against == "evaluations")
    if not found:
        note(axes, "nothing scored")


def _draw_published(axes: Axes, part: pd.DataFrame, metric: Metric) -> list[Estimate]:
    """Published dynamics of the peptides that are shown, beyond both ends of the axis; what of it lies between them."""
    if set(part["temperature_kelvin"]) != {PUBLISHED_KELVIN}:
        return []
    shown = set(part["peptide"])
    number, curve = published_curve(metric, shown)
    low, high = axes.get_xlim()
    if curve:
        axes.plot(
            list(curve), [one.value for one in curve.values()], color="#555555", linewidth=0.9,
            linestyle=(0, (3, 1, 1, 1)), zorder=2, label=f"MD, published ({number} of {len(shown)} peptides)",
        )  # fmt: skip
        axes.set_xlim(low, high)
    return [one for budget, one in curve.items() if low <= budget <= high]


def _apart(found: list[Curve]) -> list[Curve]:
    """Curves of one point each, moved apart a little, since intervals on top of each other cannot be told
    apart."""
    middle = (len(found) - 1) / 2.0
    reach = 0.35 / max(middle, 1.0)
    return [
        curve._replace(costs=[cost * (1.0 + min(reach, 0.08) * (place - middle)) for cost in curve.costs])
        for place, curve in enumerate(found)
    ]


def limit(axes: Axes, shown: Sequence[Estimate], levels: Sequence[Estimate] = ()) -> None:
    """Log axis around values and levels: an interval that reaches zero would take it down without end."""
    values = [one.value for one in (*levels, *shown)]
    tops = [one.ends[1] for one in shown]
    known = [value for value in values if np.isfinite(value) and value > 0.0]
    if known:
        highest = max(known + [top for top in tops if np.isfinite(top)])
        axes.set_ylim(min(known) / 2.0, min(highest, 10.0 * max(known)) * 1.4)


def _draw(axes: Axes, curve: Curve, look: Look) -> None:
    budgets = np.array(curve.costs)
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
    ends[:, 0] = np.maximum(ends[:, 0], 1e-12)
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


def _tidy(axes: Axes, budgets: list[float], *, exact: bool) -> None:
    """Ticks at the budgets where they are exact, and plain numbers on an axis that may span much less than a decade."""
    if budgets and not exact:
        plain_ticks(axes, "x")
    if budgets and exact:
        marks = (
            budgets if len(budgets) <= 4 else sorted({budgets[0], budgets[len(budgets) // 2], budgets[-1]})
        )
        axes.set_xticks(marks, [_power(budget) for budget in marks])
        axes.set_xticks([], minor=True)
    plain_ticks(axes, "y")
    axes.grid(axis="y", which="major", color="#e6e6e6", linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)


def plain_ticks(axes: Axes, which: str) -> None:
    """Ticks of a log axis ("x" or "y") at 1, 2, 5 or closer where it is short, and plain numbers where they are."""
    axis, (low, high) = (axes.xaxis, axes.get_xlim()) if which == "x" else (axes.yaxis, axes.get_ylim())
    if high / low < 100.0:
        ratio = high / low
        subs = (
            tuple(np.arange(1.0, 10.0))
            if ratio < 3.0
            else (1.0, 2.0, 3.0, 5.0, 7.0)
            if ratio < 8.0
            else (1.0, 2.0, 5.0)
        )
        axis.set_major_locator(LogLocator(subs=subs))
    if low > 1e-3 and high < 1e4:
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def _power(number: float) -> str:
    """A number for an axis: 10000 as 10 to the 4, 200000 as 2 times 10 to the 5; small numbers as they are."""
    if number < 1000:
        return f"{number:g}"
    exponent = int(np.floor(np.log10(number)))
    factor = number / 10**exponent
    power = f"10^{{{exponent}}}"
    return f"${power}$" if factor == 1.0 else f"${factor:g}{{\\times}}{power}$"
