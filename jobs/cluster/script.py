"""Plain `sbatch` array scripts, for sites where submitit cannot run on the login node."""

import shlex
import sys

from jobs.cluster.arrays import Submission
from jobs.cluster.packing import Array
from jobs.cluster.profile import Cluster, sbatch_options, srun_options, stop_signal


def array_script(submission: Submission, array: Array, cluster: Cluster) -> str:
    """The text of a script that `sbatch` takes: the same jobs that `prosebench run --executor slurm` would submit."""
    at_once = f"%{cluster.jobs_at_once}" if cluster.jobs_at_once else ""
    options = sbatch_options(array.need, array.minutes) | {
        "job-name": submission.name,
        "array": f"0-{submission.size - 1}{at_once}",
        "output": f"{submission.logs}/%A_%a.log",
        "open-mode": "append",
        "signal": stop_signal(submission.ranks, cluster.signal_seconds),
    }
    # The tasks of a job with ranks are those of its cells, which the job itself starts.
    step = "exec " if submission.ranks > 1 else " ".join(["srun", *srun_options(options), ""])
    program = (
        f"{step}{shlex.quote(sys.executable)} -u -m jobs.cluster.task {shlex.quote(str(submission.folder))}"
    )
    cells = sum(len(job) for job in submission.jobs)
    lines = [
        "#!/bin/bash",
        f"# {cells} cells in {submission.size} jobs; written by `prosebench submit`, to be given to `sbatch`.",
        *(sbatch_line(name, value) for name, value in options.items()),
        "",
        *cluster.opening_lines(),
        "",
        f'{program} "$SLURM_ARRAY_TASK_ID"',
    ]
    return "\n".join(lines) + "\n"


def sbatch_line(name: str, value: str | int | bool) -> str:
    """One option as sbatch reads it from a script."""
    return f"#SBATCH --{name}" if value is True else f"#SBATCH --{name}={shlex.quote(str(value))}"
