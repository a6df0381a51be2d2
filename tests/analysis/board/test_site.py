"""The leaderboard's site in a real headless Chromium, from files, as a reader has it."""

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis.board.kept_runs import collect
from analysis.board.leaderboard import board_files, write_board
from tests.analysis.browser import PACKAGE, Browser, find_browser

PAGES = ("index.html", "methods/md.html", "methods/flow_a-b.html", "peptides/small-AA.html")
SHOWN = "[...document.querySelectorAll('#scores tbody tr')].filter(row => !row.hidden)"
WIDTHS = (360, 1600)


@pytest.fixture(scope="module")
def site(run_folder: Path, reference_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.mktemp("site")
    shutil.copytree(run_folder, own / "first")
    collect(own / "first", own / "runs", [reference_folder])
    write_board(board_files(own / "runs"), own / "board")
    return own / "board"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip(f"no Chromium on this machine; on Debian: apt-get install {PACKAGE}")
    with Browser(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def board(tab: Browser, site: Path) -> Iterator[Browser]:
    """The board in a wide light window; afterwards no page may have complained."""
    tab.complaints.clear()
    tab.view(1600)
    tab.open("about:blank")
    tab.open(f"file://{site}/index.html")
    tab.run("localStorage.clear()")
    yield tab
    assert not tab.complaints


def choose(tab: Browser, name: str, value: str) -> None:
    tab.run(
        f"(() => {{ const one = document.forms.filters.elements['{name}']; one.value = '{value}'; "
        "one.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def column(tab: Browser, metric: str) -> list[float]:
    """Numbers of a metric in the rows that are shown, from top to bottom; -1 where there is none."""
    found = tab.run(f"{SHOWN}.map(row => row.querySelector('[data-metric=\"{metric}\"]').dataset.v)")
    return [float(value) if value else -1.0 for value in found]


def test_sorting_by_key_and_by_click(board: Browser) -> None:
    before = column(board, "torus-w2")
    head = "document.querySelector('th[data-metric=\"torus-w2\"]')"
    assert board.run(f"{head}.getAttribute('aria-sort')") == "none"
    board.run(f"{head}.querySelector('button').focus()")
    board.press("Enter")
    rising = column(board, "torus-w2")
    known = [value for value in rising if value >= 0]
    assert known == sorted(known)
    assert len(set(known)) > 4
    assert rising[len(known) :] == [-1.0] * (len(rising) - len(known))
    assert board.run(f"{head}.getAttribute('aria-sort')") == "ascending"
    assert "Sorted by T-W2, ascending" in board.run("document.getElementById('said').textContent")
    board.run(f"{head}.querySelector('button').click()")
    falling = column(board, "torus-w2")
    assert [value for value in falling if value >= 0] == known[::-1]
    assert falling[-1] == -1.0
    assert board.run(f"{head}.getAttribute('aria-sort')") == "descending"
    board.run(f"{head}.querySelector('button').click()")
    assert column(board, "torus-w2") == before
    board.run("document.querySelector('#scores th button').click()")
    assert board.run("document.querySelector('#scores th').getAttribute('aria-sort')") == "ascending"
    assert board.run(f"{head}.getAttribute('aria-sort')") == "none"


def test_filtering_by_budget_length_and_controls(board: Browser) -> None:
    rows = board.run(f"{SHOWN}.length")
    choose(board, "budget", "60")
    assert set(board.run(f"{SHOWN}.map(row => row.dataset.budget)")) == {"60"}
    assert 0 < board.run(f"{SHOWN}.length") < rows
    board.run("document.forms.filters.elements.controls.click()")
    assert set(board.run(f"{SHOWN}.map(row => row.dataset.kind)")) == {"method"}
    choose(board, "residues", "2")
    choose(board, "suite", "small")
    shown = board.run(f"{SHOWN}.length")
    assert f"{shown} of {rows} rows" in board.run("document.getElementById('said').textContent")
    board.run("document.forms.filters.reset()")
    board.run("new Promise(done => setTimeout(done, 20))")
    assert board.run(f"{SHOWN}.length") == rows


def test_one_metric_is_drawn_and_can_be_sent(board: Browser, site: Path) -> None:
    choose(board, "metric", "energy-w2")
    heads = "[...document.querySelectorAll('#scores thead [data-metric]')]"
    visible = f"{heads}.filter(one => !one.hidden).map(one => one.dataset.metric)"
    assert board.run(visible) == ["energy-w2"]
    drawn = "[...document.querySelectorAll('#scores td.strip svg')]"
    finite = [value for value in column(board, "energy-w2") if 0 <= value < float("inf")]
    assert board.run(f"{drawn}.length") >= len([value for value in finite if value > 0]) > 4
    assert board.run(
        "[...document.querySelectorAll('#scores td.over')].some(one => /\\[.*\\]/.test(one.textContent))"
    )
    address = board.run("location.hash")
    board.open("about:blank")
    board.open(f"file://{site}/index.html{address}")
    assert board.run("document.forms.filters.elements.metric.value") == "energy-w2"
    assert board.run(visible) == ["energy-w2"]


def test_a_peptide_and_a_method_open(board: Browser) -> None:
    board.run("document.querySelector('.peptides a').click()")
    board.wait("document.querySelector('h1')?.textContent === 'AA' && document.readyState === 'complete'")
    assert board.run("document.querySelectorAll('svg.map').length") == 2 * (1 + 3)
    assert board.run("document.querySelectorAll('svg.histogram').length") == 2
    overlaps = board.run(
        "[...document.querySelectorAll('.overlaps li b')].map(one => Number(one.textContent))"
    )
    assert len(overlaps) > 3
    assert 0.0 < min(overlaps) < max(overlaps) < 1.0
    assert board.run(
        "[...document.querySelectorAll('svg[role=img]')].every(one => one.getAttribute('aria-label'))"
    )
    ground = board.run("getComputedStyle(document.querySelector('.map .k0')).stroke")
    assert ground == "rgb(68, 1, 84)"
    board.run("[...document.querySelectorAll('th a')].find(one => one.textContent === 'md').click()")
    board.wait("document.title.startsWith('md') && document.readyState === 'complete'")
    assert board.run("document.querySelectorAll('.cells tbody tr').length") == 8
    board.run("document.querySelector('.cells th.num button').click()")
    assert board.run("document.querySelector('.cells [aria-sort=ascending]').textContent").startswith(
        "budget"
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_page_is_wider_than_the_window(board: Browser, site: Path, dark: bool, tmp_path: Path) -> None:
    for width in WIDTHS:
        board.view(width, dark=dark)
        for page in PAGES:
            board.open(f"file://{site}/{page}")
            assert board.run("document.documentElement.scrollWidth") == width, (page, width)
            paper = board.run("getComputedStyle(document.body).backgroundColor")
            brightness = sum(map(int, re.findall(r"\d+", paper)))
            assert brightness < 150 if dark else brightness > 700
    board.picture(tmp_path / "window.png")
    assert (tmp_path / "window.png").stat().st_size > 10_000


def test_the_switch_turns_colours_and_is_remembered(board: Browser, site: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = board.run(ground)
    board.run("document.getElementById('theme').focus()")
    board.press("Enter")
    assert board.run(ground) != light
    assert (
        board.run("document.getElementById('theme').getAttribute('aria-label')") == "Switch to light colours"
    )
    board.open(f"file://{site}/methods/md.html")
    assert board.run("document.documentElement.dataset.theme") == "dark"
    board.run("localStorage.clear()")


def test_text_can_be_read(board: Browser, site: Path) -> None:
    """Contrast of text against its ground of at least 4.5, as WCAG 2.2 asks for at level AA."""
    for dark in (False, True):
        board.view(1600, dark=dark)
        board.open(f"file://{site}/index.html")
        assert board.run(CONTRAST) >= 4.5


CONTRAST = """(() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const linear = value => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
  const light = colour => [.2126, .7152, .0722].reduce((sum, v, i) => sum + v * linear(parts(colour)[i] / 255), 0);
  const ground = one => {
    const colour = getComputedStyle(one).backgroundColor;
    return parts(colour)[3] === 0 && one.parentElement ? ground(one.parentElement) : colour;
  };
  const says = one => [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
  const texts = [...document.querySelectorAll('main *, header *, footer *')]
    .filter(one => one.checkVisibility() && says(one) && !one.closest('svg, option'));
  return Math.min(...texts.map(one => {
    const [a, b] = [light(getComputedStyle(one).color), light(ground(one))];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  }));
})()"""


class _Structure(HTMLParser):
    """What of a page can be checked without a browser: identifiers, addresses, and the parts of tables."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tables: list[set[str]] = []
        self.unscoped = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if "id" in found:
            self.ids.append(found["id"] or "")
        self.addresses += [found[name] or "" for name in ("href", "src") if name in found]
        if tag == "table":
            self.tables.append(set())
        elif self.tables:
            self.tables[-1].add(tag)
        self.unscoped += tag == "th" and "scope" not in found


def test_pages_are_sound_and_every_address_leads_somewhere(site: Path) -> None:
    pages = {path: _Structure() for path in site.rglob("*.html")}
    for path, page in pages.items():
        page.feed(path.read_text())
    assert len(pages) > 8
    for path, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), path
        assert page.unscoped == 0, path
        assert all({"caption", "thead", "tbody", "th"} <= table for table in page.tables), path
        for address in page.addresses:
            assert not address.startswith(("http", "//", "/")), (path, address)
            file, _, anchor = address.partition("#")
            if address == "data:,":
                continue
            to = (path.parent / file).resolve() if file else path
            assert to.is_file(), (path, address)
            if anchor and to.suffix == ".html":
                assert anchor in pages[to].ids, (path, address)
