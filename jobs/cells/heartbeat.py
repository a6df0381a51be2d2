"""Signs of life: while a worker is on a cell, a small file says every few seconds who it is and how far it got."""

import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from prosebench.energy.meter import Account
from prosebench.store.storage import DamagedFile, read_json, write_json

BEAT_SECONDS = 10.0
EAGER_SECONDS = 1.0
"""The shortest time in seconds between two signs of life when chunks are short."""
SILENT_SECONDS = 90.0
"""A worker that gave no sign of life for this many seconds counts as gone. That is several beats, since
clocks differ and file systems can be slow."""
JOB = "PROSEBENCH_JOB"
"""The environment variable that tells a worker the id of the scheduler's job it belongs to."""
_FILE = "heartbeat.json"


class Heartbeat:
    """Beats from a thread of its own for as long as it is entered; long chunks do not silence it.

    The file names process, host and scheduler job, the chunks stored and the evaluations of sampling spent, now and
    when this sitting began. stopped says that the worker left the cell in good order.
    """

    def __init__(self, folder: Path, session: str, account: Account, budget: int, chunks: int) -> None:
        self._stopped = False
        self._chunks = chunks
        self._last = 0.0
        self._writing = threading.Lock()
        self._path = folder / _FILE
        self._account = account
        self._fixed = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "job": scheduler_job(),
            "session": session,
            "started": time.time(),
            "first_chunk": chunks,
            "first_sampling": account.ledger.sampling.evaluations,
            "budget": budget,
        }
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def stored(self, chunks: int) -> None:
        """Note that this many chunks are stored now."""
        self._chunks = chunks
        if time.monotonic() - self._last >= EAGER_SECONDS:
            self._beat()

    def __enter__(self) -> "Heartbeat":
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._enough.set()
        self._thread.join()
        self._stopped = True
        try:
            self._beat()
        except OSError:
            if error is None:
                raise

    def _run(self) -> None:
        while not self._enough.wait(BEAT_SECONDS):
            try:
                self._beat()
            except OSError as problem:
                print(f"warning: no sign of life could be written: {problem}", flush=True)

    def _beat(self) -> None:
        ledger = self._account.ledger
        changing = {
            "time": time.time(),
            "chunks": self._chunks,
            "sampling": ledger.sampling.evaluations,
            "preparation": ledger.preparation.evaluations,
            "stopped": self._stopped,
        }
        with self._writing:
            write_json(self._path, self._fixed | changing)
            self._last = time.monotonic()


def read_beat(folder: Path) -> dict[str, Any] | None:
    """The last sign of life in a cell's folder, or None."""
    try:
        return read_json(folder / _FILE)
    except (FileNotFoundError, DamagedFile):
        return None


def remove_beat(folder: Path) -> None:
    """Remove the sign of life of a cell that is finished."""
    (folder / _FILE).unlink(missing_ok=True)


def worked_elsewhere(beat: dict[str, Any] | None) -> bool:
    """Whether a worker on another machine gave a fresh sign of life.

    Locks cannot be trusted between machines everywhere. A job that the scheduler started again is not "another".
    """
    if beat is None or beat["stopped"] or beat["host"] == socket.gethostname():
        return False
    if beat["job"] and beat["job"] == scheduler_job():
        return False
    return abs(time.time() - beat["time"]) < SILENT_SECONDS


def scheduler_job() -> str:
    """Id of the scheduler's job that this process belongs to, as in 123_4 for job 4 of array 123; empty outside."""
    return os.environ.get(JOB, "")
