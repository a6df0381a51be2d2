"""What runs inside a scheduler's job, one number of a submission.

A job works through its cells. Asked to stop (its time limit is near, or it is preempted), it finishes the chunk it is
on and puts itself back into the queue; the next start continues from the chunks on disk.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from jobs.cells.failures import count_chunks, may_run, note_failure
from jobs.cells.heartbeat import JOB, scheduler_job
from jobs.cells.launch import LIBRARY_THREADS, go_through, one_thread_a_library, run_pool
from jobs.cells.power import measured
from jobs.cells.signals import stop_asked
from jobs.cells.worker import Desk, DiskFull
from jobs.cluster.arrays import Submission, read_submission
from jobs.cluster.commands import run_command
from jobs.cluster.schedulers.scheduler import NoScheduler, schedulers

CORES = "PROSEBENCH_CORES"
"""The environment variable that tells a command in a job how many cores it has."""


def run_task(folder: Path, index: int) -> int:
    """Do job `index` of a submission. Returns the exit status: 1 where cells are left and it is not queued again."""
    started = time.monotonic()
    submission = read_submission(folder)
    own = schedulers()[submission.scheduler].own_job(os.environ)
    os.environ[JOB] = own.job
    node, gpus = own.node or os.uname().nodename, os.environ.get("CUDA_VISIBLE_DEVICES", "none")
    print(f"job {own.job} on {node}, GPUs {gpus}: {submission.name}, number {index}", flush=True)
    if submission.commands:
        for name in LIBRARY_THREADS:
            os.environ.setdefault(name, str(submission.threads))
        os.environ[CORES] = str(submission.threads * submission.workers)
        return run_command(submission, index, own)
    one_thread_a_library()
    cells = [submission.directory / "cells" / name for name in submission.jobs[index]]
    desk = Desk(
        submission.directory,
        submission.name,
        submission.threads,
        tuple(submission.references),
        in_job=True,
        ranks=submission.ranks,
        launcher=tuple(submission.launcher),
    )
    before = _progress(cells)
    try:
        with measured(submission.directory):
            if submission.workers == 1:
                go_through(cells, desk)
            else:
                run_pool(cells, desk, submission.workers)
    except DiskFull as full:
        print(full, file=sys.stderr, flush=True)
        return 1
    if stop_asked():
        _hand_back(submission, cells, time.monotonic() - started, before)
    unfinished = [cell.name for cell in cells if not (cell / "record.json").exists()]
    print(f"{len(cells) - len(unfinished)} of {len(cells)} cells finished", flush=True)
    return 1 if unfinished and not stop_asked() else 0


def _hand_back(submission: Submission, cells: Sequence[Path], seconds: float, before: object) -> None:
    """Put this job back into the queue if work is left and it was not cancelled."""
    asked, job, scheduler = stop_asked(), scheduler_job(), schedulers()[submission.scheduler]
    if asked == signal.SIGTERM and not scheduler.being_preempted(job):
        print(f"job {job} was ended from outside; the next `prosebench run` continues", flush=True)
        return
    left = [cell for cell in cells if may_run(cell, submission.name)]
    limit = 60 * submission.minutes - submission.signal_seconds
    # The signal may come up to a minute early.
    if left and _progress(cells) == before and seconds > limit - 60:
        reason = (
            f"not one chunk was finished in {seconds:.0f} s; give jobs more than {submission.minutes} minutes"
        )
        note_failure(left[0], submission.name, reason)
        left = left[1:]
    if left:
        try:
            print(f"job {job} goes back into the queue: {len(left)} cells are left", flush=True)
            scheduler.requeue(job)
        except NoScheduler as refused:
            print(f"{refused}; the next `prosebench run` continues", flush=True)


def _progress(cells: Sequence[Path]) -> object:
    return [((cell / "record.json").exists(), count_chunks(cell)) for cell in cells]
