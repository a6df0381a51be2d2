"""What schedulers share whose jobs stay on one host, and which do not warn a job before its time is over."""

import shlex

from jobs.cluster.arrays import Submission
from jobs.cluster.profile import Need
from jobs.cluster.script import program


def check_one_host(need: Need, title: str, set_by_us: set[str]) -> None:
    """Raise ValueError for keys that only SLURM has words for, and for options that are set by prosebench itself."""
    for name in ("qos", "gres", "constraint"):
        if getattr(need, name):
            raise ValueError(
                f"{name} is a word of SLURM; for {title} say the same with an option under extra"
            )
    refused = sorted(set(need.extra) & set_by_us)
    if refused:
        raise ValueError(f"{', '.join(refused)} is set by prosebench itself and cannot be changed")


def log_lines(submission: Submission, job: str) -> list[str]:
    """Shell lines that write a job's output where it is looked for; `job` is the line that sets the variable job."""
    return [job, f'exec >> {shlex.quote(str(submission.logs))}/"$job.log" 2>&1', ""]


def program_with_warning(submission: Submission, need: Need, index: str) -> str:
    """The command that does a job, asked by SIGUSR2 to stop `signal_seconds` before its time is over."""
    seconds = max(1, 60 * submission.minutes - submission.signal_seconds)
    return f'exec timeout --preserve-status --signal=USR2 {seconds} {program(submission, need)} "{index}"'
