"""Failures of a cell: counted, kept with their traceback, and after three at the same place the cell is parked."""

import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.cells.heartbeat import read_beat, scheduler_job
from prosebench.store.storage import DamagedFile, read_json, write_json

MAX_ATTEMPTS = 3
_FILE = "failure.json"


def note_failure(folder: Path, session: str, reason: str, trace: str = "", job: str | None = None) -> None:
    """Write down that a cell failed, and how often it has since it last stored a chunk."""
    before, chunks = read_failure(folder), count_chunks(folder)
    again = before is not None and before.get("chunks", chunks) == chunks
    write_json(
        folder / _FILE,
        {
            "attempts": before["attempts"] + 1 if before and again else 1,
            "chunks": chunks,
            "reason": reason,
            "traceback": trace,
            "session": session,
            "host": socket.gethostname(),
            "job": scheduler_job() if job is None else job,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "time_unix": time.time(),
        },
    )


def read_failure(folder: Path) -> dict[str, Any] | None:
    """The last failure of a cell, or None."""
    try:
        return read_json(folder / _FILE)
    except (FileNotFoundError, DamagedFile):
        return None


def forget_failure(folder: Path) -> None:
    """The cell is finished, or somebody wants it tried afresh."""
    (folder / _FILE).unlink(missing_ok=True)


def parked(folder: Path) -> bool:
    """Whether the cell failed so often that only `--retry-parked` takes it up again."""
    failure = read_failure(folder)
    return failure is not None and failure["attempts"] >= MAX_ATTEMPTS


def may_run(folder: Path, session: str) -> bool:
    """Whether a worker of this session should take the cell: not finished, not failed in this session, not parked."""
    if (folder / "record.json").exists():
        return False
    failure = read_failure(folder)
    return failure is None or (failure["session"] != session and failure["attempts"] < MAX_ATTEMPTS)


def note_death(folder: Path) -> None:
    """Count the end of a scheduler's job that died on this cell without a word or a stored chunk.

    To be called by the holder of the cell's lock. A job that got further before it was killed is none of the cell's
    failures.
    """
    beat, failure = read_beat(folder), read_failure(folder)
    if beat is None or beat["stopped"] or not beat["job"] or count_chunks(folder) > beat["first_chunk"]:
        return
    if failure and failure["time_unix"] >= beat["time"]:
        return
    reason = (
        f"job {beat['job']} on {beat['host']} died at chunk {beat['first_chunk']} without a word "
        "(killed, out of memory, or its node went down)"
    )
    note_failure(folder, beat["session"], reason, job=beat["job"])


def count_chunks(folder: Path) -> int:
    """Chunks that are stored, without opening them."""
    return len(list((folder / "chunks").glob("*.npz")))
