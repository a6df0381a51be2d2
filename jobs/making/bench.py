"""Scaling: one cell over more and more ranks, one suite over more and more workers or nodes; strong and weak.

Strong: the same work on a larger machine. Weak: work that grows with the machine, a cell by its budget and by the
settings in GROWING, a suite by its seeds. Times are those from the first evaluation to the last record: neither the
start of processes nor waiting in a queue counts.
"""

import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jobs.cells.failures import read_failure
from jobs.cells.launch import run_local
from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.spread import check_ranks
from jobs.cluster.arrays import read_submissions
from jobs.cluster.profile import Cluster
from jobs.cluster.schedulers.scheduler import queued_jobs, schedulers
from jobs.cluster.submit import follow, submit_missing
from prosebench.machine.build_info import code_commit
from prosebench.method import load_method
from prosebench.record import Cell, read_provenance, read_record
from prosebench.suite import Suite

Row = dict[str, str | int | float]
Watch = Callable[[Row], None]

GROWING = ("replicas", "ladders", "particles", "chunk_evaluations", "chunk_proposals")
"""The settings that say how much is done side by side. In weak scaling they grow with the number of ranks."""


class BenchFailed(RuntimeError):
    """A cell of a bench did not finish."""


def bench_ranks(
    suite: Suite,
    numbers: Sequence[int],
    directory: Path,
    *,
    rounds: int = 3,
    cluster: Cluster | None = None,
    references: Sequence[Path] = (),
    watch: Watch = lambda row: None,
) -> list[Row]:
    """The first cell of a suite, at its largest budget, on each number of ranks, in folders that are removed again.

    One row a measurement. The ranks are on this machine or, with a cluster, those of a job. Rounds are interleaved:
    what else the machine does hits all numbers alike. Raises RanksUnavailable, BenchFailed, NoScheduler.
    """
    if cluster is None:
        check_ranks(max(numbers), ("mpirun",))
    cell = _first_cell(suite)

    def run(number: int, grown: bool) -> tuple[float, int]:
        with scratch(directory) as name:
            folder, cells = Path(name), [grow_cell(cell, number) if grown else cell]
            folders = lay_out(cells, folder)
            if cluster:
                _run_remote(cells, folder, cluster.model_copy(update={"ranks": number}), references)
            else:
                run_local(folders, folder, workers=1, ranks=number, reference_folders=references)
            return _measured(folders)

    return _rows("ranks", f"{cell.row} {cell.peptide}", numbers, rounds, run, watch)


def bench_suite(
    suite: Suite,
    numbers: Sequence[int],
    directory: Path,
    *,
    rounds: int = 3,
    cluster: Cluster | None = None,
    references: Sequence[Path] = (),
    watch: Watch = lambda row: None,
) -> list[Row]:
    """A suite on each number of workers of this machine or, with a cluster, of its nodes, each filled by one job.

    Raises BenchFailed, NoScheduler.
    """

    def run(number: int, grown: bool) -> tuple[float, int]:
        with scratch(directory) as name:
            folder = Path(name)
            cells = plan_cells(_more_seeds(suite, number) if grown else suite)
            folders = lay_out(cells, folder)
            if cluster:
                _run_remote(cells, folder, on_nodes(cluster, number), references)
            else:
                run_local(folders, folder, workers=number, reference_folders=references)
            return _measured(folders)

    return _rows("nodes" if cluster else "workers", f"suite {suite.name}", numbers, rounds, run, watch)


def summary(rows: Sequence[Row], against: str) -> list[Row]:
    """Medians over the rounds: evaluations per second and, against the smallest machine, speed-up and efficiency."""
    rates: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        by_number = rates.setdefault(str(row["series"]), {})
        by_number.setdefault(int(row[against]), []).append(float(row["evaluations_per_second"]))
    lines: list[Row] = []
    for series, by_number in rates.items():
        medians = {number: statistics.median(found) for number, found in sorted(by_number.items())}
        smallest = min(medians)
        for number, rate in medians.items():
            gain = rate / medians[smallest]
            lines.append(
                {
                    "series": series,
                    against: number,
                    "evaluations_per_second": rate,
                    "speed_up": gain,
                    "efficiency": gain * smallest / number,
                }
            )
    return lines


def grow_cell(cell: Cell, factor: int) -> Cell:
    """A cell with `factor` times the budget, and as many times more side by side."""
    settings = {
        name: value * factor if name in GROWING and isinstance(value, int) else value
        for name, value in cell.settings.items()
    }
    checked = load_method(cell.method).Settings(**settings).model_dump(mode="json")
    return _changed(cell, settings=checked, budgets=[budget * factor for budget in cell.budgets])


def on_nodes(cluster: Cluster, number: int) -> Cluster:
    """A profile by which the cells of a suite become at most `number` jobs a need, each with a node to itself."""
    extra = cluster.extra | schedulers()[cluster.scheduler].whole_node
    return cluster.model_copy(
        update={"max_jobs": number, "jobs_at_once": number, "pack_minutes": 1e-6, "extra": extra}
    )


def _rows(
    against: str,
    what: str,
    numbers: Sequence[int],
    rounds: int,
    run: Callable[[int, bool], tuple[float, int]],
    watch: Watch,
) -> list[Row]:
    rows: list[Row] = []
    for turn in range(rounds):
        for number in sorted(set(numbers)):
            measured = {"strong": run(number, False)}
            # On a machine of size one, strong and weak scaling do the same work.
            measured["weak"] = measured["strong"] if number == 1 else run(number, True)
            for mode, (seconds, evaluations) in measured.items():
                rows.append(
                    {
                        against: number,
                        "series": f"{what}, {mode}",
                        "mode": mode,
                        "evaluations_per_second": evaluations / seconds,
                        "evaluations": evaluations,
                        "seconds": seconds,
                        "round": turn,
                        "host": socket.gethostname(),
                        "cores": os.cpu_count() or 0,
                        "commit": code_commit(),
                    }
                )
                watch(rows[-1])
    return rows


def _run_remote(cells: Sequence[Cell], folder: Path, cluster: Cluster, references: Sequence[Path]) -> None:
    """Have jobs do the cells, and wait until none is left: the folder is removed next."""
    submit_missing(cells, folder, cluster, references)
    follow([folder / "cells" / cell.folder_name for cell in cells], folder, lambda line: None)
    while queued_jobs(read_submissions(folder)):
        time.sleep(_PAUSE_SECONDS)


def _measured(folders: Iterable[Path]) -> tuple[float, int]:
    """Seconds from the first evaluation to the last record, and evaluations, preparation included."""
    starts, ends, evaluations = [], [], 0
    for folder in folders:
        if not (folder / "record.json").exists():
            failure = read_failure(folder)
            reason = failure["reason"] if failure else "it did not finish"
            raise BenchFailed(f"{folder.name}: {reason}")
        ledger = read_record(folder).ledger
        evaluations += ledger.sampling.evaluations + ledger.preparation.evaluations
        ends.append((folder / "record.json").stat().st_mtime)
        starts.append(ends[-1] - sum(read_provenance(folder).seconds[phase] for phase in _PHASES))
    return max(ends) - min(starts), evaluations


def _first_cell(suite: Suite) -> Cell:
    cells = plan_cells(suite)
    same = [cell for cell in cells if (cell.row, cell.peptide) == (cells[0].row, cells[0].peptide)]
    largest = max(same, key=lambda cell: (cell.budgets[-1], -cell.seed))
    return _changed(largest, budgets=largest.budgets[-1:])


def _more_seeds(suite: Suite, factor: int) -> Suite:
    step = max(suite.seeds) + 1
    seeds = tuple(seed + step * number for number in range(factor) for seed in suite.seeds)
    return suite.model_copy(update={"seeds": seeds})


def _changed(cell: Cell, **changes: object) -> Cell:
    return Cell.model_validate(cell.model_dump(mode="json") | changes)


def scratch(directory: Path) -> "tempfile.TemporaryDirectory[str]":
    """A run folder for one measurement, on the same file system as the rest."""
    directory.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="scaling-", dir=directory)


_PHASES = ("sampling", "preparation", "training")
_PAUSE_SECONDS = 1.0
