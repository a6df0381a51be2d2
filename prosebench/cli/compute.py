"""Commands that compute cells: run, submit, cancel."""

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

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
    app,
    err,
    kelvins,
    load_profile,
    numbers,
    out,
    split,
    tell_unfinished,
)
from prosebench.cli.results import write_and_print
from prosebench.suite import Suite, load_suite, narrow

if TYPE_CHECKING:
    from jobs.cluster.profile import Cluster
    from prosebench.record import Cell


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
    workers: Annotated[int, typer.Option(help="Worker processes; 0: one a core.")] = 0,
    ranks: Annotated[int, typer.Option(help="Processes that share one cell, over MPI.")] = 1,
    references: References = None,
    retry_parked: RetryParked = False,
    report_: Annotated[
        bool, typer.Option("--report/--no-report", help="Score and report at the end.")
    ] = True,
    executor: Executor = "local",
    cluster: ClusterFile = "",
    follow: Annotated[bool, typer.Option(help="Wait for the jobs and show how far they are.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only show what would be run, and what it costs.")] = False,
) -> None:
    """Run the missing cells of a suite, here or on a cluster, then score them and print the table."""
    from jobs.cells.display import Progress
    from jobs.cells.launch import run_local, threads_per_worker
    from jobs.cells.plan import plan_cells
    from jobs.cells.spread import check_ranks
    from jobs.cluster.remote import show_plan, show_work, submit_and_follow
    from jobs.cluster.slurm import preview
    from jobs.making.weights import fetch_weights

    profile = load_profile(executor, cluster)
    if executor == "local":
        check_ranks(ranks, ("mpirun",))
    elif ranks > 1:
        profile = profile.model_copy(update={"ranks": ranks})
    chosen = narrowed(suite, methods, peptides, budgets, seeds, temperature, set_)
    _warn_of_tables(profile, chosen)
    chosen = fetch_weights(chosen, download=not dry_run)
    directory, cells = directory or Path("runs") / chosen.name, plan_cells(chosen)
    number = workers or max(1, len(os.sched_getaffinity(0)) // ranks)
    if dry_run:
        _warn_of_open_hashes(chosen, directory)
        plan = preview(cells, directory, profile)
        if executor == "slurm":
            show_plan(plan, out)
        else:
            show_work(plan, number, out)
        return
    folders = _lay_out(cells, directory, retry_parked)
    out.print(
        f"{chosen.name}: {len(folders)} cells ({len(chosen.methods)} methods, {len(chosen.peptides)} peptides, "
        f"budgets {', '.join(f'{budget:,}' for budget in chosen.budgets)}) in {directory}",
        soft_wrap=True,
    )
    for row in chosen.methods:
        if left_out := sorted({*chosen.budgets} - {*chosen.row_budgets(row)}):
            out.print(
                f"{row} stops at its max_budget: not run at {', '.join(f'{budget:,}' for budget in left_out)}"
            )
    if executor == "slurm":
        submit_and_follow(cells, directory, profile, references or [OWN_REFERENCES], out, followed=follow)
        if not follow:
            return
    else:
        with Progress(folders, out) as progress:
            run_local(
                folders,
                directory,
                workers=number,
                threads=threads_per_worker(number * ranks),
                ranks=ranks,
                reference_folders=references or [OWN_REFERENCES],
                watch=progress,
            )
    whole = not report_ or write_and_print(directory, references or [OWN_REFERENCES], workers=number)
    tell_unfinished(folders, whole=whole)


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
) -> None:
    """Write plain array scripts for `sbatch` that do what `run --executor slurm` would submit."""
    from jobs.cells.plan import plan_cells
    from jobs.cluster.remote import write_and_tell
    from jobs.making.weights import fetch_weights

    chosen = narrowed(suite, methods, peptides, budgets, seeds, temperature, set_)
    profile = load_profile("slurm", cluster)
    _warn_of_tables(profile, chosen)
    chosen = fetch_weights(chosen)
    directory, cells = directory or Path("runs") / chosen.name, plan_cells(chosen)
    _lay_out(cells, directory, retry_parked)
    write_and_tell(cells, directory, profile, references or [OWN_REFERENCES], script, out)


@app.command()
def cancel(directory: Directory) -> None:
    """End all jobs of a run folder; what they stored stays."""
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
) -> Suite:
    """The suite that the options of a command describe, checked."""
    chosen = narrow(
        load_suite(suite),
        methods=split(methods),
        peptides=split(peptides),
        budgets=numbers(budgets, "--budgets"),
        seeds=numbers(seeds, "--seeds"),
        temperatures=kelvins(temperature),
        settings=settings or [],
    )
    chosen.check()
    return chosen


def _warn_of_tables(profile: "Cluster", suite: Suite) -> None:
    """Name tables of a profile that no command would ever look into: a name misspelt there costs days unnoticed."""
    from prosebench.method import method_entry_points

    known = {*suite.methods, *method_entry_points(), "reference", "score", "train"}
    for name in sorted(set(profile.methods) - known):
        err.print(
            escape(
                f"warning: [methods.{name}] in the cluster profile names neither a row of suite {suite.name} nor an "
                f"installed method; rows: {', '.join(suite.methods)}"
            ),
            soft_wrap=True,
        )


def _warn_of_open_hashes(suite: Suite, directory: Path) -> None:
    """Name rows with finished cells that a plan cannot find, since the hash of their weights is not known here."""
    from jobs.making.weights import rows_without_hash

    def finished(row: str) -> bool:
        folders = (f"{peptide}-{glob.escape(row)}-[0-9]*" for peptide in suite.peptides)
        return any(any((directory / "cells").glob(f"{folder}/record.json")) for folder in folders)

    rows = ", ".join(row for row in rows_without_hash(suite) if finished(row))
    if rows:
        message = f"weights of {rows} are not in the cache: their finished cells are counted as missing"
        err.print(escape(f"warning: {message}"), soft_wrap=True)


def _lay_out(cells: "list[Cell]", directory: Path, retry_parked: bool) -> list[Path]:
    """Make the folders of the cells, after setting aside what is damaged or foreign."""
    from jobs.cells.failures import forget_failure
    from jobs.cells.plan import lay_out, set_foreign_aside

    for warning in set_foreign_aside(directory):
        err.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)
    folders = lay_out(cells, directory)
    for folder in folders if retry_parked else []:
        forget_failure(folder)
    return folders
