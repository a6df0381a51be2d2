"""The text of a job's script, whichever scheduler it is for."""

import shlex
import sys

from jobs.cluster.arrays import Submission
from jobs.cluster.profile import Need

MARK = "written by prosebench, to be given to"
"""The words in the second line of every script. They mark a script as written here, so that it may be removed
here."""

_STOP = """\
prosebench_stop() {
  echo "prosebench: this line of the cluster profile failed: $1" >&2
  exit 1
}"""
_SCRATCH = """\
# Local scratch for what is temporary: the job's own where there is one; that of the login node may not be here.
if [ -d "${SLURM_TMPDIR:-}" ]; then export TMPDIR=$SLURM_TMPDIR; fi
if [ ! -d "${TMPDIR:-/tmp}" ]; then unset TMPDIR; fi"""
_FIND_MODULE = """\
if ! command -v module >/dev/null; then
  for prosebench_file in /etc/profile.d/{modules,lmod,z00_lmod}.sh; do
    [ -r "$prosebench_file" ] && . "$prosebench_file"
  done
fi"""


def script_text(
    submission: Submission, need: Need, directives: list[str], ending: list[str], title: str
) -> str:
    """A script: directives for the scheduler, what the profile does at the start of a job, and what the job does."""
    what = f"{len(submission.commands)} commands" if submission.commands else "cells"
    lines = [
        "#!/bin/bash",
        f"# {what} in {submission.size} jobs; {MARK} {title}.",
        *directives,
        "",
        *opening_lines(need),
        "",
        *ending,
    ]
    return "\n".join(lines) + "\n"


def opening_lines(need: Need) -> list[str]:
    """Shell lines at the start of each job: modules, environment, setup, each of which ends the job where it fails."""
    # A folder called jobs/ where the user stands must not hide ours.
    environment = {"PYTHONSAFEPATH": "1"} | need.environment
    steps = [f"module load {module}" for module in need.modules]
    exports = [f"export {name}={_quoted(value)}" for name, value in environment.items()]
    lines = [_STOP] if steps or need.setup else []
    lines += [_FIND_MODULE] if need.modules else []
    for step in steps:
        lines += _or_stop(step)
    lines += [_SCRATCH, *exports]
    for step in need.setup:
        lines += _or_stop(step)
    return lines


def program(submission: Submission, need: Need) -> str:
    """The command that does one job of a submission; the job's number follows."""
    python = need.python or sys.executable
    words = [*need.prefix, python, "-u", "-m", "jobs.cluster", str(submission.folder)]
    return shlex.join(words)


def directive(start: str, name: str, value: str | int | bool) -> str:
    """One option as a scheduler reads it from a script."""
    return f"{start}{name}" if value is True else f"{start}{name}={shlex.quote(str(value))}"


def _or_stop(step: str) -> list[str]:
    # Lines of their own: a step may end in a comment.
    return ["{", step, f"}} || prosebench_stop {shlex.quote(step)}"]


def _quoted(value: str) -> str:
    """The text in double quotes, so that the shell replaces $HOME and the like."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`")
    return f'"{escaped}"'
