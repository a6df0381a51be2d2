"""Do measured scores agree with repeats that were published with the authors' code? In units of sigma.

`published/seed_spread.csv` holds mean and standard deviation over 5 seeds for single peptides.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.paper_tables import published_rows
from analysis.statuses import SCORED
from prosebench.reference import name_at

PUBLISHED_SEEDS = 5
ROWS = {
    "Prose SNIS": "prose-snis",
    "Prose SMC (MALA)": "smc-mala",
    "Prose self-improvement + SNIS": "prose-self-improve",
    "ECNF++ SNIS": "tbg",
}
"""Method that measures what a published one does."""

PUBLISHED_WEIGHTS = ("prose-up-to-8aa", "tbg-up-to-4aa")
"""Names of the weights that the published repeats were made with."""

_FRAMES = 10_000
_METRICS = {"ess": "ess", "energy_w2": "energy-w2", "torus_w2": "torus-w2", "tica_w2": "tica-w2"}


@dataclass(frozen=True)
class Agreement:
    """One published repeat beside what was measured.

    sigma: (measured - published) / standard error of that difference; NaN where neither side has a spread.
    differs: what is not as published, and would explain a disagreement.
    """

    published_method: str
    row: str
    peptide: str
    budget: int
    metric: str
    published: float
    published_spread: float
    paper: float
    measured: float
    seeds: int
    sigma: float
    differs: tuple[str, ...]


def agreements(
    scores: pd.DataFrame,
    published_references: Mapping[str, bool] | None = None,
    weights: Mapping[str, str] | None = None,
) -> list[Agreement]:
    """Every published repeat of which the same method, peptide, budget and metric was scored.

    The error of the measured mean is that of its seeds, or of the published spread where there are fewer than 3;
    published_references says of which peptides the reference is the published one, weights names those of each cell
    that has any, by its id.
    """
    scored = scores[scores["status"].isin(SCORED)]
    found = []
    for line in published_rows("seed_spread"):
        method, metric, budget = (
            ROWS[line["method"]],
            _METRICS[line["metric"]],
            int(line["energy_evaluations"]),
        )
        same = scored[
            (scored["method"] == method)
            & (scored["peptide"] == line["sequence"])
            & (scored["budget"] == budget)
            & (scored["metric"] == metric)
        ]
        for row, cells in same.groupby("row", sort=True):
            mean, spread = float(line["mean"]), float(line["std"])
            values = cells["value"].to_numpy(float)
            own = float(np.std(values, ddof=1)) if len(values) >= 3 else spread
            error = math.hypot(spread / math.sqrt(PUBLISHED_SEEDS), own / math.sqrt(len(values)))
            difference = float(values.mean()) - mean
            found.append(
                Agreement(
                    published_method=line["method"],
                    row=str(row),
                    peptide=line["sequence"],
                    budget=budget,
                    metric=metric,
                    published=mean,
                    published_spread=spread,
                    paper=float(line["paper"]),
                    measured=float(values.mean()),
                    seeds=len(values),
                    sigma=difference / error if error > 0.0 else math.nan,
                    differs=tuple(_differences(cells, published_references or {}, weights or {})),
                )
            )
    return found


def _differences(
    cells: pd.DataFrame, published_references: Mapping[str, bool], weights: Mapping[str, str]
) -> list[str]:
    first = cells.iloc[0]
    used = sorted({weights[cell_id] for cell_id in cells["cell_id"] if cell_id in weights})
    differs = [f"weights {name}" for name in used if name not in PUBLISHED_WEIGHTS]
    kelvin = float(first.get("temperature_kelvin", 310.0))
    if not published_references.get(name_at(str(first["peptide"]), kelvin), False):
        differs.append("own reference")
    frames = int(cells["frames"].min())
    if frames < 0.99 * _FRAMES:
        differs.append(f"{frames:,} frames, not {_FRAMES:,}")
    if first["row"] != first["method"]:
        differs.append("settings of its own")
    if kelvin != 310.0:
        differs.append(f"at {kelvin:g} K")
    return differs


def agreement_markdown(found: list[Agreement]) -> str:
    """A table of agreements in Markdown; empty for none."""
    if not found:
        return ""
    lines = [
        "| published | row | peptide | evaluations | metric | 5 seeds | paper | measured | seeds | sigma |"
        " differs in |",
        "| :-- | :-- | :-- | --: | :-- | --: | --: | --: | --: | --: | :-- |",
    ]
    for one in found:
        cells = (
            one.published_method, one.row, one.peptide, f"{one.budget:,}", one.metric,
            f"{one.published:.4g} ± {one.published_spread:.2g}", f"{one.paper:.4g}", f"{one.measured:.4g}",
            str(one.seeds), f"{one.sigma:+.1f}", "; ".join(one.differs) or "nothing",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
