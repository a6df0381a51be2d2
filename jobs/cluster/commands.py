"""Jobs that run `prosebench` commands: a reference each, a share of the scoring, or training over several nodes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from jobs.cells.signals import stop_asked
from jobs.cluster.arrays import Submission
from jobs.cluster.schedulers.scheduler import NoScheduler, OwnJob, schedulers

CHECKPOINT, MODEL = "checkpoint.pt", "model.npz"
_FIRST_PORT, _PORTS = 20_000, 10_000


def run_command(submission: Submission, index: int, own: OwnJob) -> int:
    """Run command `index` of a submission and return its exit status.

    Asked to stop, it lets the command stop in good order and puts the job back into the queue, unless the command was
    just finished or the job was cancelled. So it does where a process of a training run died after having saved
    something new: one that dies over and over at the same place ends the job.
    """
    arguments, saved = submission.commands[index], _saved(submission)
    together = submission.nodes * submission.processes > 1
    line = torchrun(submission, own) if together else [sys.executable]
    # Some schedulers signal every process of a job; this one alone decides. What listens to the signal unblocks it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    process = subprocess.Popen([*line, "-m", "prosebench.cli", *arguments])
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    while process.poll() is None and not stop_asked():
        time.sleep(0.2)
    if stop_asked():
        _stop(process, arguments)
        process.wait()
        left = not _finished(submission, arguments, process.returncode)
        scheduler = schedulers()[submission.scheduler]
        again = left and (stop_asked() == signal.SIGUSR2 or scheduler.being_preempted(own.job))
    else:
        again = process.returncode != 0 and _saved(submission) != saved
    if again:
        _queue_again(submission, own, process.returncode)
    return 0 if again or stop_asked() else process.returncode


def _saved(submission: Submission) -> int:
    """The time in nanoseconds at which a training run last saved; 0 where nothing is saved."""
    path = submission.directory / CHECKPOINT
    return path.stat().st_mtime_ns if path.exists() else 0


def _finished(submission: Submission, arguments: Sequence[str], status: int) -> bool:
    """Whether a command has done all it had to do. A training run that was asked to stop ends well, too."""
    return status == 0 and (arguments[0] != "train" or (submission.directory / MODEL).exists())


def _queue_again(submission: Submission, own: OwnJob, status: int) -> None:
    """Put this job back into the queue; of several nodes, the first one does it for all."""
    if own.node_rank:
        return
    try:
        print(f"job {own.job} goes back into the queue; its command ended with status {status}", flush=True)
        schedulers()[submission.scheduler].requeue(own.job)
    except NoScheduler as refused:
        print(f"{refused}; the same command continues", flush=True)


def torchrun(submission: Submission, own: OwnJob) -> list[str]:
    """The beginning of a command line that a job runs on each of its nodes to make their processes one world."""
    line = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={submission.processes}"]
    # Agents that restart processes on several nodes do not always find each other, so the whole job starts anew.
    line.append("--max-restarts=0")
    if submission.nodes == 1:
        return [*line, "--standalone"]
    # All meet at the node that the job was started from. A job that was queued again must not meet its own past.
    return [
        *line,
        f"--nnodes={submission.nodes}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={own.host}:{_FIRST_PORT + own.number % _PORTS}",
        f"--rdzv-id={own.number}-{own.restarts}",
        f"--rdzv-conf=is_host={int(own.node_rank == 0)}",
    ]


def _stop(process: "subprocess.Popen[bytes]", arguments: Sequence[str]) -> None:
    """Training saves and ends at this signal, which some sites give to the job's own process only."""
    if arguments[0] != "train":
        process.send_signal(signal.SIGINT)
        return
    for pid in [process.pid, *_children(process.pid)]:
        try:
            os.kill(pid, signal.SIGUSR2)
        except ProcessLookupError:
            continue


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
