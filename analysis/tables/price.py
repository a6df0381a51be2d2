"""The price of training beside the score: what a flow's weights cost, and for how many peptides that pays.

A trained flow and dynamics are compared at the same distance to the reference: dynamics spends so many evaluations on a
peptide until it is as near as the flow is at its budget. Whoever samples N peptides spends N times that, or what the
training data cost and N times the flow's budget. The price is that of energy evaluations alone; hours stand beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import pandas as pd

from analysis.metrics.registry import BY_NAME
from analysis.scores.table import scored_lines, under
from analysis.statistics.estimates import estimate
from analysis.tables.grid import markdown_lines
from analysis.tables.paper import published_rows

DISTANCE = "torus-w2"
"""The distance by which a flow and dynamics count as equally near to the reference."""

DYNAMICS = "md"
"""The method of the dynamics that a flow is compared with. Of several rows, the one counts that arrives at
the distance first."""

NOTE = (
    "Training data: energy evaluations of the dynamics behind it; energies of its frames in the loss are not counted. "
    "Hours of data are of CPU cores, those of training of the device named. MD as near after: evaluations a peptide at "
    "which its T-W2 is that of the row, along straight lines on log axes between its budgets; > where its largest "
    "budget is not enough, ≤ where its smallest is. Pays from: number of peptides from which on the flow, its training "
    "data included, takes fewer evaluations than MD at the same distance; at most (≤) or at least (≥) that many where "
    "MD has but a bound. An empty field was not published."
)


Bound = Literal["", ">", "≤"]

_OF_PEPTIDES: Mapping[Bound, str] = {"": "", ">": "≤", "≤": "≥"}
"""The sign before the number of peptides, by the sign before the evaluations of dynamics. They point in
opposite ways: the more dynamics takes, the fewer peptides are enough for the flow to be cheaper."""


@dataclass(frozen=True)
class Price:
    """What weights cost: energy evaluations behind the training data, hours of data on one core and of training."""

    weights: str
    evaluations: float
    data_core_hours: float | None
    training_hours: float | None
    device: str
    source: str


@dataclass(frozen=True)
class Payback:
    """A flow's row at a budget against dynamics at the same distance.

    spent: evaluations a peptide, preparation included. distance: the row's, a geometric mean over its peptides.
    dynamics: evaluations a peptide after which dynamics on the same peptides is as near; bound: ">" where it was not at
    its largest budget, "≤" where it was at its smallest. peptides: number from which on the flow takes fewer
    evaluations, at most that many where dynamics takes more, at least where it may take less; None where it never does.
    """

    row: str
    price: Price
    suite: str
    length: int
    budget: int
    spent: float
    distance: float
    dynamics: float
    bound: Bound

    @property
    def peptides(self) -> float | None:
        """See the class."""
        saved = self.dynamics - self.spent
        return self.price.evaluations / saved if saved > 0.0 else None


@cache
def prices() -> dict[str, Price]:
    """Prices of bundled and published weights by name."""

    def number(text: str) -> float | None:
        return float(text) if text else None

    return {
        row["weights"]: Price(
            row["weights"],
            float(row["data_evaluations"]),
            number(row["data_core_hours"]),
            number(row["training_hours"]),
            row["device"],
            row["source"],
        )
        for row in published_rows("training")
    }


def price_of(row: str) -> Price | None:
    """The price of the weights that a row's name says; None for a row without weights, and for weights of a file."""
    return next((price for name, price in prices().items() if f"({name})" in row), None)


def paybacks(scores: pd.DataFrame) -> list[Payback]:
    """Every row of known price at every budget, where dynamics was scored on the same peptides."""
    lines = under(scored_lines(scores))
    found: list[Payback] = []
    for (suite, length, _), part in lines.groupby(["suite", "length", "temperature_kelvin"]):
        for row in sorted(set(part["row"])):
            price = price_of(row)
            if price is not None:
                found += _of_row(part, row, price, str(suite), int(str(length)))
    return found


def _of_row(lines: pd.DataFrame, row: str, price: Price, suite: str, length: int) -> Iterator[Payback]:
    part = lines[lines["metric"] == DISTANCE]
    mine = part[part["row"] == row]
    prepared = lines[(lines["row"] == row) & (lines["metric"] == "preparation-evaluations")]
    for budget in sorted(set(mine["budget"].tolist())):
        here = mine[mine["budget"] == budget]
        peptides = set(here["peptide"])
        preparation = prepared[prepared["budget"] == budget]["value"]
        spent = budget + (float(preparation.mean()) if len(preparation) else 0.0)
        distance = estimate(here, scale="log").value
        arrivals = [
            arrival(curve, distance)
            for name in sorted(set(part[part["method"] == DYNAMICS]["row"]))
            if (curve := _curve(part[part["row"] == name], peptides))
        ]
        if arrivals and np.isfinite(distance):
            reached = [one for one in arrivals if one[1] != ">"]
            dynamics, bound = min(reached or arrivals)
            yield Payback(row, price, suite, length, budget, spent, distance, dynamics, bound)


def _curve(lines: pd.DataFrame, peptides: set[str]) -> dict[int, float]:
    """The distance at each budget on some peptides, for budgets at which all of them were scored."""
    mine = lines[lines["peptide"].isin(peptides)]
    parts = {budget: mine[mine["budget"] == budget] for budget in sorted(set(mine["budget"].tolist()))}
    return {
        budget: estimate(part, scale="log").value
        for budget, part in parts.items()
        if set(part["peptide"]) == peptides
    }


def arrival(curve: dict[int, float], distance: float) -> tuple[float, Bound]:
    """The evaluations at which a curve (distance by budget) first falls to a distance, and whether the true
    number may be more or less.

    Straight lines on log axes join the budgets. ">": not even at the largest budget; "≤": already at the smallest.
    """
    budgets = sorted(curve)
    before: int | None = None
    for budget in budgets:
        if curve[budget] <= distance:
            if before is None:
                return float(budget), "≤"
            far, near = np.log(curve[before] / distance), np.log(distance / curve[budget])
            share = far / (far + near) if far + near > 0.0 else 1.0
            return float(np.exp(np.log(before) + share * np.log(budget / before))), ""
        before = budget
    return float(budgets[-1]), ">"


HEADINGS = (
    "row",
    "data (evaluations)",
    "data (core-hours)",
    "training (hours)",
    "a peptide (evaluations)",
    BY_NAME[DISTANCE].label,
    "MD as near after",
    "pays from (peptides)",
)


def price_rows(found: Sequence[Payback]) -> list[tuple[str, ...]]:
    """Cells of a table of prices, under HEADINGS."""
    several = len({(one.suite, one.length) for one in found}) > 1
    return [
        (f"{one.row}, {one.suite}, {one.length} residues" if several else one.row, *_cells(one))
        for one in found
    ]


def price_markdown(found: Sequence[Payback]) -> str:
    """A table of prices in Markdown; empty for none."""
    if not found:
        return ""
    return "\n".join([*markdown_lines(HEADINGS, "lrrrrrrr", price_rows(found)), "", NOTE, ""])


def _cells(one: Payback) -> tuple[str, ...]:
    def hours(value: float | None) -> str:
        return "" if value is None else f"{value:.2g}"

    price = one.price
    training = (
        f"{hours(price.training_hours)} of a {price.device}" if price.training_hours is not None else ""
    )
    return (
        f"{price.evaluations:.3g}",
        hours(price.data_core_hours),
        training,
        f"{one.spent:,.0f}",
        f"{one.distance:.3g}",
        f"{one.bound} {one.dynamics:,.0f}".strip(),
        payback_text(one),
    )


def payback_text(one: Payback) -> str:
    """From how many peptides on the flow is cheaper, in words."""
    if one.peptides is None:
        return "not told" if one.bound == ">" else "never"
    number = float(f"{one.peptides:.2g}")
    return f"{_OF_PEPTIDES[one.bound]} {number:,.0f}".strip()
