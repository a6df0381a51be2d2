"""LSF: the only file that knows its commands, options and variables.

Written from the manuals (IBM Spectrum LSF command reference) and tried on stand-ins for its commands alone.
"""

import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobs.cluster.arrays import Submission
from jobs.cluster.one_host import check_one_host, log_lines, program_with_warning
from jobs.cluster.profile import Cluster, Need
from jobs.cluster.scheduler import NoScheduler, Options, OwnJob, QueuedJob, ask
from jobs.cluster.script import script_text

SET_BY_US = {"J", "o", "oo", "e", "eo", "r", "rn", "H", "K", "I"}
"""Options of bsub that make following and cancelling work; a profile may not change them."""
NOT_HANDED_ON = re.compile(r"(LSB_|LS_JOBPID|LSF_BSUB|BSUB_|LSFUSER)|PMI_|PMIX_")
"""Variables that belong to a job around us, or stand for options; where the cluster is found is none of these."""
PENDING = {"PEND", "PSUSP", "WAIT", "PROV"}
ENDED = {"DONE", "EXIT", "ZOMBI"}
DEFAULT_ARRAY_SIZE = 1000
_COLUMNS = "jobid jobindex stat user name exit_code pend_reason"
_JOB = "job=${LSB_JOBID}_$((LSB_JOBINDEX > 0 ? LSB_JOBINDEX - 1 : 0))"


class Lsf:
    """LSF, by bsub, bjobs, bkill, brequeue and bparams. Its arrays count from 1."""

    name, title, tried = "lsf", "LSF", False

    def check(self, need: Need) -> None:
        """Refuse what LSF has no word for here, and what is set by prosebench itself."""
        check_one_host(need, self.title, SET_BY_US)

    def options(self, need: Need, minutes: int, nodes: int = 1) -> Options:
        """Options of bsub."""
        if nodes > 1:
            raise NoScheduler("jobs over several nodes are for SLURM alone; on LSF give a job one node")
        at_once = need.workers * need.ranks
        memory = round(need.memory_gb * at_once * 1024)
        options: Options = {
            "n": need.cores * at_once,
            "R": f"span[hosts=1] rusage[mem={memory}MB]",
            "M": f"{memory}MB",
            "W": minutes,
        }
        for name, value in (("q", need.partition), ("P", need.account)):
            if value:
                options[name] = value
        if need.gpus:
            options["gpu"] = f"num={need.gpus * at_once}"
        return {name: value for name, value in (options | need.extra).items() if value is not False}

    def gpus(self, need: Need) -> int:
        """Those of its workers or ranks."""
        return need.gpus * need.workers * need.ranks

    def script(self, submission: Submission, need: Need, cluster: Cluster) -> str:
        """A script for bsub."""
        options = self.options(need, submission.minutes, submission.nodes)
        at_once = f"%{cluster.jobs_at_once}" if cluster.jobs_at_once else ""
        lines = [
            f'-J "{submission.name}[1-{submission.size}]{at_once}"',
            f'-o "{_report(submission)}"',
            "-r",
        ]
        lines += [
            f"-{name}"
            if value is True
            else f'-{name} "{value}"'
            if re.search(r"[^\w.:/-]", str(value))
            else f"-{name} {value}"
            for name, value in options.items()
        ]
        ending = [*log_lines(submission, _JOB), program_with_warning(submission, need, "${job##*_}")]
        return script_text(submission, need, [f"#BSUB {line}" for line in lines], ending, self.title)

    def rank_launcher(self, cluster: Cluster, need: Need) -> list[str]:
        """mpi_launcher of the profile, or mpirun."""
        return shlex.split(cluster.mpi_launcher or "mpirun")

    def how_to_submit(self, script: Path) -> str:
        """bsub reads a script's options from its input alone."""
        return f"bsub < {shlex.quote(str(script))}"

    def submit(self, script: Path) -> None:
        """Submit a script."""
        _ask("bsub", given=script.read_text())

    def queued(self, names: Sequence[str]) -> list[QueuedJob]:
        """Jobs as bjobs has them."""
        return [
            QueuedJob(
                name, index, job, state.lower(), reason if state in PENDING else "", user, state in PENDING
            )
            for job, index, state, user, name, _, reason in _jobs(names)
            if state not in ENDED
        ]

    def cancel(self, jobs: Sequence[QueuedJob]) -> None:
        """End jobs by their ids."""
        if jobs:
            _ask("bkill", *(_long(job.job) for job in jobs))

    def ended(self, names: Sequence[str]) -> dict[tuple[str, int], tuple[str, str]]:
        """Jobs that have ended in the last hour or so: longer, LSF does not know them."""
        return {
            (name, index): (job, "COMPLETED" if state == "DONE" else f"FAILED (exit code {code})")
            for job, index, state, _, name, code, _ in _jobs(names)
            if state in ENDED
        }

    def max_array_size(self) -> int:
        """MAX_JOB_ARRAY_SIZE of the cluster."""
        found = re.search(r"MAX_JOB_ARRAY_SIZE\s*=\s*(\d+)", _ask("bparams", "-a"))
        return int(found[1]) if found else DEFAULT_ARRAY_SIZE

    def own_job(self, environment: Mapping[str, str]) -> OwnJob:
        """The job by the variables that LSF sets."""
        job, index = environment.get("LSB_JOBID", ""), int(environment.get("LSB_JOBINDEX", "0") or 0)
        return OwnJob(f"{job}_{max(0, index - 1)}" if job else "", "", number=int(job or 0))

    def requeue(self, job: str) -> None:
        """Put the own job back into the queue."""
        _ask("brequeue", _long(job))

    def being_preempted(self, job: str) -> bool:
        """LSF suspends jobs that make room: it does not end them."""
        return False

    def there(self) -> bool:
        """Whether bsub is."""
        return shutil.which("bsub") is not None

    def version(self) -> str:
        """Version, after the master has answered."""
        return _ask("lsid").strip().splitlines()[0]


def _jobs(names: Sequence[str]) -> list[tuple[str, int, str, str, str, str, str]]:
    """Id as here, index from 0, state, user, submission, exit code and reason of all jobs of these names."""
    try:
        said = _ask("bjobs", "-a", "-u", "all", "-noheader", "-o", f"{_COLUMNS} delimiter='|'")
    except NoScheduler as error:
        if "No job found" in str(error):
            return []
        raise
    found = []
    for line in said.splitlines():
        if line.count("|") < 6:
            continue
        job, index, state, user, called, code, reason = line.strip().split("|", 6)
        name = called.partition("[")[0]
        if name in names and index.isdigit():
            number = max(0, int(index) - 1)
            found.append((f"{job}_{number}", number, state, user, name, code, reason))
    return found


def _report(submission: Submission) -> str:
    """File of LSF's own report on each job; none where a % in the path would be read as standing for something."""
    return "/dev/null" if "%" in str(submission.logs) else f"{submission.logs}/%J_%I.lsf"


def _long(job: str) -> str:
    """123_4 as LSF writes it: 123[5]."""
    number, _, index = job.partition("_")
    return f"{number}[{int(index) + 1}]"


def _ask(*command: str, given: str = "") -> str:
    return ask(command, NOT_HANDED_ON, Lsf.title, given)
