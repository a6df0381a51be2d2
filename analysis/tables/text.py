"""Tables as text: terminal, Markdown, CSV with full numbers, LaTeX (booktabs)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from textwrap import wrap

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from analysis.metrics.metric import Cost, Metric
from analysis.statistics.estimates import Estimate
from analysis.tables.grid import csv_table, latex_frame, markdown_lines
from analysis.tables.main import Table, TableRow

FULL_WIDTH = 112
NAME_WIDTH = 10
"""The number of letters of a method's name on one line of a terminal. Longer names are broken at hyphens,
since their values take two lines as well."""
NARROW_METRICS = ("ess", "energy-w2", "torus-w2", "tica-w2")
_DASH = "–"
_LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "\u00a0": "~",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
}


def texts(found: Estimate) -> tuple[str, str]:
    """An estimate as ("0.452", "[0.400, 0.510]"), the second empty where there is no interval or it is a
    point.

    As many decimals as show two digits of the interval's half-width, but never more than three digits of the
    value.
    """
    if found.low is None or found.high is None or _is_point(found):
        return _number(found.value, _decimals(found.value, None)), ""
    decimals = _decimals(found.value, (found.high - found.low) / 2.0)
    low, high = (_number(end, decimals) for end in (found.low, found.high))
    return _number(found.value, decimals), f"[{low}, {high}]"


def metric_texts(found: Estimate, metric: Metric) -> tuple[str, str]:
    """An estimate of a metric as texts: on a logarithmic scale with as many digits of each end."""
    return (ratio_texts if metric.scale == "log" else texts)(found)


def ratio_texts(found: Estimate) -> tuple[str, str]:
    """A ratio as ("4.90", "[1.13, 21.3]"): three digits of each number, as its ends may lie far apart."""
    value, *ends = (_number(one, _decimals(one, None)) for one in (found.value, *found.ends))
    return value, "" if found.low is None or _is_point(found) else f"[{ends[0]}, {ends[1]}]"


def _is_point(found: Estimate) -> bool:
    """Whether the ends of the interval differ by no more than the rounding of the metrics themselves."""
    return math.isclose(*found.ends, rel_tol=1e-6)


def _decimals(value: float, half_width: float | None) -> int:
    size = _magnitude(value)
    wanted = 2 - size
    if half_width is not None and math.isfinite(half_width) and half_width > 0.0:
        wanted = min(1 - _magnitude(half_width), wanted) if value else 1 - _magnitude(half_width)
    return max(0, wanted) if value or half_width else 0


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0


def _number(value: float, decimals: int) -> str:
    if not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1e5 or decimals > 6:
        return f"{value:.2e}"
    shown = f"{value:.{decimals}f}"
    return shown.removeprefix("-") if not float(shown) else shown


def markdown(table: Table) -> str:
    """The table in Markdown, with its notes and footer below."""
    remarks = _remarks(table, gaps=False)
    first = ["peptide", "budget", "method"] if _has_peptides(table) else ["budget", "method"]
    headings = [*first, *_headings(table), "peptides", "seeds"]
    rows = []
    for row in table.rows:
        mark = _mark(remarks, row)
        name = f"*{table.name(row)}*" if row.control else row.label
        start = [row.peptide] * _has_peptides(table)
        start += [f"{row.budget:,}", f"{name} [{mark}]" if mark else name]
        rows.append([*start, *_markdown_cells(table, row), row.peptides, row.seeds])
    aligned = "l" * len(first) + "r" * (len(headings) - len(first))
    lines = markdown_lines(headings, aligned, rows)
    return "\n".join([*lines, "", *(f"{line}  " for line in _below(table, remarks)), ""])


def _markdown_cells(table: Table, row: TableRow) -> list[str]:
    cells = []
    for metric in table.metrics:
        value, interval = _metric_texts(row, metric)
        value = f"**{value}**" if metric.name in row.best else value
        cells.append(f"{value} {interval}".strip())
    if row.gap:
        cells[0] = row.gap
    return [*cells, *_costs(table, row)]


@dataclass(frozen=True)
class TerminalTable:
    """The table for rich: values with their intervals below them, one section a budget.

    A terminal of fewer than FULL_WIDTH columns gets the metrics of NARROW_METRICS and the first cost alone.
    """

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich asks for when it prints this."""
        narrow = options.max_width < FULL_WIDTH
        metrics = tuple(
            metric
            for metric in self.table.metrics
            if metric.name in NARROW_METRICS or not (narrow or metric.optional)
        )
        first = next(cost.name for cost in self.table.costs if not cost.adds_to)
        costs = tuple(cost for cost in self.table.costs if not narrow or first in (cost.name, cost.adds_to))
        yield _rich_table(replace(self.table, metrics=metrics, costs=costs))
        yield from map(Text, _below(self.table, _remarks(self.table, gaps=True)))
        if narrow:
            yield f"A terminal of {FULL_WIDTH} columns shows more metrics."


def _rich_table(table: Table) -> RichTable:
    remarks = _remarks(table, gaps=True)
    made = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ["peptide"] * _has_peptides(table) + ["budget", "method"]:
        made.add_column(heading, no_wrap=heading != "method", overflow="fold")
    for heading in [*_headings(table), "peptides\u00a0× seeds"]:
        made.add_column("\n".join(_heading_parts(heading)), justify="right", no_wrap=True)
    for rows in table.groups:
        for row in rows:
            start = [row.peptide] * _has_peptides(table) + [f"{row.budget:,}"]
            shown = start if row is rows[0] else [""] * len(start)
            cells = _terminal_cells(table, row, _mark(remarks, row))
            made.add_row(*shown, *cells, style="dim" if row.control else None)
        made.add_section()
    return made


def _terminal_cells(table: Table, row: TableRow, mark: str) -> list[Text]:
    """Method, metrics, costs, and on what the row stands."""
    cells = [Text("\n".join(wrap(f"{row.label} [{mark}]" if mark else row.label, NAME_WIDTH)))]
    for metric in table.metrics:
        value, _ = _metric_texts(row, metric)
        cell = Text(value, style="bold green" if metric.name in row.best else "")
        cells.append(cell.append(_ends(row, metric), style="dim"))
    if row.gap:
        cells[1] = Text("n/a", style="yellow")
    costs = (text.replace(" + ", "\n+ ") for text in _costs(table, row))
    return [*cells, *map(Text, costs), Text(_standing(row))]


def _ends(row: TableRow, metric: Metric) -> str:
    """Both ends of an interval to two digits, below the value; a terminal is narrow."""
    found = row.estimates.get(metric.name)
    if found is None or not _metric_texts(row, metric)[1]:
        return ""
    low, high = (f"{end:.2g}" for end in found.ends)
    dash = "–" if len(low) + len(high) < 9 else "–\n"
    return f"\n{low}{dash}{high}"


def csv_text(table: Table) -> str:
    """The table in CSV: every digit, interval ends in columns of their own, nothing where there is no
    number.
    """
    columns = (
        "suite",
        "length",
        "peptide",
        "temperature_kelvin",
        "budget",
        "row",
        "weighting",
        "floor",
        "peptides",
        "seeds",
    )
    shown = (*table.metrics, *table.costs)
    names = [part for metric in shown for part in _csv_names(metric)]
    rows = []
    for row in table.rows:
        numbers = [part for metric in shown for part in _csv_numbers(row.estimates.get(metric.name), metric)]
        rows.append([*(getattr(row, name) for name in columns), *numbers, row.gap or row.note])
    return csv_table([*columns, *names, "note"], rows)


def _csv_names(metric: Metric) -> list[str]:
    name = f"{metric.name}-percent" if metric.factor != 1.0 else metric.name
    return [name] if isinstance(metric, Cost) else [name, f"{name}-low", f"{name}-high"]


def _csv_numbers(found: Estimate | None, metric: Metric) -> list[str]:
    values = (None, None, None) if found is None else (found.value, found.low, found.high)
    return [
        "" if value is None else repr(value) for value in (values[:1] if isinstance(metric, Cost) else values)
    ]


def latex(table: Table, caption: str = "", label: str = "") -> str:
    """The table in LaTeX: needs the packages booktabs and graphicx and a page-wide float; what is wider is shrunk to
    it. Bold and intervals as in Markdown.
    """
    remarks = _remarks(table, gaps=False)
    headings = ["method", *_headings(table), "peptides\u00a0× seeds"]
    opening = [
        r"\newcommand{\lines}[2]{\begin{tabular}[#1]{@{}c@{}}#2\end{tabular}}",
        r"\centering\footnotesize\setlength{\tabcolsep}{2.5pt}",
        *([rf"\caption{{{escape(caption)}}}"] if caption else []),
        *([rf"\label{{{label}}}"] if label else []),
    ]
    stacked = (_stacked(*map(escape, _heading_parts(heading)), place="b") for heading in headings)
    body = [" & ".join(stacked) + r" \\"]
    for rows in table.groups:
        title = escape(table.group_title(rows[0]))
        body += [r"\midrule", rf"\multicolumn{{{len(headings)}}}{{l}}{{\emph{{{title}}}}} \\"]
        for is_control, members in groupby(rows, key=lambda row: row.control):
            if is_control:
                body.append(rf"\cmidrule(lr){{1-{len(headings)}}}")
            body += [
                " & ".join(_latex_cells(table, row, _mark(remarks, row))) + r" \\[2pt]" for row in members
            ]
    notes = r"\par ".join(escape(line) for line in _below(table, remarks))
    return latex_frame(opening, "l" + "c" * (len(headings) - 1), body, notes)


def _latex_cells(table: Table, row: TableRow, mark: str) -> list[str]:
    name = rf"\emph{{{escape(row.label)}}}" if row.control else escape(row.label)
    start = f"{name}$^{{{mark}}}$" if mark else name
    costs = (_stacked(*map(escape, text.replace(" + ", "|+ ").split("|"))) for text in _costs(table, row))
    last = [*costs, escape(_standing(row))]
    if row.gap:
        return [start, rf"\multicolumn{{{len(table.metrics)}}}{{l}}{{\emph{{{escape(row.gap)}}}}}", *last]
    cells = []
    for metric in table.metrics:
        value, interval = (_latex_number(text) for text in _metric_texts(row, metric))
        value = rf"\textbf{{{value}}}" if metric.name in row.best else value
        cells.append(_stacked(value, rf"{{\scriptsize {interval}}}") if interval else value)
    return [start, *cells, *last]


def _latex_number(text: str) -> str:
    return escape(text).replace("inf", r"$\infty$")


def _stacked(*parts: str, place: str = "t") -> str:
    r"""Lines stacked by the command \lines, with their first ("t") or last ("b") on the row's line."""
    return rf"\lines{{{place}}}{{" + r" \\ ".join(parts) + "}" if len(parts) > 1 else parts[0]


def escape(text: str) -> str:
    """Text with what LaTeX treats as special escaped."""
    return "".join(_LATEX_ESCAPES.get(character, character) for character in text)


def _heading_parts(heading: str) -> list[str]:
    """A heading on several lines, one a word; a no-break space holds words together."""
    return heading.split(" ")


def _headings(table: Table) -> list[str]:
    return [metric.label for metric in (*table.metrics, *_cost_columns(table))]


def _metric_texts(row: TableRow, metric: Metric) -> tuple[str, str]:
    if row.gap:
        return "", ""
    found = row.estimates.get(metric.name)
    if found is None:
        return _DASH, ""
    if metric.name in row.at_least:
        return f"≤ {texts(found)[0]}", ""
    return metric_texts(found, metric)


def _standing(row: TableRow) -> str:
    """How much a row rests on: peptides scored / of how many, times seeds."""
    return f"{row.peptides} × {row.seeds}"


def _cost_columns(table: Table) -> list[Cost]:
    """Costs that have a column of their own; the others stand behind a plus sign in one of these."""
    return [cost for cost in table.costs if not cost.adds_to]


def cost_text(row: TableRow, cost: Cost, costs: Sequence[Cost]) -> str:
    """A cost with those that add to it: "10,000 + 250"."""
    found = row.estimates.get(cost.name)
    if row.control or found is None:
        return _DASH
    added = (row.estimates.get(other.name) for other in costs if other.adds_to == cost.name)
    return " + ".join([_rounded(found.value), *(_rounded(one.value) for one in added if one and one.value)])


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _costs(table: Table, row: TableRow) -> list[str]:
    return [cost_text(row, cost, table.costs) for cost in _cost_columns(table)]


def _remarks(table: Table, *, gaps: bool) -> list[str]:
    """Notes on rows, each once, in order; with gaps also why rows are empty."""
    rows = [row for row in table.rows if row.note or (gaps and row.gap)]
    return list(dict.fromkeys(row.remark for row in rows))


def _mark(remarks: list[str], row: TableRow) -> str:
    return str(remarks.index(row.remark) + 1) if row.remark in remarks else ""


def _below(table: Table, remarks: list[str]) -> list[str]:
    return [*(f"[{number}] {text}" for number, text in enumerate(remarks, start=1)), *table.footer]


def _has_peptides(table: Table) -> bool:
    return any(row.peptide for row in table.rows)
