"""However a run is ended or left, its workers end within seconds and its cells can be continued."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cells.failures import count_chunks
from jobs.cells.heartbeat import read_beat
from jobs.cells.status import read_states
from prosebench.record import cell_folders
from tests.jobs.conftest import command

PATIENCE_SECONDS = 60.0
"""For a busy machine; on an idle one all of this takes seconds."""


def until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.05)


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(small_suite: Path, tmp_path: Path, number: signal.Signals) -> None:
    small_suite.write_text(small_suite.read_text().replace("[300, 1500]", "[100000000]"))
    directory = tmp_path / "run"
    started = subprocess.Popen(
        command(small_suite, directory, "--workers", "2"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    until(lambda: len(cell_folders(directory)) == 2 and all(map(count_chunks, cell_folders(directory))))
    pids = [beat["pid"] for beat in map(read_beat, cell_folders(directory)) if beat]
    assert len(pids) == 2
    assert all(map(is_there, pids))
    started.send_signal(number)
    _, said = started.communicate(timeout=PATIENCE_SECONDS)
    until(lambda: not any(map(is_there, pids)))
    if number != signal.SIGKILL:
        assert started.returncode == 128 + number
        assert "the same command continues" in said
    assert not [state for state in read_states(directory) if state.state in ("failed", "parked")]


EXITS = """
import os
from prosebench.method import Method

class HardExit(Method):
    def chunk(self, run, index, carry):
        os._exit(0)
"""


def test_a_method_that_ends_its_worker_fails_its_cell(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    info = plugin / "exits-1.0.dist-info"
    info.mkdir(parents=True)
    (plugin / "exits.py").write_text(EXITS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: exits\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[prosebench.methods]\nexits = exits:HardExit\n")
    suite = tmp_path / "s.toml"
    suite.write_text('name = "s"\npeptides = ["AA"]\nbudgets = [10]\n[methods.exits]\n')
    path = os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "prosebench.cli", "run", "--suite", str(suite), "--no-report", "--dir", "run"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        timeout=300,
    )
    assert done.returncode == 1
    assert "its worker process ended with exit code 0" in done.stderr
