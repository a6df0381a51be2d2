"""Where each cell stands, read from the disk alone: works on any machine, while jobs run, without a scheduler."""

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jobs.failures import MAX_ATTEMPTS
from prosebench.record import Cell, cell_folders, read_cell, read_record
from prosebench.storage import DamagedFile, read_json

State = Literal["done", "skipped", "running", "waiting", "failed", "parked", "lost"]
STATES: dict[State, str] = {
    "done": "finished, its record is there",
    "skipped": "the method cannot do this cell; the reason is in the record",
    "running": "a worker is on it",
    "waiting": "nobody has started it, or it was stopped cleanly; `prosebench run` takes it up",
    "failed": "it raised an error; `prosebench run` tries again",
    "parked": f"it failed {MAX_ATTEMPTS} times; look at failure.json, then `prosebench run --retry-parked`",
    "lost": "its worker went silent; `prosebench run` continues it",
}
SILENT_SECONDS = 120.0


@dataclass(frozen=True)
class CellState:
    """State of one cell: evaluations of sampling spent, seconds since the last sign of life, a reason."""

    folder: Path
    cell: Cell
    state: State
    spent: int
    reason: str = ""
    age_seconds: float | None = None


def read_states(directory: Path) -> list[CellState]:
    """States of all cells of a run folder. Folders that are not cells are passed over (`run` sets them aside)."""
    states = []
    for folder in cell_folders(directory):
        try:
            states.append(read_state(folder))
        except (DamagedFile, FileNotFoundError):
            continue
    return states


def read_state(folder: Path) -> CellState:
    """State of one cell."""
    cell = read_cell(folder)
    beat = _read_or_none(folder / "heartbeat.json")
    spent = int(beat["sampling"]) if beat else 0
    if (folder / "record.json").exists():
        record = read_record(folder)
        return CellState(folder, cell, record.status, record.ledger.sampling.evaluations, record.reason)
    failure = _read_or_none(folder / "failure.json")
    age = time.time() - beat["time"] if beat else None
    if beat and age is not None and not (failure and failure["time_unix"] > beat["time"]):
        if _alive(beat) and age < SILENT_SECONDS:
            return CellState(folder, cell, "running", spent, age_seconds=age)
        if not failure:
            return CellState(folder, cell, "lost", spent, "its worker is gone", age)
    if failure:
        state: State = "parked" if failure["attempts"] >= MAX_ATTEMPTS else "failed"
        return CellState(
            folder, cell, state, spent, f"{failure['reason']} (attempt {failure['attempts']})", age
        )
    return CellState(folder, cell, "waiting", spent)


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


def _read_or_none(path: Path) -> dict[str, Any] | None:
    try:
        return read_json(path)
    except (FileNotFoundError, DamagedFile):
        return None


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
