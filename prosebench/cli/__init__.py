"""The commands. The only part that sees every other folder; each command is a few calls into them."""

import sys
import traceback

from rich.markup import escape

from prosebench.cli import bench, board, compute, doctor, external, flows, look, references, results, training
from prosebench.cli.options import app, err

__all__ = [
    "app",
    "bench",
    "board",
    "compute",
    "doctor",
    "external",
    "flows",
    "look",
    "main",
    "references",
    "results",
    "training",
]


def main() -> None:
    """Entry point of the `prosebench` command: known errors are one line on stderr and exit code 2."""
    try:
        app()
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) and not _is_ours(error):
            traceback.print_exception(error)
            err.print("[red]a bug in prosebench:[/red] please report the lines above")
            sys.exit(1)
        err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except SystemExit as ending:
        # This is what typer makes of Ctrl-C.
        if ending.code == 130:
            err.print("stopped; the same command continues where this one ended")
        raise


def _is_ours(error: ValueError) -> bool:
    """Whether it was raised here, about an input; what a library raises in the midst of our work is our mistake."""
    module = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    return module.partition(".")[0] in ("prosebench", "baselines", "jobs", "analysis")
