"""The loss curve: rows of numbers, as CSV and as a picture."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from prosebench.store.storage import write_bytes

Row = dict[str, float]
"""The numbers of one stretch of a run, by name: step, frames, seconds, loss ...; and nll, ess ... if it was
validated."""

LOSSES = {"nll": "NLL per dimension (nats)", "flow-loss": "flow-matching loss"}
"""The validation losses by their names in a row, each with the label of its axis."""

SMOOTHING = 20
"""The largest number of rows over which the drawn training loss is smoothed."""


def write_curve(rows: Sequence[Row], folder: Path) -> None:
    """Write curve.csv, one row each with a column for every name that occurs, and curve.png."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.8g}" for name, value in row.items()} for row in rows)
    write_bytes(folder / "curve.csv", text.getvalue().encode())
    write_bytes(folder / "curve.png", _draw(rows))


def read_curve(path: Path) -> list[Row]:
    """What `write_curve` wrote as CSV."""
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def _draw(rows: Sequence[Row]) -> bytes:
    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    below = [name for name in ("spread", "ess") if any(row.get(name, 0.0) > 0.0 for row in rows)]
    panels = figure.subplots(1 + len(below), 1, sharex=True, squeeze=False)[:, 0]
    _draw_losses(panels[0], rows)
    for axes, name in zip(panels[1:], below, strict=True):
        _draw_validated(axes, rows, name, "C2o-" if name == "ess" else "C3o-")
        if name == "ess":
            least = min(row[name] for row in rows if row.get(name, 0.0) > 0.0)
            axes.set(ylabel="effective sample size / proposals", yscale="log", ylim=(least / 2, 1.0))
        else:
            axes.set(ylabel="Var(log q + U) / atoms (median)", yscale="log")
    panels[-1].set_xlabel("training frames")
    for axes in panels:
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _draw_losses(axes: Axes, rows: Sequence[Row]) -> None:
    """Training loss as it is and smoothed, and the validation loss where there is one."""
    finite = [row for row in rows if math.isfinite(row["loss"])]
    frames, losses = [row["frames"] for row in finite], [row["loss"] for row in finite]
    started = next((row["frames"] for row in rows if "dispersion_weight" in row), None)
    added = "" if started is None else f", with energy dispersion from {started:,.0f} frames on"
    axes.plot(frames, losses, color="0.75", linewidth=0.8, label=f"training{added}")
    over = max(1, min(SMOOTHING, len(finite) // 10))
    # A median: one step that went astray raises a mean for as long as it is in the window.
    smooth = [float(np.median(losses[max(0, i - over + 1) : i + 1])) for i in range(len(losses))]
    axes.plot(frames, smooth, color="C0", label=f"training{added}, median of {over} rows")
    validated = next((name for name in LOSSES if any(name in row for row in rows)), "")
    _draw_validated(axes, rows, validated, "C1o-")
    axes.set_ylabel(LOSSES.get(validated, "loss"))
    # The first steps, and any that went astray, are far above the rest and would flatten it.
    shown = smooth[len(losses) // 20 :] + [row[validated] for row in rows if validated in row]
    late = [value for value in shown if math.isfinite(value)]
    if late:
        low, high = min(late), float(np.quantile(late, 0.95))
        margin = max(0.05 * (high - low), 0.01)
        axes.set_ylim(low - margin, high + margin)


def _draw_validated(axes: Axes, rows: Sequence[Row], name: str, style: str) -> None:
    known = [row for row in rows if name in row]
    if known:
        at, values = [row["frames"] for row in known], [row[name] for row in known]
        axes.plot(at, values, style, markersize=3, label=f"validation {name}")
