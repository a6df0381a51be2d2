"""Signs of life of the ranks of a cell, so that one that died is noticed whatever the launcher does about it.

A launcher ought to end all ranks when one of them dies. Where it does not, the others would wait for the dead one
without end: each rank touches a file of its own every few seconds, and the worker that started them looks at these.
"""

import contextlib
import threading
import time
from pathlib import Path

from jobs.cells.heartbeat import SILENT_SECONDS
from prosebench.store.storage import TEMPORARY_SUFFIX

BEAT_SECONDS = 5.0
START_SECONDS = 600.0
"""How many seconds ranks may take until all have started. Imports from a busy file system can be slow."""


def beat_as_rank(folder: Path, rank: int) -> None:
    """From now on until this process ends, touch the file of a rank in the folder of its cell."""

    def beat() -> None:
        while True:
            with contextlib.suppress(OSError):
                _path(folder, rank).touch()
            time.sleep(BEAT_SECONDS)

    threading.Thread(target=beat, daemon=True).start()


def forget_ranks(folder: Path) -> None:
    """Remove the signs of life of ranks that have ended."""
    for path in folder.glob(f".rank-*{TEMPORARY_SUFFIX}"):
        path.unlink(missing_ok=True)


class RankWatch:
    """Which of the ranks of a cell have gone silent, by this process's own clock: clocks of nodes differ."""

    def __init__(self, folder: Path, ranks: int) -> None:
        self._folder = folder
        self._looked = time.monotonic()
        self._heard = dict.fromkeys(range(ranks), self._looked)
        self._beats = dict.fromkeys(range(ranks), 0)

    def silent(self) -> list[int]:
        """Ranks that gave no sign of life for SILENT_SECONDS or, at the beginning, for START_SECONDS."""
        now = time.monotonic()
        if now - self._looked > BEAT_SECONDS:
            # This process stood still, as in a suspended job, and so may all the others have.
            self._heard = dict.fromkeys(self._heard, now)
        self._looked = now
        for rank, before in self._beats.items():
            beat = _last_beat(self._folder, rank)
            if beat != before:
                self._beats[rank], self._heard[rank] = beat, now
        return [rank for rank, heard in self._heard.items() if now - heard > self._patience(rank)]

    def _patience(self, rank: int) -> float:
        return SILENT_SECONDS if self._beats[rank] else START_SECONDS


def _path(folder: Path, rank: int) -> Path:
    return folder / f".rank-{rank}{TEMPORARY_SUFFIX}"


def _last_beat(folder: Path, rank: int) -> int:
    """The time at which the file of a rank was last touched, in nanoseconds of the file system's clock; 0 for
    no file."""
    try:
        return _path(folder, rank).stat().st_mtime_ns
    except FileNotFoundError:
        return 0
