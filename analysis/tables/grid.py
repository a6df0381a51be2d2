"""The one writer of plain tables: rows of texts as Markdown and as CSV, and the frame of a table in LaTeX."""

import csv
import io
from collections.abc import Iterable, Sequence

_RULES = {"l": ":--", "r": "--:"}


def markdown_lines(headings: Sequence[str], aligned: str, rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; aligned: a letter a column, "l" or "r". Bars in cells are escaped."""
    rules = [_RULES[letter] for letter in aligned]
    return [_piped(headings), _piped(rules), *(_piped(row) for row in rows)]


def _piped(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def csv_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV table; its numbers are texts already."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(rows)
    return buffer.getvalue()


def latex_frame(opening: Sequence[str], columns: str, body: Sequence[str], notes: str) -> str:
    """A page-wide float around a tabular; needs booktabs and graphicx. What is wider than the page is shrunk to it.

    opening: lines before the tabular: fonts, caption, label. body: lines between its first and its last rule. notes:
    what stands below, already escaped.
    """
    lines = [
        r"\begin{table*}[t]",
        *opening,
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        rf"\par\smallskip\begin{{minipage}}{{\textwidth}}\scriptsize\raggedright {notes}\end{{minipage}}",
        r"\end{table*}",
        "",
    ]
    return "\n".join(lines)
