"""What README and documentation show runs: each block is executed, or says directly above it why it is not."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from prosebench.cli import app
from tests.docs.blocks import DOCS, ROOT, Block, blocks, load_make, pages, run_page, same

COMMANDS = typer.main.get_command(app)
EXECUTED = [
    page
    for page in pages()
    if page.is_relative_to(DOCS)
    and any(block.language in ("sh", "python") and not block.why_not for block in blocks(page))
]


TESTED = {
    "cancel": "tests/slurm/test_faults.py",
    "check": "tests/contract/test_contract.py",
    "doctor": "tests/test_cli.py",
    "export": "tests/test_sampling_commands.py",
    "fetch": "tests/test_fetch.py",
    "import": "tests/jobs/making/test_imported.py",
    "leaderboard": "tests/analysis/board/test_leaderboard.py",
    "list": "tests/test_cli.py",
    "new-method": "tests/test_new_method.py",
    "reference": "tests/jobs/making/test_references.py",
    "report": "tests/analysis/report/test_report.py",
    "run": "tests/jobs/cells/test_run.py",
    "sample": "tests/test_sampling_commands.py",
    "score": "tests/analysis/scores/test_foreign.py",
    "status": "tests/test_cli.py",
    "submit-results": "tests/analysis/submission/test_submission.py",
}
"""The test that runs a command on something small. The README's blocks, which take minutes and more, are not executed
as they stand and have no marks, so that they read well where they are shown as text."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", EXECUTED, ids=name)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    printed = run_page(page, tmp_path)
    on_page = re.findall(r"<!-- made: output \S+ -->\n```text\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(printed) == len(on_page)
    for found, shown in zip(printed, on_page, strict=True):
        assert same(found, shown), f"{name(page)} shows another output; `make docs` writes this one:\n{found}"
    for script in re.findall(r"<!-- made: output (\S+) -->", page.read_text()):
        assert (tmp_path / f"{script}.png").stat().st_size > 5000
        assert f"images/gallery/{script}.png" in page.read_text()


@pytest.mark.parametrize("page", pages(), ids=name)
def test_what_is_not_executed_says_why(page: Path) -> None:
    for block in blocks(page):
        if block.why_not:
            assert len(block.why_not) > 20, block
        for place in re.findall(r"\btests/[\w/.]+", block.comment):
            assert (ROOT / place.rstrip(".")).exists(), f"{name(page)}: there is no {place}"


def test_python_of_the_readme_is_executed() -> None:
    """By tests/test_readme.py, which holds the text of each block under a name."""
    from tests import test_readme

    executed = [text for text in vars(test_readme).values() if isinstance(text, str)]
    for block in blocks(ROOT / "README.md"):
        if block.language == "python" and not block.why_not:
            assert block.text in executed, block.text


def test_commands_of_the_readme_are_run_by_some_test() -> None:
    """As they stand they take minutes to hours. CI itself runs `make test` and `make test-slurm`."""
    ci = (ROOT / ".ci" / "run").read_text()
    for block in blocks(ROOT / "README.md"):
        if block.language != "sh" or block.why_not:
            continue
        for words in commands(block):
            place = TESTED.get(words[0])
            assert place, (
                f"prosebench {words[0]}: name the test that runs it, or mark the block as not executed"
            )
            assert f'"{words[0]}"' in (ROOT / place).read_text(), f"{place} does not run {words[0]}"
        for target in re.findall(r"^make ([\w-]+)", block.text, re.MULTILINE):
            assert f"make {target}" in ci or re.search(
                rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE
            )


def commands(block: Block) -> list[list[str]]:
    """The words of every call of prosebench in a block of shell."""
    lines = block.text.replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in re.split(r"&&|;|\|", re.sub(r"\s#.*", "", line))]
    words = [shlex.split(part) for part in parts if re.match(r"\s*(\.venv/bin/)?prosebench\b", part)]
    return [one[1:] for one in words]


def all_commands() -> list[tuple[str, list[str]]]:
    return [
        (name(page), words)
        for page in pages()
        for block in blocks(page)
        if block.language == "sh"
        for words in commands(block)
    ]


@pytest.mark.parametrize(
    ("page", "words"), all_commands(), ids=lambda one: one if isinstance(one, str) else None
)
def test_commands_have_the_options_that_pages_give_them(page: str, words: list[str]) -> None:
    """Also of blocks that are not executed, and of the README."""
    command, here = COMMANDS, None
    while hasattr(command, "commands"):
        known = command.commands
        if words[:1] == ["--version"]:
            return
        assert words[0] in known, f"{page}: there is no command {words[0]}; known: {', '.join(known)}"
        command, words = known[words[0]], words[1:]
    here = command.context_class(command)
    _, rest, _ = command.make_parser(here).parse_args(args=list(words))
    assert not rest, f"{page}: {command.name} takes no {rest}"


@pytest.mark.parametrize("page", pages(), ids=name)
def test_toml_can_be_read(page: Path) -> None:
    for block in blocks(page):
        if block.language == "toml":
            tomllib.loads(block.text)


@pytest.mark.parametrize("page", pages(), ids=name)
def test_no_code_hides_in_an_indented_block(page: Path) -> None:
    """There it would be neither executed nor marked."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r"^ {4,}(?:prosebench|import|from|pip|make) .*", text, re.MULTILINE)


@pytest.mark.parametrize("page", load_make().pages(), ids=name)
def test_what_is_made_is_what_would_be_made(page: Path) -> None:
    """Tables and drawings; outputs of scripts are compared where these run, to rounding."""
    make = load_make()
    text = page.read_text()
    assert make.made(text, without=("output", "layers")) == text, "`make docs` makes it anew"


def test_the_drawing_shows_the_layers_of_the_linter() -> None:
    make = load_make()
    import sys

    sys.path.insert(0, str(DOCS))
    try:
        import drawing
    finally:
        sys.path.remove(str(DOCS))
    drawn = drawing.svg(drawing.layers(ROOT / "pyproject.toml"))
    assert drawn == (DOCS / "images" / "layers.svg").read_text(), "`make docs` draws it anew"
    assert make.MAKERS["layers"]


def test_every_metric_has_a_section_that_says_what_it_sees() -> None:
    from analysis.metrics.metric import Cost
    from analysis.metrics.registry import BY_NAME

    text = (DOCS / "metrics.md").read_text()
    sections = dict(re.findall(r"^### [^\n]*\{ #(\S+) \}\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == {one.name for one in BY_NAME.values() if not isinstance(one, Cost)}
    for metric, section in sections.items():
        assert f"<!-- made: metric {metric} -->" in section
        assert "**Form**" in section
        assert "**Sees**" in section
        if BY_NAME[metric].better:
            assert "**Misses**" in section, metric
            assert "**Saturates**" in section, metric


@pytest.mark.parametrize("page", pages(), ids=name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(
        r"`((?:analysis|baselines|docs|jobs|prosebench|results|tests)/[\w/.-]*)`", page.read_text()
    )
    gone = [one for one in named if not (ROOT / one).exists()]
    assert not gone, f"{name(page)} names files that are not there: {', '.join(gone)}"


def test_outputs_are_compared_by_words_and_numbers() -> None:
    assert same("E-W2  0.830 kT", "E-W2 0.831 kT")
    assert not same("E-W2 0.83 kT", "E-W2 0.93 kT")
    assert not same("E-W2 0.83 kT", "E-W2 0.83 rad")
