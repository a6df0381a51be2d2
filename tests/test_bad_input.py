"""What is typed wrong is answered in one line that names option, value and remedy, before anything takes time."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.making.imported import read_declaration
from prosebench import cli, load_flow, sample
from prosebench.energy.settings import TargetSettings
from prosebench.suite import SuiteError, load_suite

HEAVY = ("torch", "openmm", "mdtraj", "scipy", "pandas", "matplotlib")
RUN = ("run", "--suite", "quickstart", "--dir", "here")
SUITE = 'name = "s"\npeptides = ["AA"]\nbudgets = [10]\n[methods.md]\n'


def answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command says that must end with status 2 and without a traceback."""
    monkeypatch.setenv("COLUMNS", "1000")
    # A machine without a scheduler, wherever this is run.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.setattr(sys, "argv", ["prosebench", *arguments])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    said = capsys.readouterr()
    assert ending.value.code == 2, said.err
    assert "Traceback" not in said.err
    assert len(said.err.splitlines()) == 1
    return said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*RUN, "--budgets", "1e400"), "--budgets '1e400': 1e400 is not between 1 and 1e+15"),
        ((*RUN, "--budgets", "1.5e0"), "--budgets '1.5e0': 1.5e0 is not a whole number"),
        ((*RUN, "--budgets", "-5"), "--budgets '-5': -5 is not between 1"),
        ((*RUN, "--budgets", "0"), "--budgets '0': 0 is not between 1"),
        ((*RUN, "--budgets", "NaN"), "--budgets 'NaN': NaN is not a whole number"),
        ((*RUN, "--budgets", "inf"), "--budgets 'inf': inf is not a whole number"),
        ((*RUN, "--budgets", "ten"), "--budgets 'ten': 'ten' is not a whole number; write them as 10000,1e6"),
        ((*RUN, "--budgets", ","), "--budgets ',' names nothing; leave --budgets out to take all"),
        ((*RUN, "--methods", ","), "--methods ',' names nothing"),
        ((*RUN, "--methods", "mdd"), "--methods: unknown method 'mdd'; rows of suite quickstart: "),
        ((*RUN, "--peptides", " , "), "--peptides ' , ' names nothing"),
        ((*RUN, "--seeds", "-1"), "--seeds '-1': -1 is not between 0"),
        ((*RUN, "--temperature", "inf"), "--temperature inf is not between 200 and 100000 kelvin"),
        ((*RUN, "--temperature", "nan"), "--temperature nan is not between 200"),
        (
            (*RUN, "--temperature", "-3"),
            "--temperature -3 is not between 200 and 100000 kelvin; -3 degrees Celsius",
        ),
        ((*RUN, "--temperature", "25"), "25 degrees Celsius are 298.15 K"),
        ((*RUN, "--temperature", "hot"), "--temperature 'hot': 'hot' is not a number; write kelvins"),
        (
            (*RUN, "--workers", "-3"),
            "--workers -3: should be greater than or equal to 0; see `prosebench run --help`",
        ),
        ((*RUN, "--ranks", "0"), "--ranks 0: should be greater than or equal to 1"),
        ((*RUN, "--references", "nowhere"), "--references nowhere: "),
        ((*RUN, "--executor", "slurm"), "there are no commands of SLURM on this machine"),
        ((*RUN, "--executor", "cloud"), "unknown --executor 'cloud'"),
        (("run", "--suite", "quickstarts"), "unknown suite 'quickstarts'; known: "),
        (("run", "--suite", "no.toml"), "there is no suite file no.toml"),
        (
            ("reference", "--suite", "quickstart", "--replicas", "0"),
            "--replicas 0: should be greater than or equal to 1",
        ),
        (
            ("reference", "--suite", "quickstart", "--frames", "1"),
            "--frames 1: should be greater than or equal to 2",
        ),
        (
            ("reference", "--suite", "quickstart", "--tempering-ns", "-1"),
            "--tempering-ns -1 is not a number above 0",
        ),
        (("reference", "--suite", "quickstart", "--md-ns", "nan"), "--md-ns nan is not a number above 0"),
        (("reference", "--suite", "quickstart", "--lag-ns", "inf"), "--lag-ns inf is not a number above 0"),
        (("reference", "--suite", "quickstart", "--peptides", ","), "--peptides ',' names nothing"),
        (("reference", "--suite", "quick"), "unknown suite 'quick'"),
        (
            ("score", "x.npz", "--peptide", "AA", "--seed", "-1"),
            "--seed -1: should be greater than or equal to 0",
        ),
        (
            ("score", "x.npz", "--peptide", "AA", "--frames", "0"),
            "--frames 0: should be greater than or equal to 1",
        ),
        (
            ("score", "x.npz", "--peptide", "AA", "--temperature-kelvin", "37"),
            "37 degrees Celsius are 310.15 K",
        ),
        (("score", "."), ". is no run folder: it holds no cells"),
        (("report", "nothing"), "nothing is not there: it holds no cells"),
        (("report", ".", "--workers", "-1"), "--workers -1: should be greater than or equal to 0"),
        (("cancel", "nothing"), "nothing is not there: it holds no cells"),
        (("cancel", "."), ". is no run folder"),
        (("submit-results", ".", "--rerun", "-1"), "--rerun -1: should be greater than or equal to 0"),
        (("sample", "aa", "--out", "x.npz"), "peptide 'aa': no amino acid is 'a'"),
        (("sample", "AA", "--out", "x.npz", "--temperature", "25"), "25 degrees Celsius are 298.15 K"),
        (("improve", "A", "--out", "x"), "peptide 'A' has 1 residue; give 2 to"),
        (("check", "mdd"), "unknown method 'mdd'; known: "),
        (("lisst",), "No such command 'lisst'"),
        (("list",), "Missing argument 'what'; see `prosebench list --help`"),
        (("run", "--sweet", "x"), "No such option: --sweet"),
        (("list", "method"), "cannot list 'method'; known: suites, methods, peptides"),
        (("import", "x.npz", "--suite", "quick"), "unknown suite 'quick'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_line_names_option_value_and_remedy(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    assert said in answer(monkeypatch, capsys, *arguments)
    assert not list(tmp_path.iterdir()), "something was written before the line"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (SUITE.encode() + b"# caf\xe9", r"is not text in UTF-8 .*; save it as UTF-8"),
        (SUITE.encode("utf-16"), "is not text in UTF-8"),
        (b"name = ", "is not TOML"),
        (
            SUITE.encode() + b"[target]\ntemprature = 1",
            r"unknown key 'target.temprature'; known keys of \[target\]: temperature_kelvin",
        ),
        (
            SUITE.encode() + b"[target.force_field]\ncut = 1",
            r"'target.force_field.cut'; known keys of \[target.force_field\]: files, cutoff_nm",
        ),
        (b"nam = 1\n" + SUITE.encode(), r"unknown key 'nam'; known keys: name, "),
    ],
)
def test_a_suite_file_that_cannot_be_read_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        load_suite(str(path))


CELSIUS = "25 is not between 200 and 100000 kelvin; 25 degrees Celsius are 298.15 K"
DECLARED = """method = "theirs"
peptide = "AA"
energy_evaluations = 1
seconds = 1.0
hardware = "one core"
force_field = "none"
citation = "none"
temperature_kelvin = 25
"""


@pytest.mark.parametrize(
    "line",
    [
        (*RUN, "--temperature", "25"),
        (*RUN, "--set", "target.temperature_kelvin=25"),
        ("reference", "--suite", "quickstart", "--temperature", "25"),
        ("reference", "--suite", "quickstart", "--hottest", "25"),
        ("sample", "AA", "--out", "x.npz", "--temperature", "25"),
        ("improve", "AA", "--out", "x", "--temperature", "25"),
        ("score", "x.npz", "--peptide", "AA", "--temperature-kelvin", "25"),
    ],
    ids=" ".join,
)
def test_commands_take_no_degrees_celsius(
    line: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert CELSIUS in answer(monkeypatch, capsys, *line)


def test_files_and_python_take_no_degrees_celsius_but_records_do(tmp_path: Path) -> None:
    one, many, declared = (tmp_path / name for name in ("one.toml", "many.toml", "theirs.toml"))
    one.write_text(f"{SUITE}[target]\ntemperature_kelvin = 25\n")
    many.write_text(f"temperatures_kelvin = [310, 25]\n{SUITE}")
    declared.write_text(DECLARED)
    doors: list[Callable[[], object]] = [
        lambda: load_suite(str(one)),
        lambda: load_suite(str(many)),
        lambda: read_declaration(declared.with_suffix(".npz")),
        lambda: sample("AA", "md", budget=10, temperature_kelvin=25),
        lambda: load_flow("identity").sample("GG", 2, temperature_kelvin=25),
    ]
    for door in doors:
        with pytest.raises(ValueError, match=CELSIUS):
            door()
    assert TargetSettings(temperature_kelvin=25).temperature_kelvin == 25


def test_a_byte_order_mark_and_a_pipe(tmp_path: Path) -> None:
    path, pipe = tmp_path / "s.toml", tmp_path / "pipe.toml"
    path.write_bytes(SUITE.encode("utf-8-sig"))
    assert load_suite(str(path)).name == "s"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="not a regular file"):
        load_suite(str(pipe))
    with pytest.raises(SuiteError, match="there is no suite file"):
        load_suite(str(tmp_path / "gone.toml"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("list", "methods"),
        ("list", "suites"),
        ("lost",),
        ("run", "--suite", "quickstarts"),
        (*RUN, "--budgets", "ten"),
        (*RUN, "--methods", "mdd"),
        ("sample", "aa", "--out", "x.npz"),
        ("report", "nothing"),
        ("check", "mdd"),
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported_for_a_word(arguments: tuple[str, ...], tmp_path: Path) -> None:
    program = (
        "import sys\nfrom prosebench.cli import main\n"
        f"sys.argv = ['prosebench', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('imported:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.splitlines()[-1] == "imported: []", done.stderr
