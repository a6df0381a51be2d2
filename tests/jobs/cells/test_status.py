"""Where a cell stands is told by its files alone: signs of life, failures, records, and clocks that differ."""

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.cells.failures import MAX_ATTEMPTS, note_failure
from jobs.cells.heartbeat import SILENT_SECONDS
from jobs.cells.status import CellState, find_cell, find_log, read_state, read_states
from prosebench.record import write_record
from tests.jobs.cells.laid_out import lay_out_cell, write_beat
from tests.prosebench.test_record import PROVENANCE, RECORD


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay_out_cell(tmp_path)[0]


@pytest.fixture(scope="module")
def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_cell_that_nobody_has_touched_waits(folder: Path) -> None:
    state = read_state(folder)
    assert (state.state, state.spent, state.reason, state.rate, state.seconds_left) == (
        "waiting",
        0,
        "",
        None,
        None,
    )


def test_weights_that_were_missing_when_it_was_planned_are_why_it_waits(tmp_path: Path) -> None:
    settings = {"proposal_settings": {"weights": "prose-up-to-8aa", "weights_sha256": ""}}
    folder, _ = lay_out_cell(tmp_path, settings=settings)
    assert read_state(folder).reason == "weights prose-up-to-8aa were not there when it was planned"


def test_a_running_cell_has_a_pace_of_this_sitting_alone(folder: Path) -> None:
    """50 of 100 evaluations are spent, 40 of them in the 20 s of this sitting."""
    write_beat(folder)
    state = read_state(folder)
    assert (state.state, state.spent) == ("running", 50)
    assert state.rate == pytest.approx(2.0, rel=1e-3)
    assert state.seconds_left == pytest.approx(25.0, rel=1e-3)
    assert state.age_seconds is not None
    assert 0.0 <= state.age_seconds < 5.0


def test_where_nothing_was_done_yet_no_pace_is_made_up(folder: Path) -> None:
    write_beat(folder, first_sampling=50)
    assert read_state(folder).rate is None
    assert read_state(folder).seconds_left is None


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        ({"stopped": True}, "waiting", ""),
        ({"host": "elsewhere", "pid": 1}, "running", ""),
        (
            {"host": "elsewhere", "age": 2 * SILENT_SECONDS},
            "lost",
            "its worker on elsewhere is gone",
        ),
        (
            {"host": "elsewhere", "job": "7_1", "age": 2 * SILENT_SECONDS},
            "lost",
            "job 7_1 on elsewhere is gone",
        ),
        ({"age": 2 * SILENT_SECONDS}, "lost", f"its worker on {socket.gethostname()} is gone"),
        # A clock may be a little ahead; one that is far ahead says nothing.
        ({"host": "elsewhere", "age": -0.5 * SILENT_SECONDS}, "running", ""),
        ({"host": "elsewhere", "age": -1e5}, "lost", "whether it works is not known"),
    ],
)
def test_signs_of_life_are_judged_by_host_and_age(
    changes: dict[str, Any], state: str, reason: str, folder: Path
) -> None:
    write_beat(folder, **changes)
    found = read_state(folder)
    assert found.state == state
    assert reason in found.reason
    assert bool(found.reason) == bool(reason)


def test_a_process_of_this_machine_that_has_ended_is_lost_at_once(folder: Path, gone: int) -> None:
    write_beat(folder, pid=gone)
    assert read_state(folder).state == "lost"
    # Of another machine's process nothing is known by its number.
    write_beat(folder, pid=gone, host="elsewhere")
    assert read_state(folder).state == "running"


def test_failures_count_until_the_cell_is_parked(folder: Path) -> None:
    for attempt in range(1, MAX_ATTEMPTS + 1):
        note_failure(folder, f"session {attempt}", "ValueError: no", job="9_2")
        state = read_state(folder)
        assert state.state == ("parked" if attempt == MAX_ATTEMPTS else "failed")
        assert state.reason == f"ValueError: no (attempt {attempt})"


def test_whichever_came_last_counts(folder: Path) -> None:
    write_beat(folder, time=time.time() - 1.0)
    note_failure(folder, "s", "it blew up", job="9_2")
    failed = read_state(folder)
    assert (failed.state, failed.spent, failed.job) == ("failed", 50, "9_2")
    # Somebody has taken it up again.
    write_beat(folder, time=time.time() + 1.0)
    assert read_state(folder).state == "running"


def test_a_record_ends_all_talk(tmp_path: Path) -> None:
    folder, _ = lay_out_cell(tmp_path)
    write_beat(folder)
    write_record(folder, RECORD, PROVENANCE)
    done = read_state(folder)
    assert (done.state, done.spent) == ("done", 100)
    write_record(folder, RECORD.model_copy(update={"status": "skipped", "reason": "too long"}), PROVENANCE)
    skipped = read_state(folder)
    assert (skipped.state, skipped.reason) == ("skipped", "too long")


def test_folders_that_are_no_cells_are_passed_over(tmp_path: Path) -> None:
    lay_out_cell(tmp_path)
    lay_out_cell(tmp_path, seed=1)
    (tmp_path / "cells" / "notes").mkdir()
    strange, _ = lay_out_cell(tmp_path, seed=2)
    strange.rename(strange.with_name("AA-renamed"))
    assert [state.cell.seed for state in read_states(tmp_path)] == [0, 1]


def test_cells_are_found_by_path_name_and_id(tmp_path: Path) -> None:
    one, cell = lay_out_cell(tmp_path / "run")
    other, _ = lay_out_cell(tmp_path / "deeper" / "run", row="smc", method="smc")
    assert find_cell(str(one), tmp_path) == one
    assert find_cell(cell.folder_name, tmp_path) == one
    assert find_cell(cell.id[:8], tmp_path) == one
    assert find_cell("AA-smc", tmp_path) == other
    with pytest.raises(
        FileNotFoundError, match=r"'AA-' under .*: 2 cells fit: .*, .*; give a folder, or more"
    ):
        find_cell("AA-", tmp_path)
    with pytest.raises(FileNotFoundError, match="no cell fits"):
        find_cell("KG", tmp_path)


def test_logs_are_found_by_the_job(tmp_path: Path) -> None:
    log = tmp_path / "jobs" / "prosebench-1f" / "logs" / "12_3.log"
    log.parent.mkdir(parents=True)
    log.touch()
    assert find_log(tmp_path, "12_3") == log
    assert find_log(tmp_path, "12_30") is None


def test_a_pace_needs_time(folder: Path) -> None:
    state = CellState(folder, RECORD.cell, "running", 50, sitting=(40, 0.0))
    assert state.rate is None
