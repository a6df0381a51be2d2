"""The loss curve: rows of numbers, as CSV and as a picture."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from prosebench.storage import write_bytes

Row = dict[str, float]
"""Numbers of a stretch of a run: step, frames, seconds, loss, ...; nll, ess, ... where it was validated."""

SMOOTHING = 20
"""Most rows that the drawn loss is averaged over."""


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
    loss, quality = figure.subplots(2, 1, sharex=True)
    frames = [row["frames"] for row in rows]
    losses = [row["loss"] for row in rows]
    loss.plot(frames, losses, color="0.75", linewidth=0.8, label="training")
    over = max(1, min(SMOOTHING, len(rows) // 20))
    smooth = [
        sum(part) / len(part) for part in (losses[max(0, i - over + 1) : i + 1] for i in range(len(losses)))
    ]
    loss.plot(frames, smooth, color="C0", label=f"training, mean of {over} rows")
    for axes, name, style in ((loss, "nll", "C1o-"), (quality, "ess", "C2o-")):
        at = [row["frames"] for row in rows if name in row]
        axes.plot(
            at, [row[name] for row in rows if name in row], style, markersize=3, label=f"validation {name}"
        )
    loss.set_ylabel("NLL per dimension (nats)")
    # The first steps are far above the rest and would flatten it.
    shown = losses[len(losses) // 20 :] + [row["nll"] for row in rows if "nll" in row]
    late = sorted(value for value in shown if math.isfinite(value))
    if late:
        loss.set_ylim(late[0] - 0.05, late[-1] + 0.05)
    quality.set_ylabel("effective sample size")
    quality.set_xlabel("training frames")
    if any(row.get("ess", 0.0) > 0.0 for row in rows):
        quality.set_yscale("log")
    for axes in (loss, quality):
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "prosebench"}):
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
