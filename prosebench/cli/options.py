"""What commands share: the application, the consoles, options that mean the same everywhere, and how they are read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from jobs.cluster.profile import Cluster

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which sampler of molecular Boltzmann distributions is better, at equal cost, and by how much?",
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

OWN_REFERENCES = Path("references")

Names = Annotated[str, typer.Option(help="Comma-separated; default: all of the suite.")]
SuiteName = Annotated[str, typer.Option(help="Name of a shipped suite, or a path to a .toml file.")]
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
Executor = Annotated[str, typer.Option(help="local, or slurm: arrays of jobs on a cluster.")]
ClusterFile = Annotated[
    str, typer.Option("--cluster", help="Cluster profile: path of a .toml file, or a shipped example.")
]
References = Annotated[
    list[Path] | None,
    typer.Option("--references", help="Folder with reference files (default: references); may be repeated."),
]


def method_names() -> list[str]:
    """Names of all installed methods, from what packages say of themselves: nothing is imported."""
    from importlib.metadata import entry_points

    return sorted({point.name for point in entry_points(group="prosebench.methods")})


def split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str, option: str) -> list[int]:
    try:
        return [
            int(float(part)) if "e" in part.lower() else int(part.replace("_", "")) for part in split(text)
        ]
    except ValueError:
        fail(f"{option} {text!r} is not a list of whole numbers such as 10000,1e6")


def kelvins(text: str) -> list[float]:
    try:
        return [float(part) for part in split(text)]
    except ValueError:
        fail(f"--temperature {text!r} is not a list of kelvins such as 310,393")


def fail(message: str) -> NoReturn:
    raise ValueError(message)


def print_rows(rows: Sequence[Mapping[str, str | int | float]]) -> None:
    table = Table(box=None, pad_edge=False)
    for name, value in rows[0].items():
        justify: Literal["left", "right"] = "left" if isinstance(value, str) else "right"
        table.add_column(name.replace("_", "\n"), justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(
            *(f"{value:,.4g}" if isinstance(value, float) else str(value) for value in row.values())
        )
    Console(width=max(out.width, 120), highlight=False).print(table)


def load_profile(executor: str, cluster: str) -> "Cluster":
    from jobs.cluster.profile import Cluster, load_cluster

    if executor not in ("local", "slurm"):
        fail(f"unknown --executor {executor!r}; known: local, slurm")
    if executor == "local" and cluster:
        fail("--cluster is for --executor slurm; without it everything runs on this machine")
    if executor == "slurm" and not cluster:
        fail("--executor slurm needs --cluster FILE: a profile of your cluster (see docs/cluster.md)")
    return load_cluster(cluster) if cluster else Cluster()


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
        err.print(f"[red]{name}:[/red] {escape(said)}", soft_wrap=True)
    raise typer.Exit(1 if unfinished or not whole else 0)
