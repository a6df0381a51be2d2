"""SLURM: its commands and options, and how a job knows itself."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from jobs.cluster.arrays import Submission
from jobs.cluster.profile import Cluster, Need
from jobs.cluster.schedulers.scheduler import (
    NoScheduler,
    Options,
    OwnJob,
    QueuedJob,
    Scheduler,
    ask,
    at_once,
    merged,
    this_user,
)
from jobs.cluster.script import directive, program, script_text

NOT_HANDED_ON = re.compile(
    r"(?!SLURM_(CONF|CLUSTERS)$)(SLURM|SBATCH|SALLOC|SRUN|SQUEUE|SCANCEL|SACCT|SINFO|SCONTROL|PMI|PMIX)_|SLURMD_"
)
"""Environment variables that are not handed on to the scheduler's commands: they belong to the job that this
process runs in, or stand for options. Those that say where the cluster is do not match."""
PENDING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
"""The states of a job that has not started, or that waits to be started again."""
DEFAULT_ARRAY_SIZE = 1000
NOT_COUNTED = 2**32 - 2
"""The number that accounting gives for a job whose energy it does not know (NO_VAL). It and larger numbers,
such as its like of 64 bits, are not counted."""
MPI_LAUNCHER = "srun --mpi=pmi2"


class Slurm(Scheduler):
    """SLURM, by sbatch, squeue, scancel, sacct and scontrol."""

    name, title, tried, submit_command, time_limit = "slurm", "SLURM", True, "sbatch", "time"
    set_by_us = frozenset({
        "array", "job-name", "output", "error", "open-mode", "signal", "requeue", "no-requeue", "chdir", "wait", "wrap",
        "parsable", "test-only", "export",
    })  # fmt: skip
    whole_node: ClassVar[Options] = {"exclusive": True}
    told = ("partition", "qos", "account", "constraint", "gres", "mem", "mem-per-cpu")

    def options(self, need: Need, minutes: int, nodes: int = 1) -> Options:
        """Options of sbatch."""
        options: Options = {
            "nodes": nodes,
            "ntasks": nodes,
            "time": minutes,
            "cpus-per-task": need.cores * need.workers,
            "mem": f"{round(need.memory_gb * need.workers * 1024)}M",
            "requeue": True,
        }
        for name in ("partition", "account", "qos", "gres", "constraint"):
            if getattr(need, name):
                options[name] = getattr(need, name)
        if need.gpus and not need.gres:
            options["gpus-per-node"] = need.gpus * need.workers
        if need.ranks > 1:
            del options["mem"]
            options |= {"nodes": f"1-{need.ranks}", "ntasks": need.ranks}
            options["mem-per-cpu"] = f"{round(need.memory_gb * 1024 / need.cores)}M"
            if options.pop("gpus-per-node", 0):
                options["gpus-per-task"] = need.gpus
        return merged(options, need.extra)

    def gpus(self, need: Need) -> int:
        """The GPUs of a job: those of its workers or ranks, or as many as gres or another option asks for."""
        options = self.options(need, need.minutes)
        asked = [need.gpus * need.workers * need.ranks]
        for name in ("gres", "gpus", "gpus-per-node", "gpus-per-task"):
            kind = r"gpu\b[^,]*" if name == "gres" else ".*"
            for found in re.findall(kind, str(options.get(name, ""))):
                number = re.search(r"(?:^|[:=])(\d+)$", found)
                times = need.ranks if name == "gpus-per-task" else 1
                asked.append(int(number[1]) * times if number else int(bool(found)))
        return max(asked)

    def script(self, submission: Submission, need: Need, cluster: Cluster) -> str:
        """A script for sbatch.

        SIGUSR2 comes signal_seconds before the time limit. SLURM gives it to the steps of a job; where these are the
        ranks of its cells there is none between two cells, so there it is for the job's own process, which must have
        taken the place of its shell.
        """
        ranked = submission.ranks > 1
        options = self.options(need, submission.minutes, submission.nodes) | {
            "job-name": submission.name,
            "array": f"0-{submission.size - 1}{at_once(cluster)}",
            # A % in the folder's own path would be read as one of those that stand for something.
            "output": f"{str(submission.logs).replace('%', '%%')}/%A_%a.log",
            "open-mode": "append",
            "signal": f"{'B:' if ranked else ''}USR2@{cluster.signal_seconds}",
        }
        directives = [directive("#SBATCH --", name, value) for name, value in options.items()]
        step = "exec" if ranked else " ".join(["srun", *_srun_options(options)])
        return script_text(
            submission,
            need,
            directives,
            [f'{step} {program(submission, need)} "$SLURM_ARRAY_TASK_ID"'],
            self.title,
        )

    def rank_launcher(self, cluster: Cluster, need: Need) -> list[str]:
        """mpi_launcher of the profile, or srun, which is told the cores, and to end all ranks when one dies."""
        words = shlex.split(cluster.mpi_launcher or MPI_LAUNCHER)
        if words[0] == "srun":
            words += [f"--cpus-per-task={need.cores}", "--kill-on-bad-exit=1"]
        return words

    def how_to_submit(self, script: Path) -> str:
        """sbatch, told to hand the environment on whatever SBATCH_EXPORT says."""
        return f"sbatch --export=ALL {shlex.quote(str(script))}"

    def submit(self, script: Path) -> None:
        """Submit a script."""
        _ask("sbatch", "--parsable", "--export=ALL", str(script))

    def queued(self, names: Sequence[str]) -> list[QueuedJob]:
        """The jobs in the queue, as squeue lists them."""
        columns = "%j|%F|%K|%T|%u|%r"
        said = _ask("squeue", "--noheader", "--array", f"--name={','.join(names)}", f"--format={columns}")
        return jobs_in(said, names)

    def cancel(self, jobs: Sequence[QueuedJob]) -> None:
        """End all jobs of this user's submissions by their names."""
        if jobs:
            names = sorted({job.name for job in jobs})
            _ask("scancel", f"--name={','.join(names)}", f"--user={this_user()}")

    def ended(self, names: Sequence[str]) -> dict[tuple[str, int], tuple[str, str]]:
        """The jobs that have ended, from accounting."""
        question = ["--noheader", "--parsable2", "--allocations", "--format=JobName,JobID,State"]
        said = _ask("sacct", *question, f"--name={','.join(names)}", "--starttime=now-90days")
        ended = {}
        for line in said.splitlines():
            if line.count("|") < 2:
                continue
            name, job, state = line.split("|", 2)
            task = job.partition("_")[2]
            ended[name, int(task) if task.isdigit() else 0] = (job, state.split(" ", 1)[0])
        return ended

    def joules(self, names: Sequence[str]) -> float:
        """The energy in joules from a plug-in that a site may have; without one, accounting says 0 or
        nothing."""
        question = ["--noheader", "--parsable2", "--allocations", "--format=ConsumedEnergyRaw"]
        said = _ask("sacct", *question, f"--name={','.join(names)}", "--starttime=now-90days")
        counted = [int(line) for line in said.split() if line.isdigit()]
        return float(sum(joules for joules in counted if joules < NOT_COUNTED))

    def max_array_size(self) -> int:
        """The largest size of an array: MaxArraySize of the controller, which is one above the largest index."""
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"), re.MULTILINE)
        return int(found[1]) if found else DEFAULT_ARRAY_SIZE

    def own_job(self, environment: Mapping[str, str]) -> OwnJob:
        """The job of this process, by the variables that SLURM sets."""
        array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
        job = environment.get("SLURM_JOB_ID", "")
        return OwnJob(
            job=f"{array}_{task}" if array and task else job,
            node=environment.get("SLURMD_NODENAME", ""),
            node_rank=int(environment.get("SLURM_NODEID", "0")),
            number=int(job or 0),
            restarts=int(environment.get("SLURM_RESTART_COUNT", "0")),
            host=environment.get("SLURM_LAUNCH_NODE_IPADDR", ""),
        )

    def requeue(self, job: str) -> None:
        """Put the own job back into the queue."""
        _ask("scontrol", "requeue", job)

    def being_preempted(self, job: str) -> bool:
        """Whether the controller has noted a time of preemption."""
        try:
            found = re.search(r"PreemptTime=(\S+)", _ask("scontrol", "show", "job", job))
        except NoScheduler:
            return False
        return found is not None and found[1] not in ("None", "N/A")

    def version(self) -> str:
        """The version of SLURM, after its controller has answered."""
        state = _ask("scontrol", "ping")
        if " UP" not in state.upper():
            raise NoScheduler(f"no controller answers: {state.strip()}")
        return _ask("sinfo", "--version").strip()


def jobs_in(said: str, names: Sequence[str]) -> list[QueuedJob]:
    """The jobs of these names in what squeue has said, a line each: name, array, task, state, user, reason."""
    jobs = []
    for line in said.splitlines():
        # Where several clusters are asked, each begins with a line that names it.
        name, _, rest = line.strip().partition("|")
        if name not in names or rest.count("|") < 4:
            continue
        array, task, state, user, reason = rest.split("|", 4)
        index = int(task) if task.isdigit() else 0
        job = f"{array}_{task}" if task.isdigit() else array
        jobs.append(QueuedJob(name, index, job, state, reason, user, state in PENDING))
    return jobs


def _srun_options(options: Mapping[str, Any]) -> list[str]:
    """What srun is to be told: the environment that the script has set up; the cores, which since SLURM 22.05 it no
    longer knows by itself; and, where a task of several ends badly, to leave it to the others how they end.
    """
    cores = [f"--cpus-per-task={options['cpus-per-task']}"] if "cpus-per-task" in options else []
    return ["--export=ALL", *cores, "--kill-on-bad-exit=0"]


def _ask(*command: str) -> str:
    return ask(command, NOT_HANDED_ON, Slurm.title)
