"""Do measured scores agree with repeats that were published with the authors' code? In units of sigma.

`published/seed_spread.csv` holds mean and standard deviation over 5 seeds for single peptides. Sigma is told where
weights, settings, reference and number of frames are the published ones; elsewhere it would measure what differs, and
that is named instead.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.metrics.weighting import FILTERED
from analysis.scores.table import scored_lines, under
from analysis.tables.grid import markdown_lines
from analysis.tables.paper import PUBLISHED_FRAMES, published_rows
from prosebench.names import PUBLISHED_KELVIN, name_at

PUBLISHED_SEEDS = 5
ROWS = {
    "Prose SNIS": "prose-snis",
    "Prose SMC (MALA)": "smc-mala",
    "Prose self-improvement + SNIS": "prose-self-improve",
    "ECNF++ SNIS": "tbg",
}
"""The method here that measures what a published one does, by the published name."""

_PROSE = {"weights": "prose-up-to-8aa"}
_WEIGHTED = _PROSE | {"com": "published"}
"""The published settings of rows with weights. The authors' code divides out a chi_3 density of the centre
(arXiv 2508.18175), where our default is a Gaussian one."""
PUBLISHED_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "prose-snis": _WEIGHTED,
    "prose-self-improve": _WEIGHTED
    | {"rounds": 4, "steps": 250, "tuning_batch": 256, "learning_rate": 5e-6, "teacher": 0.5},
    "smc-mala": _PROSE
    | {
        "proposal": "prose-snis", "steps": 50, "moves": 1, "epsilon": 5e-4, "length_unit_nm": None,
        "published_schedule": True, "adaptive_ess": None, "resampling": "systematic", "ess_threshold": 1.0,
        "start_below_kt": 100.0, "start_filter": 0.002, "adapt": 1.1, "longer_above": 0.6, "shorter_below": 0.55,
    },
    "tbg": {"weights": "tbg-up-to-4aa", "tolerance": 1e-4, "steps": 0, "divergence": "exact"},
}  # fmt: skip
"""The settings of each method that decide its scores, as the published repeats had them. The weights are
those of its proposal where a method has one.
"""

NOTE = (
    "5 seeds: mean ± standard deviation of repeats with the authors' code; paper: its own number. Sigma: measured "
    "minus the mean of those repeats, in standard errors of that difference (a measured row of fewer than 3 seeds is "
    "taken to spread as the repeats do). It is told only where nothing differs from what they were made with; beyond "
    "about 2 the two disagree."
)
_METRICS = {"ess": "ess", "energy_w2": "energy-w2", "torus_w2": "torus-w2", "tica_w2": "tica-w2"}


@dataclass(frozen=True)
class Agreement:
    """One published repeat beside what was measured.

    sigma: (measured - published) / standard error of that difference; NaN where something differs, or neither side has
    a spread. differs: what is not as published, and would explain a disagreement.
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
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Agreement]:
    """Every published repeat of which the same method, peptide, budget and metric was scored.

    The error of the measured mean is that of its seeds, or of the published spread where there are fewer than 3;
    published_references says of which peptides the reference is the published one, settings holds those of each cell by
    its id.
    """
    scored = under(scored_lines(scores), FILTERED)
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
            differs = _differences(cells, published_references or {}, settings or {})
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
                    sigma=difference / error if error > 0.0 and not differs else math.nan,
                    differs=tuple(differs),
                )
            )
    return found


def _differences(
    cells: pd.DataFrame,
    published_references: Mapping[str, bool],
    settings: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    first = cells.iloc[0]
    ids = sorted(set(cells["cell_id"]))
    differs = list(
        dict.fromkeys(text for one in ids for text in _other_settings(first["method"], settings.get(one)))
    )
    kelvin = float(first["temperature_kelvin"])
    if not published_references.get(name_at(str(first["peptide"]), kelvin), False):
        differs.append("own reference")
    frames = int(cells["frames"].min())
    if frames < 0.99 * PUBLISHED_FRAMES:
        differs.append(f"{frames:,} frames, not {PUBLISHED_FRAMES:,}")
    if kelvin != PUBLISHED_KELVIN:
        differs.append(f"at {kelvin:g} K")
    return differs


def _other_settings(method: str, settings: Mapping[str, Any] | None) -> list[str]:
    """Settings of a cell that are not as published, those of its proposal among them."""
    if settings is None:
        return ["settings that are not known"]
    known = dict(settings.get("proposal_settings", {})) | dict(settings)
    return [
        f"weights {known.get(name)}" if name == "weights" else f"{name} = {known.get(name)}, not {published}"
        for name, published in PUBLISHED_SETTINGS[method].items()
        if known.get(name, "?") != published
    ]


def agreement_markdown(found: list[Agreement]) -> str:
    """A table of agreements in Markdown, sigma or what keeps it from being told; empty for none."""
    if not found:
        return ""
    headings = [
        "published", "row", "peptide", "evaluations", "metric", "5 seeds", "paper", "measured", "seeds", "sigma",
        "not as published",
    ]  # fmt: skip
    rows = []
    for one in found:
        sigma = f"{one.sigma:+.1f}" if math.isfinite(one.sigma) else "–"
        cells = (
            one.published_method, one.row, one.peptide, f"{one.budget:,}", one.metric,
            f"{one.published:.4g} ± {one.published_spread:.2g}", f"{one.paper:.4g}", f"{one.measured:.4g}",
            str(one.seeds), sigma, "; ".join(one.differs) or "nothing",
        )  # fmt: skip
        rows.append(cells)
    lines = markdown_lines(headings, "lllrlrrrrrl", rows)
    return "\n".join([*lines, "", NOTE, ""])
