"""Signs of life: written at once, at the end and in between, and read with care for clocks and restarts."""

import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.cells import heartbeat
from jobs.cells.heartbeat import (
    JOB,
    SILENT_SECONDS,
    Heartbeat,
    read_beat,
    remove_beat,
    scheduler_job,
    worked_elsewhere,
)
from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import Account, Meter


@pytest.fixture
def account() -> Account:
    """Three evaluations of sampling have been counted."""
    account = Account()
    Meter(HarmonicTarget(np.zeros((1, 3))), 100, account).energy(np.zeros((3, 1, 3)))
    return account


def test_a_worker_is_seen_from_its_first_moment_to_its_last(tmp_path: Path, account: Account) -> None:
    with Heartbeat(tmp_path, "session", account, 100, 2):
        first = read_beat(tmp_path)
        assert first is not None
        assert (first["chunks"], first["first_chunk"], first["stopped"]) == (2, 2, False)
        assert (first["sampling"], first["first_sampling"], first["budget"]) == (3, 3, 100)
        assert first["host"] == socket.gethostname()
    last = read_beat(tmp_path)
    assert last is not None
    assert last["stopped"]
    assert last["time"] >= first["time"] >= first["started"]
    remove_beat(tmp_path)
    remove_beat(tmp_path)
    assert read_beat(tmp_path) is None


def test_short_chunks_do_not_write_all_the_time(
    tmp_path: Path, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Heartbeat(tmp_path, "session", account, 100, 0) as beat:
        for chunks in range(1, 50):
            beat.stored(chunks)
        found = read_beat(tmp_path)
        assert found is not None
        assert found["chunks"] == 0
        monkeypatch.setattr(heartbeat, "EAGER_SECONDS", 0.0)
        beat.stored(50)
        found = read_beat(tmp_path)
        assert found is not None
        assert found["chunks"] == 50


def test_a_long_chunk_does_not_silence_a_worker(
    tmp_path: Path, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    with Heartbeat(tmp_path, "session", account, 100, 0):
        first = read_beat(tmp_path)
        limit = time.monotonic() + 10.0
        while (found := read_beat(tmp_path)) is None or first is None or found["time"] == first["time"]:
            assert time.monotonic() < limit
            time.sleep(0.02)


@pytest.mark.parametrize(("error", "seen"), [(ZeroDivisionError, ZeroDivisionError), (None, OSError)])
def test_an_error_of_the_work_is_not_hidden_by_one_of_the_disk(
    error: type[Exception] | None,
    seen: type[Exception],
    tmp_path: Path,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError("no room")

    def work() -> None:
        with Heartbeat(tmp_path, "session", account, 100, 0):
            monkeypatch.setattr(heartbeat, "write_json", full)
            if error:
                raise error

    with pytest.raises(seen):
        work()


def beat_of(age: float = 0.0, **changes: object) -> dict[str, object]:
    """A sign of life of another machine, so many seconds old."""
    return {"stopped": False, "host": "elsewhere", "job": "", "time": time.time() - age} | changes


@pytest.mark.parametrize(
    ("changes", "elsewhere"),
    [
        ({}, True),
        (None, False),
        ({"stopped": True}, False),
        ({"host": socket.gethostname()}, False),
        ({"age": SILENT_SECONDS + 1}, False),
        ({"age": -SILENT_SECONDS - 60}, False),
        ({"job": "7_1"}, False),
        ({"job": "7_2"}, True),
    ],
)
def test_another_machine_is_at_work_only_with_a_fresh_sign_of_another_job(
    changes: dict[str, Any] | None, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JOB, "7_1")
    assert worked_elsewhere(None if changes is None else beat_of(**changes)) == elsewhere


def test_outside_of_jobs_nothing_is_called_the_same_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(JOB, raising=False)
    assert scheduler_job() == ""
    assert worked_elsewhere(beat_of(job=""))


def test_a_sign_that_is_cut_is_none(tmp_path: Path) -> None:
    (tmp_path / "heartbeat.json").write_text('{"pid": 1')
    assert read_beat(tmp_path) is None
