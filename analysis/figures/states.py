"""Figures of one peptide's states: populations beside the reference, walks between them, weights, diagnostics."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.peptide_data import CellFrames, Cores, PeptideData, States
from analysis.figures.scaling import plain_ticks
from analysis.figures.smc import by_chunk
from analysis.figures.style import (
    COLUMN_INCHES,
    INK,
    PAGE_INCHES,
    REFERENCE_FILL,
    REFERENCE_LINE,
    Look,
    new_figure,
    note,
    panel_title,
    shared_legend,
    styled,
)

MOST_TRACES = 4
MOST_DIAGNOSTICS = 6
IN_WORDS = {
    "ess": "effective share so far",
    "ess-gaussian": "effective share, Gaussian centre",
    "ess-published": "effective share, published centre",
    "ess-of-chunk": "effective share of the chunk",
    "k-hat": "Pareto shape of the weights",
    "mirrored": "mirrored frames",
    "clashing": "clashing frames",
    "non-finite": "frames that are not finite",
    "without-density": "draws without a density",
    "wrong-chirality": "frames of wrong chirality",
    "acceptance": "accepted moves",
    "exchange-acceptance": "accepted exchanges",
    "training-loss": "training loss",
    "step-nm2": "step of a move (nm²)",
    "log-z": "log Z",
}
"""The titles of the panels of diagnostics. A diagnostic that is not here has its name as title."""


def populations(data: PeptideData, states: States, look: dict[str, Look]) -> Figure:
    """Where the states are, their populations by row, and the differences to the reference, at the last budgets.

    Bars of the reference have one standard error by its effective frames, points their range over seeds.
    """
    rows = list(dict.fromkeys(cell.row for cell in data.last))
    truth = data.components(data.truth)
    with styled():
        figure = new_figure(PAGE_INCHES, 2.3)
        where, shares, differences = figure.subplots(1, 3, width_ratios=(1.0, 1.5, 1.5))
        _state_map(where, truth, states, data.sequence)
        places = np.arange(len(states.centres))
        shares.bar(
            places,
            states.reference,
            0.8,
            yerr=states.error,
            color=REFERENCE_FILL,
            label="reference",
            error_kw={"elinewidth": 0.7, "ecolor": REFERENCE_LINE, "capsize": 1.5},
        )
        differences.axhspan(0.0, 0.0, color=REFERENCE_FILL)
        differences.bar(places, 2.0 * states.error, 0.8, bottom=-states.error, color=REFERENCE_FILL)
        differences.axhline(0.0, color=REFERENCE_LINE, linewidth=0.7)
        for number, row in enumerate(rows):
            cells = [cell for cell in data.last if cell.row == row]
            found = np.array([states.shares(data.components(cell.frames)) for cell in cells])
            shift = places + 0.7 * ((number + 0.5) / len(rows) - 0.5)
            _points(shares, shift, found, look[row], row)
            _points(differences, shift, found - states.reference, look[row], None)
        for axes, title in ((shares, "population"), (differences, "population − reference")):
            axes.set_xticks(places, [str(place + 1) for place in places])
            axes.set_xlabel("state")
            panel_title(axes, title)
        shares.set_ylim(0.0, None)
        shared_legend(figure, [shares])
        return figure


def _state_map(axes: Axes, truth: np.ndarray, states: States, sequence: str) -> None:
    labels = states.labels(truth)
    shade = np.array(["#9a9a9a", "#d4d4d4", "#b8b8b8"])
    few = slice(0, 4000)
    axes.scatter(truth[few, 0], truth[few, 1], c=shade[labels[few] % 3], s=1.2, linewidths=0, rasterized=True)
    for number, (x, y) in enumerate(states.centres, start=1):
        axes.text(
            x, y, str(number), ha="center", va="center", fontsize=7, color=INK, fontweight="bold",
            bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": INK, "linewidth": 0.4},
        )  # fmt: skip
    axes.set(xlabel="TIC 1", ylabel="TIC 2", box_aspect=1.0)
    panel_title(axes, f"{sequence}: states of the reference")


def _points(axes: Axes, places: np.ndarray, found: np.ndarray, look: Look, label: str | None) -> None:
    mean = found.mean(axis=0)
    # The mean of equal numbers may round to just beyond them.
    reach = np.maximum([mean - found.min(axis=0), found.max(axis=0) - mean], 0.0)
    axes.errorbar(
        places, mean, reach, fmt=look.marker, color=look.colour,
        markersize=3.2, markeredgecolor="white", markeredgewidth=0.3, elinewidth=0.8, label=label, zorder=3,
    )  # fmt: skip


def walks(data: PeptideData, cores: Cores, look: dict[str, Look]) -> Figure | None:
    """Slowest observable along each trajectory at the last budget, with the number of round trips; None for none.

    One seed of each row is drawn. The bands are the two cores; their ends are those of the reference.
    """
    shown: dict[str, list[CellFrames]] = {}
    for cell in data.last:
        if cell.one_walker:
            shown.setdefault(cell.row, []).append(cell)
    if not shown:
        return None
    truth = data.walk(data.truth)
    low, high = np.quantile(truth, [0.0005, 0.9995])
    margin = 0.08 * (high - low)
    rows = list(shown)[:MOST_TRACES]
    with styled():
        figure = new_figure(PAGE_INCHES, 0.5 + 1.05 * len(rows))
        panels = figure.subplots(len(rows), 2, squeeze=False, width_ratios=(6.0, 1.0), sharey=True)
        for (axes, side), row in zip(panels, rows, strict=True):
            cell = shown[row][0]
            values = data.walk(cell.frames)
            trips = [cores.round_trips(data.walk(one.frames)) for one in shown[row]]
            for panel in (axes, side):
                panel.axhspan(low - margin, cores.low, color="#eeeeee", linewidth=0)
                panel.axhspan(cores.high, high + margin, color="#eeeeee", linewidth=0)
            when = cell.frames.evaluations
            axes.plot(
                np.arange(len(values)) if when is None else when, values, ".", markersize=1.6,
                markeredgewidth=0, color=look[row].colour, rasterized=True,
            )  # fmt: skip
            said = ", ".join(f"{trip:g}" for trip in trips)
            panel_title(
                axes,
                f"{row}: {said} round trips (by seed)" if len(trips) > 1 else f"{row}: {said} round trips",
            )
            axes.set(ylim=(low - margin, high + margin), xlim=(0, cell.budget))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            bins = np.linspace(low - margin, high + margin, 45)
            side.hist(truth, bins, orientation="horizontal", density=True, color=REFERENCE_FILL)
            side.hist(
                values, bins, orientation="horizontal", density=True, histtype="step", color=look[row].colour
            )
            side.set_xticks([])
            side.tick_params(labelleft=False)
        panels[-1, 0].set_xlabel(f"{data.sequence}: energy evaluations")
        figure.supylabel(data.slowest.removeprefix("the "), fontsize=8)
        return figure


def weight_traces(data: PeptideData, look: dict[str, Look]) -> Figure | None:
    """Effective sample size of the first n samples against n, a line a seed; None where nothing is weighted."""
    cells = [cell for cell in data.last if cell.ess_trace is not None]
    if not cells:
        return None
    with styled():
        figure = new_figure(COLUMN_INCHES, 2.2)
        axes = figure.subplots()
        for cell in cells:
            assert cell.ess_trace is not None
            style = look[cell.row]
            axes.plot(
                *cell.ess_trace, color=style.colour, linestyle=style.line, linewidth=0.9, label=cell.row
            )
        axes.set(xscale="log", yscale="log", xlabel="samples", ylabel="ESS (share of samples)")
        plain_ticks(axes, "y")
        panel_title(axes, data.sequence)
        shared_legend(figure, [axes])
        return figure


def diagnostics(data: PeptideData, look: dict[str, Look]) -> Figure | None:
    """What methods report of themselves, chunk by chunk, a panel a quantity, a line a seed; None for nothing."""
    cells = [cell for cell in map(by_chunk, data.last) if cell.diagnostics]
    names = sorted({name for cell in cells for name in cell.diagnostics})[:MOST_DIAGNOSTICS]
    if not names:
        return None
    columns = min(len(names), 3)
    lines = -(-len(names) // columns)
    with styled():
        figure = new_figure(max(COLUMN_INCHES, PAGE_INCHES * columns / 3.0), 0.4 + 1.7 * lines)
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            for cell in cells:
                values = np.array(
                    [np.nan if v is None else v for v in cell.diagnostics.get(name, [])], dtype=float
                )
                there = np.isfinite(values)
                style = look[cell.row]
                axes.plot(
                    np.flatnonzero(there) + 1, values[there], color=style.colour, linestyle=style.line,
                    marker=style.marker if there.sum() < 30 else "", markersize=2.5, linewidth=0.8, label=cell.row,
                )  # fmt: skip
            panel_title(axes, IN_WORDS.get(name, name.replace("-", " ")))
            axes.set(
                xlabel="chunk",
                xlim=(0.5, max(2, *(len(cell.diagnostics.get(name, [])) for cell in cells)) + 0.5),
            )
            axes.xaxis.get_major_locator().set_params(integer=True)
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        if not any(axes.lines for axes in panels):
            note(panels[0], "no numbers")
        shared_legend(figure, panels[: len(names)])
        return figure
