"""The long table of scores: its columns, and its file."""

from pathlib import Path

import pandas as pd

from analysis.metrics.weighting import FILTERED, PLAIN, SMOOTHED, Weighting
from analysis.scores.statuses import SCORED
from analysis.wording import first_few
from prosebench.names import name_at
from prosebench.store.storage import write_bytes

TEXTS = (
    "suite", "peptide", "row", "method", "metric", "weighting", "status", "reason", "reference", "cell_id",
)  # fmt: skip
WHOLE = ("length", "planned", "budget", "seed", "frames")
FLOATS = ("value", "reference_error", "gap", "reference_spread", "temperature_kelvin")

COLUMNS = (
    "suite",
    "peptide",
    "length",
    "planned",
    "row",
    "method",
    "budget",
    "seed",
    "metric",
    "weighting",
    "value",
    "reference_error",
    "gap",
    "frames",
    "status",
    "reason",
    "reference",
    "reference_spread",
    "cell_id",
    "temperature_kelvin",
)
"""The columns of the long table of scores. A line holds one metric of one cell at one budget, under one
weighting (analysis.metrics.weighting).

length: residues of the peptide. planned: how many peptides of that length the suite has. reference_error: what the
finite reference adds to the metric's standard error; gap: certificate of a distance; both NaN where they are not known.
frames: how many were scored. status: see analysis.scores.statuses. reference: beginning of its hash.
reference_spread: how far its halves are apart in units of noise (`analysis.scores.convergence.spread_ratio`).
"""

ORDER = ["suite", "length", "peptide", "row", "budget", "seed", "metric", "weighting"]


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """The long table with the right types, in its order."""
    made = table.reindex(columns=list(COLUMNS)).copy()
    made[list(TEXTS)] = made[list(TEXTS)].astype(object).fillna("").astype(str)
    made[list(WHOLE)] = made[list(WHOLE)].fillna(0).astype(int)
    made[list(FLOATS)] = made[list(FLOATS)].astype(float)
    return made.sort_values(ORDER, kind="stable", ignore_index=True)


def write_scores(directory: Path, table: pd.DataFrame) -> Path:
    """Write `directory/scores.csv`: the same table gives the same bytes. Returns its path."""
    path = directory / "scores.csv"
    write_bytes(path, table.to_csv(index=False, lineterminator="\n", na_rep="nan").encode())
    return path


def read_scores(path: Path) -> pd.DataFrame:
    """Read what `write_scores` wrote. Raises ValueError for a table of other columns."""
    table = pd.read_csv(
        path,
        dtype=dict.fromkeys(TEXTS, str),
        keep_default_na=False,
        na_values={name: ["nan"] for name in FLOATS},
    )
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(
            f"{path} lacks the columns {', '.join(missing)}; score the run again: `prosebench score RUN_FOLDER`"
        )
    return table


def scored_lines(table: pd.DataFrame) -> pd.DataFrame:
    """The lines of what could be scored."""
    return table[table["status"].isin(SCORED)]


def under(table: pd.DataFrame, weighting: Weighting = SMOOTHED) -> pd.DataFrame:
    """The lines that stand for each row under a weighting: of an unweighted row all it has.

    A weighted row that was scored before there were SMOOTHED weights stands by its FILTERED ones instead.
    """
    chosen = table["weighting"].isin([PLAIN, weighting])
    if weighting == SMOOTHED:
        known = set(table.loc[table["weighting"] == SMOOTHED, "row"])
        chosen |= (table["weighting"] == FILTERED) & ~table["row"].isin(known)
    return table[chosen]


LARGEST_SPREAD = 1.5
"""The largest spread of a converged reference: its halves are at most this many times as far apart as random
draws from both."""


def unconverged(table: pd.DataFrame) -> list[str]:
    """Names of the peptides (`name_at`), sorted, whose reference is not converged by its own halves."""
    doubtful = scored_lines(table)
    doubtful = doubtful[doubtful["reference_spread"] > LARGEST_SPREAD]
    pairs = zip(doubtful["peptide"].tolist(), doubtful["temperature_kelvin"].tolist(), strict=True)
    return sorted({name_at(peptide, kelvin) for peptide, kelvin in pairs})


def doubt_text(table: pd.DataFrame) -> str:
    """What a figure says of references that are not converged; empty where all are."""
    names = unconverged(table)
    return f"references not converged:\n{first_few(names)}" if names else ""


def scored_places(table: pd.DataFrame) -> list[tuple[str, float]]:
    """Every (peptide, kelvin) of which something was scored, sorted: each has a reference of its own."""
    known = scored_lines(table)
    pairs = zip(known["peptide"].tolist(), known["temperature_kelvin"].tolist(), strict=True)
    return sorted(set(pairs))
