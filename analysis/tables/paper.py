"""The tables of the paper in its own layout: methods by length and metric, published rows beside measured ones.

Tables 2, 3 and 4 (10,000, 200,000 and 1,000,000 energy evaluations), 11 (proposals without weights), 13 (longer
peptides), 14 (Jensen-Shannon divergences) and 15 (effective samples per second) of Tan et al., arXiv 2508.18175. The
paper's rows are means over 30 peptides a length (in Table 13: single peptides) and have no error bars; measured rows
have their intervals. `analysis.tables.paper_text` writes them.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files

import pandas as pd

from analysis.metrics.metric import POSITIVE, Metric
from analysis.metrics.registry import BY_NAME, WASSERSTEIN
from analysis.metrics.weighting import FILTERED, PLAIN, UNWEIGHTED, Weighting
from analysis.scores.statuses import SCORED
from analysis.scores.table import under
from analysis.statistics.estimates import Estimate
from analysis.tables.annealing import PUBLISHED_END, annealing_note
from analysis.tables.main import TableRow, main_table
from prosebench.names import PUBLISHED_KELVIN, name_at

PUBLISHED_FRAMES = 10_000
PROLINE = {2: 2, 4: 1}
"""The number of test peptides with N-terminal proline, by length: PG, PY, PQIF. Some methods leave them out."""

RATE = Metric(
    name="effective-samples-per-second",
    heading="effective samples per second",
    what="effective sample size times sampling evaluations, divided by sampling seconds",
    better="more",
    bounds=POSITIVE,
)
_DISTANCES = tuple(BY_NAME[name] for name in WASSERSTEIN)
_DIVERGENCES = tuple(BY_NAME[name] for name in ("torus-k-jsd", "tica-k-jsd"))
_COLUMNS = {
    "ess": "ess",
    "energy-w2": "energy_w2",
    "torus-w2": "torus_w2",
    "tica-w2": "tica_w2",
    "torus-k-jsd": "torus_jsd",
    "tica-k-jsd": "tica_jsd",
    RATE.name: "effective_samples_per_second",
}
"""The column of the published files that holds each metric."""


@dataclass(frozen=True)
class Layout:
    """One table of the paper: its file, title, budget, metrics, and which weights its rows use.

    weightings: of each weighted row, under which of them it has a line. beside: a file of what was published elsewhere.
    lengths: of its peptides, of which it has n_peptides each.
    """

    name: str
    title: str
    budget: int
    metrics: tuple[Metric, ...]
    weightings: tuple[Weighting, ...] = (FILTERED,)
    beside: str = ""
    lengths: tuple[int, ...] = (2, 4, 8)
    n_peptides: int = 30


LAYOUTS = (
    Layout(
        "table2", "Table 2: 10,000 energy evaluations", 10_000, (BY_NAME["ess"], *_DISTANCES), beside="robin"
    ),
    Layout(
        "table3",
        "Table 3: 200,000 energy evaluations",
        200_000,
        (BY_NAME["ess"], *_DISTANCES),
        beside="robin",
    ),
    Layout("table4", "Table 4: 1,000,000 energy evaluations", 1_000_000, (BY_NAME["ess"], *_DISTANCES)),
    Layout("table11", "Table 11: proposals without weights", 10_000, _DISTANCES, (UNWEIGHTED,)),
    # Two single peptides, of 9 and 10 residues. The paper names no budget; that of its self-improvement stands here.
    Layout(
        "table13",
        "Table 13: longer peptides than those of training, 1,000,000 energy evaluations",
        1_000_000,
        (BY_NAME["ess"], *_DISTANCES),
        (UNWEIGHTED, FILTERED),
        lengths=(9, 10),
        n_peptides=1,
    ),
    Layout("table14", "Table 14: Jensen-Shannon divergences", 10_000, _DIVERGENCES, (UNWEIGHTED, FILTERED)),
    Layout("table15", "Table 15: effective samples per second", 10_000, (RATE,)),
)

_SAID: Mapping[Weighting, str] = {UNWEIGHTED: "proposal", FILTERED: "weighted"}

_ROBIN = (
    "published by Rehman et al., arXiv 2606.27361; centre and orientation are not taken out of its weights"
)

Place = tuple[int, str]
"""The place of a cell in a line: the length of the peptides and the name of the metric."""


@dataclass(frozen=True)
class Line:
    """One method: published numbers as printed (texts), or measured estimates, by place.

    peptides: by length, "scored/of how many"; best: places of measured numbers that none is told to be better than;
    marks: what a reader must know of this line.
    """

    label: str
    measured: bool
    texts: Mapping[Place, str] = field(default_factory=dict)
    estimates: Mapping[Place, Estimate] = field(default_factory=dict)
    peptides: Mapping[int, str] = field(default_factory=dict)
    best: frozenset[Place] = frozenset()
    marks: tuple[str, ...] = ()
    control: bool = False


@dataclass(frozen=True)
class PaperTable:
    """Lines, published first, and the columns in which anything stands."""

    layout: Layout
    lines: tuple[Line, ...]

    @property
    def places(self) -> list[Place]:
        """Columns: lengths, and within them metrics, in which some line has a number."""
        there = {place for line in self.lines for place in (*line.texts, *line.estimates)}
        return [
            (n, metric.name)
            for n in self.lengths
            for metric in self.layout.metrics
            if (n, metric.name) in there
        ]

    @property
    def lengths(self) -> list[int]:
        """Lengths that some line has."""
        return sorted({length for line in self.lines for length, _ in (*line.texts, *line.estimates)})

    @property
    def remarks(self) -> list[str]:
        """Every mark once, in order of the lines; a line shows their numbers, from 1."""
        return list(dict.fromkeys(mark for line in self.lines for mark in line.marks))

    @property
    def measured(self) -> bool:
        """Whether any number here was measured."""
        return any(line.measured for line in self.lines)


def paper_tables(
    scores: pd.DataFrame, published_references: Mapping[str, bool] | None = None
) -> list[PaperTable]:
    """All tables of LAYOUTS, each with the measured rows that were run at its budget.

    scores: the long table, with the ceiling where it is wanted. published_references: whether the reference of a
    peptide at a temperature (`name_at`) is the published 5 us one; what is not named there is an own one.
    """
    return [_table(layout, scores, published_references or {}) for layout in LAYOUTS]


def _table(layout: Layout, scores: pd.DataFrame, references: Mapping[str, bool]) -> PaperTable:
    cells = scores[
        (scores["budget"] == layout.budget) & scores["length"].isin(layout.lengths) & (scores["row"] != "")
    ]
    lines = [*_published(layout), *_measured(layout, _standing(layout, cells), references)]
    order = {id(line): (line.measured, line.control) for line in lines}
    return PaperTable(layout, tuple(sorted(lines, key=lambda line: order[id(line)])))


def published_rows(name: str) -> list[dict[str, str]]:
    """Rows of a published table, every number as text."""
    text = files("analysis").joinpath("published", f"{name}.csv").read_text()
    return list(csv.DictReader(io.StringIO(text)))


def _published(layout: Layout) -> list[Line]:
    found: dict[str, dict[Place, str]] = {}
    devices: dict[str, str] = {}
    for row in _rows_of(layout):
        kind = row.get("weights", "")
        label = f"{row['method']}, {kind}" if kind and len(layout.weightings) > 1 else row["method"]
        devices[label] = row.get("device", "")
        for metric in layout.metrics:
            if row[_COLUMNS[metric.name]]:
                length = int(row.get("length") or len(row["sequence"]))
                found.setdefault(label, {})[length, metric.name] = row[_COLUMNS[metric.name]]
    lines = []
    for label, texts in found.items():
        fewer = (
            ("without the peptides with N-terminal proline",)
            if label.startswith(("ECNF", "Timewarp"))
            else ()
        )
        device = (f"on one {devices[label]}",) if devices[label] else ()
        annealed = (PUBLISHED_END,) if "SMC" in label else ()
        without = PROLINE if fewer else {}
        of = {length: str(layout.n_peptides - without.get(length, 0)) for length, _ in texts}
        elsewhere = (_ROBIN,) if label.startswith("Robin") else ()
        marks = fewer + device + annealed + elsewhere
        lines.append(Line(label, False, texts=texts, peptides=of, marks=marks))
    return lines


def _rows_of(layout: Layout) -> list[dict[str, str]]:
    """Rows of the paper, and after them what was published elsewhere at this budget, of methods that it lacks."""
    rows = published_rows(layout.name)
    methods = {row["method"] for row in rows}
    others = published_rows(layout.beside) if layout.beside else []
    return rows + [
        row
        for row in others
        if int(row["energy_evaluations"]) == layout.budget and row["method"] not in methods
    ]


def _standing(layout: Layout, cells: pd.DataFrame) -> pd.DataFrame:
    """The scores that stand in a table of the paper; all of its rows compete for bold."""
    if layout.metrics == (RATE,):
        return _with_rate(under(cells, FILTERED)).assign(weighting=PLAIN)
    plain = cells[cells["weighting"] == PLAIN]
    parts = [plain]
    for weighting in layout.weightings:
        mine = cells[cells["weighting"] == weighting]
        alone = weighting == layout.weightings[-1]
        parts.append(mine if alone else _beside(mine, plain, weighting))
    return pd.concat(parts, ignore_index=True).assign(weighting=PLAIN)


def _beside(mine: pd.DataFrame, plain: pd.DataFrame, weighting: Weighting) -> pd.DataFrame:
    """The scores for a second line of weighted rows, under another weighting, together with numbers that do
    not depend on weights."""
    common = plain[plain["row"].isin(set(mine["row"]))]
    both = pd.concat([mine, common], ignore_index=True)
    return both.assign(row=both["row"] + f", {_SAID[weighting]}")


def _with_rate(cells: pd.DataFrame) -> pd.DataFrame:
    """The scores with RATE: ess times sampling evaluations, divided by sampling seconds, cell by cell."""
    keys = ["suite", "peptide", "row", "budget", "seed"]
    wide = cells[cells["status"].isin(SCORED)].pivot_table(
        index=keys, columns="metric", values="value", sort=True
    )
    needed = ["ess", "sampling-evaluations", "sampling-seconds"]
    if wide.empty or not set(needed) <= set(wide.columns):
        return cells
    rate = (wide["ess"] * wide["sampling-evaluations"] / wide["sampling-seconds"]).dropna().rename("value")
    ess = cells[(cells["metric"] == "ess") & cells["status"].isin(SCORED)].drop(columns="value")
    made = ess.merge(rate.reset_index(), on=keys).assign(metric=RATE.name)
    return pd.concat([cells, made], ignore_index=True)


def _measured(layout: Layout, cells: pd.DataFrame, references: Mapping[str, bool]) -> list[Line]:
    if cells.empty:
        return []
    # The paper prints arithmetic means, also of distances.
    table = main_table(cells, [replace(metric, scale="linear") for metric in layout.metrics])
    several = cells.drop_duplicates(["suite", "length"])["length"].duplicated().any()
    grouped: dict[str, list[TableRow]] = {}
    for row in table.rows:
        name = table.name(row)
        grouped.setdefault(f"{name} ({row.suite})" if several else name, []).append(row)
    lines = [_line(label, parts, layout, cells, references) for label, parts in grouped.items()]
    return [line for line in lines if line.estimates or any("n/a" in mark for mark in line.marks)]


def _line(
    label: str,
    parts: list[TableRow],
    layout: Layout,
    cells: pd.DataFrame,
    references: Mapping[str, bool],
) -> Line:
    names = {metric.name for metric in layout.metrics}
    estimates = {
        (part.length, name): found
        for part in parts
        for name, found in part.estimates.items()
        if name in names
    }
    return Line(
        label,
        True,
        estimates=estimates,
        peptides={part.length: part.peptides for part in parts},
        best=frozenset((part.length, name) for part in parts for name in part.best if name in names),
        marks=tuple(_marks(parts, layout, cells, references)),
        control=parts[0].control,
    )


def _marks(
    parts: list[TableRow], layout: Layout, cells: pd.DataFrame, references: Mapping[str, bool]
) -> list[str]:
    """What a reader must know of a measured line; lengths are named where it does not hold for all of them."""
    found: dict[str, list[int]] = {}

    def mark(text: str, length: int) -> None:
        found.setdefault(text, []).append(length)

    for part in parts:
        mine = cells[
            (cells["row"] == part.row)
            & (cells["suite"] == part.suite)
            & (cells["length"] == part.length)
            & (cells["temperature_kelvin"] == part.temperature_kelvin)
        ]
        scored = mine[mine["status"].isin(SCORED)]
        if part.gap or part.note:
            mark(part.gap or part.note, part.length)
        if mine["peptide"].nunique() < layout.n_peptides and not part.control:
            mark(f"fewer than the {layout.n_peptides} published peptides", part.length)
        if end := annealing_note(scored):
            mark(end, part.length)
        kelvin = part.temperature_kelvin
        own = [one for one in scored["peptide"].unique() if not references.get(name_at(one, kelvin), False)]
        if own:
            whole = len(own) == scored["peptide"].nunique()
            mark("own references" if whole else "some own references", part.length)
        frames = int(scored["frames"].max()) if len(scored) else 0
        if 0 < frames < 0.99 * PUBLISHED_FRAMES and not part.ceiling:
            mark(f"{frames:,} frames, not {PUBLISHED_FRAMES:,}", part.length)
        if kelvin != PUBLISHED_KELVIN:
            mark(f"at {kelvin:g} K", part.length)
    return [
        text if len(lengths) == len(parts) else f"{', '.join(map(str, lengths))} residues: {text}"
        for text, lengths in found.items()
    ]
