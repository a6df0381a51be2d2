"""The tables of the paper as Markdown, CSV, LaTeX (booktabs) and HTML."""

import html
from collections.abc import Callable, Mapping
from itertools import groupby

from analysis.tables.grid import csv_table, latex_frame, markdown_lines
from analysis.tables.paper import Line, PaperTable, Place
from analysis.tables.text import escape, texts

NOTE = (
    "Published rows: Tan et al., arXiv 2508.18175, means over the peptides given, without error bars. Measured rows: "
    "mean over peptides with its 95 % interval; bold: the best measured one and all that a paired test does not tell "
    "from it (distances by their logarithms), none where it tells none. The two kinds stand on the same protocol, and "
    "on the same reference only where no mark says otherwise."
)
_EMPTY = "–"
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem; color-scheme: light dark; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; border-block: 2px solid; }
caption { text-align: left; font-weight: 600; padding-bottom: .6rem; }
th, td { padding: .22rem .42rem; text-align: right; vertical-align: top; white-space: nowrap; font-weight: 400; }
th:first-child { text-align: left; }
thead th { vertical-align: bottom; }
thead tr:first-child th { text-align: center; }
thead tr:last-child th { border-bottom: 1px solid; }
.published + .measured > *, .measured + .control > *, .published + .control > * { border-top: 1px solid; }
.measured th { font-weight: 600; }
.control th { font-style: italic; }
sup { line-height: 0; }
.interval { display: block; font-size: .8em; opacity: .75; }
p { font-size: .85em; margin: .2rem 0; max-width: 60rem; }
p:first-of-type { margin-top: .8rem; }
"""


def markdown(table: PaperTable) -> str:
    """The table in Markdown, its title as a heading."""
    heads = [f"{_metric(table, place)}, {place[0]} residues" for place in table.places]
    rows = []
    for line in table.lines:
        name = f"*{line.label}*" if line.control else f"**{line.label}**" if line.measured else line.label
        cells = [_joined(*_cell(line, place), bold=lambda text: f"**{text}**") for place in table.places]
        rows.append([name + _marks(table, line, " [{}]"), *cells, _peptides(table, line)])
    lines = markdown_lines(["method", *heads, "peptides"], "l" + "r" * (len(heads) + 1), rows)
    below = (f"{text}  " for text in _below(table))
    return "\n".join([f"### {table.layout.title}", "", *lines, "", *below, ""])


def csv_text(table: PaperTable) -> str:
    """Every number in a line of its own, with all its digits."""
    headings = [
        "table", "method", "source", "length", "metric", "value", "low", "high", "peptides", "best", "marks",
    ]  # fmt: skip
    rows: list[list[object]] = []
    for line in table.lines:
        source = "measured" if line.measured else "published"
        if not (line.texts or line.estimates):
            marks = "; ".join(line.marks)
            rows.append([table.layout.name, line.label, source, *[""] * 7, marks])
        for place in table.places:
            numbers: list[object]
            if place in line.texts:
                numbers = [line.texts[place], "", ""]
            elif place in line.estimates:
                found = line.estimates[place]
                numbers = ["" if n is None else repr(n) for n in (found.value, found.low, found.high)]
            else:
                continue
            best = place in line.best if line.measured else ""
            of = line.peptides.get(place[0], "")
            marks = "; ".join(line.marks)
            rows.append([table.layout.name, line.label, source, *place, *numbers, of, best, marks])
    return csv_table(headings, rows)


def latex(table: PaperTable) -> str:
    """The table in LaTeX: needs the packages booktabs and graphicx; what is wider than the page is shrunk to it."""
    places = table.places
    opening = [
        r"\centering\fontsize{6.5}{9}\selectfont\setlength{\tabcolsep}{1.5pt}",
        rf"\caption{{{escape(_caption(table))}}}",
        rf"\label{{tab:{table.layout.name}}}",
    ]
    column, spans, rules = 2, [], []
    for length, group in groupby(places, key=lambda place: place[0]):
        width = len(list(group))
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{length} residues}}")
        rules.append(rf"\cmidrule(lr){{{column}-{column + width - 1}}}")
        column += width
    body = [" & ".join(["", *spans, ""]) + r" \\", "".join(rules)]
    heads = [escape(_metric(table, place)).split(" ") for place in places]
    stacked = [r"\shortstack{" + r" \\ ".join(parts) + "}" for parts in heads]
    body.append(" & ".join(["method", *stacked, "peptides"]) + r" \\")
    for _, members in groupby(table.lines, key=lambda line: (line.measured, line.control)):
        body.append(r"\midrule")
        body += [_latex_line(table, line) for line in members]
    notes = r"\par ".join(escape(text) for text in _below(table))
    return latex_frame(opening, f"l{'c' * len(places)}r", body, notes)


def _caption(table: PaperTable) -> str:
    """The title without its number, which LaTeX gives its own."""
    number, title = table.layout.title.split(": ", 1)
    return f"{title[0].upper()}{title[1:]}, as in {number} of Tan et al."


def _latex_line(table: PaperTable, line: Line) -> str:
    name = rf"\emph{{{escape(line.label)}}}" if line.control else escape(line.label)
    cells = [_latex_cell(line, place) for place in table.places]
    row = [name + _marks(table, line, "$^{{{}}}$"), *cells, escape(_peptides(table, line))]
    # The ends of intervals stand above and below their number, and would touch those of the next row.
    return " & ".join(row) + (r" \\[2pt]" if line.estimates else r" \\")


def _latex_cell(line: Line, place: Place) -> str:
    """A number with the distances to the ends of its interval above and below."""
    value, interval, best = _cell(line, place)
    if not interval:
        shown = escape(value).replace("inf", r"$\infty$")
        return rf"\textbf{{{shown}}}" if best else shown
    low, high = interval.strip("[]").split(", ")
    ends = [f"{abs(float(end) - float(value)):.{len(end.partition('.')[2])}f}" for end in (high, low)]
    number = rf"\mathbf{{{value}}}" if best else value
    return f"${number}^{{+{ends[0]}}}_{{-{ends[1]}}}$"


def html_text(table: PaperTable) -> str:
    """The table as an HTML page: one `table` with a caption, header cells with scopes, and its notes below."""
    spans = "".join(
        f'<th scope="colgroup" colspan="{len(list(group))}">{length} residues</th>'
        for length, group in groupby(table.places, key=lambda place: place[0])
    )
    heads = "".join(f'<th scope="col">{html.escape(_metric(table, place))}</th>' for place in table.places)
    rows = []
    for line in table.lines:
        kind = "control" if line.control else "measured" if line.measured else "published"
        cells = "".join(f"<td>{_html_cell(line, place)}</td>" for place in table.places)
        name = html.escape(line.label) + _marks(table, line, " <sup>{}</sup>")
        rows.append(
            f'<tr class="{kind}"><th scope="row">{name}</th>{cells}<td>{html.escape(_peptides(table, line))}</td></tr>'
        )
    below = "\n".join(f"<p>{html.escape(text)}</p>" for text in _below(table))
    title = html.escape(table.layout.title)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<style>{_STYLE}</style>\n</head>\n<body>\n<div class="scroll">\n'
        f'<table class="paper" id="{table.layout.name}">\n<caption>{title}</caption>\n'
        f'<thead><tr><th></th>{spans}<th></th></tr>\n<tr><th scope="col">method</th>{heads}'
        f'<th scope="col">peptides</th>'
        f"</tr></thead>\n<tbody>\n"
        + "\n".join(rows)
        + f"\n</tbody>\n</table>\n</div>\n{below}\n</body>\n</html>\n"
    )


def _html_cell(line: Line, place: Place) -> str:
    value, interval, best = _cell(line, place)
    shown = f"<b>{html.escape(value)}</b>" if best else html.escape(value)
    return f'{shown} <span class="interval">{html.escape(interval)}</span>' if interval else shown


def _cell(line: Line, place: Place) -> tuple[str, str, bool]:
    """Value, interval and whether it is bold."""
    if place in line.texts:
        return line.texts[place], "", False
    if place not in line.estimates:
        return _EMPTY, "", False
    return *texts(line.estimates[place]), place in line.best


def _joined(value: str, interval: str, best: bool, bold: Callable[[str], str]) -> str:
    return f"{bold(value) if best else value} {interval}".strip()


def _metric(table: PaperTable, place: Place) -> str:
    metric = next(metric for metric in table.layout.metrics if metric.name == place[1])
    return metric.label


def _marks(table: PaperTable, line: Line, form: str) -> str:
    numbers = ",".join(map(str, sorted(table.remarks.index(mark) + 1 for mark in line.marks)))
    return form.format(numbers) if numbers else ""


def _peptides(table: PaperTable, line: Line) -> str:
    """Peptides of a line, length by length."""
    return ", ".join(line.peptides.get(length, _EMPTY) for length in table.lengths)


def _below(table: PaperTable) -> list[str]:
    return [*(f"[{number}] {text}" for number, text in enumerate(table.remarks, start=1)), NOTE]


WRITERS: Mapping[str, Callable[[PaperTable], str]] = {
    "md": markdown,
    "csv": csv_text,
    "tex": latex,
    "html": html_text,
}
"""The functions that write a table, by the ending of the file's name."""
