"""A cell over ranks: what is asked of a launcher, and what its end is taken for."""

import io
import signal
import sys
from collections import deque
from pathlib import Path

import pytest
from pydantic import ValidationError

from jobs.cells import spread
from jobs.cells.failures import read_failure
from jobs.cells.heartbeat import read_beat
from jobs.cells.mpi import RanksUnavailable
from jobs.cells.spread import RankTask, check_ranks
from jobs.cells.worker import Desk
from tests.jobs.cells.laid_out import lay_out_cell, write_beat


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (1, "status 1, probably signal SIGHUP"),
        (-9, "status -9, probably signal SIGKILL"),
        (137, "status 137, probably signal SIGKILL"),
        (143, "status 143, probably signal SIGTERM"),
        (100, "status 100"),
        (255, "status 255"),
    ],
)
def test_a_launcher_s_status_is_read_as_a_signal_where_it_can_be(status: int, said: str) -> None:
    assert spread._how(status) == said


def test_one_rank_needs_no_launcher_and_none_is_refused() -> None:
    check_ranks(1, ("no-such-launcher",))
    with pytest.raises(RanksUnavailable, match="at least one rank, not 0"):
        check_ranks(0, ("mpirun",))
    with pytest.raises(
        RanksUnavailable, match=r"2 ranks were asked for, but there is no 'no-such-launcher' here"
    ):
        check_ranks(2, ("no-such-launcher",))


def test_a_launcher_that_fails_is_quoted(tmp_path: Path) -> None:
    launcher = tmp_path / "launcher"
    launcher.write_text("#!/bin/bash\necho 'cannot start' >&2\nexit 3\n")
    launcher.chmod(0o755)
    with pytest.raises(RanksUnavailable, match=rf"{launcher} --all failed: cannot start"):
        check_ranks(2, (str(launcher), "--all"))


def test_ranks_are_started_by_the_launcher_with_this_python() -> None:
    command = spread._command(3, ("env", "--bind-to", "none"), "cell", "{}")
    assert command[0].endswith("/env")
    assert command[1:5] == ["--bind-to", "none", "-n", "3"]
    assert command[5:] == [sys.executable, "-u", "-m", "jobs.cells.spread", "cell", "{}"]
    # A folder called jobs/ where the user stands must not hide ours.
    assert spread._environment()["PYTHONSAFEPATH"] == "1"


def test_a_task_survives_its_way_and_a_foreign_one_is_none(tmp_path: Path) -> None:
    task = RankTask(
        folder=tmp_path,
        directory=tmp_path,
        session="s",
        threads=2,
        references=(tmp_path,),
        in_job=True,
        ranks=4,
    )
    assert RankTask.model_validate_json(task.model_dump_json()) == task
    with pytest.raises(ValidationError, match="extra"):
        RankTask.model_validate(task.model_dump() | {"workers": 3})


def test_what_ranks_say_is_passed_on_and_the_outcome_kept(capsys: pytest.CaptureFixture[str]) -> None:
    said: deque[str] = deque(maxlen=2)
    told: list[int] = []
    spread._pass_on(io.StringIO("one\ncell ended: 21\ntwo\nthree\n"), said, told)
    assert (list(said), told) == (["two\n", "three\n"], [21])
    assert capsys.readouterr().err == "one\ntwo\nthree\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(spread, "_AFTERMATH_SECONDS", 0.0)
    found = lay_out_cell(tmp_path)[0]
    write_beat(found)
    return found


def test_a_rank_that_died_without_a_word_is_a_failure_of_the_cell(folder: Path, tmp_path: Path) -> None:
    desk = Desk(tmp_path, "session", ranks=3)
    assert spread._untold(folder, desk, 137, [], "last words\n") == "failed"
    failure = read_failure(folder)
    assert failure is not None
    assert failure["reason"] == (
        "one of its 3 ranks died (status 137, probably signal SIGKILL), which ended the others; what was stored stays"
    )
    assert failure["traceback"] == "last words\n"
    assert read_beat(folder) is None


def test_silent_ranks_are_named_and_a_refusal_is_quoted(folder: Path, tmp_path: Path) -> None:
    desk = Desk(tmp_path, "session", ranks=3)
    spread._untold(folder, desk, 1, [0, 2], "")
    failure = read_failure(folder)
    assert failure is not None
    assert "no sign of life from rank 0, rank 2), so the others were ended" in failure["reason"]
    spread._untold(folder, desk, 1, [], "x\n3 ranks were asked for, but a world of 1\n")
    failure = read_failure(folder)
    assert failure is not None
    assert failure["reason"] == "3 ranks were asked for, but a world of 1"


def test_a_cell_that_is_finished_or_was_asked_to_stop_has_not_failed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, "session", ranks=2)
    with monkeypatch.context() as patched:
        patched.setattr(spread, "stop_asked", lambda: signal.SIGUSR2)
        assert spread._untold(folder, desk, 137, [], "") == "stopped"
    assert read_beat(folder) is None
    (folder / "record.json").touch()
    assert spread._untold(folder, desk, 137, [], "") == "done"
    assert read_failure(folder) is None
