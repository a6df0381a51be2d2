"""What tables say of rows that anneal: whether their last step is at the target, or before it as published."""

import pandas as pd

from analysis.metrics.registry import ANNEALED_TO

PUBLISHED_END = "its last step is one before the target, t = 1 - 1/K of K steps, as in the published code"
CORRECTED_END = "its last step is at the target, t = 1, which the published code stops one step before"


def annealing_note(lines: pd.DataFrame) -> str:
    """What a reader must know of the end of the annealing in some lines of scores; empty where nothing was annealed."""
    ends = lines.loc[lines["metric"] == ANNEALED_TO, "value"]
    if ends.empty:
        return ""
    return CORRECTED_END if (ends == 1.0).all() else PUBLISHED_END


def annealing_lines(scored: pd.DataFrame) -> list[str]:
    """A footer line for each way to end, with the rows that end so."""
    annealed = scored[scored["metric"] == ANNEALED_TO]
    rows: dict[str, list[str]] = {}
    for row, lines in annealed.groupby("row", sort=True):
        rows.setdefault(annealing_note(lines), []).append(str(row))
    return [f"Annealing ({', '.join(names)}): {note}." for note, names in rows.items()]
