"""The commands. The only part that sees every other folder; each command is a few calls into them."""

import contextlib
import signal
import sys
import traceback
from itertools import pairwise
from typing import Any, NoReturn

from jobs.cells.signals import end_on_hangup
from prosebench.cli import (
    bench,
    bench_all,
    board,
    compute,
    doctor,
    external,
    fetch,
    look,
    new_method,
    references,
    results,
)
from prosebench.cli.flows import improve, sample, train
from prosebench.cli.options import app, err, out, remark

__all__ = [
    "app",
    "bench",
    "bench_all",
    "board",
    "compute",
    "doctor",
    "external",
    "fetch",
    "improve",
    "look",
    "main",
    "new_method",
    "references",
    "results",
    "sample",
    "train",
]

_KEEPS_WORK = ("run", "reference", "fetch", "improve", "train")
_KEEPS_SCORES = ("score", "report")
_STOPPED = (128 + signal.SIGHUP, 128 + signal.SIGINT, 128 + signal.SIGTERM)


def main() -> None:
    """Entry point of the `prosebench` command: known errors are one line on stderr and exit code 2."""
    end_on_hangup()
    try:
        code = app(standalone_mode=False, prog_name="prosebench")
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) and not _is_ours(error):
            traceback.print_exception(error)
            remark("a bug in prosebench:", "please report the lines above", "red")
            sys.exit(1)
        _refuse(str(error))
    except Exception as error:
        # What typer raises for a word or a value that it does not take; its own display would be a box of five lines.
        if not hasattr(error, "format_message"):
            raise
        context = getattr(error, "ctx", None)
        if not (message := _explain(error)):
            out.print(context.get_help() if context else "")
            sys.exit(2)
        command = context.command_path if context else "prosebench"
        _refuse(f"{message}; see `{command} --help`")
    except SystemExit as ending:
        code = ending.code
    if code in _STOPPED:
        # Where the terminal is gone there is nobody to tell.
        with contextlib.suppress(OSError):
            err.print(f"stopped; {_after_a_stop(sys.argv[1:])}", soft_wrap=True)
    sys.exit(code)


def _after_a_stop(line: list[str]) -> str:
    """What happens to the work of a command, given by its words, after a signal has ended it."""
    command = line[0] if line else ""
    given = dict(zip(line, [*line[1:], ""], strict=True)) | dict(
        word.split("=", 1) for word in line if "=" in word
    )
    if given.get("--executor", "local") != "local":
        return "jobs that were submitted go on, and the same command continues with what is left"
    if command in _KEEPS_WORK and "--published" not in line:
        return "the same command continues from what is stored"
    if command in _KEEPS_SCORES:
        return "the same command starts anew, but for the scores of cells that are stored"
    return "the same command starts anew"


def _explain(error: Any) -> str:
    """What typer says of a mistake in a command line, with the option and the value as they were typed."""
    message = str(error.format_message()).strip().rstrip(".")
    names = getattr(getattr(error, "param", None), "opts", None) or []
    for name in names if message.startswith("Invalid value") else []:
        for word, following in pairwise([*sys.argv, ""]):
            typed = following if word == name else word.removeprefix(f"{name}=")
            if name.startswith("-") and (word == name or word.startswith(f"{name}=")):
                return f"{name} {typed}: {message.partition(': ')[2].removeprefix('Input ')}"
    return message


def _refuse(message: str) -> NoReturn:
    remark("error:", " ".join(message.splitlines()), "red")
    sys.exit(2)


def _is_ours(error: ValueError) -> bool:
    """Whether our own code raised the error, about an input. An error that a library raises in the midst of
    our work is our mistake."""
    module = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    return module.partition(".")[0] in ("prosebench", "baselines", "jobs", "analysis")
