"""Run cells on this machine: worker processes, started afresh (`spawn`), watched until every cell has ended."""

import multiprocessing
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from jobs.worker import Desk, may_run, note_failure, run_cell
from prosebench.storage import read_json

LOCKED_PAUSE_SECONDS = 1.0
WATCH_SECONDS = 0.25


def run_local(
    folders: Sequence[Path],
    directory: Path,
    *,
    workers: int,
    threads: int = 1,
    reference_folders: Sequence[Path] = (),
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Run cells over `workers` processes of `threads` threads each; returns when no cell is left that may run.

    watch is called a few times a second. Cells that another process works on are waited for. A worker that dies
    (killed, out of memory) is replaced, and its cell is marked as failed. On KeyboardInterrupt all workers are ended
    and the interrupt goes on: what was stored stays.
    """
    desk = Desk(directory, uuid.uuid4().hex, threads, tuple(reference_folders))
    context = multiprocessing.get_context("spawn")
    number = max(1, min(workers, len(folders)))
    # Threads that libraries start on their own would fight with the workers for the cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))

    def start(index: int) -> BaseProcess:
        turned = [*folders[index:], *folders[:index]]
        process = context.Process(target=work, args=(turned, desk), daemon=True)
        process.start()
        return process

    processes = [start(index) for index in range(number)]
    try:
        while any(process.exitcode is None for process in processes):
            watch()
            time.sleep(WATCH_SECONDS)
            for index, process in enumerate(processes):
                if process.exitcode not in (None, 0):
                    _bury(process, folders, desk)
                    processes[index] = start(index)
        watch()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def work(folders: Sequence[Path], desk: Desk) -> None:
    """Go through the cells, again and again, until none is left that this session may run."""
    # The terminal sends Ctrl-C to the whole group; the parent decides what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        outcomes = [run_cell(folder, desk) for folder in folders if may_run(folder, desk.session)]
        if "locked" not in outcomes:
            return
        if "done" not in outcomes:
            time.sleep(LOCKED_PAUSE_SECONDS)


def _bury(process: BaseProcess, folders: Sequence[Path], desk: Desk) -> None:
    """Mark the cell that a dead worker was on."""
    for folder in folders:
        beat = folder / "heartbeat.json"
        if not beat.exists() or (folder / "record.json").exists():
            continue
        content = read_json(beat)
        if content["pid"] == process.pid and content["host"] == socket.gethostname():
            code = process.exitcode or 0
            how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            note_failure(folder, desk.session, f"its worker process ended {how}")


def threads_per_worker(workers: int) -> int:
    """Cores of this machine shared out evenly over the workers, at least one each."""
    return max(1, len(os.sched_getaffinity(0)) // workers)
