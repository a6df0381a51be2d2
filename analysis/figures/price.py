"""The figure of what a peptide costs if a flow was trained for several, beside dynamics at the same distance."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from analysis.figures.style import COLUMN_INCHES, looks, new_figure, shared_legend, styled
from analysis.tables.price import Payback

MOST_PEPTIDES = 1e9

CAPTION = (
    "Energy evaluations a peptide against the number of peptides that a flow is used for: its training data, shared, "
    "and its budget (each row at its smallest). Horizontal, in the colour of the row: dynamics until its T-W2 is that "
    "of the row; an arrow up where its largest budget does not suffice, down where its smallest does. Right of the "
    "crossing the flow is cheaper."
)


def price_figure(found: Sequence[Payback]) -> Figure | None:
    """Evaluations a peptide against the number of peptides, log-log; None where no row has a price."""
    shown = list({(one.row, one.length): one for one in sorted(found, key=lambda one: -one.budget)}.values())
    if not shown:
        return None
    several = len({one.length for one in shown}) > 1
    look = looks([one.row for one in shown])
    peptides = np.geomspace(1.0, MOST_PEPTIDES, 200)
    with styled():
        figure = new_figure(COLUMN_INCHES, 2.6)
        axes = figure.subplots()
        for place, one in enumerate(reversed(shown)):
            colour = look[one.row].colour
            axes.plot(
                peptides, one.spent + one.price.evaluations / peptides, color=colour,
                linestyle=look[one.row].line, label=_label(one, several=several),
            )  # fmt: skip
            axes.axhline(one.dynamics, color=colour, linewidth=0.8, linestyle=(0, (1, 1.5)))
            if one.bound:
                x = 10.0 ** (1 + 0.7 * place)
                axes.annotate(
                    "", (x, one.dynamics * (4 if one.bound == ">" else 0.25)), (x, one.dynamics),
                    arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 0.8},
                )  # fmt: skip
        axes.set(
            xscale="log", yscale="log", xlabel="peptides", ylabel="energy evaluations a peptide",
            xlim=(1.0, MOST_PEPTIDES),
        )  # fmt: skip
        shared_legend(figure, [axes])
        return figure


def _label(one: Payback, *, several: bool) -> str:
    length = f", {one.length} residues" if several else ""
    return f"{one.row}{length}, T-W2 {one.distance:.2g}"
