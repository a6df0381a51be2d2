"""What commands share: the application, the consoles, options that mean the same everywhere, and how they are read."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from rich.text import Text

from prosebench.cli.order import InOrder
from prosebench.machine.terminal import plain_console, plain_table
from prosebench.names import MOST_EVALUATIONS, check_kelvin

if TYPE_CHECKING:
    from jobs.cluster.profile import Cluster

app = typer.Typer(
    cls=InOrder,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Which sampler of molecular Boltzmann distributions is better, at equal cost, and by how much?",
)


def _tell_version(asked: bool) -> None:
    if asked:
        from prosebench.machine.build_info import describe

        for line in describe():
            out.print(line, soft_wrap=True)
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_tell_version,
            is_eager=True,
            help="Version, commit, compiled kernels and torch.",
        ),
    ] = False,
) -> None:
    """Options that stand before any command."""


def _prepare() -> None:
    """Leave nothing of a notebook's or a terminal's environment that could end a command after its work is done."""
    # The backend of a notebook, in which a command may be typed, need not be installed; no command opens a window.
    os.environ["MPLBACKEND"] = "agg"
    if not os.environ.get("COLUMNS", "").strip(" 0"):
        os.environ.pop("COLUMNS", None)
    for stream in (sys.stdout, sys.stderr):
        # Where a terminal has no sign for a letter, a question mark stands in for it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


_prepare()
out = plain_console()
err = plain_console(stderr=True)

OWN_REFERENCES = Path("references")


def _shipped_suites() -> list[str]:
    from prosebench.machine.installed import suite_names

    return suite_names()


def installed_methods() -> list[str]:
    """Names of methods, for completion."""
    from prosebench.machine.installed import method_entry_points

    return list(method_entry_points())


Names = Annotated[str, typer.Option(help="Comma-separated; default: all of the suite.")]
SuiteName = Annotated[
    str,
    typer.Option(help="Name of a shipped suite, or a path to a .toml file.", autocompletion=_shipped_suites),
]
Directory = Annotated[Path, typer.Argument(help="Run folder.")]
Budgets = Annotated[str, typer.Option(help="Comma-separated numbers of evaluations.")]
Seeds = Annotated[str, typer.Option(help="Comma-separated.")]
Temperatures = Annotated[
    str,
    typer.Option("--temperature", help="Of the target, in kelvin; comma-separated. Default: the suite's."),
]
Assignments = Annotated[list[str] | None, typer.Option("--set", help="row.key=value; may be repeated.")]
RunFolder = Annotated[Path | None, typer.Option("--dir", help="Run folder; default: runs/<suite>.")]
RetryParked = Annotated[bool, typer.Option(help="Try again what failed three times.")]
Executor = Annotated[
    str, typer.Option(help="local, or arrays of jobs on a cluster: slurm; pbs and lsf (both untried).")
]
ClusterFile = Annotated[
    str, typer.Option("--cluster", help="Cluster profile: path of a .toml file, or a shipped example.")
]
References = Annotated[
    list[Path] | None,
    typer.Option(
        "--references",
        exists=True,
        file_okay=False,
        help="Folder with reference files (default: references); may be repeated.",
    ),
]
Workers = Annotated[int, typer.Option(min=0, help="Worker processes; 0: one a core.")]

FIRST_LINE_SECONDS = 10.0
"""Seconds until the first line of progress where there is no terminal. The pause before each later line is
half as long again, so that the log of a long run stays short."""


def split(text: str, option: str = "") -> list[str]:
    """The parts of a list with commas; an empty text is an empty list, one of commas alone is an error."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if text and not parts:
        fail(f"{option} {text!r} names nothing; leave {option or 'it'} out to take all".strip())
    return parts


def numbers(text: str, option: str, *, least: int = 1) -> list[int]:
    """Whole numbers of at least `least`, exactly as they are written: 10000, 10_000 or 1e4."""
    return [_whole(part, text, option, least) for part in split(text, option)]


def _whole(part: str, text: str, option: str, least: int) -> int:
    from decimal import Decimal, InvalidOperation

    try:
        value = Decimal(part)
    except InvalidOperation:
        fail(f"{option} {text!r}: {part!r} is not a whole number; write them as 10000,1e6")
    if not value.is_finite() or value != value.to_integral_value():
        fail(f"{option} {text!r}: {part} is not a whole number; write them as 10000,1e6")
    if not least <= value <= MOST_EVALUATIONS:
        fail(f"{option} {text!r}: {part} is not between {least} and {MOST_EVALUATIONS:.0e}")
    return int(value)


def kelvins(text: str) -> list[float]:
    """Temperatures in kelvin."""
    found = []
    for part in split(text, "--temperature"):
        try:
            found.append(float(part))
        except ValueError:
            fail(f"--temperature {text!r}: {part!r} is not a number; write kelvins as 310,393")
        check_kelvin(found[-1], "--temperature")
    return found


def check_positive(value: float, option: str) -> float:
    """A number above 0 and finite."""
    if not 0.0 < value < float("inf"):
        fail(f"{option} {value:g} is not a number above 0; give a positive one")
    return value


def check_suite_name(name: str) -> None:
    """Fail for a misspelt suite, before what is needed to read one is imported."""
    from prosebench.machine.installed import suite_names

    if name not in suite_names() and not name.endswith(".toml"):
        fail(f"unknown suite {name!r}; known: {', '.join(suite_names())}, or a path to a .toml file")


def check_run_folder(directory: Path) -> None:
    """Fail for a folder that no run has made."""
    if not any((directory / name).is_dir() for name in ("cells", "jobs")):
        there = "is no run folder" if directory.is_dir() else "is not there"
        fail(
            f"{directory} {there}: it holds no cells; "
            f"`prosebench run --suite NAME --dir {quote(str(directory))}` makes some"
        )


def require_scheduler(executor: str) -> None:
    """Fail, before anything is written, where jobs cannot be submitted from this machine."""
    from jobs.cluster.schedulers.scheduler import schedulers

    scheduler = schedulers().get(executor)
    if scheduler and not scheduler.there():
        fail(
            f"--executor {executor}: there are no commands of {scheduler.title} on this machine; run this on a login "
            "node of the cluster, or leave --executor out to run here"
        )


@contextmanager
def showing(first: str = "") -> Iterator[Callable[[str], None]]:
    """Show what is being done: a line that changes on a terminal, elsewhere one now and then. Yields the
    function that takes the text."""
    pause, last = FIRST_LINE_SECONDS, time.monotonic()
    with err.status(Text(first)) as status:

        def show(text: str) -> None:
            nonlocal pause, last
            status.update(Text(text))
            if not err.is_terminal and time.monotonic() - last >= pause:
                pause, last = 1.5 * pause, time.monotonic()
                err.print(f"{time.strftime('%H:%M:%S')} {text}", soft_wrap=True)

        yield show


def remark(mark: str, text: str, colour: str = "yellow") -> None:
    """A line on stderr that begins with a coloured mark, as "warning:"."""
    err.print(Text(mark, colour), text, soft_wrap=True)


def fail(message: str) -> NoReturn:
    raise ValueError(message)


def print_rows(rows: Sequence[Mapping[str, str | int | float]]) -> None:
    table = plain_table()
    for name, value in rows[0].items():
        justify: Literal["left", "right"] = "left" if isinstance(value, str) else "right"
        table.add_column(name.replace("_", "\n"), justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(
            *(f"{value:,.4g}" if isinstance(value, float) else str(value) for value in row.values())
        )
    plain_console(width=max(out.width, 120)).print(table)


def load_profile(executor: str, cluster: str) -> "Cluster":
    from jobs.cluster.profile import Cluster, load_cluster
    from jobs.cluster.schedulers.scheduler import schedulers

    known = schedulers()
    if executor != "local" and executor not in known:
        fail(f"unknown --executor {executor!r}; known: local, {', '.join(known)}")
    if executor == "local":
        if cluster:
            fail(
                f"--cluster is for --executor {', '.join(known)}; without it everything runs on this machine"
            )
        return Cluster()
    if not cluster:
        fail(f"--executor {executor} needs --cluster FILE: a profile of your cluster (see docs/cluster.md)")
    if not known[executor].tried:
        remark(
            "warning:",
            f"{known[executor].title} was tried on stand-ins for its commands alone, never on a real cluster: look at "
            "the first jobs, and tell us",
        )
    return load_cluster(cluster, executor)


def without_cluster(line: list[str], *more: str) -> list[str]:
    """A command line without the options that send it to a cluster, and without `more`."""
    kept, words = [], iter(line)
    for word in words:
        name, equals, _ = word.partition("=")
        if name in ("--executor", "--cluster", "--jobs", "--workers", *more):
            if not equals:
                next(words, None)
        elif name not in ("--follow", "--no-follow"):
            kept.append(word)
    return kept


def tell_unfinished(folders: list[Path], *, whole: bool = True) -> NoReturn:
    """Say what did not finish, and exit with 1 where anything did not, or where the report is not whole."""
    from jobs.cells.display import count, with_log
    from jobs.cells.status import read_state
    from jobs.cluster.hints import ask_scheduler

    states = [read_state(folder) for folder in folders]
    if states:
        states, _ = ask_scheduler(states, folders[0].parent.parent)
    unfinished = [state for state in states if state.state not in ("done", "skipped")]
    alike: dict[tuple[str, str], list[str]] = {}
    for state in unfinished:
        alike.setdefault((state.state, with_log(state)), []).append(state.folder.name)
    for (name, reason), cells in alike.items():
        more = f" and {count(len(cells) - 1, 'more cell')}" if len(cells) > 1 else ""
        said = f"{cells[0]}{more}: {reason}" if reason else f"{cells[0]}{more}"
        remark(f"{name}:", said, "red")
    raise typer.Exit(1 if unfinished or not whole else 0)
