"""Dynamics that others published, peptide by peptide, beside ours: the same peptides, the same budgets.

`published/robin_md.csv` holds distances of prefixes of one trajectory a peptide (Rehman et al. 2026) to references of
5 us. Ours are to references of our own: where ours is shorter and has missed a state that their reference holds, our
distance is the smaller one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from analysis.metrics.metric import Metric
from analysis.metrics.registry import TABLE_METRICS
from analysis.scores.table import scored_lines, under
from analysis.statistics.estimates import Estimate, estimate, metric_estimate
from analysis.tables.grid import markdown_lines
from analysis.tables.paper import published_rows
from analysis.tables.text import ratio_texts
from prosebench.names import PUBLISHED_KELVIN

_COLUMNS = {"energy-w2": "energy_w2", "torus-w2": "torus_w2", "tica-w2": "tica_w2"}

NOTE = (
    "Ours divided by theirs, geometric mean over the peptides that both have, with its 95 % interval. Theirs is one "
    "trajectory a peptide against references of 5 us (Rehman et al. 2026), ours against our own references: a state "
    "that ours has missed makes our distance the smaller one, and each peptide counts as much as any other."
)


@cache
def published_md() -> pd.DataFrame:
    """Lines with columns peptide, budget, metric, value, seed, reference_error; values as scores have them."""
    wide = pd.DataFrame(published_rows("robin_md")).rename(
        columns={"sequence": "peptide", "energy_evaluations": "budget"}
        | {theirs: ours for ours, theirs in _COLUMNS.items()}
    )
    lines = wide.melt(["peptide", "budget"], list(_COLUMNS), "metric", "value")
    return lines.astype({"budget": int, "value": float}).assign(seed=0, reference_error=np.nan)


def published_curve(metric: Metric, peptides: Iterable[str]) -> tuple[int, dict[int, Estimate]]:
    """How many of the peptides were published, and the estimate of a metric over those at each budget, in its unit."""
    lines = published_md()
    mine = lines[(lines["metric"] == metric.name) & lines["peptide"].isin(set(peptides))]
    budgets = sorted({*mine["budget"].tolist()})
    found = {one: metric_estimate(mine[mine["budget"] == one], metric, mine.iloc[:0]) for one in budgets}
    return mine["peptide"].nunique(), found


@dataclass(frozen=True)
class MDAgreement:
    """A row of dynamics against the published one at a budget: ratio of distances, ours to theirs."""

    row: str
    length: int
    budget: int
    metric: Metric
    ratio: Estimate


def md_agreements(scores: pd.DataFrame) -> list[MDAgreement]:
    """Every row of the method `md` at 310 K whose peptide and budget were published."""
    scored = under(scored_lines(scores))
    ours = scored[(scored["method"] == "md") & (scored["temperature_kelvin"] == PUBLISHED_KELVIN)]
    theirs = published_md()[["peptide", "budget", "metric", "value"]]
    both = ours.merge(theirs, on=["peptide", "budget", "metric"], suffixes=("", "_theirs"))
    # The errors of references are in the unit of the distances; those of the ratio are not known.
    both = both.assign(value=both["value"] / both["value_theirs"], reference_error=np.nan)
    found = []
    for metric in TABLE_METRICS:
        lines = both[both["metric"] == metric.name]
        for row, length, budget in sorted(
            set(zip(lines["row"], lines["length"], lines["budget"], strict=True))
        ):
            mine = (lines["row"] == row) & (lines["length"] == length) & (lines["budget"] == budget)
            ratio = estimate(lines[mine], scale="log")
            if np.isfinite(ratio.value):
                found.append(MDAgreement(row, int(length), int(budget), metric, ratio))
    return found


def md_markdown(found: list[MDAgreement]) -> str:
    """A table of agreements in Markdown; empty for none."""
    if not found:
        return ""
    rows = [
        (
            one.row,
            str(one.length),
            f"{one.budget:,}",
            one.metric.heading,
            " ".join(ratio_texts(one.ratio)).strip(),
            str(one.ratio.n_peptides),
        )
        for one in found
    ]
    headings = ("row", "residues", "evaluations", "distance", "ours / theirs", "peptides")
    return "\n".join([*markdown_lines(headings, "lrrlrr", rows), "", NOTE, ""])
