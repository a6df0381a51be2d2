"""Figures of cost and of trust: time and effective samples against length, metrics against temperature, two methods
peptide by peptide, and throughput out of bench records.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.scaling import limit, plain_ticks
from analysis.figures.style import (
    COLUMN_INCHES,
    INK,
    PAGE_INCHES,
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
from analysis.metrics.registry import BY_NAME
from analysis.scores.rows import row_order, without_temperature
from analysis.scores.table import doubt_text, scored_lines, under
from analysis.statistics.comparisons import Comparison, UnequalComparison, compare
from analysis.statistics.estimates import Estimate, estimate
from prosebench.frames.importance import RELIABLE_PARETO_K, k_hat_text
from prosebench.names import CEILING, FLOOR

PER_EVALUATIONS = 10_000


def samplers(scores: pd.DataFrame) -> pd.DataFrame:
    """The scored lines of all rows but floor and ceiling."""
    known = under(scored_lines(scores))
    return known[~known["method"].isin([FLOOR, CEILING])]


def at_last_budget(scores: pd.DataFrame) -> pd.DataFrame:
    """The lines of each row at the largest budget it has at a length."""
    largest = scores.groupby(["suite", "length", "row"])["budget"].transform("max")
    return scores[scores["budget"] == largest]


def seconds_by_length(scores: pd.DataFrame) -> Figure | None:
    """Sampling seconds per PER_EVALUATIONS evaluations against length, log-log; None for a single length."""
    last = at_last_budget(samplers(scores))
    keys = ["length", "row", "method", "peptide", "seed"]
    wide = last.pivot_table(index=keys, columns="metric", values="value", aggfunc="mean", sort=True)
    if wide.index.get_level_values("length").nunique() < 2 or "sampling-seconds" not in wide:
        return None
    rate = wide["sampling-seconds"] / wide["sampling-evaluations"] * PER_EVALUATIONS
    lines = rate.dropna().rename("value").reset_index()
    with styled():
        figure = new_figure(COLUMN_INCHES, 2.5)
        axes = figure.subplots()
        _by_length(axes, lines, (0.0, np.inf))
        axes.set(yscale="log", ylabel="seconds per $10^4$ evaluations")
        plain_ticks(axes, "y")
        shared_legend(figure, [axes])
        return figure


def weights_by_length(scores: pd.DataFrame) -> Figure | None:
    """ESS and k-hat of weighted rows against length; None where fewer than two lengths have weights.

    The dashed line is the k-hat above which re-weighted means are not reliable. Cells whose k-hat is no number (equal
    weights, a single one, too few: see `prosebench.frames.importance.pareto_smooth`) are counted in the panel and not
    drawn.
    """
    last = at_last_budget(samplers(scores))
    weighted = last[last["metric"].isin(["ess", "k-hat"])]
    if weighted["length"].nunique() < 2:
        return None
    with styled():
        figure = new_figure(PAGE_INCHES * 0.75, 2.4)
        left, right = figure.subplots(1, 2)
        _by_length(left, weighted[weighted["metric"] == "ess"], (0.0, 1.0))
        left.set(yscale="log", ylabel="ESS (share of samples)")
        plain_ticks(left, "y")
        k_hats = weighted[weighted["metric"] == "k-hat"]
        _by_length(right, k_hats[np.isfinite(k_hats["value"])], (-np.inf, np.inf))
        said = [f"{number} cells: {text}" for text, number in _without_number(k_hats["value"]).items()]
        if said:
            note(right, "\n".join(said), "lower right")
        right.axhline(
            RELIABLE_PARETO_K,
            color=REFERENCE_LINE,
            linewidth=0.8,
            linestyle=(0, (4, 2)),
            label="limit of reliability",
        )
        right.set_ylabel(r"Pareto $\hat{k}$ of the weights")
        shared_legend(figure, [left, right])
        return figure


def _without_number(k_hats: pd.Series) -> Counter[str]:
    """What the k-hats say that are no numbers, and how many of them say it."""
    return Counter(k_hat_text(value) for value in k_hats if not np.isfinite(value))


def _by_length(axes: Axes, lines: pd.DataFrame, bounds: tuple[float, float]) -> None:
    """A line a row against length, rows moved apart a little so that their intervals can be told."""
    lengths = sorted(lines["length"].unique().tolist())
    rows = row_order(lines["row"], dict(zip(lines["row"], lines["method"], strict=True)))
    look = looks(rows)
    for place, row in enumerate(rows):
        mine = lines[lines["row"] == row]
        found = {
            length: estimate(mine[mine["length"] == length], bounds=bounds)
            for length in lengths
            if (mine["length"] == length).any()
        }
        shift = 1.0 + 0.02 * (place - (len(rows) - 1) / 2.0)
        _errorbars(axes, [length * shift for length in found], list(found.values()), look[row], row)
    axes.set_xscale("log")
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("residues")
    axes.grid(axis="y", which="major", color="#e6e6e6", linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)


def _errorbars(
    axes: Axes, places: Sequence[float], found: Sequence[Estimate], look: Look, label: str
) -> None:
    values = np.array([one.value for one in found])
    ends = np.array([one.ends for one in found]).reshape(-1, 2)
    axes.errorbar(
        places, values, [values - ends[:, 0], ends[:, 1] - values], color=look.colour, linestyle=look.line,
        marker=look.marker, markeredgecolor="white", markeredgewidth=0.4, capsize=1.5, elinewidth=0.7, label=label,
    )  # fmt: skip


def by_temperature(scores: pd.DataFrame, metrics: Sequence[str]) -> Figure | None:
    """Metrics against the temperature of the target, each row at its largest budget; None for a single temperature.

    Rows that differ in their temperature alone are one line, moved apart a little from the others; the floor is dashed.
    """
    lines = at_last_budget(samplers(scores))
    lines = lines[lines["metric"].isin(metrics)].dropna(subset=["temperature_kelvin"])
    if lines["temperature_kelvin"].nunique() < 2:
        return None
    floor = at_last_budget(scored_lines(scores[scores["method"] == FLOOR]))
    lines = lines.assign(row=lines["row"].map(without_temperature))
    rows = row_order(lines["row"], dict(zip(lines["row"], lines["method"], strict=True)))
    look = looks(rows)
    shown = [BY_NAME[name] for name in metrics if (lines["metric"] == name).any()]
    kelvins = sorted(lines["temperature_kelvin"].unique().tolist())
    step = 0.012 * (kelvins[-1] - kelvins[0])
    with styled():
        figure = new_figure(PAGE_INCHES * len(shown) / 3.0 + 0.3, 2.4)
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, metric in zip(panels, shown, strict=True):
            drawn: list[Estimate] = []
            for place, row in enumerate(rows):
                found = _at_temperatures(lines[lines["row"] == row], metric)
                shift = step * (place - (len(rows) - 1) / 2.0)
                _errorbars(axes, [kelvin + shift for kelvin in found], list(found.values()), look[row], row)
                drawn += found.values()
            levels = _at_temperatures(floor, metric)
            axes.plot(
                list(levels), [one.value for one in levels.values()],
                color=REFERENCE_LINE, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1, label="floor",
            )  # fmt: skip
            axes.set(xlabel="temperature (K)", ylabel=metric.label, yscale="log")
            limit(axes, drawn, list(levels.values()))
            plain_ticks(axes, "y")
            if len(kelvins) <= 6:
                axes.set_xticks(kelvins, [f"{kelvin:g}" for kelvin in kelvins])
        above(figure, doubt_text(lines))
        shared_legend(figure, panels)
        return figure


def _at_temperatures(lines: pd.DataFrame, metric: Metric) -> dict[float, Estimate]:
    """Estimates of a metric by temperature."""
    groups = lines[lines["metric"] == metric.name].groupby("temperature_kelvin", sort=True)
    return {
        float(str(kelvin)): estimate(group, bounds=metric.bounds, scale=metric.scale)
        for kelvin, group in groups
    }


def pairs_by_peptide(
    scores: pd.DataFrame, row: str, other: str, metrics: Sequence[str], *, allow: Collection[str] = ()
) -> Figure | None:
    """Two rows against each other, a point a peptide (mean over seeds), at the largest budget both have.

    Bars are the range over seeds; p is not corrected for other comparisons. Below the diagonal the first row is
    better, where less is better. None where the two have fewer than two peptides in common, or may not be compared
    (see `analysis.statistics.comparisons`, also for allow).
    """
    scored = samplers(scores)
    both = [scored[scored["row"] == name] for name in (row, other)]
    shared = set(both[0]["budget"]) & set(both[1]["budget"])
    if not shared:
        return None
    budget = max(shared)
    panels_of = []
    for name in metrics:
        sides = [side[(side["budget"] == budget) & (side["metric"] == name)] for side in both]
        common = set(sides[0]["peptide"]) & set(sides[1]["peptide"])
        sides = [side[np.isfinite(side["value"])] for side in sides]
        if len(common) >= 2 and not any(side.empty for side in sides):
            try:
                panels_of.append((BY_NAME[name], sides, compare(*sides, allow=allow)))
            except UnequalComparison:
                return None
    if not panels_of:
        return None
    with styled():
        long_names = max(len(without_temperature(name)) for name in (row, other)) > 18  # they take two lines
        figure = new_figure(PAGE_INCHES * len(panels_of) / 3.0, 3.05 if long_names else 2.75)
        panels = figure.subplots(1, len(panels_of), squeeze=False)[0]
        for axes, (metric, sides, found) in zip(panels, panels_of, strict=True):
            _scatter(axes, metric, sides, found)
        at = "" if without_temperature(row) == row else f", {both[0]['temperature_kelvin'].iloc[0]:g} K"
        doubt = doubt_text(both[0])
        above(figure, f"{budget:,} energy evaluations{at}" + (f"; {doubt}" if doubt else ""))
        return figure


def _scatter(axes: Axes, metric: Metric, sides: list[pd.DataFrame], found: Comparison) -> None:
    row, other = (without_temperature(name) for name in (found.row, found.other))
    means = [side.groupby("peptide")["value"].agg(["mean", "min", "max"]) for side in sides]
    shared = means[0].index.intersection(means[1].index)
    y, x = (of.loc[shared].to_numpy(float) for of in means)
    axes.set(xscale="log", yscale="log", box_aspect=1.0)
    low, high = float(min(x.min(), y.min())) / 1.3, float(max(x.max(), y.max())) * 1.3
    axes.plot([low, high], [low, high], color=REFERENCE_LINE, linewidth=0.8, zorder=1)
    axes.errorbar(
        x[:, 0], y[:, 0], [y[:, 0] - y[:, 1], y[:, 2] - y[:, 0]], [x[:, 0] - x[:, 1], x[:, 2] - x[:, 0]],
        fmt="o", markersize=3.2, color=looks([row, other])[row].colour, ecolor="#bbbbbb", elinewidth=0.6, zorder=3,
        markeredgecolor="white", markeredgewidth=0.3,
    )  # fmt: skip
    if len(shared) <= 12:
        for name, (px, py) in zip(shared, zip(x[:, 0], y[:, 0], strict=True), strict=True):
            axes.annotate(
                name, (px, py), xytext=(2.5, 2.5), textcoords="offset points", fontsize=5.5, color=INK
            )
    axes.set(
        xlim=(low, high),
        ylim=(low, high),
        xlabel=fill(f"{other}: {metric.label}", 28),
        ylabel=fill(f"{row}: {metric.label}", 28),
    )
    for which in "xy":
        plain_ticks(axes, which)
    wins, of = metric.wins(found.wins, found.losses), found.wins + found.losses
    panel_title(axes, fill(f"{row} better on {wins} of {of}, p\u00a0=\u00a0{found.p:.2g}", 32))
    if found.marks:
        note(axes, "; ".join(found.marks), "lower right")


THROUGHPUT_AXES = {
    "batch": "frames in a batch",
    "threads": "threads",
    "ranks": "ranks",
    "workers": "workers",
    "nodes": "nodes",
}


def throughput(rows: Sequence[Mapping[str, Any]], against: str) -> Figure | None:
    """Evaluations per second against one of THROUGHPUT_AXES; None where fewer than two values were measured.

    rows: bench records with keys evaluations_per_second, `against`, and series (a name) where there are several;
    mode "weak" where work grew with the machine. Beside it, except against batch, the efficiency: the gain over the
    smallest machine divided by its growth; the dashed line is the ideal.
    """
    table = pd.DataFrame([row for row in rows if against in row and "evaluations_per_second" in row])
    if table.empty or table[against].nunique() < 2:
        return None
    if "series" not in table:
        table["series"] = "evaluations"
    scaling = against != "batch"
    names = sorted(table["series"].unique())
    look = looks(names)
    with styled():
        figure = new_figure(PAGE_INCHES * 0.75 if scaling else COLUMN_INCHES, 2.4)
        panels = figure.subplots(1, 2 if scaling else 1, squeeze=False)[0]
        ideals = []
        for name in names:
            mine = (
                table[table["series"] == name]
                .groupby(against)["evaluations_per_second"]
                .median()
                .sort_index()
            )
            x, y = mine.index.to_numpy(float), mine.to_numpy(float)
            style = {"color": look[name].colour, "marker": look[name].marker, "linestyle": look[name].line}
            if "mode" in table and (table.loc[table["series"] == name, "mode"] == "weak").all():
                style["markerfacecolor"] = "white"
            panels[0].plot(x, y, label=name, **style)
            if scaling:
                panels[1].plot(x, y / y[0] / (x / x[0]), **style)
                ideals.append((x, y[0] * x / x[0]))
        for x, ideal in ideals:
            panels[0].plot(
                x, ideal, color=REFERENCE_LINE, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1, label="ideal"
            )
        panels[0].set(xscale="log", yscale="log", ylabel="evaluations per second")
        plain_ticks(panels[0], "y")
        panels[0].yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        for axes in panels:
            axes.set(xscale="log", xlabel=THROUGHPUT_AXES[against])
            ticks = sorted(table[against].unique().tolist())
            if len(ticks) <= 8:
                axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
                axes.set_xticks([], minor=True)
        if scaling:
            panels[1].axhline(1.0, color=REFERENCE_LINE, linewidth=0.7, linestyle=(0, (4, 2)))
            panels[1].set(ylim=(0.0, max(1.15, 1.05 * panels[1].get_ylim()[1])), ylabel="efficiency")
        shared_legend(figure, panels)
        return figure
