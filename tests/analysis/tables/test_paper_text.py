"""The paper's tables in four formats: the same numbers, marks and empty places in each."""

import csv
import html
import io
import re
from html.parser import HTMLParser

import pytest

from analysis.metrics.registry import BY_NAME
from analysis.statistics.estimates import Estimate
from analysis.tables.paper import Layout, Line, PaperTable
from analysis.tables.paper_text import WRITERS, csv_text, html_text, latex, markdown

LAYOUT = Layout("tablex", "Table 9: of <tests> & more", 1000, (BY_NAME["ess"], BY_NAME["energy-w2"]))
ESS2, E2, E4 = (2, "ess"), (2, "energy-w2"), (4, "energy-w2")
PUBLISHED = Line(
    "Flow_A", False, texts={ESS2: "0.5", E2: "1.25"}, peptides={2: "28"}, marks=("without proline",)
)
BEST = Line(
    "md",
    True,
    estimates={E2: Estimate(0.452, 0.401, 0.51, 3, 2), E4: Estimate(float("inf"), None, None, 3, 2)},
    peptides={2: "3/30", 4: "3/30"},
    best=frozenset({E2}),
    marks=("few frames", "without proline"),
)
CONTROL = Line(
    "floor", True, estimates={E2: Estimate(0.1, 0.1, 0.1, 3, 2)}, peptides={2: "3/30"}, control=True
)
EMPTY = Line("waiting", True, marks=("no weights",))
TABLE = PaperTable(LAYOUT, (PUBLISHED, BEST, EMPTY, CONTROL))


def test_columns_are_those_in_which_something_stands():
    assert TABLE.places == [ESS2, E2, E4]
    assert TABLE.lengths == [2, 4]
    assert TABLE.remarks == ["without proline", "few frames", "no weights"]


def test_markdown_has_a_cell_for_every_place():
    lines = [line for line in markdown(TABLE).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {6}
    assert lines[2] == "| Flow_A [1] | 0.5 | 1.25 | – | 28, – |"
    assert lines[3] == "| **md** [1,2] | – | **0.452** [0.401, 0.510] | inf | 3/30, 3/30 |"
    assert lines[4] == "| **waiting** [3] | – | – | – | –, – |"
    assert lines[5].startswith("| *floor* | – | 0.100 |")
    assert "[2] few frames" in markdown(TABLE)


def test_csv_tells_published_from_measured_with_every_digit():
    rows = list(csv.DictReader(io.StringIO(csv_text(TABLE))))
    assert [(row["method"], row["source"], row["length"], row["metric"]) for row in rows] == [
        ("Flow_A", "published", "2", "ess"),
        ("Flow_A", "published", "2", "energy-w2"),
        ("md", "measured", "2", "energy-w2"),
        ("md", "measured", "4", "energy-w2"),
        ("waiting", "measured", "", ""),
        ("floor", "measured", "2", "energy-w2"),
    ]
    measured = rows[2]
    assert (measured["value"], measured["low"], measured["high"]) == ("0.452", "0.401", "0.51")
    assert (measured["best"], rows[3]["best"], rows[0]["best"]) == ("True", "False", "")
    assert (rows[3]["value"], rows[3]["low"]) == ("inf", "")
    assert measured["marks"] == "few frames; without proline"


def test_latex_shows_how_far_the_ends_of_an_interval_are():
    text = latex(TABLE)
    assert r"$\mathbf{0.452}^{+0.058}_{-0.051}$" in text
    assert r"$\infty$" in text
    assert r"Flow\_A$^{1}$" in text
    assert r"\emph{floor}" in text
    assert r"\multicolumn{2}{c}{2 residues} & \multicolumn{1}{c}{4 residues}" in text
    assert r"\cmidrule(lr){2-3}\cmidrule(lr){4-4}" in text
    assert r"\caption{Of \textless{}tests\textgreater{} \& more, as in Table 9 of Tan et al.}" in text
    assert text.count(r"\begin{") == text.count(r"\end{")
    rows = [
        line for line in text.splitlines() if line.startswith((r"Flow\_A", "md$", "waiting", r"\emph{floor}"))
    ]
    assert {line.count(" & ") for line in rows} == {4}


class _Reader(HTMLParser):
    """Rows of cells, and whether all tags are closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "meta":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += int(dict(attrs).get("colspan") or 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_well_formed_and_says_nothing_of_its_own():
    text = html_text(TABLE)
    reader = _Reader()
    reader.feed(text)
    assert reader.open == []
    assert set(reader.rows) == {5}
    assert html.escape(LAYOUT.title) in text
    assert "<tests>" not in text
    assert "<b>0.452</b>" in text
    assert re.findall(r'<tr class="(\w+)">', text) == ["published", "measured", "measured", "control"]


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_table_of_nothing_is_written_all_the_same(name: str):
    assert WRITERS[name](PaperTable(LAYOUT, ()))
