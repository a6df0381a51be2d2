"""Commands that judge: score, report, check."""

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from prosebench.cli.options import (
    OWN_REFERENCES,
    ClusterFile,
    Directory,
    Executor,
    References,
    Workers,
    app,
    check_run_folder,
    err,
    fail,
    load_profile,
    out,
    remark,
    require_scheduler,
    showing,
    split,
    without_cluster,
)
from prosebench.cli.references import take_published
from prosebench.machine.installed import method_entry_points
from prosebench.machine.terminal import pass_or_fail, plain_table
from prosebench.names import check_kelvin


@app.command()
def score(
    what: Annotated[
        Path, typer.Argument(help="Run folder, ensemble (.npz), or trajectory that mdtraj reads.")
    ],
    peptide: Annotated[str, typer.Option(help="Sequence; needed for an ensemble or a trajectory.")] = "",
    topology: Annotated[Path | None, typer.Option(help="PDB file that names a trajectory's atoms.")] = None,
    frames: Annotated[
        int, typer.Option(min=1, help="Frames to score of an ensemble or a trajectory.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling of weighted frames.")] = 0,
    temperature_kelvin: Annotated[
        float, typer.Option(help="Temperature at which energies are reduced.")
    ] = 310.0,
    references: References = None,
    executor: Executor = "local",
    cluster: ClusterFile = "",
    jobs: Annotated[int, typer.Option(min=1, help="Jobs over which a run folder is spread.")] = 8,
    share: Annotated[
        str, typer.Option(help="i/n: only every n-th cell, from the i-th on.", hidden=True)
    ] = "",
) -> None:
    """Score the records of a run folder, or any ensemble or trajectory, against the reference."""
    check_kelvin(temperature_kelvin, "--temperature-kelvin")
    if what.is_dir():
        check_run_folder(what)
        _score_run(what, references or [OWN_REFERENCES], executor, cluster, jobs, share)
        return
    if not peptide:
        fail(f"{what} does not say which peptide it is of; name it with --peptide")
    from analysis.scores.foreign import score_file
    from prosebench.peptide import check_sequence

    check_sequence(peptide)
    take_published([peptide], references or [OWN_REFERENCES])
    result = score_file(
        what,
        peptide,
        topology=topology,
        n_frames=frames,
        seed=seed,
        temperature_kelvin=temperature_kelvin,
        reference_folders=references or [OWN_REFERENCES],
    )
    for note in result.notes:
        remark("note:", note)
    table = plain_table("metric", "weights", "value", "error by the reference")
    for (name, weighting), number in result.score.numbers.items():
        error = "" if math.isnan(number.reference_error) else f"{number.reference_error:.2g}"
        table.add_row(name, weighting, f"{number.value:.6g}", error)
    table.add_row("frames", "", f"{result.score.frames}", "")
    out.print(table)


def _score_run(
    directory: Path, references: Sequence[Path], executor: str, cluster: str, jobs: int, share: str
) -> None:
    """Score a run folder, a share of it, or all of it by jobs that take a share each."""
    require_scheduler(executor)
    from analysis.scores.run import score_run
    from analysis.scores.table import write_scores
    from jobs.cluster.task import CORES
    from prosebench.record import cell_folders

    take_published(_peptides(directory), references)
    profile = load_profile(executor, cluster)
    cores = int(os.environ.get(CORES) or len(os.sched_getaffinity(0)))
    if share:
        index, number = _share(share)
        weigh_references(directory, references, cell_folders(directory)[index::number])
        score_run(directory, references, workers=cores, share=(index, number))
        return
    if executor != "local":
        from jobs.cluster.remote import submit_each

        folders = [folder for folder in cell_folders(directory) if (folder / "record.json").exists()]
        number = min(jobs, len(folders))
        shares = [[*without_cluster(sys.argv[1:]), "--share", f"{index}/{number}"] for index in range(number)]

        def progress() -> tuple[str, bool]:
            # The scores of a cell are in a file that begins with its id; so is the end of its folder's name.
            there = {path.name.partition("-")[0] for path in (directory / "scores").glob("*.json")}
            done = sum(folder.name.rpartition("-")[2] in there for folder in folders)
            return f"{done} of {len(folders)} cells scored", done == len(folders)

        submit_each(shares, directory, profile, out, need=profile.need("score", "score"), progress=progress)
    # What jobs have left out, for whatever reason, is done here.
    weigh_references(directory, references)
    with showing("scores") as show:
        table = score_run(
            directory,
            references,
            workers=cores,
            progress=lambda done, number: show(f"scores: {done} of {number}"),
        )
    out.print(f"scores: {write_scores(directory, table)}", soft_wrap=True)


def weigh_references(
    directory: Path, references: Sequence[Path], folders: Sequence[Path] | None = None
) -> None:
    """Have flows weigh the frames of references, for all finished cells or those in some folders; print what failed."""
    from jobs.making.reference_weights import write_reference_weights

    for reason in write_reference_weights(directory, references, folders):
        remark("not made:", f"weights of reference frames: {reason}")


def _share(text: str) -> tuple[int, int]:
    """A share i/n of the work as (i, n)."""
    index, _, number = text.partition("/")
    if not (index.isdecimal() and number.isdecimal() and int(index) < int(number)):
        fail(f"--share {text!r} is not of the form i/n with i below n, as the first of eight is 0/8")
    return int(index), int(number)


@app.command()
def report(
    directory: Directory,
    references: References = None,
    against: Annotated[str, typer.Option(help="Compare every row with this one; default: all pairs.")] = "",
    allow_unequal: Annotated[
        str,
        typer.Option(
            help="Compare all the same, and mark it, what differs in these: budget,frames,peptides."
        ),
    ] = "",
    formats: Annotated[str, typer.Option(help="Of the figures; png must be among them.")] = "png,pdf,svg",
    workers: Workers = 0,
) -> None:
    """Score a run folder and write its tables and figures."""
    check_run_folder(directory)
    whole = write_and_print(
        directory,
        references or [OWN_REFERENCES],
        workers=workers or len(os.sched_getaffinity(0)),
        against=against or None,
        allow=split(allow_unequal, "--allow-unequal"),
        formats=split(formats, "--formats"),
    )
    raise typer.Exit(0 if whole else 1)


def write_and_print(directory: Path, references: Sequence[Path], **options: Any) -> bool:
    """Write the report of a run folder, with options of `analysis.report.report.write_report`; print its table.

    Returns whether all of it could be made and something was scored; what could not is printed with its reason.
    """
    from analysis.report.report import write_report
    from analysis.scores.statuses import SCORED
    from jobs.cluster.hints import note_joules

    take_published(_peptides(directory), references)
    weigh_references(directory, references)
    note_joules(directory)
    with showing("scores") as show:
        written = write_report(
            directory,
            references,
            progress=lambda what, done, number: show(f"{what}: {done} of {number}"),
            **options,
        )
    out.print(written.table)
    for failure in written.failures:
        remark("not made:", f"{failure.what}: {failure.reason}")
    out.print(f"tables and figures: {written.directory}", soft_wrap=True)
    scored = bool(written.scores["status"].isin(SCORED).any())
    if not scored:
        remark("nothing could be scored:", "the lines below the table say why", "red")
    return scored and not written.failures


def _peptides(directory: Path) -> list[str]:
    """Peptides of the readable cells of a run folder."""
    from prosebench.record import read_cell, readable_cells

    return [cell.peptide for _, cell in readable_cells(directory, read_cell)]


@app.command()
def check(method: Annotated[str, typer.Argument(help="Name of an installed method.")]) -> None:
    """Run the contract suite on a method: budgets, restarts, seeds, and moments on a target with known answers.

    Ends with status 1 where it breaks the contract, or could not be checked.
    """
    from prosebench.check.separately import check_separately

    known = method_entry_points()
    if method not in known:
        fail(f"unknown method {method!r}; known: {', '.join(known)}")
    broken, skips = 0, False
    with err.status(Text("checking")) as status:
        for name, passed, seen in check_separately(method):
            if passed is None:
                status.update(Text(name))
                continue
            broken += not passed
            skips = skips or seen.startswith("skips: ")
            out.print(pass_or_fail(passed), f" {name}: {' '.join(seen.split())}", soft_wrap=True)
    if broken:
        out.print(f"{method} breaks the contract in {broken} place{'s' if broken > 1 else ''}")
    elif skips:
        out.print(f"{method} could not be checked: it skips the dipeptide that the contract is run on")
    else:
        out.print(
            f"{method} holds to the contract. That proves what the lines above say, on these targets, and no more: a "
            "smaller bias, a bias on another target, and energies that a method computes by itself remain unseen",
            soft_wrap=True,
        )
    raise typer.Exit(1 if broken or skips else 0)
