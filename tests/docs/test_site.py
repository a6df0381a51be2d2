"""The site is built without a warning, its links hold, it asks the network for nothing, and it fits a phone."""

import os
import re
import subprocess
import sys
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from tests.analysis.browser import PACKAGE, Browser, find_browser
from tests.docs.blocks import DOCS, ROOT

pytestmark = pytest.mark.skipif(
    not all(map(find_spec, ("mkdocs", "material", "mkdocstrings"))),
    reason="needs the packages of the docs: pip install -e '.[docs]'",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING" not in done.stderr
    return folder


def test_make_builds_it_strictly() -> None:
    """With --quiet, mkdocs counts no warnings, and a broken link passes."""
    (line,) = (one for one in (ROOT / "Makefile").read_text().splitlines() if "mkdocs build" in one)
    command = line.partition("#")[0].split()
    assert "--strict" in command
    assert not {"--quiet", "-q"} & set(command)


def test_every_page_of_the_folder_is_in_the_site(site: Path) -> None:
    made = {path.relative_to(site).with_suffix(".md") for path in site.rglob("*.html")}
    assert {path.relative_to(DOCS) for path in DOCS.rglob("*.md")} <= made


def test_every_link_and_picture_is_there(site: Path) -> None:
    ids = {page: set(re.findall(r'\bid="([^"]*)"', page.read_text())) for page in site.rglob("*.html")}
    broken = []
    for page in ids:
        if page.name == "404.html":  # its links are those of a server
            continue
        for link in re.findall(r'(?:href|src)="([^"]*)"', page.read_text()):
            place, anchor = urldefrag(unquote(unescape(link)))
            if re.match(r"[a-z]+:", place):
                continue
            target = (page.parent / place).resolve() if place else page
            if not target.exists() or (anchor and target in ids and anchor not in ids[target]):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert not broken


def test_public_names_are_in_the_reference(site: Path) -> None:
    text = (site / "api.html").read_text()
    for name in (
        "prosebench.ensemble.Ensemble.free_energy",
        "prosebench.prose.flow.Prose.from_pretrained",
        "prosebench.prose.flow.Prose.sample",
        "prosebench.method.Method.chunk",
        "prosebench.peptide.peptide.Peptide.from_sequence",
        "prosebench.energy.openmm.OpenMMEnergy.energy_and_gradient",
        "analysis.wasserstein.torus_w2",
    ):
        assert f'id="{name}"' in text, name


def test_the_house_rules_names_are_importable() -> None:
    from analysis.wasserstein import energy_w2, euclidean_w2, torus_w2
    from prosebench.energy import BatchedEnergy, OpenMMEnergy
    from prosebench.ensemble import Ensemble
    from prosebench.peptide import Peptide
    from prosebench.prose import Prose

    assert all((energy_w2, euclidean_w2, torus_w2, BatchedEnergy, OpenMMEnergy, Ensemble, Peptide, Prose))


@pytest.mark.skipif(find_browser() is None, reason=f"needs Chromium (Debian: apt-get install {PACKAGE})")
def test_pages_in_a_browser(site: Path, tmp_path: Path) -> None:
    program = find_browser()
    assert program is not None
    with Browser(program, tmp_path) as browser:
        browser.view(390, dark=True)
        for page in sorted(site.rglob("*.html")):
            if page.name == "404.html":
                continue
            browser.open(page.as_uri())
            wide = browser.run("document.documentElement.scrollWidth")
            assert wide <= 390, f"{page.relative_to(site)} is {wide} pixels wide"
            lacking = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src).join()"
            assert not browser.run(lacking), page
        browser.view(1400)
        browser.call("Emulation.setFocusEmulationEnabled", enabled=True)
        browser.open((site / "index.html").as_uri())
        browser.run("document.querySelector('.md-search__input').focus()")
        browser.call("Input.insertText", text="chirality")
        typed = "document.querySelector('.md-search__input').dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}))"
        found = "document.querySelector('.md-search-result').innerText.includes('wrong chirality')"
        browser.wait(f"{typed}, {found}")
        assert not browser.complaints, browser.complaints
