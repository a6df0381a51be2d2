"""PBS (OpenPBS and PBS Professional): the only file that knows its commands, options and variables.

Written from the manuals (PBS Professional Reference Guide) and tried on stand-ins for its commands alone.
"""

import json
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.cluster.arrays import Submission
from jobs.cluster.one_host import check_one_host, log_lines, program_with_warning
from jobs.cluster.profile import Cluster, Need
from jobs.cluster.scheduler import NoScheduler, Options, OwnJob, QueuedJob, ask
from jobs.cluster.script import script_text

SET_BY_US = {"N", "J", "o", "e", "j", "r", "V", "h", "W"}
"""Options of qsub that make following and cancelling work; a profile may not change them."""
NOT_HANDED_ON = re.compile(
    r"PBS_(?!(CONF_FILE|SERVER|DEFAULT|EXEC|HOME)$)|NCPUS$|OMP_NUM_THREADS$|PMI_|PMIX_"
)
"""Variables that belong to a job around us; where the server is found is none of these."""
PENDING = {"Q": "queued", "H": "held", "W": "waiting", "T": "moving", "M": "moved", "S": "suspended"}
RUNNING = {"R": "running", "E": "exiting", "B": "running"}
ENDED = {"F", "X"}
DEFAULT_ARRAY_SIZE = 10_000
_JOB = r"""job=${PBS_JOBID%%.*}; job=${job%%[*}_${PBS_ARRAY_INDEX:-0}"""


class Pbs:
    """PBS, by qsub, qstat, qdel, qrerun and qmgr."""

    name, title, tried = "pbs", "PBS", False

    def check(self, need: Need) -> None:
        """Refuse what PBS has no word for, and what is set by prosebench itself."""
        check_one_host(need, self.title, SET_BY_US)

    def options(self, need: Need, minutes: int, nodes: int = 1) -> Options:
        """Options of qsub, and the resources that it is asked for."""
        if nodes > 1:
            raise NoScheduler("jobs over several nodes are for SLURM alone; on PBS give a job one node")
        at_once = need.workers * need.ranks
        select = f"1:ncpus={need.cores * at_once}:mem={round(need.memory_gb * at_once * 1024)}mb"
        if need.ranks > 1:
            select += f":mpiprocs={need.ranks}"
        if need.gpus:
            select += f":ngpus={need.gpus * at_once}"
        options: Options = {"select": select, "walltime": f"{minutes // 60:02d}:{minutes % 60:02d}:00"}
        for name, value in (("queue", need.partition), ("account", need.account)):
            if value:
                options[name] = value
        return {name: value for name, value in (options | need.extra).items() if value is not False}

    def gpus(self, need: Need) -> int:
        """Those of its workers or ranks."""
        return need.gpus * need.workers * need.ranks

    def script(self, submission: Submission, need: Need, cluster: Cluster) -> str:
        """A script for qsub. An array has two jobs at least: a single job is none."""
        short = {"queue": "-q ", "account": "-A ", "select": "-l select=", "walltime": "-l walltime="}
        options = self.options(need, submission.minutes, submission.nodes)
        at_once = f"%{cluster.jobs_at_once}" if cluster.jobs_at_once else ""
        lines = [f"-N {submission.name}", "-j oe", f'-o "{submission.logs}/"', "-r y", "-V"]
        lines += [f"-J 0-{submission.size - 1}{at_once}"] if submission.size > 1 else []
        lines += [
            f"{short.get(name, f'-{name} ')}{'' if value is True else value}".rstrip()
            for name, value in options.items()
        ]
        ending = [
            *log_lines(submission, _JOB),
            program_with_warning(submission, need, "${PBS_ARRAY_INDEX:-0}"),
        ]
        return script_text(submission, need, [f"#PBS {line}" for line in lines], ending, self.title)

    def rank_launcher(self, cluster: Cluster, need: Need) -> list[str]:
        """mpi_launcher of the profile, or mpirun."""
        return shlex.split(cluster.mpi_launcher or "mpirun")

    def how_to_submit(self, script: Path) -> str:
        """qsub with the script."""
        return f"qsub {shlex.quote(str(script))}"

    def submit(self, script: Path) -> None:
        """Submit a script."""
        _ask("qsub", str(script))

    def queued(self, names: Sequence[str]) -> list[QueuedJob]:
        """Jobs as qstat has them."""
        return [
            QueuedJob(
                one["Job_Name"],
                _index(job, one),
                _short(job),
                PENDING.get(state) or RUNNING.get(state, state),
                str(one.get("comment", "")) if state in PENDING else "",
                str(one.get("Job_Owner", "")).partition("@")[0],
                state in PENDING,
            )
            for job, one in _jobs(names)
            if (state := str(one.get("job_state", ""))) not in ENDED
        ]

    def cancel(self, jobs: Sequence[QueuedJob]) -> None:
        """End jobs by their ids."""
        if jobs:
            _ask("qdel", *dict.fromkeys(_long(job.job) for job in jobs))

    def ended(self, names: Sequence[str]) -> dict[tuple[str, int], tuple[str, str]]:
        """Jobs as the server's history has them, where it keeps one."""
        found = {}
        for job, one in _jobs(names, "-x"):
            if one.get("job_state") in ENDED:
                status = int(one.get("Exit_status", 0))
                how = "COMPLETED" if status == 0 else f"FAILED (exit status {status})"
                found[one["Job_Name"], _index(job, one)] = (_short(job), how)
        return found

    def max_array_size(self) -> int:
        """max_array_size of the server."""
        found = re.search(r"max_array_size = (\d+)", _ask("qmgr", "-c", "print server max_array_size"))
        return int(found[1]) if found else DEFAULT_ARRAY_SIZE

    def own_job(self, environment: Mapping[str, str]) -> OwnJob:
        """The job by the variables that PBS sets."""
        job, index = environment.get("PBS_JOBID", ""), environment.get("PBS_ARRAY_INDEX", "0")
        number = re.match(r"\d+", job)
        return OwnJob(f"{number[0]}_{index}" if number else "", "", number=int(number[0]) if number else 0)

    def requeue(self, job: str) -> None:
        """qrerun, which many sites leave to operators."""
        _ask("qrerun", _long(job))

    def being_preempted(self, job: str) -> bool:
        """Not known to PBS while it happens."""
        return False

    def there(self) -> bool:
        """Whether qsub is."""
        return shutil.which("qsub") is not None

    def version(self) -> str:
        """Version, after the server has answered."""
        _ask("qstat", "-B")
        return _ask("qstat", "--version").strip()


def _jobs(names: Sequence[str], *more: str) -> list[tuple[str, dict[str, Any]]]:
    """Jobs with these names by their ids; of arrays, the jobs in them and not the array."""
    said = _ask("qstat", *more, "-t", "-f", "-F", "json")
    try:
        jobs = json.loads(said or "{}").get("Jobs", {})
    except (json.JSONDecodeError, AttributeError) as error:
        raise NoScheduler(f"qstat said what is not JSON ({error})") from error
    return [(job, one) for job, one in jobs.items() if one.get("Job_Name") in names and "[]" not in job]


def _index(job: str, one: Mapping[str, Any]) -> int:
    found = re.search(r"\[(\d+)\]", job)
    return int(found[1]) if found else int(one.get("array_index", 0))


def _short(job: str) -> str:
    """123[4].server -> 123_4; 123.server -> 123_0, as the logs are named."""
    number, _, index = job.partition(".")[0].rstrip("]").partition("[")
    return f"{number}_{index or 0}"


def _long(job: str) -> str:
    """123_4 as PBS writes it. A single job, too, is found so: by its number, where it is in no array."""
    number, _, index = job.partition("_")
    known = json.loads(_ask("qstat", "-t", "-f", "-F", "json") or "{}").get("Jobs", {})
    return next((one for one in known if _short(one) == job and "[]" not in one), f"{number}[{index}]")


def _ask(*command: str) -> str:
    return ask(command, NOT_HANDED_ON, Pbs.title)
