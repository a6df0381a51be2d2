"""A scheduler's signal that reaches only the job's own process stops its workers too, after their chunk."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from jobs.cells.failures import count_chunks
from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.status import read_states
from prosebench.record import cell_folders
from prosebench.suite import load_suite

JOB = """
import sys
from pathlib import Path
from jobs.cells.launch import run_pool
from jobs.cells.signals import listen
from jobs.cells.worker import Desk
if __name__ == "__main__":
    listen()
    directory = Path(sys.argv[1])
    run_pool(sorted((directory / "cells").iterdir()), Desk(directory, "session", in_job=True), 2)
"""


def test_workers_hear_of_the_signal(small_suite: Path, tmp_path: Path) -> None:
    small_suite.write_text(small_suite.read_text().replace("[300, 1500]", "[1000000]"))
    lay_out(plan_cells(load_suite(str(small_suite))), tmp_path)
    script = tmp_path / "job.py"
    script.write_text(JOB)
    job = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    limit = time.monotonic() + 60
    while not all(count_chunks(folder) for folder in cell_folders(tmp_path)):
        assert time.monotonic() < limit
        time.sleep(0.1)
    job.send_signal(signal.SIGUSR2)
    assert job.wait(60) == 0
    assert {state.state for state in read_states(tmp_path)} == {"waiting"}
