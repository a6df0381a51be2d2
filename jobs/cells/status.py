"""Where each cell stands, read from the disk alone: works on any machine, while jobs run, without a scheduler."""

import os
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jobs.cells.failures import MAX_ATTEMPTS, read_failure
from jobs.cells.heartbeat import SILENT_SECONDS, read_beat
from prosebench.record import Cell, open_weights, read_cell, read_record, readable_cells

State = Literal["done", "skipped", "running", "waiting", "failed", "parked", "lost"]
STATES: dict[State, str] = {
    "done": "finished, its record is there",
    "skipped": "the method cannot do this cell; the reason is in the record",
    "running": "a worker is on it",
    "waiting": "nobody has started it, it was stopped cleanly, or an input is missing; `prosebench run` takes it up",
    "failed": "it raised an error; `prosebench run` tries again",
    "parked": f"it failed {MAX_ATTEMPTS} times; look at failure.json, then `prosebench run --retry-parked`",
    "lost": "its worker went silent; `prosebench run` continues it",
}


@dataclass(frozen=True)
class CellState:
    """State of one cell: evaluations of sampling spent, seconds since the last sign of life, a reason.

    sitting is how many evaluations of sampling a running cell's worker has done, in how many seconds; job is the
    scheduler's job that is or was on the cell.
    """

    folder: Path
    cell: Cell
    state: State
    spent: int
    reason: str = ""
    age_seconds: float | None = None
    sitting: tuple[int, float] = (0, 0.0)
    job: str = ""

    @property
    def rate(self) -> float | None:
        """Evaluations of sampling per second in this sitting, where it is known."""
        evaluations, seconds = self.sitting
        return evaluations / seconds if seconds > 0 and evaluations > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the budget is spent, at the rate so far."""
        return (self.cell.budgets[-1] - self.spent) / self.rate if self.rate else None


def read_states(directory: Path) -> list[CellState]:
    """States of all cells of a run folder. Folders that are not cells are passed over (`run` sets them aside)."""
    return [state for _, state in readable_cells(directory, read_state)]


def read_state(folder: Path) -> CellState:
    """State of one cell."""
    cell = read_cell(folder)
    if (folder / "record.json").exists():
        record = read_record(folder)
        return CellState(folder, cell, record.status, record.ledger.sampling.evaluations, record.reason)
    beat, failure = read_beat(folder), read_failure(folder)
    if beat is None:
        missing = open_weights(cell.settings)
        reason = f"weights {', '.join(missing)} were not there when it was planned" if missing else ""
        return _without_worker(CellState(folder, cell, "waiting", 0, reason), failure)
    ahead = beat["time"] - time.time()
    age = max(0.0, -ahead)
    state = CellState(folder, cell, "waiting", beat["sampling"], age_seconds=age, job=beat["job"])
    if beat["stopped"] or (failure and failure["time_unix"] > beat["time"]):
        return _without_worker(state, failure)
    if _alive(beat) and abs(ahead) < SILENT_SECONDS:
        return replace(state, state="running", sitting=_sitting(beat))
    if ahead >= SILENT_SECONDS:
        reason = (
            f"the clock of {beat['host']} is {ahead:,.0f} s ahead of this one: whether it works is not known"
        )
        return replace(state, state="lost", reason=reason)
    where = f"job {beat['job']} on {beat['host']}" if beat["job"] else f"its worker on {beat['host']}"
    return replace(state, state="lost", reason=f"{where} is gone")


def _without_worker(state: CellState, failure: dict[str, Any] | None) -> CellState:
    if failure is None:
        return state
    name: State = "parked" if failure["attempts"] >= MAX_ATTEMPTS else "failed"
    reason = f"{failure['reason']} (attempt {failure['attempts']})"
    return replace(state, state=name, reason=reason, job=failure["job"])


def _sitting(beat: dict[str, Any]) -> tuple[int, float]:
    return beat["sampling"] - beat["first_sampling"], beat["time"] - beat["started"]


def _alive(beat: dict[str, Any]) -> bool:
    if beat["host"] != socket.gethostname():
        return True
    try:
        os.kill(beat["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def find_log(directory: Path, job: str) -> Path | None:
    """The output of a job of a run folder by its id, 123_4."""
    return next(iter((directory / "jobs").glob(f"*/logs/{job}.log")), None)


def find_cell(name: str, directory: Path) -> Path:
    """The folder of a cell by its path, or by the beginning of its name or id among the run folders under directory.

    Raises FileNotFoundError where none or several fit.
    """
    if (Path(name) / "cell.json").exists():
        return Path(name)
    fitting = [
        path.parent
        for path in sorted(directory.glob("**/cells/*/cell.json"))
        if path.parent.name.startswith(name) or path.parent.name.rsplit("-", 1)[-1].startswith(name)
    ]
    if len(fitting) != 1:
        found = (
            f"{len(fitting)} cells fit: {', '.join(path.name for path in fitting[:5])}"
            if fitting
            else "no cell fits"
        )
        raise FileNotFoundError(
            f"{name!r} under {directory}: {found}; give a folder, or more of the name or id"
        )
    return fitting[0]
