"""LSF: its commands and options, and how a job knows itself.

Written from the manuals (IBM Spectrum LSF command reference) and tried on stand-ins for its commands alone.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from jobs.cluster.arrays import Submission
from jobs.cluster.profile import Cluster, Need
from jobs.cluster.schedulers.one_host import OneHost, log_lines, program_with_warning
from jobs.cluster.schedulers.scheduler import NoScheduler, Options, OwnJob, QueuedJob, ask, at_once, merged
from jobs.cluster.script import script_text

NOT_HANDED_ON = re.compile(r"(LSB_|LS_JOBPID|LSF_BSUB|BSUB_|LSFUSER)|PMI_|PMIX_")
"""Environment variables that are not handed on to the scheduler's commands: they belong to the job that this
process runs in, or stand for options. Those that say where the cluster is do not match."""
PENDING = {"PEND", "PSUSP", "WAIT", "PROV"}
ENDED = {"DONE", "EXIT", "ZOMBI"}
DEFAULT_ARRAY_SIZE = 1000
_COLUMNS = "jobid jobindex stat user name exit_code pend_reason"
_JOB = "job=${LSB_JOBID}_$((LSB_JOBINDEX > 0 ? LSB_JOBINDEX - 1 : 0))"


class Lsf(OneHost):
    """LSF, by bsub, bjobs, bkill, brequeue and bparams. Its arrays count from 1. It suspends jobs that make
    room, and does not end them."""

    name, title, submit_command, time_limit = "lsf", "LSF", "bsub", "W"
    set_by_us = frozenset({"J", "o", "oo", "e", "eo", "r", "rn", "H", "K", "I"})
    whole_node: ClassVar[Options] = {"x": True}
    told = ("q", "P", "R", "M", "gpu")

    def options(self, need: Need, minutes: int, nodes: int = 1) -> Options:
        """Options of bsub; resources of the profile's own (R) stand beside these, see `script`."""
        self.check_nodes(nodes)
        processes = need.workers * need.ranks
        memory = round(need.memory_gb * processes * 1024)
        options: Options = {
            "n": need.cores * processes,
            "R": f"span[hosts=1] rusage[mem={memory}MB]",
            "M": f"{memory}MB",
            "W": minutes,
        }
        for name, value in (("q", need.partition), ("P", need.account)):
            if value:
                options[name] = value
        if need.gpus:
            options["gpu"] = f"num={need.gpus * processes}"
        own = {name: value for name, value in need.extra.items() if name != "R" or value is False}
        return merged(options, own)

    def script(self, submission: Submission, need: Need, cluster: Cluster) -> str:
        """A script for bsub."""
        options = self.options(need, submission.minutes, submission.nodes)
        lines = [
            f'-J "{submission.name}[1-{submission.size}]{at_once(cluster)}"',
            f'-o "{_report(submission)}"',
            "-r",
        ]
        lines += [_option(name, value) for name, value in options.items()]
        # LSF takes several strings of resources and wants them all: one host and memory stay asked for.
        lines += [_option("R", value) for name, value in need.extra.items() if name == "R" and value]
        ending = [*log_lines(submission, _JOB), program_with_warning(submission, need, "${job##*_}")]
        return script_text(submission, need, [f"#BSUB {line}" for line in lines], ending, self.title)

    def how_to_submit(self, script: Path) -> str:
        """The command line: bsub reads a script's options only from its input."""
        return f"bsub < {shlex.quote(str(script))}"

    def submit(self, script: Path) -> None:
        """Submit a script."""
        _ask("bsub", given=script.read_text())

    def queued(self, names: Sequence[str]) -> list[QueuedJob]:
        """The jobs in the queue, as bjobs lists them."""
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
        """The jobs that have ended in the last hour or so; LSF does not know them for longer."""
        return {
            (name, index): (job, "COMPLETED" if state == "DONE" else f"FAILED (exit code {code})")
            for job, index, state, _, name, code, _ in _jobs(names)
            if state in ENDED
        }

    def max_array_size(self) -> int:
        """The largest size of an array: MAX_JOB_ARRAY_SIZE of the cluster."""
        found = re.search(r"MAX_JOB_ARRAY_SIZE\s*=\s*(\d+)", _ask("bparams", "-a"))
        return int(found[1]) if found else DEFAULT_ARRAY_SIZE

    def own_job(self, environment: Mapping[str, str]) -> OwnJob:
        """The job of this process, by the variables that LSF sets."""
        job, index = environment.get("LSB_JOBID", ""), int(environment.get("LSB_JOBINDEX", "0") or 0)
        return OwnJob(f"{job}_{max(0, index - 1)}" if job else "", "", number=int(job or 0))

    def requeue(self, job: str) -> None:
        """Put the own job back into the queue."""
        _ask("brequeue", _long(job))

    def version(self) -> str:
        """The version of LSF, after its master has answered."""
        return _ask("lsid").strip().splitlines()[0]


def _jobs(names: Sequence[str]) -> list[tuple[str, int, str, str, str, str, str]]:
    """For each job of these names: its id as used here, index from 0, state, user, submission, exit code and
    reason."""
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


def _option(name: str, value: str | int | bool) -> str:
    """An option as bsub reads it from a script."""
    if value is True:
        return f"-{name}"
    text = str(value)
    if not re.search(r"[^\w.:/-]", text):
        return f"-{name} {text}"
    return f"-{name} {shlex.quote(text)}" if '"' in text else f'-{name} "{text}"'


def _report(submission: Submission) -> str:
    """The file for LSF's own report on each job; none if a % in the path would be taken for a placeholder."""
    return "/dev/null" if "%" in str(submission.logs) else f"{submission.logs}/%J_%I.lsf"


def _long(job: str) -> str:
    """123_4 as LSF writes it: 123[5]."""
    number, _, index = job.partition("_")
    return f"{number}[{int(index) + 1}]"


def _ask(*command: str, given: str = "") -> str:
    return ask(command, NOT_HANDED_ON, Lsf.title, given)
