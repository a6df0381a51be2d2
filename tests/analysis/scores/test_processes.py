"""Processes that score or draw end with the command that started them, also where it is killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.scores.processes import map_over

SCRIPT = """
import os, sys, time
from pathlib import Path
from analysis.scores.processes import map_over

def work(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    list(map_over(work, sys.argv[1:], workers=2))
"""


def test_results_come_in_order_from_one_process_or_several() -> None:
    assert list(map_over(abs, [-3, 2, -1], workers=1)) == [3, 2, 1]
    assert list(map_over(abs, [-3, 2, -1], workers=2)) == [3, 2, 1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_command_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    script, places = tmp_path / "script.py", [tmp_path / "first", tmp_path / "second"]
    script.write_text(SCRIPT)
    started = subprocess.Popen([sys.executable, str(script), *map(str, places)])
    _until(lambda: all(path.exists() and path.read_text() for path in places))
    pids = [int(path.read_text()) for path in places]
    assert all(map(_is_there, pids))
    started.send_signal(number)
    started.wait()
    _until(lambda: not any(map(_is_there, pids)))


def test_ctrl_c_ends_scoring_at_once(tmp_path: Path) -> None:
    script, places = tmp_path / "script.py", [tmp_path / "first", tmp_path / "second"]
    script.write_text(SCRIPT)
    started = subprocess.Popen(
        [sys.executable, str(script), *map(str, places)],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    _until(lambda: all(path.exists() and path.read_text() for path in places))
    pids = [int(path.read_text()) for path in places]
    os.killpg(started.pid, signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert said.count("KeyboardInterrupt") == 1, "workers say nothing"
    _until(lambda: not any(map(_is_there, pids)))


def test_an_error_ends_the_processes_of_the_work_and_no_other() -> None:
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    other.start()
    try:
        with pytest.raises(TypeError):
            list(map_over(abs, ["sky", 1], workers=2))  # type: ignore[list-item]
        time.sleep(0.5)
        assert other.is_alive()
    finally:
        other.terminate()
        other.join()


def _until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.05)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
