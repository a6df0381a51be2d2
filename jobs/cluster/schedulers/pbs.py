"""PBS (OpenPBS and PBS Professional): its commands and options, and how a job knows itself.

Written from the manuals (PBS Professional Reference Guide) and tried on stand-ins for its commands alone.
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from jobs.cluster.arrays import Submission
from jobs.cluster.profile import Cluster, Need
from jobs.cluster.schedulers.one_host import OneHost, log_lines, program_with_warning
from jobs.cluster.schedulers.scheduler import NoScheduler, Options, OwnJob, QueuedJob, ask, at_once, merged
from jobs.cluster.script import script_text

NOT_HANDED_ON = re.compile(
    r"PBS_(?!(CONF_FILE|SERVER|DEFAULT|EXEC|HOME)$)|NCPUS$|OMP_NUM_THREADS$|PMI_|PMIX_"
)
"""Environment variables that are not handed on to the scheduler's commands: they belong to the job that this
process runs in. Those that say where the server is do not match."""
PENDING = {"Q": "queued", "H": "held", "W": "waiting", "T": "moving", "M": "moved", "S": "suspended"}
RUNNING = {"R": "running", "E": "exiting", "B": "running"}
ENDED = {"F", "X"}
DEFAULT_ARRAY_SIZE = 10_000
_JOB = r"""job=${PBS_JOBID%%.*}; job=${job%%[*}_${PBS_ARRAY_INDEX:-0}"""


class Pbs(OneHost):
    """PBS, by qsub, qstat, qdel, qrerun and qmgr."""

    name, title, submit_command, time_limit = "pbs", "PBS", "qsub", "walltime"
    set_by_us = frozenset({"N", "J", "o", "e", "j", "r", "V", "h", "W"})
    whole_node: ClassVar[Options] = {"place": "excl"}
    told = ("queue", "account", "select", "place")

    def check(self, need: Need) -> None:
        """See OneHost.check."""
        super().check(need)
        if "walltime" in str(need.extra.get("l", "")):
            raise ValueError("walltime has a key of its own: minutes")

    def options(self, need: Need, minutes: int, nodes: int = 1) -> Options:
        """Options of qsub, and the resources that it is asked for."""
        self.check_nodes(nodes)
        processes = need.workers * need.ranks
        select = f"1:ncpus={need.cores * processes}:mem={round(need.memory_gb * processes * 1024)}mb"
        if need.ranks > 1:
            select += f":mpiprocs={need.ranks}"
        if need.gpus:
            select += f":ngpus={need.gpus * processes}"
        options: Options = {"select": select, "walltime": f"{minutes // 60:02d}:{minutes % 60:02d}:00"}
        for name, value in (("queue", need.partition), ("account", need.account)):
            if value:
                options[name] = value
        return merged(options, need.extra)

    def script(self, submission: Submission, need: Need, cluster: Cluster) -> str:
        """A script for qsub. An array has two jobs at least: a single job is none."""
        short = {"queue": "-q ", "account": "-A "}
        short |= {name: f"-l {name}=" for name in ("select", "walltime", "place")}
        options = self.options(need, submission.minutes, submission.nodes)
        lines = [f"-N {submission.name}", "-j oe", f'-o "{submission.logs}/"', "-r y", "-V"]
        lines += [f"-J 0-{submission.size - 1}{at_once(cluster)}"] if submission.size > 1 else []
        lines += [
            f"{short.get(name, f'-{name} ')}{'' if value is True else value}".rstrip()
            for name, value in options.items()
        ]
        ending = [
            *log_lines(submission, _JOB),
            program_with_warning(submission, need, "${PBS_ARRAY_INDEX:-0}"),
        ]
        return script_text(submission, need, [f"#PBS {line}" for line in lines], ending, self.title)

    def how_to_submit(self, script: Path) -> str:
        """The command line: qsub with the script."""
        return f"qsub {shlex.quote(str(script))}"

    def submit(self, script: Path) -> None:
        """Submit a script."""
        _ask("qsub", str(script))

    def queued(self, names: Sequence[str]) -> list[QueuedJob]:
        """The jobs in the queue, as qstat lists them."""
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
            long = _long_names()
            _ask("qdel", *dict.fromkeys(long.get(job.job, _in_array(job.job)) for job in jobs))

    def ended(self, names: Sequence[str]) -> dict[tuple[str, int], tuple[str, str]]:
        """The jobs that have ended, from the server's history if it keeps one."""
        found = {}
        for job, one in _jobs(names, "-x"):
            if one.get("job_state") in ENDED:
                found[one["Job_Name"], _index(job, one)] = (_short(job), _how(one.get("Exit_status")))
        return found

    def max_array_size(self) -> int:
        """The largest size of an array: max_array_size of the server."""
        found = re.search(r"max_array_size = (\d+)", _ask("qmgr", "-c", "print server max_array_size"))
        return int(found[1]) if found else DEFAULT_ARRAY_SIZE

    def own_job(self, environment: Mapping[str, str]) -> OwnJob:
        """The job of this process, by the variables that PBS sets."""
        job, index = environment.get("PBS_JOBID", ""), environment.get("PBS_ARRAY_INDEX", "0")
        number = re.match(r"\d+", job)
        return OwnJob(f"{number[0]}_{index}" if number else "", "", number=int(number[0]) if number else 0)

    def requeue(self, job: str) -> None:
        """Put the own job back into the queue by qrerun, which many sites allow to operators only."""
        _ask("qrerun", _long_names().get(job, _in_array(job)))

    def version(self) -> str:
        """The version of PBS, after its server has answered."""
        _ask("qstat", "-B")
        return _ask("qstat", "--version").strip()


def _listing(*more: str) -> dict[str, Any]:
    """What qstat says of all jobs, by their ids."""
    said = _ask("qstat", *more, "-t", "-f", "-F", "json")
    try:
        return dict(json.loads(said or "{}").get("Jobs", {}))
    except (ValueError, TypeError, AttributeError) as error:
        raise NoScheduler(f"qstat said what is not JSON ({error})") from error


def _jobs(names: Sequence[str], *more: str) -> list[tuple[str, dict[str, Any]]]:
    """Jobs with these names by their ids; of arrays, the jobs in them and not the array."""
    return [
        (job, one) for job, one in _listing(*more).items() if one.get("Job_Name") in names and "[]" not in job
    ]


def _how(status: Any) -> str:
    """How a job ended. A job that was deleted before it started has no exit status."""
    if status is None:
        return "ENDED (no exit status)"
    return "COMPLETED" if int(status) == 0 else f"FAILED (exit status {status})"


def _index(job: str, one: Mapping[str, Any]) -> int:
    found = re.search(r"\[(\d+)\]", job)
    return int(found[1]) if found else int(one.get("array_index", 0))


def _short(job: str) -> str:
    """123[4].server -> 123_4; 123.server -> 123_0, as the logs are named."""
    number, _, index = job.partition(".")[0].rstrip("]").partition("[")
    return f"{number}_{index or 0}"


def _long_names() -> dict[str, str]:
    """Ids of the jobs in the queue as PBS writes them, by ours: 123[4].server by 123_4, and 123.server by 123_0."""
    return {_short(job): job for job in _listing() if "[]" not in job}


def _in_array(job: str) -> str:
    """The id 123_4 as a job of an array is called: 123[4]."""
    number, _, index = job.partition("_")
    return f"{number}[{index}]"


def _ask(*command: str) -> str:
    return ask(command, NOT_HANDED_ON, Pbs.title)
