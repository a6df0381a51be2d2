import errno
import fcntl
import multiprocessing
from pathlib import Path

import pytest

from prosebench.store.locks import file_lock


def hold(path: Path, held: "multiprocessing.synchronize.Event") -> None:
    with file_lock(path):
        held.set()
        multiprocessing.Event().wait()


def test_one_process_holds_it_and_its_death_lets_it_go(tmp_path: Path) -> None:
    context, path = multiprocessing.get_context("spawn"), tmp_path / "lock"
    held = context.Event()
    process = context.Process(target=hold, args=(path, held), daemon=True)
    process.start()
    assert held.wait(60)
    with file_lock(path) as mine:
        assert not mine
    process.kill()
    process.join()
    with file_lock(path) as mine:
        assert mine


def test_the_lock_of_a_file_that_was_removed_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, flock = tmp_path / "lock", fcntl.flock

    def as_its_holder_ends(*arguments: int) -> None:
        path.unlink()
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", as_its_holder_ends)
    with file_lock(path) as mine:
        assert not mine


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with file_lock(tmp_path / "lock") as mine:
        assert mine
