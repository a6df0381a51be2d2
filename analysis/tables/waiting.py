"""What a table says of cells that wait, or were run and could not be scored, by what they lack."""

import pandas as pd

from analysis.scores.statuses import Status
from analysis.wording import first_few

_LACKING: tuple[Status, ...] = ("waiting", "unscored")


def waiting_lines(scores: pd.DataFrame) -> list[str]:
    """A footer line for each reason why cells wait or are unscored: how many, and of which rows and peptides."""
    lacking = scores[scores["status"].isin(_LACKING)]
    lines = []
    for (status, reason), some in lacking.groupby(["status", "reason"], sort=True):
        cells = some.drop_duplicates("cell_id")
        what = "Waiting" if status == "waiting" else "Not scored"
        rows, peptides = (first_few(sorted(set(cells[name]))) for name in ("row", "peptide"))
        number = f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}"
        lines.append(f"{what}: {number}; {reason}. Rows: {rows}; peptides: {peptides}.")
    return lines
