"""Commands that compute cells: run, submit, cancel."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prosebench.cli.options import (
    OWN_REFERENCES,
    Assignments,
    Budgets,
    ClusterFile,
    Directory,
    Executor,
    Names,
    References,
    RetryParked,
    RunFolder,
    Seeds,
    SuiteName,
    Temperatures,
    Workers,
    app,
    check_run_folder,
    check_suite_name,
    err,
    fail,
    kelvins,
    load_profile,
    numbers,
    out,
    remark,
    require_scheduler,
    split,
    tell_unfinished,
)
from prosebench.cli.references import take_published
from prosebench.cli.results import write_and_print

if TYPE_CHECKING:
    from jobs.cluster.profile import Cluster
    from jobs.making.inputs import Inputs
    from prosebench.record import Cell
    from prosebench.suite import Suite


@app.command()
def run(
    suite: SuiteName,
    directory: RunFolder = None,
    methods: Names = "",
    peptides: Names = "",
    budgets: Budgets = "",
    seeds: Seeds = "",
    temperature: Temperatures = "",
    set_: Assignments = None,
    workers: Workers = 0,
    ranks: Annotated[int, typer.Option(min=1, help="Processes that share one cell, over MPI.")] = 1,
    references: References = None,
    retry_parked: RetryParked = False,
    report_: Annotated[
        bool,
        typer.Option(
            "--report/--no-report", help="Score and report at the end; without, peptides need no reference."
        ),
    ] = True,
    executor: Executor = "local",
    cluster: ClusterFile = "",
    follow: Annotated[bool, typer.Option(help="Wait for the jobs and show how far they are.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only show what would be run, and what it costs.")] = False,
) -> None:
    """Run the missing cells of a suite, here or on a cluster, then score them and print the table."""
    chosen = narrowed(suite, methods, peptides, budgets, seeds, temperature, set_)
    if not dry_run:
        require_scheduler(executor)
    from jobs.cells.plan import plan_cells, with_stored
    from jobs.cells.spread import check_ranks
    from jobs.cluster.remote import show_plan, show_work, submit_and_follow
    from jobs.cluster.submit import preview
    from jobs.making.inputs import find_inputs

    profile = load_profile(executor, cluster)
    if executor == "local":
        check_ranks(ranks, ("mpirun",))
    elif ranks > 1:
        profile = profile.model_copy(update={"ranks": ranks})
    _warn_of_tables(profile, chosen)
    folders = references or [OWN_REFERENCES]
    directory = directory or Path("runs") / chosen.name
    if not dry_run:
        take_published(chosen.peptides, folders, directory)
    inputs = find_inputs(chosen, folders, named=suite, download=not dry_run, scored=report_)
    cells = with_stored(plan_cells(inputs.suite), directory)
    ready = inputs.ready(cells, directory)
    _tell_inputs(inputs)
    number = workers or max(1, len(os.sched_getaffinity(0)) // ranks)
    if dry_run:
        plan = preview(ready, directory, profile)
        if executor != "local":
            show_plan(plan, profile, out)
        else:
            show_work(plan, number, out)
        _tell_waiting(cells, ready)
        return
    from prosebench.record import keep_plan
    from prosebench.suite import load_suite

    _lay_out(cells, directory, retry_parked, folders)
    keep_plan(directory, chosen.name, load_suite(suite).peptides)
    _tell_run(chosen, len(cells), directory)
    _tell_waiting(cells, ready)
    if executor != "local":
        submit_and_follow(ready, directory, profile, folders, out, followed=follow)
        if not follow:
            return
    else:
        _run_here(ready, directory, number, ranks, folders)
    whole = not report_ or write_and_print(directory, folders, workers=number)
    tell_unfinished([directory / "cells" / cell.folder_name for cell in ready], whole=whole)


def _tell_run(suite: "Suite", n_cells: int, directory: Path) -> None:
    """Say what a run consists of, and which of its rows have no cell at some of its budgets."""
    from jobs.cells.display import count

    out.print(
        f"{suite.name}: {count(n_cells, 'cell')} ({len(suite.methods)} methods, {len(suite.peptides)} peptides, "
        f"budgets {', '.join(f'{budget:,}' for budget in suite.budgets)}) in {directory}",
        soft_wrap=True,
    )
    for row in suite.methods:
        if left_out := sorted({*suite.budgets} - {*suite.row_budgets(row)}):
            out.print(
                f"{row} stops at its max_budget: not run at {', '.join(f'{budget:,}' for budget in left_out)}"
            )


def _run_here(
    cells: "Sequence[Cell]", directory: Path, workers: int, ranks: int, references: Sequence[Path]
) -> None:
    """Run cells on this machine, and show how far they are."""
    from jobs.cells.display import Progress
    from jobs.cells.launch import run_local, threads_per_worker

    if not cells:
        return
    folders = [directory / "cells" / cell.folder_name for cell in cells]
    with Progress(folders, out) as progress:
        run_local(
            folders,
            directory,
            workers=workers,
            threads=threads_per_worker(workers * ranks),
            ranks=ranks,
            reference_folders=references,
            watch=progress,
        )


@app.command()
def submit(
    suite: SuiteName,
    cluster: ClusterFile,
    directory: RunFolder = None,
    methods: Names = "",
    peptides: Names = "",
    budgets: Budgets = "",
    seeds: Seeds = "",
    temperature: Temperatures = "",
    set_: Assignments = None,
    references: References = None,
    retry_parked: RetryParked = False,
    script: Annotated[Path, typer.Option("--out", help="Script to write.")] = Path("prosebench.array"),
    scheduler: Annotated[str, typer.Option(help="slurm; pbs or lsf (both untried).")] = "slurm",
) -> None:
    """Write the array scripts that `run --executor slurm` (pbs, lsf) would submit, to submit them yourself.

    PBS and LSF were tried on stand-ins for their commands alone.
    """
    chosen = narrowed(suite, methods, peptides, budgets, seeds, temperature, set_)
    from jobs.cells.plan import plan_cells, with_stored
    from jobs.cluster.remote import write_and_tell
    from jobs.making.inputs import find_inputs

    profile = load_profile(scheduler, cluster)
    _warn_of_tables(profile, chosen)
    folders = references or [OWN_REFERENCES]
    directory = directory or Path("runs") / chosen.name
    take_published(chosen.peptides, folders, directory)
    inputs = find_inputs(chosen, folders, named=suite)
    cells = with_stored(plan_cells(inputs.suite), directory)
    ready = inputs.ready(cells, directory)
    _tell_inputs(inputs)
    from prosebench.record import keep_plan
    from prosebench.suite import load_suite

    _lay_out(cells, directory, retry_parked, folders)
    keep_plan(directory, chosen.name, load_suite(suite).peptides)
    _tell_waiting(cells, ready)
    write_and_tell(ready, directory, profile, folders, script, out)


@app.command()
def cancel(directory: Directory) -> None:
    """End all jobs of a run folder; what they stored stays."""
    check_run_folder(directory)
    from jobs.cluster.remote import cancel_jobs

    cancel_jobs(directory, out)


def narrowed(
    suite: str,
    methods: str,
    peptides: str,
    budgets: str,
    seeds: str,
    temperature: str,
    settings: list[str] | None,
) -> "Suite":
    """The suite that the options of a command describe, checked; what is typed wrong is told first."""
    check_suite_name(suite)
    rows, sequences = split(methods, "--methods"), split(peptides, "--peptides")
    marks, streams = numbers(budgets, "--budgets"), numbers(seeds, "--seeds", least=0)
    degrees = kelvins(temperature)
    from prosebench.machine.installed import method_entry_points
    from prosebench.rows import check_suite
    from prosebench.suite import load_suite, narrow

    found, installed = load_suite(suite), method_entry_points()
    for name in rows:
        if name not in found.methods and name not in installed:
            known = (
                f"rows of suite {found.name}: {', '.join(found.methods)}; installed: {', '.join(installed)}"
            )
            fail(f"--methods: unknown method {name!r}; {known}")
    chosen = narrow(
        found,
        methods=rows,
        peptides=sequences,
        budgets=marks,
        seeds=streams,
        temperatures=degrees,
        settings=settings or [],
    )
    check_suite(chosen)
    return chosen


def _warn_of_tables(profile: "Cluster", suite: "Suite") -> None:
    """Name tables of a profile that no command would ever look into: a name misspelt there costs days unnoticed."""
    from prosebench.machine.installed import method_entry_points

    known = {*suite.methods, *method_entry_points(), "reference", "score", "train"}
    for name in sorted(set(profile.methods) - known):
        remark(
            "warning:",
            f"[methods.{name}] in the cluster profile names neither a row of suite {suite.name} nor an installed "
            f"method; rows: {', '.join(suite.methods)}",
        )


def _tell_inputs(inputs: "Inputs") -> None:
    """Say what of the inputs is here and, one line a kind, what is not."""
    out.print(inputs.summary)
    for line in inputs.lines:
        err.print(line, soft_wrap=True)


def _tell_waiting(cells: "Sequence[Cell]", ready: "Sequence[Cell]") -> None:
    from jobs.cells.display import count

    if waiting := len(cells) - len(ready):
        verb, them = ("waits", "it") if waiting == 1 else ("wait", "them")
        out.print(
            f"{count(waiting, 'cell')} {verb} for what is not here; the same command runs {them} once it is",
            soft_wrap=True,
        )


def _lay_out(cells: "list[Cell]", directory: Path, retry_parked: bool, references: Sequence[Path]) -> None:
    """Make the folders of the cells, after setting aside what is damaged or foreign."""
    from jobs.cells.failures import forget_failure
    from jobs.cells.plan import lay_out, remove_placeholders, set_foreign_aside, set_skips_aside

    for warning in set_foreign_aside(directory):
        remark("warning:", warning)
    remove_placeholders(cells, directory)
    set_skips_aside(cells, directory, references)
    folders = lay_out(cells, directory)
    for folder in folders if retry_parked else []:
        forget_failure(folder)
