"""The commands. The only part that sees every other folder; each command is a few calls into them."""

import sys

from rich.markup import escape

from prosebench.cli import bench, compute, doctor, flows, look, references, results
from prosebench.cli.options import app, err
from prosebench.storage import DamagedFile
from prosebench.suite import SuiteError

__all__ = ["app", "bench", "compute", "doctor", "flows", "look", "main", "references", "results"]


def main() -> None:
    """Entry point of the `prosebench` command: known errors are one line on stderr and exit code 2."""
    try:
        app()
    except (SuiteError, DamagedFile, OSError, ValueError) as error:
        err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except SystemExit as ending:
        # This is what typer makes of Ctrl-C.
        if ending.code == 130:
            err.print("stopped; the same command continues where this one ended")
        raise
