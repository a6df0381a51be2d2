"""Commands that look at what is there: status, show, list."""

import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from prosebench.cli.options import OWN_REFERENCES, Directory, app, fail, out
from prosebench.machine.terminal import plain_console, plain_table

if TYPE_CHECKING:
    from prosebench.suite import Suite

_LOG_COLUMNS = 160
_LIST_COLUMNS = 2000


@app.command()
def status(directory: Directory) -> None:
    """Where each cell of a run folder stands, or how far training is: from the disk, and from the scheduler."""
    from jobs.cells.display import status_tables, waiting_lines
    from jobs.cells.status import read_states
    from jobs.cluster.hints import ask_scheduler, describe_end

    states, queue = ask_scheduler(read_states(directory), directory)
    training = _training_status(directory)
    if training:
        out.print(training, soft_wrap=True)
    if not (states or training or queue):
        fail(
            f"{directory} holds no cells; `prosebench run --suite NAME --dir {quote(str(directory))}` makes some"
        )
    # Names and paths in a log are there to be copied: not broken at the 80 columns that stand in for a terminal.
    wide = out if out.is_terminal else plain_console(width=max(out.width, _LOG_COLUMNS))
    for table in status_tables(states) if states else []:
        wide.print(table)
    for line in [*waiting_lines(states), queue or describe_end(directory)]:
        if line:
            out.print(line, soft_wrap=True)


def _training_status(directory: Path) -> str:
    """How far the training run of a folder is; empty where it has not saved anything, or there is none."""
    curve = directory / "curve.csv"
    if not curve.exists():
        return ""
    from jobs.cells.display import format_seconds
    from jobs.cluster.commands import MODEL
    from prosebench.training.curve import read_curve

    row, age = read_curve(curve)[-1], time.time() - curve.stat().st_mtime
    ended = f"; finished, the model is {directory / MODEL}" if (directory / MODEL).exists() else ""
    return f"step {row['step']:,.0f}, loss {row['loss']:.4f}, saved {format_seconds(age)} ago{ended}"


@app.command()
def show(
    cell: Annotated[str, typer.Argument(help="Folder of a cell, or the beginning of its name or id.")],
    directory: Annotated[Path, typer.Option("--dir", help="Run folder in which to look.")] = Path("runs"),
) -> None:
    """Everything about one cell: what was asked, what was done, spent and where."""
    from jobs.cells.status import find_cell
    from prosebench.store.storage import read_json

    folder = find_cell(cell, directory)
    out.print(str(folder), style="bold", soft_wrap=True)
    for name in ("cell.json", "record.json", "provenance.json", "failure.json", "heartbeat.json"):
        path = folder / name
        if path.exists() and not (name == "cell.json" and (folder / "record.json").exists()):
            out.print(f"\n{name}", style="bold")
            out.print_json(data=read_json(path))


@app.command("list")
def list_(
    what: Annotated[
        str,
        typer.Argument(
            help="suites, methods or peptides", autocompletion=lambda: ["suites", "methods", "peptides"]
        ),
    ],
) -> None:
    """List suites with what of their inputs is here, methods, or the peptides of each suite."""
    from prosebench.machine.installed import method_entry_points, suite_names, what_it_is

    if what not in ("suites", "methods", "peptides"):
        fail(f"cannot list {what!r}; known: suites, methods, peptides")
    table = plain_table()
    if what == "suites":
        from prosebench.suite import load_suite

        for heading in (
            "suite",
            "peptides",
            "references here",
            "published weights here",
            "budgets",
            "description",
        ):
            table.add_column(heading)
        for name in suite_names():
            suite = load_suite(name)
            budgets = ", ".join(f"{budget:,}" for budget in suite.budgets)
            here = (_references_here(suite), _weights_here(suite))
            table.add_row(name, str(len(suite.peptides)), *here, budgets, suite.description)
    elif what == "methods":
        for heading in ("method", "what it is", "from"):
            table.add_column(heading)
        for name, point in method_entry_points().items():
            table.add_row(name, what_it_is(point), point.value)
    else:
        from prosebench.suite import load_suite

        for heading in ("suite", "peptides"):
            table.add_column(heading)
        for name in suite_names():
            table.add_row(name, " ".join(load_suite(name).peptides))
    # Into a file or a pipe goes every name whole: a line for each, however long.
    wide = out if out.is_terminal else plain_console(width=_LIST_COLUMNS)
    wide.print(table)
    if what == "suites":
        out.print(
            "`prosebench fetch --suite NAME --to DATA` gets what is published and not here (see docs/cluster.md)",
            soft_wrap=True,
        )


def _references_here(suite: "Suite") -> str:
    from prosebench.store.places import has_reference, readable

    places = [(one, target.temperature_kelvin) for one in suite.peptides for target in suite.targets]
    here = [place for place in places if has_reference(*place, [OWN_REFERENCES]) or readable(*place)]
    return f"{len(here)} of {len(places)}"


def _weights_here(suite: "Suite") -> str:
    from prosebench.store.places import PUBLISHED_WEIGHTS, published_weights, stored_weights

    wanted = set(published_weights(suite.methods))
    here = [name for name, revision in wanted if stored_weights(PUBLISHED_WEIGHTS[name], revision)]
    return f"{len(here)} of {len(wanted)}" if wanted else "–"
