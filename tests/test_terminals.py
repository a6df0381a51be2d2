"""Commands do their work whatever terminal, notebook or disk they are run on."""

import ast
import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from jobs.cells.plan import plan_cells
from prosebench.check import doctor
from prosebench.cli import app, compute
from prosebench.energy import native
from prosebench.ensemble import Ensemble
from prosebench.frames.files import files_of
from prosebench.peptide import Peptide
from prosebench.store.hub import hub_problem
from prosebench.store.storage import DamagedFile
from prosebench.suite import load_suite

PEPTIDE = Peptide.from_sequence("GG")
TREE = Path(__file__).parents[1]
ROOMS = [TREE / room for room in ("prosebench", "jobs", "analysis", "baselines")]
ODD = "a [old] :cat:"
"""A name of a folder that is markup and the code of a picture for rich."""


def piped(code: str, **environment: str) -> list[str]:
    """Lines that Python code, run with the commands loaded, prints through a pipe to a Latin-1 terminal."""
    done = subprocess.run(
        [sys.executable, "-c", f"import prosebench.cli; {code}"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "latin-1"} | environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout.decode("latin-1").splitlines()


def test_a_notebook_and_a_latin_terminal_of_no_width() -> None:
    notebook = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "COLUMNS": "0"}
    code = "import analysis.figures.style, matplotlib; print(matplotlib.get_backend().lower()); "
    code += "prosebench.cli.options.out.print('1 ± 2 → 3')"
    assert piped(code, **notebook) == ["agg", "1 ± 2 ? 3"]


def test_names_are_whole_in_a_pipe() -> None:
    said = piped(
        "import sys; sys.argv = ['prosebench', 'list', 'suites']; prosebench.cli.app()", COLUMNS="40"
    )
    suite = load_suite("tetrapeptides-30")
    (line,) = (one for one in said if one.startswith("tetrapeptides-30 "))
    assert f"{suite.budgets[-1]:,}" in line
    assert suite.description.encode("latin-1", errors="replace").decode("latin-1") in line


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_suites_in_other_encodings_are_named(encoding: str, tmp_path: Path) -> None:
    text = 'name = "mine"\ndescription = "é"\npeptides = ["AA"]\nbudgets = [50]\n[methods.md]\n'
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(DamagedFile, match=r"mine\.toml is not text in UTF-8 .*; save it as UTF-8"):
        load_suite(str(path))
    path.write_bytes(text.encode("utf-8-sig"))
    assert load_suite(str(path)).description == "é"


@pytest.mark.parametrize("suffix", [".xtc", ".dcd", ".pdb"])
def test_a_full_disk_leaves_no_broken_file(suffix: str, tmp_path: Path) -> None:
    """As on a full disk: what goes beyond a size cannot be written."""
    ensemble = Ensemble(np.repeat(PEPTIDE.start_nm[None], 1000, axis=0), np.zeros(1000), peptide=PEPTIDE)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / f"x{suffix}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match=rf"x\{suffix} could not be written .*is the disk full"):
            ensemble.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
    ensemble.save(path)
    assert set(files_of(path)) == set(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score", "EMPTY"], "it holds no cells"),
        (["score", "FILE", "--peptide", "aa"], "no amino acid is 'a'"),
        (["score", "FILE", "--peptide", "AA", "--frames", "0"], "greater than or equal to 1"),
        (["score", "FILE", "--peptide", "AA"], "holds Python objects instead of numbers"),
    ],
)
def test_input_of_score_that_cannot_be(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "a.npz", positions_nm=np.array([1, "x", None], dtype=object))
    places = {"EMPTY": str(tmp_path / "empty"), "FILE": str(tmp_path / "a.npz")}
    found = CliRunner().invoke(app, [places.get(word, word) for word in arguments])
    assert found.exit_code
    assert said in f"{found.output} {found.exception}"


def test_an_instruction_set_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    if not native.available():
        pytest.skip(str(native.why_unavailable()))
    monkeypatch.setenv(native.ENVIRONMENT_VARIABLE, "PLAIN")
    assert native.instruction_set() == "plain"


def test_what_is_wrong_with_the_hub_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socks(*_: object, **__: object) -> None:
        raise ImportError("Using SOCKS proxy, but the 'socksio' package is not installed.")

    monkeypatch.setattr(constants, "ENDPOINT", "https://mirror.example")
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: type("Session", (), {"head": no_socks})())
    hub_problem.cache_clear()
    try:
        finding = doctor._hub()
    finally:
        hub_problem.cache_clear()
    assert finding.state == "absent"
    assert (
        "https://mirror.example is out of reach (ImportError: Using SOCKS proxy, but the 'socksio'"
        in finding.found
    )


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of an odd name with a suite, and a run folder of an odd name in it."""
    folder = tmp_path_factory.mktemp("odd") / ODD
    folder.mkdir()
    (folder / "mine.toml").write_text(
        'name = "mine"\npeptides = ["AA"]\nbudgets = [20]\nframes = 20\nseeds = [0]\n'
        "[methods.md]\nwarm_up_ps = 0.2\n"
    )
    run = folder / "run [red]"
    line = ["run", "--suite", str(folder / "mine.toml"), "--dir", str(run), "--workers", "1", "--no-report"]
    said = CliRunner().invoke(app, line)
    assert said.exit_code == 0, said.output
    assert f"in {run}\n" in said.output
    return folder


def words_of(line: str, folder: Path) -> list[str]:
    """Words of a command line in which only options part words, so that a path may hold blanks; DIR is the folder."""
    words = [word for part in re.split(r" (?=-)", line) for word in part.split(" ", 1)]
    return [word.replace("DIR", str(folder)) for word in words]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sample GG -n 4 --weights identity --out DIR/x [red].npz", "wrote DIR/x [red].npz"),
        (
            "improve GG --weights identity --budget 12 --set rounds=1 --set steps=1 --set tuning_batch=4 --out DIR/i",
            "tuned.npz are in DIR/i",
        ),
        ("show AA-md --dir DIR/run [red]", "DIR/run [red]/cells/AA-md-20-s0-"),
        ("export AA-md --dir DIR/run [red] --out DIR/y [red].pdb", "wrote DIR/y [red].pdb"),
        ("fetch --suite DIR/mine.toml --check DIR", "DIR: 0 files of mine are there"),
        ("new-method mine --to DIR/new [red]", "DIR/new [red]/pyproject.toml"),
        ("report DIR/none [red]", "DIR/none [red] is not there"),
    ],
)
def test_paths_are_printed_as_they_are(line: str, said: str, odd_folder: Path) -> None:
    found = CliRunner().invoke(app, words_of(line, odd_folder))
    assert said.replace("DIR", str(odd_folder)) in f"{found.output}{found.exception}"


@pytest.mark.parametrize(
    ("ready", "said"), [(1, "1 cell waits for"), (0, "2 cells wait for"), (2, "")], ids=("one", "two", "none")
)
def test_one_cell_waits_and_two_wait(ready: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    cells = plan_cells(load_suite("quickstart"))[:2]
    compute._tell_waiting(cells, cells[:ready])
    printed = capsys.readouterr().out
    assert printed.startswith(said)
    assert bool(printed) == bool(said)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("report DIR/none [red]", "prosebench run --suite NAME --dir DIR/none [red]"),
        ("status DIR", "prosebench run --suite NAME --dir DIR"),
        ("fetch --suite DIR/mine.toml --check DIR", "prosebench fetch --suite DIR/mine.toml --to DIR"),
        ("fetch --suite DIR/mine.toml --check DIR/none", "prosebench fetch --suite NAME --to DIR/none"),
        ("new-method other --to DIR/other", "pip install --editable DIR/other"),
    ],
)
def test_commands_to_type_can_be_typed(line: str, command: str, odd_folder: Path) -> None:
    said = CliRunner().invoke(app, words_of(line, odd_folder))
    typed = [shlex.split(one) for one in re.findall("`([^`]+)`", f"{said.output}{said.exception}")]
    # The first words of a command stand apart, as "pip install".
    assert words_of(command, odd_folder)[-2:] in [one[-2:] for one in typed]


def test_every_command_to_type_quotes_its_words() -> None:
    """In a command between backquotes, what is put in is quoted, but for names that can hold no blank."""
    found = []
    for path in (path for room in ROOMS for path in room.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found += [f"{path.relative_to(TREE)}: {one}" for one in words_not_quoted(node)]
    assert not found


def words_not_quoted(text: ast.JoinedStr) -> list[str]:
    """What is put, without quotes, into the commands in a text; numbers, constants and names of methods may be."""
    put: list[ast.FormattedValue] = []
    whole = ""
    for part in text.values:
        if isinstance(part, ast.FormattedValue):
            whole += f"\0{len(put)}\0"
            put.append(part)
        elif isinstance(part, ast.Constant):
            whole += str(part.value)
    commands = re.findall(r"`((?:prosebench|pip|export) [^`]*)`?", whole)
    inside = [put[int(number)] for one in commands for number in re.findall("\0(\\d+)\0", one)]
    said = [ast.unparse(one.value) for one in inside if one.format_spec is None]
    return [one for one in said if not (one.startswith("quote(") or one.isupper() or one == "name")]


def test_nothing_is_printed_as_markup() -> None:
    """Consoles are made in one place, where markup is off; what shows a line that changes is given a Text."""
    found = []
    for path in (path for room in ROOMS for path in room.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if path != TREE / "prosebench" / "machine" / "terminal.py" and turns_markup_on(node):
                found.append(f"{path.relative_to(TREE)}: {ast.unparse(node)}")
    assert not found


def turns_markup_on(node: ast.AST) -> bool:
    """Whether a piece of a program makes a console of its own, uses markup, or gives it to a changing line."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "rich.markup" or (
            node.module == "rich" and any(a.name == "print" for a in node.names)
        )
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(
            re.search(r"\[/?(bold|dim|red|green|yellow)\b[^\]]*\]", node.value)
        )
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    if called.endswith((".status", "status.update", "Status", "Spinner")):
        return ast.unparse(node.args[0]).partition("(")[0] != "Text"
    return called in ("Console", "rich.console.Console", "Text.from_markup") or any(
        word.arg in ("markup", "emoji") for word in node.keywords
    )
