"""Which ranks are taken for gone: those that fell silent, and those that never came; by the watcher's own clock."""

import os
from pathlib import Path

import pytest

from jobs.cells import pulse
from jobs.cells.pulse import BEAT_SECONDS, SILENT_SECONDS, START_SECONDS, RankWatch, forget_ranks


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(pulse.time, "monotonic", lambda: now[0])
    return now


def pass_time(watch: RankWatch, clock: list[float], seconds: float) -> list[int]:
    """Look every second for so long; what the last look has seen."""
    found: list[int] = []
    for _ in range(round(seconds)):
        clock[0] += 1.0
        found = watch.silent()
    return found


def beat(folder: Path, rank: int, time_ns: int) -> None:
    path = pulse._path(folder, rank)
    path.touch()
    # The clock of the file system is another one, and may be years off.
    os.utime(path, ns=(time_ns, time_ns))


def test_silent_ranks_are_named(tmp_path: Path, clock: list[float]) -> None:
    watch = RankWatch(tmp_path, 3)
    for rank in (0, 1):
        beat(tmp_path, rank, 1)
    assert pass_time(watch, clock, SILENT_SECONDS - 2) == []
    beat(tmp_path, 0, 2)
    assert pass_time(watch, clock, 5) == [1]
    assert pass_time(watch, clock, START_SECONDS) == [0, 1, 2]
    forget_ranks(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_watch_that_was_suspended_blames_nobody(tmp_path: Path, clock: list[float]) -> None:
    watch = RankWatch(tmp_path, 2)
    for rank in (0, 1):
        beat(tmp_path, rank, 1)
    assert watch.silent() == []
    clock[0] += 10 * SILENT_SECONDS
    assert pass_time(watch, clock, BEAT_SECONDS) == []
    beat(tmp_path, 1, 2)
    assert pass_time(watch, clock, SILENT_SECONDS - 1) == [0]
