"""What a table says of cells that wait, or were run and could not be scored, by what they lack."""

import pandas as pd

_LACKING = ("waiting", "unscored")
_MOST_NAMED = 4


def waiting_lines(scores: pd.DataFrame) -> list[str]:
    """A footer line for each reason why cells wait or are unscored: how many, and of which rows and peptides."""
    lacking = scores[scores["status"].isin(_LACKING)]
    lines = []
    for (status, reason), some in lacking.groupby(["status", "reason"], sort=True):
        cells = some.drop_duplicates("cell_id")
        what = "Waiting" if status == "waiting" else "Not scored"
        rows, peptides = _listed(cells["row"]), _listed(cells["peptide"])
        number = f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}"
        lines.append(f"{what}: {number}; {reason}. Rows: {rows}; peptides: {peptides}.")
    return lines


def _listed(values: "pd.Series[str]") -> str:
    names = sorted(set(values))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
