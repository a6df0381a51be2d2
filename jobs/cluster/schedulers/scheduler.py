"""What prosebench asks of a cluster's scheduler, whichever it is; and the schedulers that are known.

What a scheduler says is a hint beside the records: every answer may be missing or late. To add a scheduler, write a
module with a class that does what `Scheduler` says, and name it in `schedulers`.
"""

import os
import pwd
import re
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from jobs.cluster.arrays import Submission

if TYPE_CHECKING:
    from jobs.cluster.profile import Cluster, Need

_PATIENCE_SECONDS = 60
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 20.0

Options = dict[str, str | int | bool]
"""The options of a scheduler by their names without dashes. True stands for an option without a value."""


class NoScheduler(OSError):
    """A scheduler's commands are not there, it does not answer, or it refuses; the message says which."""


class NoAnswer(NoScheduler):
    """A scheduler's command did not answer in time; it may have done what it was asked for all the same."""


@dataclass(frozen=True)
class QueuedJob:
    """A job in the queue: its submission and number there, its id (123_4 or 123), state and why it waits, in the
    scheduler's words, whose it is, and whether it has not started.
    """

    name: str
    index: int
    job: str
    state: str
    reason: str
    user: str = ""
    pending: bool = False


@dataclass(frozen=True)
class OwnJob:
    """The job that this process belongs to: its id, this node's name and number among the job's nodes, a number that no
    two jobs at a time share, how often it was started before, and the host that all nodes of it can reach.
    """

    job: str
    node: str
    node_rank: int = 0
    number: int = 0
    restarts: int = 0
    host: str = ""


class Scheduler(ABC):
    """A batch system. Every method that asks it raises NoScheduler where there is no answer."""

    name: ClassVar[str]
    title: ClassVar[str]
    tried: ClassVar[bool]
    """Whether this class was tried on a real cluster of its kind, and not only on a stand-in for the
    scheduler's commands."""

    submit_command: ClassVar[str]
    set_by_us: ClassVar[frozenset[str]]
    """Options that prosebench sets itself, so that jobs can be resumed, followed and cancelled. A profile may
    not change them."""

    time_limit: ClassVar[str]
    """The option for a job's time limit. The warning before its end is reckoned from it, so a profile states
    the limit as `minutes`."""

    whole_node: ClassVar[Options]
    """The options by which a job gets a node to itself."""

    told: ClassVar[tuple[str, ...]]
    """The options that are shown in a plan."""

    @property
    def label(self) -> str:
        """The title, and a mark on one that was never tried."""
        return self.title if self.tried else f"{self.title} (untried)"

    @abstractmethod
    def options(self, need: "Need", minutes: int, nodes: int = 1) -> Options:
        """What a job with this need on each of its nodes, and a time limit in whole minutes, asks for."""

    @abstractmethod
    def gpus(self, need: "Need") -> int:
        """GPUs that a job holds, whichever option asks for them."""

    def check(self, need: "Need") -> None:
        """Raise ValueError where a profile asks for what there is no word for, or for what prosebench sets itself."""
        refused = sorted(set(need.extra) & self.set_by_us)
        if refused:
            raise ValueError(f"{', '.join(refused)} is set by prosebench itself and cannot be changed")
        if self.time_limit in need.extra:
            raise ValueError(f"{self.time_limit} has a key of its own: minutes")

    @abstractmethod
    def script(self, submission: Submission, need: "Need", cluster: "Cluster") -> str:
        """The text of a script that, once submitted, does all jobs of a submission."""

    @abstractmethod
    def rank_launcher(self, cluster: "Cluster", need: "Need") -> list[str]:
        """The command that starts the ranks of a cell from within a job; `-n RANKS PROGRAM` follows."""

    @abstractmethod
    def how_to_submit(self, script: Path) -> str:
        """The command line by which a user submits a script."""

    @abstractmethod
    def submit(self, script: Path) -> None:
        """Submit a script. Raises NoAnswer where nobody knows whether the scheduler took it."""

    @abstractmethod
    def queued(self, names: Sequence[str]) -> list[QueuedJob]:
        """Jobs of submissions of these names that have not ended."""

    @abstractmethod
    def cancel(self, jobs: Sequence[QueuedJob]) -> None:
        """End jobs of this user. Running ones finish their chunk where the scheduler gives them time."""

    @abstractmethod
    def ended(self, names: Sequence[str]) -> dict[tuple[str, int], tuple[str, str]]:
        """Id and last state (COMPLETED, FAILED ...) of jobs that have ended, by submission and number."""

    def joules(self, names: Sequence[str]) -> float:
        """Energy of the nodes of jobs of submissions of these names, as accounting knows it; 0 where it does not."""
        return 0.0

    @abstractmethod
    def max_array_size(self) -> int:
        """Largest number of jobs in one array."""

    @abstractmethod
    def own_job(self, environment: Mapping[str, str]) -> OwnJob:
        """The job that a process with this environment belongs to."""

    @abstractmethod
    def requeue(self, job: str) -> None:
        """Put the own job back into the queue; refused where the site does not allow it."""

    @abstractmethod
    def being_preempted(self, job: str) -> bool:
        """Whether a job is being ended to make room for another one (rather than because somebody cancelled it)."""

    def there(self) -> bool:
        """Whether the scheduler's commands are on this machine."""
        return shutil.which(self.submit_command) is not None

    @abstractmethod
    def version(self) -> str:
        """The version of the scheduler that answers. Raises NoScheduler where none does."""


def merged(options: Options, extra: Options) -> Options:
    """The options, replaced by those of a profile where it has some; what is False there is left out."""
    return {name: value for name, value in (options | extra).items() if value is not False}


def at_once(cluster: "Cluster") -> str:
    """What stands behind the numbers of an array's jobs where only some may run at once."""
    return f"%{cluster.jobs_at_once}" if cluster.jobs_at_once else ""


def schedulers() -> dict[str, Scheduler]:
    """The schedulers that are known, by name."""
    from jobs.cluster.schedulers.lsf import Lsf
    from jobs.cluster.schedulers.pbs import Pbs
    from jobs.cluster.schedulers.slurm import Slurm

    return {one.name: one for one in (Slurm(), Pbs(), Lsf())}


def _by_scheduler(submissions: Iterable[Submission]) -> list[tuple[Scheduler, list[str]]]:
    """Each scheduler that submissions went to, with their names."""
    known, names = schedulers(), dict[str, list[str]]()
    for submission in submissions:
        names.setdefault(submission.scheduler, []).append(submission.name)
    return [(known[scheduler], some) for scheduler, some in names.items()]


def queued_jobs(submissions: Iterable[Submission]) -> list[QueuedJob]:
    """Jobs of these submissions that have not ended. Raises NoScheduler."""
    return [job for scheduler, names in _by_scheduler(submissions) for job in scheduler.queued(names)]


def ended_jobs(submissions: Iterable[Submission]) -> dict[tuple[str, int], tuple[str, str]]:
    """Id and last state of the jobs of these submissions that have ended; nothing where nobody knows."""
    found: dict[tuple[str, int], tuple[str, str]] = {}
    for scheduler, names in _by_scheduler(submissions):
        try:
            found |= scheduler.ended(sorted(set(names)))
        except NoScheduler:
            continue
    return found


def joules_of(submissions: Iterable[Submission]) -> dict[str, float]:
    """Joules of the jobs of these submissions by their scheduler, as far as its accounting counts them."""
    found = {}
    for scheduler, names in _by_scheduler(submissions):
        try:
            found[scheduler.name] = scheduler.joules(sorted(set(names)))
        except NoScheduler:
            continue
    return {name: joules for name, joules in found.items() if joules > 0.0}


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


class Pace:
    """When to ask a scheduler again: after a second at first, then less and less often, so as not to be a burden."""

    def __init__(self) -> None:
        self._pause, self._asked = _FIRST_PAUSE_SECONDS, float("-inf")

    def is_due(self) -> bool:
        """Whether it is time to ask. If so, the caller asks now, and the next pause begins."""
        if time.monotonic() - self._asked <= self._pause:
            return False
        self._asked, self._pause = time.monotonic(), min(1.5 * self._pause, _LONGEST_PAUSE_SECONDS)
        return True


def this_user() -> str:
    """The name of the user that this process belongs to, as schedulers know it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def ask(command: Sequence[str], ours: re.Pattern[str], title: str, given: str = "") -> str:
    """What a command of a scheduler prints, with `given` as its input. Raises NoScheduler.

    Variables of the environment whose names match `ours` are taken away: those that belong to the job that prosebench
    was started from, and those that change what the command's options mean.
    """
    if shutil.which(command[0]) is None:
        raise NoScheduler(
            f"there is no command {command[0]!r} on this machine; is it a login node of a {title} cluster?"
        )
    clean = {name: value for name, value in os.environ.items() if not ours.match(name)}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            input=given,
            timeout=_PATIENCE_SECONDS,
            check=False,
            env=clean,
        )
    except subprocess.TimeoutExpired as error:
        raise NoAnswer(f"{command[0]} did not answer within {_PATIENCE_SECONDS} s") from error
    if done.returncode:
        lines = [
            line.removeprefix(f"{command[0]}: ").removeprefix("error: ") for line in done.stderr.splitlines()
        ]
        said = "; ".join(filter(None, lines)) or f"status {done.returncode}"
        if "timed out" in said.lower():
            # The command waited for the scheduler in vain: "Socket timed out on send/recv operation" on SLURM.
            raise NoAnswer(f"{command[0]} got no answer: {said}")
        raise NoScheduler(f"{command[0]} refused: {said}")
    return done.stdout
