"""What the command line says of itself: its version, its commands in order, completion, and tables that cut nothing."""

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.main import get_command

from prosebench import cli
from prosebench.cli import app, look
from prosebench.cli.order import IN_USE
from prosebench.energy import native
from prosebench.machine import build_info
from prosebench.machine.installed import method_entry_points, suite_names
from prosebench.machine.terminal import plain_table


def prosebench(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prosebench.cli", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )


def test_the_version_names_commit_kernels_and_torch() -> None:
    said = prosebench("--version")
    assert said.returncode == 0
    assert re.search(r"^prosebench \d+\.\d+\.\d+, commit \S+", said.stdout)
    assert re.search(r"torch 2\.\d+", said.stdout)
    kernels = f"compiled, {native.instruction_set()}" if native.available() else "none: "
    assert kernels in said.stdout


def test_the_commit_of_a_built_package_is_written_in_it(tmp_path: Path) -> None:
    (tmp_path / "prosebench").mkdir()
    assert build_info.code_commit(tmp_path).startswith("prosebench ")
    (tmp_path / "prosebench" / build_info.COMMIT_FILE).write_text("0123456789ab\n")
    assert build_info.code_commit(tmp_path) == "0123456789ab"


def test_every_command_has_its_place_in_the_help() -> None:
    command = get_command(app)
    named = [name for names in IN_USE.values() for name in names]
    assert command.list_commands(None) == named
    said = prosebench("--help", COLUMNS="80").stdout
    order = re.findall(r"^│ ([a-z-]+) ", said, re.MULTILINE)
    assert [word for word in order if word in named] == named
    assert "Others" not in said


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("prosebench sam", {"sample"}),
        ("prosebench sample --meth", {"--method"}),
        ("prosebench sample --method md-", {"md-flow", "md-replicas"}),
        ("prosebench run --suite quick", {"quickstart", "quickstart-all"}),
        ("prosebench list s", {"suites"}),
    ],
)
def test_the_shell_completes(typed: str, offered: set[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    said = prosebench(_PROSEBENCH_COMPLETE="complete_bash", **words)
    assert set(said.stdout.split()) == offered


AFTER_A_STOP = {
    **dict.fromkeys(("run", "reference", "fetch", "improve", "train"), "continues from what is stored"),
    **dict.fromkeys(("score", "report"), "starts anew, but for the scores of cells that are stored"),
    "run --executor slurm --follow": "jobs that were submitted go on, and the same command continues",
    "train --executor=slurm --follow": "jobs that were submitted go on, and the same command continues",
    "run --executor local": "the same command continues from what is stored",
    "run --executor=local": "the same command continues from what is stored",
    "reference --suite dipeptides-30 --published": "the same command starts anew",
}


@pytest.mark.parametrize(
    "line", sorted({name for names in IN_USE.values() for name in names} | set(AFTER_A_STOP))
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_a_signal_leaves_is_said_of_each_command(
    line: str, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["prosebench", *line.split()])
    monkeypatch.setattr(cli, "app", lambda **_: 128 + number)
    monkeypatch.setattr(cli, "end_on_hangup", lambda: None)
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert ending.value.code == 128 + number
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("stopped; ")
    assert (
        (AFTER_A_STOP[line] in said)
        if line in AFTER_A_STOP
        else said.endswith("the same command starts anew")
    )


def test_lists_cut_no_name_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    for what, names in (("suites", suite_names()), ("methods", list(method_entry_points()))):
        text = io.StringIO()
        monkeypatch.setattr(look, "out", Console(file=text, width=80, force_terminal=True, no_color=True))
        app(["list", what], standalone_mode=False)
        said = re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue())
        assert "…" not in said
        for name in names:
            assert re.search(rf"^{re.escape(name)}(\s|$)", said, re.MULTILINE), name


def test_numbers_and_first_names_stay_whole_in_a_narrow_table() -> None:
    table = plain_table("a cell")
    table.add_column("evaluations", justify="right")
    table.add_column("reason")
    table.add_row("AA-parallel-tempering-10000-s0", "10,000,000", "word " * 20 + "an-end-without-a-blank" * 3)
    text = io.StringIO()
    Console(file=text, width=60).print(table)
    assert "AA-parallel-tempering-10000-s0" in text.getvalue()
    assert "10,000,000" in text.getvalue()
    assert "…" not in text.getvalue()
    letters = "".join(text.getvalue().split())
    assert letters.count("word") == 20
