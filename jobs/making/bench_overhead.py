"""What the harness costs beside a method: the part of a cell's time in which the method is not at work.

A worker starts (imports, start structure, gate), runs the chunks of its cell and leaves a record. From the first chunk
to the record its time is the method's, whose seconds by phase the worker's own clock gives, or the harness's: writing
chunks, signs of life, the ensemble and the record. The method's seconds hold the meter and the checks of what a method
returns; seconds within the target do not, so the part beside the target bounds from above what the harness can hide.
"""

import multiprocessing
import statistics
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from jobs.cells.failures import read_failure
from jobs.cells.launch import one_thread_a_library
from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.worker import Desk, run_cell
from jobs.making.bench import BenchFailed, Row, scratch
from prosebench.energy.meter import Phase
from prosebench.ranks import Ranks
from prosebench.record import Cell, read_provenance, read_record
from prosebench.store.storage import write_bytes
from prosebench.suite import Suite


@dataclass(frozen=True)
class CellSeconds:
    """Wall seconds of a cell: until its first chunk began, from there to its finished record, and of the latter those
    within the method (all phases) and within the target."""

    start_up: float
    worked: float
    method: float
    target: float

    @property
    def overhead(self) -> float:
        """The part of the work in which the method was not at work: the harness."""
        return (self.worked - self.method) / self.worked

    @property
    def beside_target(self) -> float:
        """The part in which the target computed nothing: the harness, the meter, and what the method does by itself."""
        return (self.worked - self.target) / self.worked


def bench_overhead(suite: Suite, directory: Path, *, rounds: int = 3) -> list[Row]:
    """Run every cell of a suite by a fresh worker process, in run folders that are removed again.

    Each row: row and peptide of the cell, its budget and chunks, start_up_seconds (from the launch of the process to
    the first chunk), seconds (from there to the record), and the parts of these beside the method (overhead) and
    beside the target (see `CellSeconds`): medians over interleaved rounds. write_milliseconds is what the disk takes
    for one small file, flushed, as each chunk is. Raises BenchFailed.
    """
    one_thread_a_library()
    cells = plan_cells(suite)
    found: dict[str, list[tuple[CellSeconds, int]]] = {cell.id: [] for cell in cells}
    for _ in range(rounds):
        for cell in cells:
            with scratch(directory) as name:
                found[cell.id].append(_alone(cell, Path(name)))
    with scratch(directory) as name:
        write_seconds = statistics.median(_write(Path(name) / str(number)) for number in range(9))
    return [_row(cell, found[cell.id]) | {"write_milliseconds": 1000 * write_seconds} for cell in cells]


def _write(path: Path) -> float:
    begun = time.perf_counter()
    write_bytes(path, b"small")
    return time.perf_counter() - begun


def _alone(cell: Cell, directory: Path) -> tuple[CellSeconds, int]:
    """Seconds of a cell in a worker process of its own, and its chunks."""
    (folder,) = lay_out([cell], directory)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds = pool.apply(measure_cell, (folder, directory, time.monotonic()))
    return seconds, read_record(folder).chunks


def measure_cell(folder: Path, directory: Path, launched: float) -> CellSeconds:
    """Do a cell as a worker does, and take its time. launched is when this worker was, by `time.monotonic` (s).

    Raises BenchFailed where the cell did not finish, or was skipped.
    """
    ranks = _Noting()
    outcome = run_cell(folder, Desk(directory, uuid.uuid4().hex), ranks)
    ended = time.monotonic()
    if outcome != "done" or read_record(folder).status != "done":
        failure = read_failure(folder) or {}
        reason = failure.get("reason") or (read_record(folder).reason if outcome == "done" else outcome)
        raise BenchFailed(f"{folder.name}: {reason}")
    return cell_seconds(launched, ranks.first_chunk, ended, read_provenance(folder).seconds)


def cell_seconds(
    launched: float, first_chunk: float, ended: float, by_phase: Mapping[str, float]
) -> CellSeconds:
    """From three moments (`time.monotonic`, s) and the seconds of a record's provenance."""
    return CellSeconds(
        start_up=first_chunk - launched,
        worked=ended - first_chunk,
        method=sum(by_phase[phase] for phase in get_args(Phase)),
        target=by_phase["target"],
    )


class _Noting(Ranks):
    """One rank that notes when a worker first brings its ranks together, which it does right before the first chunk."""

    first_chunk = 0.0

    def gather(self, value: Any) -> list[Any]:
        self.first_chunk = self.first_chunk or time.monotonic()
        return super().gather(value)


def _row(cell: Cell, found: list[tuple[CellSeconds, int]]) -> Row:
    seconds = [one for one, _ in found]
    return {
        "row": cell.row,
        "peptide": cell.peptide,
        "budget": cell.budgets[-1],
        "chunks": found[-1][1],
        "start_up_seconds": statistics.median(one.start_up for one in seconds),
        "seconds": statistics.median(one.worked for one in seconds),
        "overhead": statistics.median(one.overhead for one in seconds),
        "beside_target": statistics.median(one.beside_target for one in seconds),
    }
