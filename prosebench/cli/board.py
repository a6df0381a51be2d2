"""Commands around the public board: leaderboard, submit-results."""

import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from prosebench.cli.options import OWN_REFERENCES, References, app, fail, out
from prosebench.names import EXTERNAL

if TYPE_CHECKING:
    from prosebench.record import Record

KEPT_RUNS = Path("results/runs")
BOARD = Path("results/leaderboard")
Runs = Annotated[Path, typer.Option("--runs", help="Folder in which runs are kept, without their frames.")]


@app.command()
def leaderboard(
    directories: Annotated[
        list[Path] | None, typer.Argument(help="Run folders to keep first; default: none.")
    ] = None,
    runs: Runs = KEPT_RUNS,
    target: Annotated[Path, typer.Option("--out", help="Folder of the board.")] = BOARD,
    references: References = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: say how the board differs from its runs.")
    ] = False,
) -> None:
    """Keep run folders, and rebuild the board and its site from all kept runs."""
    from analysis.board.kept_runs import collect
    from analysis.board.leaderboard import board_files, differences, write_board
    from prosebench.cli.results import weigh_references

    if check:
        if directories:
            fail("--check looks at what is kept; it takes no run folders")
        found = differences(board_files(runs), target)
        for line in found:
            out.print(line, soft_wrap=True)
        out.print(f"{target} is {'not ' if found else ''}what {runs} gives", soft_wrap=True)
        raise typer.Exit(1 if found else 0)
    for directory in directories or []:
        weigh_references(directory, references or [OWN_REFERENCES])
        kept = collect(directory, runs, references or [OWN_REFERENCES], workers=len(os.sched_getaffinity(0)))
        out.print(f"kept: {kept}", soft_wrap=True)
    paths = write_board(board_files(runs), target)
    out.print(f"{len(paths)} files in {target}; open {target / 'index.html'}", soft_wrap=True)


@app.command("submit-results")
def submit_results(
    directory: Annotated[Path, typer.Argument(help="Run folder, or a .tar file that this command wrote.")],
    target: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("submission"),
    name: Annotated[
        str, typer.Option(help="Name of the run on the board; default: that of the folder.")
    ] = "",
    references: References = None,
    rerun: Annotated[
        int, typer.Option(min=0, help="Run so many cells again, drawn at random, and compare; 0 for none.")
    ] = 2,
) -> None:
    """Check results from their frames up (hashes, energies, weights, ledgers, scores), run some cells again, and pack
    them for a pull request."""
    from analysis.submission.archive import unpacked
    from analysis.submission.submit import submit
    from jobs.review import inspect

    folders = references or [OWN_REFERENCES]
    with unpacked(directory) as cells:
        records = _records(cells)
        folder, archive = submit(
            cells,
            target,
            folders,
            name=name,
            workers=len(os.sched_getaffinity(0)),
            inspect=inspect,
            rerun=lambda: _run_again(cells, records, rerun, folders) if rerun else ({}, []),
        )
    declared = sum(record.cell.method == EXTERNAL for record in records)
    if declared:
        out.print(
            f"{declared} of its records are ensembles made elsewhere: their evaluations and seconds are declared, "
            "not metered, the board says so, and they cannot be run again",
            soft_wrap=True,
        )
    for line in (
        f"accepted. Into the pull request, under {KEPT_RUNS}: {folder}",
        f"Frames, to be put where the pull request can link to them: {archive}",
        f"Whoever reviews it: prosebench submit-results {quote(archive.name)} --out {KEPT_RUNS}; git diff",
    ):
        out.print(line, soft_wrap=True)


def _records(directory: Path) -> list["Record"]:
    """Records of the finished cells that can be read; what is wrong with others is told by the checks."""
    from prosebench.record import read_record, readable_cells

    return [record for _, record in readable_cells(directory, read_record)]


def _run_again(
    directory: Path, records: list["Record"], number: int, references: list[Path]
) -> tuple[dict[str, str], list[str]]:
    """What cells drawn at random gave when they were run again here, by cell id, and the reasons against others."""
    from analysis.submission.rerun import SAME_BYTES, SAME_COSTS, compare_rerun, gives_equal_bytes
    from jobs.review import record_again, run_again

    gave, reasons = dict[str, str](), list[str]()
    with run_again(records, number, references) as cells:
        for theirs, folder in cells:
            ours, text = record_again(folder), SAME_BYTES
            if ours is None:
                found = ["it could not be run again here"]
            elif gives_equal_bytes(theirs, ours) or theirs.status != "done" or ours.status != "done":
                found = compare_rerun(theirs, ours)
            else:
                there = directory / "cells" / folder.name
                found = compare_rerun(theirs, ours, (theirs.load_ensemble(there), ours.load_ensemble(folder)))
                text = f"{SAME_COSTS}; its frames are compared by their steps alone, for {_otherwise(theirs, ours)}"
            if not found:
                gave[theirs.cell_id] = SAME_BYTES if text == SAME_BYTES else SAME_COSTS
            reasons += [f"{folder.name}: {reason}" for reason in found]
            out.print(f"run again: {folder.name}: {'; '.join(found) or text}", soft_wrap=True)
    return gave, reasons


def _otherwise(theirs: "Record", ours: "Record") -> str:
    """The differences between how a cell was computed there and here."""
    sides = [
        {name: str(value) for name, value in {**record.target, **record.versions}.items()}
        for record in (theirs, ours)
    ]
    names = sorted(name for name in {*sides[0], *sides[1]} if sides[0].get(name) != sides[1].get(name))
    return ", ".join(
        f"{name} is {sides[0].get(name, 'none')} there and {sides[1].get(name, 'none')} here"
        for name in names
    )
