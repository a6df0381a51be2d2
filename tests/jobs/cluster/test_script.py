"""The start of a job as bash reads it: what fails ends the job with a word, and quotes mean what they say."""

import os
import subprocess
from pathlib import Path

import pytest

from jobs.cluster.arrays import Submission
from jobs.cluster.profile import Need
from jobs.cluster.script import MARK, directive, opening_lines, program, script_text


def submission(directory: Path, **changes: object) -> Submission:
    fields = {
        "name": "prosebench-1f",
        "directory": directory,
        "jobs": [["a"], ["b"]],
        "minutes": 60,
        "signal_seconds": 60,
    }
    return Submission.model_validate(fields | changes)


def bash(need: Need, *ending: str, **environment: str) -> subprocess.CompletedProcess[str]:
    lines = [*opening_lines(need), *ending]
    return subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("plain", "plain"),
        ("two words", "two words"),
        ("$HOME/x", "/home/me/x"),
        ("${HOME}", "/home/me"),
        ('say "so"', 'say "so"'),
        ("back\\slash", "back\\slash"),
        ("`touch /tmp/never`", "`touch /tmp/never`"),
        ("semi; colon & more # not a comment", "semi; colon & more # not a comment"),
    ],
)
def test_variables_of_a_profile_are_what_they_say(value: str, meant: str) -> None:
    done = bash(Need(environment={"MINE": value}), 'printf %s "$MINE"', HOME="/home/me")
    assert (done.stdout, done.returncode) == (meant, 0)


def test_a_folder_called_jobs_where_the_user_stands_hides_nothing() -> None:
    assert bash(Need(), 'printf %s "$PYTHONSAFEPATH"').stdout == "1"
    assert bash(Need(environment={"PYTHONSAFEPATH": ""}), 'printf %s "[$PYTHONSAFEPATH]"').stdout == "[]"


def test_steps_run_in_order_in_the_job_s_own_shell_and_the_first_that_fails_ends_it() -> None:
    fine = bash(Need(setup=("x=1  # a comment", "x=$((x + 1))")), 'echo "x is $x"')
    assert fine.stdout == "x is 2\n"
    failing = bash(Need(setup=("true", "false || (exit 7)", "echo never")), "echo never")
    assert failing.returncode == 1
    assert failing.stdout == ""
    assert "this line of the cluster profile failed: false || (exit 7)" in failing.stderr


def test_scratch_of_the_job_is_used_where_it_is_there(tmp_path: Path) -> None:
    show = 'printf %s "${TMPDIR-unset}"'
    assert bash(Need(), show, SLURM_TMPDIR=str(tmp_path)).stdout == str(tmp_path)
    assert bash(Need(), show, TMPDIR=str(tmp_path), SLURM_TMPDIR="/no/such").stdout == str(tmp_path)
    assert bash(Need(), show, TMPDIR="/no/such", SLURM_TMPDIR="").stdout == "unset"


def test_the_program_may_stand_in_a_container_and_paths_may_have_spaces() -> None:
    one = submission(Path("/my run"))
    need = Need(prefix=("apptainer", "exec", "--bind", "/a b", "image.sif"), python="/opt/python")
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {program(one, need)}"], capture_output=True, text=True, check=True
    )
    assert words.stdout.splitlines() == [
        "apptainer", "exec", "--bind", "/a b", "image.sif", "/opt/python", "-u", "-m", "jobs.cluster",
        "/my run/jobs/prosebench-1f",
    ]  # fmt: skip


def test_a_script_says_in_its_second_line_whose_it_is(tmp_path: Path) -> None:
    text = script_text(submission(tmp_path), Need(), ["#Q -x"], ["exec true"], "Q")
    lines = text.splitlines()
    assert lines[:3] == ["#!/bin/bash", f"# cells in 2 jobs; {MARK} Q.", "#Q -x"]
    assert (lines[-1], text[-1]) == ("exec true", "\n")
    commands = submission(tmp_path, jobs=[], commands=[["list"]] * 3)
    assert "# 3 commands in 3 jobs; " in script_text(commands, Need(), [], [], "Q")
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("value", "line"), [(True, "--x"), (3, "--x=3"), ("a b", "--x='a b'"), ("", "--x=''"), (0, "--x=0")]
)
def test_directives(value: str | int | bool, line: str) -> None:
    assert directive("--", "x", value) == line
