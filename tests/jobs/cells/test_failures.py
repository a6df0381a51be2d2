"""Failures are counted at one place, forgotten after progress, and three of them park a cell."""

from pathlib import Path

import pytest

from jobs.cells.failures import (
    MAX_ATTEMPTS,
    count_chunks,
    forget_failure,
    may_run,
    note_death,
    note_failure,
    parked,
    read_failure,
)
from tests.jobs.cells.laid_out import lay_out_cell, write_beat, write_chunks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay_out_cell(tmp_path)[0]


def attempts(folder: Path) -> int:
    failure = read_failure(folder)
    return 0 if failure is None else int(failure["attempts"])


def test_failures_at_one_place_add_up_and_progress_begins_anew(folder: Path) -> None:
    for expected in (1, 2):
        note_failure(folder, "s", "no")
        assert attempts(folder) == expected
    write_chunks(folder, 1)
    note_failure(folder, "s", "no")
    assert attempts(folder) == 1
    # A chunk that was removed, since it was damaged, is another place, too.
    (folder / "chunks" / "0.npz").unlink()
    note_failure(folder, "s", "no")
    assert attempts(folder) == 1


def test_a_failure_says_where_when_and_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROSEBENCH_JOB", "12_3")
    note_failure(folder, "s1", "ValueError: no", "the traceback")
    failure = read_failure(folder)
    assert failure is not None
    assert {name: failure[name] for name in ("reason", "traceback", "session", "job", "chunks")} == {
        "reason": "ValueError: no", "traceback": "the traceback", "session": "s1", "job": "12_3", "chunks": 0,
    }  # fmt: skip
    note_failure(folder, "s1", "killed", job="99_0")
    failure = read_failure(folder)
    assert failure is not None
    assert failure["job"] == "99_0"


def test_a_session_tries_once_and_others_until_it_is_parked(folder: Path) -> None:
    assert may_run(folder, "one")
    for number in range(1, MAX_ATTEMPTS + 1):
        note_failure(folder, f"session {number}", "no")
        assert not may_run(folder, f"session {number}")
        assert may_run(folder, "another") == (number < MAX_ATTEMPTS)
        assert parked(folder) == (number == MAX_ATTEMPTS)
    forget_failure(folder)
    forget_failure(folder)
    assert may_run(folder, "another")
    assert not parked(folder)


def test_a_finished_cell_is_never_taken(folder: Path) -> None:
    (folder / "record.json").touch()
    assert not may_run(folder, "s")


def test_a_note_that_is_damaged_counts_for_nothing(folder: Path) -> None:
    (folder / "failure.json").write_text("{")
    assert read_failure(folder) is None
    assert may_run(folder, "s")
    note_failure(folder, "s", "no")
    assert attempts(folder) == 1


@pytest.mark.parametrize(
    ("beat", "chunks", "counted"),
    [
        ({"job": "7_1"}, 0, True),
        # Whoever left in good order, or is no job of a scheduler, did not die of the cell.
        ({"job": "7_1", "stopped": True}, 0, False),
        ({"job": ""}, 0, False),
        # It got further before it was killed.
        ({"job": "7_1"}, 1, False),
        ({"job": "7_1", "first_chunk": 2}, 2, True),
        (None, 0, False),
    ],
)
def test_a_job_that_died_without_a_word_is_counted(
    beat: dict[str, object] | None, chunks: int, counted: bool, folder: Path
) -> None:
    write_chunks(folder, chunks)
    if beat is not None:
        write_beat(folder, host="node7", session="theirs", **beat)
    note_death(folder)
    failure = read_failure(folder)
    assert (failure is not None) == counted
    if failure:
        assert failure["reason"].startswith(f"job 7_1 on node7 died at chunk {chunks} without a word")
        assert (failure["session"], failure["job"]) == ("theirs", "7_1")
        # One death is counted once, whoever looks again.
        note_death(folder)
        assert attempts(folder) == 1


def test_only_whole_chunks_count(folder: Path) -> None:
    assert count_chunks(folder) == 0
    write_chunks(folder, 2)
    (folder / "chunks" / "2.npz.tmp").touch()
    assert count_chunks(folder) == 2
