"""Run cells on this machine: worker processes, started afresh (`spawn`), watched until every cell has ended."""

import errno
import multiprocessing
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from jobs.cells.failures import may_run, note_failure
from jobs.cells.heartbeat import SILENT_SECONDS, read_beat
from jobs.cells.power import measured
from jobs.cells.signals import STOP_SIGNALS, end_with_parent, listen, stop_asked
from jobs.cells.spread import spread_cell
from jobs.cells.worker import Desk, DiskFull, run_cell
from prosebench.flows.gpus import bind_gpu

LOCKED_PAUSE_SECONDS = 1.0
WATCH_SECONDS = 0.25
JOB_PATIENCE_SECONDS = SILENT_SECONDS + 5
"""How many seconds a job without work waits for cells that other processes hold. A process that died on a
cell counts as silent by then, so the cell is free; waiting longer would waste the job's node."""
MOST_UNEXPLAINED_DEATHS = 3
"""How many workers may die while they are on no cell. A few may be killed between two cells; if more die, it
is taken that none can start, and the run ends."""
LIBRARY_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_DISK_FULL_STATUS = 28


def run_local(
    folders: Sequence[Path],
    directory: Path,
    *,
    workers: int,
    threads: int = 1,
    ranks: int = 1,
    reference_folders: Sequence[Path] = (),
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Run cells over `workers` processes of `threads` threads each; returns when no cell is left that may run.

    With several ranks, each worker has a cell done by so many processes of `threads` threads, through mpirun.

    Each worker has a GPU of its own, as far as they go. watch is called a few times a second. Cells that another
    process works on are waited for. A worker that dies (killed, out of memory) is replaced, and its cell is marked as
    failed. On KeyboardInterrupt all workers are ended and the interrupt goes on: what was stored stays. Raises
    DiskFull, or ChildProcessError where workers cannot start.
    """
    desk = Desk(directory, uuid.uuid4().hex, threads, tuple(reference_folders), ranks=ranks)
    with measured(directory):
        run_pool(folders, desk, workers, watch)


def run_pool(
    folders: Sequence[Path], desk: Desk, workers: int, watch: Callable[[], None] = lambda: None
) -> None:
    """What `run_local` does, for a worker's desk. In a job, workers that were asked to stop are not replaced."""
    context = multiprocessing.get_context("spawn")
    number = max(1, min(workers, len(folders)))
    one_thread_a_library()

    def start(index: int) -> BaseProcess:
        turned = [*folders[index:], *folders[:index]]
        process = context.Process(
            target=work, args=(turned, desk, index if number > 1 else None), daemon=True
        )
        # A signal that comes before the new process can note it waits until then.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS if desk.in_job else ())
        process.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return process

    processes = [start(index) for index in range(number)]
    unexplained = 0
    try:
        # One look at all decides: a worker that dies after it is seen at the next, and none is left unburied.
        ended: list[int | None] = [None] * number
        while None in ended:
            watch()
            time.sleep(WATCH_SECONDS)
            if desk.in_job and stop_asked():
                _pass_on(processes)
            ended = [process.exitcode for process in processes]
            for index, process in enumerate(processes):
                if ended[index] == _DISK_FULL_STATUS:
                    raise DiskFull(errno.ENOSPC, f"no room left on the disk of {desk.directory}")
                # A method that calls os._exit(0) leaves its cell like one that is killed.
                left = ended[index] == 0 and _cell_of(process, folders) is not None
                if (left or ended[index] not in (None, 0)) and not stop_asked():
                    unexplained += not _bury(process, folders, desk)
                    if unexplained > MOST_UNEXPLAINED_DEATHS:
                        raise ChildProcessError(
                            f"{unexplained} worker processes ended before they were on a cell; see what they printed"
                        )
                    processes[index], ended[index] = start(index), None
        watch()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def work(folders: Sequence[Path], desk: Desk, index: int | None = None) -> None:
    """Be a worker process: go through the cells until none is left that this session may run. Worker `index` of several
    takes one of the GPUs."""
    if index is not None:
        bind_gpu(index)
    # The terminal sends Ctrl-C to the whole group; the parent decides what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The parent, which may have handlers of its own, decides about these as well; if it is lost, that is noticed.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_with_parent()
    if desk.in_job:
        listen()
    try:
        go_through(folders, desk)
    except DiskFull as full:
        print(full, file=sys.stderr, flush=True)
        sys.exit(_DISK_FULL_STATUS)


def go_through(folders: Sequence[Path], desk: Desk) -> None:
    """Run the cells, again and again, until none is left that this session may run, or a stop is asked for."""
    last_done = time.monotonic()
    while True:
        outcomes = []
        for folder in folders:
            if stop_asked():
                return
            if may_run(folder, desk.session):
                outcomes.append(run_cell(folder, desk) if desk.ranks == 1 else spread_cell(folder, desk))
        if "locked" not in outcomes:
            return
        if "done" in outcomes:
            last_done = time.monotonic()
        elif desk.in_job and time.monotonic() - last_done > JOB_PATIENCE_SECONDS:
            return
        else:
            time.sleep(LOCKED_PAUSE_SECONDS)


def one_thread_a_library() -> None:
    """Have torch, MKL and the like compute with one thread in processes started from now on, and in this one where
    they are not loaded yet.

    With more, the sums of matrix products, layer norms' gradients and means end in other last digits, and records
    would depend on how many. The energies of our own kernel have their own threads, which change nothing.
    """
    os.environ.update(dict.fromkeys(LIBRARY_THREADS, "1"))


def _pass_on(processes: Sequence[BaseProcess]) -> None:
    """Pass the signal on to the workers: some schedulers signal only the job's own process, and none that it
    has started."""
    for process in processes:
        if process.pid and process.exitcode is None:
            os.kill(process.pid, signal.SIGUSR2)


def _bury(process: BaseProcess, folders: Sequence[Path], desk: Desk) -> bool:
    """Mark the cell that a dead worker was on as failed. Returns whether it was on one."""
    folder = _cell_of(process, folders)
    if folder is None:
        return False
    code = process.exitcode or 0
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    note_failure(folder, desk.session, f"its worker process ended {how}")
    return True


def _cell_of(process: BaseProcess, folders: Sequence[Path]) -> Path | None:
    """The unfinished cell that a process was on when it gave its last sign of life."""
    for folder in folders:
        beat = read_beat(folder)
        if beat is None or beat["stopped"] or (folder / "record.json").exists():
            continue
        if beat["pid"] == process.pid and beat["host"] == socket.gethostname():
            return folder
    return None


def threads_per_worker(workers: int) -> int:
    """Cores of this machine shared out evenly over the workers, at least one each."""
    return max(1, len(os.sched_getaffinity(0)) // workers)
