"""Figure of annealing: what the steps of sequential Monte Carlo report of themselves, against the time t."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from analysis.figures.peptide_data import CellFrames
from analysis.figures.style import (
    PAGE_INCHES,
    REFERENCE_LINE,
    Look,
    new_figure,
    note,
    panel_title,
    shared_legend,
    styled,
)

PANELS = {
    "ess": "effective particles",
    "acceptance": "accepted moves",
    "step-nm2": "spread of a move (pm)",
    "ancestors": "draws with descendants",
}
"""The diagnostics that have a panel, each with the panel's title. The first, the second and the last are
shares."""

_OF_STEPS = ("t", "log-z", "log-z-at-least", *PANELS)
"""The diagnostics of annealing with one number for each step. Others have one for each chunk."""


def annealing(cells: Sequence[CellFrames], look: Mapping[str, Look]) -> Figure | None:
    """Effective share before resampling, acceptance, spread of a move and surviving draws against t, a line a seed.

    The spread is sqrt(2 h), the standard deviation of a move's noise along an axis. None where no cell was annealed.
    """
    annealed = [cell for cell in cells if _is_annealed(cell)]
    if not annealed:
        return None
    with styled():
        figure = new_figure(PAGE_INCHES, 2.3)
        panels = figure.subplots(1, len(PANELS))
        for axes, (name, title) in zip(panels, PANELS.items(), strict=True):
            for cell in annealed:
                x, y = _against_time(cell, name)
                if name == "step-nm2":
                    y = 1000.0 * np.sqrt(2.0 * y)
                style = look[cell.row]
                axes.plot(
                    x, y, color=style.colour, linestyle=style.line, linewidth=0.8, label=cell.row,
                    marker=style.marker, markersize=3, markevery=[-1] if len(x) else None,
                )  # fmt: skip
            panel_title(axes, title)
            axes.set(xlabel="t", xlim=(-0.03, 1.06), xticks=[0.0, 0.5, 1.0])
            axes.xaxis.set_major_formatter("{x:g}")
            if not any(len(line.get_xdata()) for line in axes.lines):
                note(axes, "moves are taken\nas they are")
        panels[0].set_ylim(0.0, 1.05)
        panels[1].set_ylim(0.0, 1.05)
        panels[1].axhspan(0.55, 0.6, color=REFERENCE_LINE, alpha=0.25, linewidth=0)
        panels[2].set_ylim(bottom=0.0)
        panels[3].set(yscale="log", ylim=(None, 1.3))
        shared_legend(figure, panels)
        return figure


def by_chunk(cell: CellFrames) -> CellFrames:
    """A cell with those of its diagnostics that are one number a chunk."""
    kept = {
        name: numbers
        for name, numbers in cell.diagnostics.items()
        if not (_is_annealed(cell) and name in _OF_STEPS)
    }
    return replace(cell, diagnostics=kept)


def _is_annealed(cell: CellFrames) -> bool:
    return {"t", "ess"} <= set(cell.diagnostics)


def _against_time(cell: CellFrames, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The times and the numbers of those steps that have both."""
    times, numbers = (
        np.array([np.nan if v is None else v for v in cell.diagnostics.get(key, [])], dtype=float)
        for key in ("t", name)
    )
    if len(times) != len(numbers):
        return np.empty(0), np.empty(0)
    there = np.isfinite(times) & np.isfinite(numbers)
    return times[there], numbers[there]
