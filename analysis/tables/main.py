"""Tables: methods by budget, every number with its interval, every gap with its reason.

`main_table` and `peptide_table` build a Table out of the long table of scores; `analysis.tables.text` writes
it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis.figures.style import row_order
from analysis.metrics.metric import Cost, Metric
from analysis.metrics.registry import TABLE_COSTS, TABLE_METRICS, WASSERSTEIN
from analysis.scores.rows import at_kelvin
from analysis.scores.statuses import SCORED
from analysis.scores.table import under
from analysis.statistics.comparisons import compare_rows, equal_frames, level
from analysis.statistics.estimates import Estimate, estimate
from analysis.tables.waiting import waiting_lines
from prosebench.frames.importance import PUBLISHED_FILTER_FRACTION, RELIABLE_PARETO_K
from prosebench.names import CEILING, EXTERNAL, FLOOR, name_at


@dataclass(frozen=True)
class TableRow:
    """One method at one budget, on all peptides of a length or on one.

    estimates by metric; best: metrics in which no row of the group is better beyond the intervals; peptides
    is "how many are scored / how many the suite has of this length", seeds the number of seeds or its range; gap is
    "n/a: reason" where nothing was scored, note what a reader must know besides; declared: its costs are what its
    makers say, nobody has metered them.
    """

    suite: str
    length: int
    peptide: str
    temperature_kelvin: float
    budget: int
    row: str
    floor: bool
    estimates: dict[str, Estimate]
    peptides: str
    seeds: str
    gap: str = ""
    note: str = ""
    ceiling: bool = False
    declared: bool = False
    best: frozenset[str] = frozenset()

    @property
    def group(self) -> tuple[str, int, str, float, int]:
        """What rows must share to be compared."""
        return self.suite, self.length, self.peptide, self.temperature_kelvin, self.budget

    @property
    def label(self) -> str:
        """Name of the row for a reader."""
        return "floor" if self.floor else "ceiling" if self.ceiling else self.row

    @property
    def control(self) -> bool:
        """Whether this is a yardstick and no sampler: it is set apart and competes with none."""
        return self.floor or self.ceiling

    @property
    def remark(self) -> str:
        """What a reader must know of this row, with its name: the gap or the note."""
        text = self.gap or self.note
        return f"{self.row} at {self.budget:,}: {text}" if text else ""


@dataclass(frozen=True)
class Table:
    """Rows in order, groups together, and footer lines."""

    rows: tuple[TableRow, ...]
    footer: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = TABLE_METRICS
    costs: tuple[Cost, ...] = TABLE_COSTS

    @property
    def groups(self) -> list[list[TableRow]]:
        """Rows that are compared with each other, group by group."""
        found: dict[tuple[str, int, str, float, int], list[TableRow]] = {}
        for row in self.rows:
            found.setdefault(row.group, []).append(row)
        return list(found.values())

    @property
    def has_temperatures(self) -> bool:
        """Whether rows differ in temperature."""
        return len({row.temperature_kelvin for row in self.rows}) > 1

    def name(self, row: TableRow) -> str:
        """Name of a row where its group is not told; a sampler's own says its temperature where that varies."""
        told = row.control and self.has_temperatures
        return at_kelvin(row.label, row.temperature_kelvin) if told else row.label

    def group_title(self, row: TableRow) -> str:
        """Heading above a row's group; suite, length and temperature only where they vary."""
        parts = [row.peptide] if row.peptide else []
        if len({other.suite for other in self.rows}) > 1:
            parts.append(row.suite)
        if not row.peptide and len({other.length for other in self.rows}) > 1:
            parts.append(f"{row.length} residues")
        if self.has_temperatures:
            parts.append(f"{row.temperature_kelvin:g} K")
        return ", ".join([*parts, f"{row.budget:,} energy evaluations"])


def main_table(scores: pd.DataFrame, metrics: Sequence[Metric] = TABLE_METRICS) -> Table:
    """A row for each method and budget (and suite, length, temperature), over all peptides of that suite and length."""
    return _build(scores, ["suite", "length", "temperature_kelvin", "budget"], tuple(metrics))


def peptide_table(scores: pd.DataFrame, metrics: Sequence[Metric] = TABLE_METRICS) -> Table:
    """A row for each peptide, method and budget; the intervals are the spread over seeds."""
    return _build(scores, ["suite", "length", "peptide", "temperature_kelvin", "budget"], tuple(metrics))


def _build(scores: pd.DataFrame, by: list[str], metrics: tuple[Metric, ...]) -> Table:
    cells = under(scores[scores["row"] != ""])
    methods = dict(zip(cells["row"], cells["method"], strict=True))
    rows: list[TableRow] = []
    for _, group in cells.groupby(by):
        names = row_order(group["row"], methods)
        number = max(int(group["planned"].max()), group["peptide"].nunique())
        made = [_row(group[group["row"] == name], number, metrics, single="peptide" in by) for name in names]
        rows.extend(_with_best(made, group, metrics))
    return Table(tuple(rows), footer=_footer(scores, single="peptide" in by), metrics=metrics)


def _row(lines: pd.DataFrame, n_peptides: int, metrics: tuple[Metric, ...], *, single: bool) -> TableRow:
    """The row of one method in one group, from all its lines."""
    first, scored = lines.iloc[0], lines[lines["status"].isin(SCORED)]
    estimates = {}
    for metric in (*metrics, *TABLE_COSTS):
        source = lines if metric in TABLE_COSTS else scored
        values = source[source["metric"] == metric.name]
        if len(values):
            scaled = values.assign(value=values["value"] * metric.factor)
            estimates[metric.name] = estimate(scaled, bounds=metric.bounds)
    seeds = scored.groupby("peptide")["seed"].nunique()
    return TableRow(
        suite=first["suite"],
        length=int(first["length"]),
        peptide=first["peptide"] if single else "",
        temperature_kelvin=float(first["temperature_kelvin"]),
        budget=int(first["budget"]),
        row=first["row"],
        floor=first["method"] == FLOOR,
        ceiling=first["method"] == CEILING,
        declared=first["method"] == EXTERNAL,
        estimates=estimates,
        peptides=f"{scored['peptide'].nunique()}/{1 if single else n_peptides}",
        seeds=_range(seeds.tolist()) if len(seeds) else "0",
        gap="" if len(scored) else f"n/a: {_reasons(lines)}",
        note="; ".join(filter(None, [_note(lines), _infinite(scored)])) if len(scored) else "",
    )


def _note(lines: pd.DataFrame) -> str:
    """What is not whole, or not measured here, about a row of which something was scored; empty where all is."""
    cells = lines.drop_duplicates(["peptide", "seed"])
    amiss = cells[cells["status"] != "done"]
    declared = (lines["method"] == EXTERNAL).any()
    parts = (
        ["costs are declared by its makers, not metered; it competes with no metered row"] if declared else []
    )
    parts += [
        f"{len(some)} of {len(cells)} cells {status} ({_reasons(some)})"
        for status, some in amiss.groupby("status", sort=True)
    ]
    return "; ".join(parts)


def _infinite(scored: pd.DataFrame) -> str:
    """In how many cells a metric is infinite; empty where it is in none."""
    bad = scored[(scored["value"] == math.inf) & scored["metric"].isin(WASSERSTEIN)]
    if bad.empty:
        return ""
    cells = scored.drop_duplicates(["peptide", "seed"])
    return f"{len(bad.drop_duplicates(['peptide', 'seed']))} of {len(cells)} cells hold frames that are not finite"


def _reasons(lines: pd.DataFrame) -> str:
    """The reasons in some lines, each once; of many, the first two."""
    reasons = sorted(
        {reason or status for reason, status in zip(lines["reason"], lines["status"], strict=True)}
    )
    return "; ".join(reasons[:2]) + (f"; and {len(reasons) - 2} more" if len(reasons) > 2 else "")


def _with_best(rows: list[TableRow], lines: pd.DataFrame, metrics: tuple[Metric, ...]) -> list[TableRow]:
    """The rows of one group with `best` filled in: the best, and all that cannot be told from it.

    Only rows on the largest numbers of peptides and of frames compete. Floor, ceiling, rows of declared cost and values
    that are not finite never do; one row alone has won nothing, and neither have single seeds of one peptide, which
    nothing can be tested with. Where all rows are equal to the best, none has won.
    All pairs are tested, and corrected for their number. The best is so on the scale of the tests: of distances it has
    the smallest geometric mean.
    """
    rivals = _rivals(rows, lines)
    winners: dict[str, set[str]] = {row.row: set() for row in rows}
    for metric in metrics:
        known = [
            row.row
            for row in rivals
            if metric.name in row.estimates and math.isfinite(row.estimates[metric.name].value)
        ]
        if not metric.better or len(known) < 2:
            continue
        scored = lines[lines["status"].isin(SCORED) & (lines["metric"] == metric.name)]
        levels = {name: level(scored[scored["row"] == name]) for name in known}
        best = (min if metric.better == "less" else max)(known, key=levels.__getitem__)
        made, _ = compare_rows(scored, known)
        tested = [one for one in made if best in (one.row, one.other) and one.tested]
        equals = {name for one in tested if not one.distinguishable for name in (one.row, one.other)}
        for name in equals | {best} if tested and equals != {*known} else ():
            winners[name].add(metric.name)
    return [replace(row, best=frozenset(winners[row.row])) for row in rows]


def _rivals(rows: list[TableRow], lines: pd.DataFrame) -> list[TableRow]:
    """Rows that may be compared with each other."""
    rows = [row for row in rows if not (row.control or row.declared) and _scored_peptides(row)]
    most = max((_scored_peptides(row) for row in rows), default=0)
    rows = [row for row in rows if _scored_peptides(row) == most]
    scored = lines[lines["status"].isin(SCORED)]
    frames = {row.row: scored[scored["row"] == row.row].groupby("peptide")["frames"].median() for row in rows}
    largest = max((float(of.sum()) for of in frames.values()), default=0.0)
    return [row for row in rows if equal_frames(float(frames[row.row].sum()), largest)]


def _scored_peptides(row: TableRow) -> int:
    return int(row.peptides.split("/")[0])


def _footer(scores: pd.DataFrame, *, single: bool) -> tuple[str, ...]:
    scored = scores[scores["status"].isin(SCORED)]
    if scored.empty:
        return ("Nothing has been scored yet.", *waiting_lines(scores))
    of = "seeds and the error of the reference" if single else "peptides, which holds that over seeds"
    mean = "mean over seeds" if single else "mean over peptides of the mean over seeds"
    return (
        f"Frames scored: {_range(scored['frames'].tolist())} of each cell, against the scored half of the "
        "reference.",
        f"Values: {mean}, with the 95 % interval (in brackets; ±: half its width) from the spread over {of}. The mean "
        "of a few values that spread over decades is ruled by the largest, and known badly.",
        _floor_line(scored),
        *_ceiling_lines(scored),
        "Bold: the best of its budget and all that a paired test over peptides (for one peptide: over seeds) "
        "does not tell from it at the 5 % level, corrected (Holm) for all pairs of rows; none where it tells none from "
        "the best. Distances (W2) are tested and ranked by their logarithms, ESS and JSD as they are. Only rows on the "
        "most peptides and frames compete.",
        *_weight_lines(scored),
        *_declared_lines(scored),
        *([] if single else ["Peptides: scored / in the suite; of a suite of one's own, in the run."]),
        "Energy evaluations: sampling + preparation. Wall time is that of one cell; at a budget below a "
        "run's last one, the share of its sampling time pro rata of evaluations.",
        f"References: {_references(scored)}.",
        *waiting_lines(scores),
        *(f"Not readable: {reason}" for reason in scores.loc[scores["row"] == "", "reason"]),
    )


def _floor_line(scored: pd.DataFrame) -> str:
    if (scored["method"] == FLOOR).any():
        return (
            "Floor (reference-draw): frames drawn from the half of the reference that is not scored against. "
            "Distances between finite samples do not reach zero; a perfect sampler scores the floor, not 0."
        )
    return "Distances between finite samples have a floor above zero, which no row of this table shows."


def _ceiling_lines(scored: pd.DataFrame) -> list[str]:
    if not (scored["method"] == CEILING).any():
        return []
    return [
        "Ceiling (first-frame): one frame of the reference's other half over and over; a sampler that never "
        "leaves its first equilibrated frame scores it."
    ]


def _weight_lines(scored: pd.DataFrame) -> list[str]:
    """What ESS is, and in how many cells of each weighted row the tail of the weights is too heavy to trust it."""
    tails = scored[(scored["metric"] == "k-hat") & scored["value"].notna()]
    if tails.empty:
        return []
    heavy = (tails["value"] > RELIABLE_PARETO_K).groupby(tails["row"]).agg(["sum", "size"])
    cells = ", ".join(f"{row} in {some} of {of} cells" for row, some, of in heavy.itertuples() if some)
    lines = [
        "ESS: Kish's, as a share of the weights, after the published filter of the highest "
        f"{100 * PUBLISHED_FILTER_FRACTION:g} %."
    ]
    if cells:
        lines.append(
            f"Heavy tails: k-hat, the Pareto shape of all weights, is above {RELIABLE_PARETO_K} for {cells}. "
            "There, estimates rest on a few proposals, and one more draw can change ESS and distances a lot."
        )
    return lines


def _declared_lines(scored: pd.DataFrame) -> list[str]:
    if not (scored["method"] == EXTERNAL).any():
        return []
    return [
        "Declared: frames that were made elsewhere, their costs as their makers declare them. Nobody has metered these "
        "rows: they are never bold, and take the bold from no metered row."
    ]


def _references(scored: pd.DataFrame) -> str:
    order = ["length", "peptide", "temperature_kelvin", "reference"]
    found = scored.drop_duplicates(order[1:]).sort_values(order)
    columns = (found[name].tolist() for name in order[1:])
    return ", ".join(
        f"{name_at(peptide, kelvin)} {digest[:8]}" for peptide, kelvin, digest in zip(*columns, strict=True)
    )


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"
