"""What the scheduler says: a hint beside the records. Every answer may be missing or late."""

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.cluster.arrays import Submission

_PATIENCE_SECONDS = 60


class NoScheduler(OSError):
    """SLURM's commands are not there, or its controller does not answer."""


@dataclass(frozen=True)
class QueuedJob:
    """A job in the queue: its submission and number there, id, state (PENDING, RUNNING ...), why it waits, and whose
    it is.
    """

    name: str
    index: int
    job: str
    state: str
    reason: str
    user: str = ""

    @property
    def pending(self) -> bool:
        """Whether it has not started."""
        return self.state in (
            "PENDING",
            "REQUEUED",
            "REQUEUE_HOLD",
            "REQUEUE_FED",
            "SPECIAL_EXIT",
            "RESV_DEL_HOLD",
        )


def queued_jobs(submissions: Iterable[Submission]) -> list[QueuedJob]:
    """Jobs of these submissions that have not ended. Raises NoScheduler."""
    names = [submission.name for submission in submissions]
    if not names:
        return []
    said = _ask("squeue", "--noheader", "--array", f"--name={','.join(names)}", "--format=%j|%F|%K|%T|%u|%r")
    jobs = []
    for line in said.splitlines():
        name, array, task, state, user, reason = line.strip().split("|", 5)
        index = int(task) if task.isdigit() else 0
        job = f"{array}_{task}" if task.isdigit() else array
        jobs.append(QueuedJob(name, index, job, state, reason, user))
    return jobs


def cells_of(submissions: Sequence[Submission], queued: Sequence[QueuedJob]) -> dict[str, QueuedJob]:
    """The queued job of each cell that has one, by the name of the cell's folder."""
    jobs_of = {submission.name: submission.jobs for submission in submissions}
    return {
        cell: job
        for job in queued
        if job.index < len(jobs_of.get(job.name, []))
        for cell in jobs_of[job.name][job.index]
    }


def commands_of(submissions: Iterable[Submission], queued: Sequence[QueuedJob]) -> list[list[str]]:
    """The commands of queued jobs: those of an array whose own jobs have ended are not among them."""
    known = {submission.name: submission.commands for submission in submissions}
    return [known[job.name][job.index] for job in queued if job.index < len(known.get(job.name, []))]


def describe_queue(jobs: Sequence[QueuedJob]) -> str:
    """One line about the jobs of a run folder."""
    pending = [job for job in jobs if job.pending]
    reasons = sorted({job.reason for job in pending} - {"None", ""})
    why = f" ({', '.join(reasons)})" if reasons else ""
    return f"jobs: {len(jobs) - len(pending)} running, {len(pending)} pending{why}"


def this_user() -> str:
    """Who this process belongs to, as SLURM names it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def cancel(names: Sequence[str]) -> None:
    """End all jobs of this user's submissions of these names. Running ones finish their chunk. Raises NoScheduler."""
    if names:
        _ask("scancel", f"--name={','.join(names)}", f"--user={this_user()}")


def ended_jobs(names: Sequence[str]) -> dict[tuple[str, int], tuple[str, str]]:
    """Id and last state (OUT_OF_MEMORY, NODE_FAIL ...) of jobs, by submission and number, as accounting has them."""
    if not names:
        return {}
    question = ["--noheader", "--parsable2", "--allocations", "--format=JobName,JobID,State"]
    try:
        said = _ask("sacct", *question, f"--name={','.join(names)}", "--starttime=now-90days")
    except NoScheduler:
        return {}
    ended = {}
    for line in said.splitlines():
        name, job, state = line.split("|", 2)
        task = job.partition("_")[2]
        ended[name, int(task) if task.isdigit() else 0] = (job, state.split(" ", 1)[0])
    return ended


def max_array_size() -> int:
    """Largest number of jobs in one array, as the controller says it."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"), re.MULTILINE)
    # The setting is one above the largest index.
    return int(found[1]) if found else 1000


def requeue(job: str) -> None:
    """Put the own job back into the queue. Raises NoScheduler where the site does not allow it."""
    _ask("scontrol", "requeue", job)


def being_preempted(job: str) -> bool:
    """Whether SLURM is ending this job to make room for another one (rather than because somebody cancelled it)."""
    try:
        found = re.search(r"PreemptTime=(\S+)", _ask("scontrol", "show", "job", job))
    except NoScheduler:
        return False
    return found is not None and found[1] not in ("None", "N/A")


def _ask(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise NoScheduler(
            f"there is no command {command[0]!r} on this machine; is it a login node of a SLURM cluster?"
        )
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise NoScheduler(f"{command[0]} did not answer within {_PATIENCE_SECONDS} s") from error
    if done.returncode:
        said = done.stderr.strip() or f"status {done.returncode}"
        raise NoScheduler(f"{Path(command[0]).name} refused: {said}")
    return done.stdout
