"""What schedulers share whose jobs stay on one host, and which do not warn a job before its time is over."""

import shlex

from jobs.cluster.arrays import Submission
from jobs.cluster.profile import Cluster, Need
from jobs.cluster.schedulers.scheduler import NoScheduler, Scheduler
from jobs.cluster.script import program


class OneHost(Scheduler):
    """A scheduler whose jobs have one host each, written from its manuals and tried on stand-ins for its commands."""

    tried = False

    def check(self, need: Need) -> None:
        """See Scheduler.check; raises ValueError also for keys that only SLURM has words for."""
        for name in ("qos", "gres", "constraint"):
            if getattr(need, name):
                raise ValueError(
                    f"{name} is a word of SLURM; for {self.title} say the same with an option under extra"
                )
        if "exclusive" in need.extra:
            (name,) = self.whole_node
            raise ValueError(
                f"exclusive is a word of SLURM; for {self.title} say the same with {name} under extra"
            )
        super().check(need)

    def check_nodes(self, nodes: int) -> None:
        """Raise NoScheduler for a job of several nodes."""
        if nodes > 1:
            raise NoScheduler(
                f"jobs over several nodes are for SLURM alone; on {self.title} give a job one node"
            )

    def gpus(self, need: Need) -> int:
        """The GPUs of a job: those of its workers or ranks."""
        return need.gpus * need.workers * need.ranks

    def rank_launcher(self, cluster: Cluster, need: Need) -> list[str]:
        """The mpi_launcher of the profile, or mpirun."""
        return shlex.split(cluster.mpi_launcher or "mpirun")

    def being_preempted(self, job: str) -> bool:
        """Whether a job is being preempted: never, since these schedulers do not tell while it happens."""
        return False


def log_lines(submission: Submission, job: str) -> list[str]:
    """Shell lines that write a job's output where it is looked for; `job` is the line that sets the variable job."""
    return [job, f'exec >> {shlex.quote(str(submission.logs))}/"$job.log" 2>&1', ""]


def program_with_warning(submission: Submission, need: Need, index: str) -> str:
    """The command that does a job, asked by SIGUSR2 to stop `signal_seconds` before its time is over."""
    seconds = max(1, 60 * submission.minutes - submission.signal_seconds)
    return f'exec timeout --preserve-status --signal=USR2 {seconds} {program(submission, need)} "{index}"'
