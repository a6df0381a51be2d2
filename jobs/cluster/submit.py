"""Submitting to a cluster: what is missing and not queued becomes arrays of jobs; records say what became of them."""

import glob
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.cells.display import count
from jobs.cells.failures import parked as is_parked
from jobs.cells.status import read_state
from jobs.cluster.arrays import Submission, new_name, read_submissions, submitting
from jobs.cluster.cost import CostModel
from jobs.cluster.packing import Array, Work, pack
from jobs.cluster.profile import Cluster, Need
from jobs.cluster.schedulers.scheduler import (
    NoAnswer,
    NoScheduler,
    Pace,
    QueuedJob,
    cells_of,
    commands_of,
    describe_queue,
    queued_jobs,
    schedulers,
)
from jobs.cluster.script import MARK
from prosebench.record import Cell
from prosebench.store.storage import write_bytes


@dataclass(frozen=True)
class Plan:
    """What would be submitted: arrays, and how many cells are finished, parked, or in queued jobs already."""

    arrays: list[Array]
    finished: int
    parked: int
    queued: int

    @property
    def works(self) -> list[Work]:
        """All cells that would be submitted."""
        return [work for array in self.arrays for job in array.jobs for work in job]


def make_plan(
    cells: Sequence[Cell], directory: Path, cluster: Cluster, queued: Sequence[QueuedJob] = ()
) -> Plan:
    """Arrays for the cells that are neither finished nor parked nor in a queued job; writes nothing."""
    costs = CostModel().learn(_sources(directory))
    taken = cells_of(read_submissions(directory), queued)
    missing, finished, parked, waiting = [], 0, 0, 0
    for cell in cells:
        folder = directory / "cells" / cell.folder_name
        if (folder / "record.json").exists():
            finished += 1
        elif folder.name in taken:
            waiting += 1
        elif is_parked(folder):
            parked += 1
        else:
            gpu = schedulers()[cluster.scheduler].gpus(cluster.need(cell.row, cell.method)) > 0
            missing.append(_work(cell, folder, costs, gpu))
    size = cluster.max_array_size or _array_size(cluster)
    return Plan(pack(missing, cluster, size), finished, parked, waiting)


def preview(cells: Sequence[Cell], directory: Path, cluster: Cluster) -> Plan:
    """What `submit_missing` would submit; where no scheduler answers, as if nothing were queued."""
    try:
        queued = queued_jobs(read_submissions(directory))
    except NoScheduler:
        queued = []
    return make_plan(cells, directory, cluster, queued)


def submit_missing(
    cells: Sequence[Cell], directory: Path, cluster: Cluster, references: Sequence[Path]
) -> tuple[Plan, list[Submission]]:
    """Submit what is missing, as arrays. Two that do so at once do not submit anything twice. Raises NoScheduler."""
    directory = directory.resolve()
    with submitting(directory):
        queued = queued_jobs(read_submissions(directory))
        plan = make_plan(cells, directory, cluster, queued)
        submissions: list[Submission] = []
        for array in plan.arrays:
            submission = _submission(array, directory, cluster, references)
            try:
                _submit(submission, array.need, cluster)
            except NoScheduler as refused:
                before = sum(one.size for one in submissions)
                stay = (
                    f"; {count(before, 'job')} of another need were submitted before, and stay"
                    if before
                    else ""
                )
                raise NoScheduler(f"{refused}{stay}") from refused
            submissions.append(submission)
    return plan, submissions


def write_scripts(
    cells: Sequence[Cell], directory: Path, cluster: Cluster, references: Sequence[Path], path: Path
) -> tuple[Plan, list[Path]]:
    """Write what `submit_missing` would submit as scripts, next to path where there are several."""
    directory = directory.resolve()
    plan = preview(cells, directory, cluster)
    paths = []
    for number, array in enumerate(plan.arrays):
        submission = _submission(array, directory, cluster, references)
        submission.write()
        paths.append(path if number == 0 else path.with_stem(f"{path.stem}-{number + 1}"))
        text = schedulers()[cluster.scheduler].script(submission, array.need, cluster)
        write_bytes(paths[-1], text.encode())
    _remove_stale(path, paths)
    return plan, paths


def submit_commands(
    commands: Sequence[Sequence[str]],
    directory: Path,
    cluster: Cluster,
    need: Need,
    *,
    nodes: int = 1,
    processes: int = 1,
) -> Submission:
    """Submit `prosebench` commands (their arguments), one a job; those that are queued already are left out.

    nodes x processes of them train together.
    """
    directory = directory.resolve()
    with submitting(directory):
        before = read_submissions(directory)
        there = commands_of(before, queued_jobs(before))
        submission = Submission(
            name=new_name(),
            directory=directory,
            commands=[list(command) for command in commands if list(command) not in there],
            threads=need.cores,
            workers=need.workers,
            scheduler=cluster.scheduler,
            nodes=nodes,
            processes=processes,
            minutes=need.minutes,
            signal_seconds=cluster.signal_seconds,
        )
        if submission.commands:
            _submit(submission, need, cluster)
    return submission


def follow(folders: Sequence[Path], directory: Path, watch: Callable[[str], None]) -> None:
    """Wait until every cell has ended or no job is left. watch is called often, with a line about the queue.

    Only reads: any number may follow, from any machine with the scheduler's commands.
    """
    pace, line = Pace(), "asking the scheduler"
    waiting = set(folders)
    while True:
        waiting -= {folder for folder in waiting if (folder / "record.json").exists()}
        if not waiting:
            return
        if pace.is_due():
            try:
                jobs = queued_jobs(read_submissions(directory))
                line = describe_queue(jobs)
                if not jobs:
                    return
            except NoScheduler as problem:
                line = str(problem)
        watch(line)
        time.sleep(0.25)


def _work(cell: Cell, folder: Path, costs: CostModel, gpu: bool) -> Work:
    spent = read_state(folder).spent if folder.exists() else 0
    left = cell.budgets[-1] - spent
    seconds = max(1.0, costs.seconds(cell, gpu=gpu) * left / cell.budgets[-1])
    return Work(folder, cell, seconds, left, guessed=not costs.knows(cell, gpu=gpu))


def _sources(directory: Path) -> list[Path]:
    """The folders whose finished cells give the estimates: this run folder and its neighbours."""
    return sorted(
        {directory.resolve(), *(path.parent.resolve() for path in directory.resolve().parent.glob("*/cells"))}
    )


def _array_size(cluster: Cluster) -> int:
    try:
        return schedulers()[cluster.scheduler].max_array_size()
    except NoScheduler:
        return 1000


def _submission(array: Array, directory: Path, cluster: Cluster, references: Sequence[Path]) -> Submission:
    return Submission(
        name=new_name(),
        directory=directory,
        jobs=[[work.folder.name for work in job] for job in array.jobs],
        workers=array.need.workers,
        ranks=array.need.ranks,
        launcher=schedulers()[cluster.scheduler].rank_launcher(cluster, array.need)
        if array.need.ranks > 1
        else [],
        scheduler=cluster.scheduler,
        threads=array.need.cores,
        minutes=array.minutes,
        signal_seconds=cluster.signal_seconds,
        references=[path.resolve() for path in references],
    )


def _submit(submission: Submission, need: Need, cluster: Cluster) -> None:
    """Write a submission and its script into its folder, and hand the script over. Raises NoScheduler."""
    scheduler = schedulers()[cluster.scheduler]
    submission.write()
    script = submission.folder / "array.sh"
    write_bytes(script, scheduler.script(submission, need, cluster).encode())
    try:
        scheduler.submit(script)
    except NoAnswer as silent:
        # Jobs that were taken all the same read this folder, and are found in the queue by its name.
        raise NoScheduler(
            f"{silent}; it may have taken the jobs all the same: {submission.folder} stays, and the next submission "
            "leaves out what is in the queue by then"
        ) from silent
    except NoScheduler:
        shutil.rmtree(submission.folder)
        raise


def _remove_stale(path: Path, written: Sequence[Path]) -> None:
    """Remove scripts that are left of an earlier plan with more arrays: a script that is submitted again does
    its work twice."""
    for old in [path, *path.parent.glob(f"{glob.escape(path.stem)}-*{glob.escape(path.suffix)}")]:
        ours = old == path or old.stem.removeprefix(f"{path.stem}-").isdigit()
        if ours and old not in written and old.is_file() and MARK in old.read_text(errors="replace")[:200]:
            old.unlink()
