"""Tables: methods by budget, every number with its interval, every gap with its reason.

`main_table` and `peptide_table` build a Table out of the long table of scores; `analysis.tables.text` writes
it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd

from analysis.metrics.metric import Cost, Metric
from analysis.metrics.registry import TABLE_COSTS, TABLE_METRICS, WASSERSTEIN
from analysis.metrics.weighting import FILTERED, PLAIN, SMOOTHED, Weighting
from analysis.scores.rows import at_kelvin, row_order
from analysis.scores.statuses import SCORED
from analysis.scores.table import scored_lines, unconverged, under
from analysis.statistics.comparisons import compare_rows, equal_frames, level
from analysis.statistics.estimates import Estimate, metric_estimate
from analysis.tables.digits import number_range
from analysis.tables.footer import footer
from analysis.wording import first_few
from prosebench.names import CEILING, EXTERNAL, FLOOR


class Remark(NamedTuple):
    """What a reader must know of a row. kind: a status of cells, "declared", "infinite" or "unconverged"."""

    kind: str
    text: str


@dataclass(frozen=True)
class TableRow:
    """One method at one budget, on all peptides of a length or on one.

    weighting: under which weights its frames are scored (analysis.metrics.weighting); secondary: a weighted row's
    line under the published filter behind the one that competes. estimates by metric. best:
    metrics in which no row of the group is better beyond the intervals. at_least: metrics whose value is the least
    they can take, so that it says no more than "at most". peptides: "how many are scored / how many the suite has of
    this length"; seeds: the number of seeds or its range. gap: "n/a: reason" where nothing was scored; remarks: what a
    reader must know besides. declared: its costs are what its makers say, nobody has metered them.
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
    remarks: tuple[Remark, ...] = ()
    ceiling: bool = False
    declared: bool = False
    best: frozenset[str] = frozenset()
    at_least: frozenset[str] = frozenset()
    weighting: Weighting = PLAIN
    secondary: bool = False

    @property
    def group(self) -> tuple[str, int, str, float, int]:
        """What rows must share to be compared."""
        return self.suite, self.length, self.peptide, self.temperature_kelvin, self.budget

    @property
    def label(self) -> str:
        """Name of the row for a reader."""
        name = "floor" if self.floor else "ceiling" if self.ceiling else self.row
        return f"{name}, filtered" if self.weighting == FILTERED else name

    @property
    def kind(self) -> str:
        """What the row is: "floor", "ceiling", "declared", "filtered" (a second line of a method) or "method"."""
        if self.control:
            return self.label
        return "declared" if self.declared else "filtered" if self.secondary else "method"

    @property
    def control(self) -> bool:
        """Whether this is a yardstick and no sampler: it is set apart and competes with none."""
        return self.floor or self.ceiling

    @property
    def note(self) -> str:
        """All remarks in one line; empty where the gap says it all."""
        return "" if self.gap else "; ".join(one.text for one in self.remarks)

    @property
    def remark(self) -> str:
        """What a reader must know of this row: the gap or the note. Rows that share one share its mark."""
        return self.gap or self.note


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
    cells = scores[scores["row"] != ""]
    methods = dict(zip(cells["row"], cells["method"], strict=True))
    rows: list[TableRow] = []
    for _, group in cells.groupby(by):
        standing = under(group)
        floor = scored_lines(standing[standing["method"] == FLOOR])
        names = row_order(standing["row"], methods)
        made = [_row(standing[standing["row"] == name], group, metrics, by, floor) for name in names]
        made = _with_best(made, standing, metrics)
        rows.extend(_with_filtered(made, group, metrics, by, floor))
    shown = tuple(
        metric for metric in metrics if not metric.optional or any(_is_told(metric, row) for row in rows)
    )
    return Table(tuple(rows), footer=footer(scores, single="peptide" in by), metrics=shown)


def _is_told(metric: Metric, row: TableRow) -> bool:
    """Whether a row has a value of a metric other than 0."""
    return metric.name in row.estimates and row.estimates[metric.name].value != 0.0


def _with_filtered(
    rows: list[TableRow],
    group: pd.DataFrame,
    metrics: tuple[Metric, ...],
    by: list[str],
    floor: pd.DataFrame,
) -> list[TableRow]:
    """The rows, behind each weighted one its line under the published filter."""
    filtered = group[group["weighting"] == FILTERED]
    found = []
    for row in rows:
        found.append(row)
        mine = filtered[filtered["row"] == row.row]
        if len(mine) and row.weighting != FILTERED:
            costs = group[(group["row"] == row.row) & (group["weighting"] == PLAIN)]
            made = _row(pd.concat([mine, costs]), group, metrics, by, floor)
            found.append(replace(made, secondary=True, remarks=()))
    return found


def _row(
    lines: pd.DataFrame,
    group: pd.DataFrame,
    metrics: tuple[Metric, ...],
    by: list[str],
    floor: pd.DataFrame,
) -> TableRow:
    """The row of one method in one group, from all its lines. floor: what was scored of the group's floor."""
    first, scored = lines.iloc[0], scored_lines(lines)
    single = "peptide" in by
    planned = 1 if single else max(int(group["planned"].max()), group["peptide"].nunique())
    bounding = floor.iloc[:0] if first["method"] in (FLOOR, CEILING) else floor
    estimates = {}
    for metric in (*metrics, *TABLE_COSTS):
        source = lines if metric in TABLE_COSTS else scored
        values = source[source["metric"] == metric.name]
        if len(values):
            of_floor = bounding[bounding["metric"] == metric.name]
            estimates[metric.name] = metric_estimate(values, metric, of_floor)
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
        peptides=f"{scored['peptide'].nunique()}/{planned}",
        seeds=number_range(seeds.tolist()) if len(seeds) else "0",
        gap="" if len(scored) else f"n/a: {_reasons(lines)}",
        remarks=tuple(_remarks(lines, scored)),
        weighting=next((one for one in (SMOOTHED, FILTERED) if (lines["weighting"] == one).any()), PLAIN),
        at_least=_at_least(scored, metrics),
    )


def _at_least(scored: pd.DataFrame, metrics: Sequence[Metric]) -> frozenset[str]:
    """Metrics whose mean is, to a tenth, the least that it can be: one weight is all in nearly every cell."""
    means = scored.groupby("metric")["value"].mean()
    return frozenset(
        metric.name
        for metric in metrics
        if metric.least in means and metric.name in means and means[metric.name] <= 1.1 * means[metric.least]
    )


def _remarks(lines: pd.DataFrame, scored: pd.DataFrame) -> Iterator[Remark]:
    """What is not whole, not measured here, or not to be trusted about a row of which something was scored."""
    if (lines["method"] == EXTERNAL).any():
        yield Remark(
            "declared", "costs are declared by its makers, not metered; it competes with no metered row"
        )
    cells = lines.drop_duplicates(["peptide", "seed"])
    for status, some in cells[cells["status"] != "done"].groupby("status", sort=True):
        yield Remark(str(status), f"{len(some)} of {len(cells)} cells {status} ({_reasons(some)})")
    bad = scored[(scored["value"] == math.inf) & scored["metric"].isin(WASSERSTEIN)]
    if len(bad):
        several = len(bad.drop_duplicates(["peptide", "seed"]))
        of = len(scored.drop_duplicates(["peptide", "seed"]))
        yield Remark("infinite", f"{several} of {of} cells hold frames that are not finite")
    names = unconverged(scored)
    if names:
        yield Remark("unconverged", f"scored against references that are not converged ({first_few(names)})")


def _reasons(lines: pd.DataFrame) -> str:
    """The reasons in some lines, each once; of many, the first two."""
    reasons = sorted(
        {reason or status for reason, status in zip(lines["reason"], lines["status"], strict=True)}
    )
    return first_few(reasons, 2, ";")


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
            if metric.name in row.estimates
            and math.isfinite(row.estimates[metric.name].value)
            and metric.name not in row.at_least
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
