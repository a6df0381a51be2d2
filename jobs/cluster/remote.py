"""What `prosebench run` and its relatives say and do with a cluster as their executor."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote

from rich.console import Console

from jobs.cells.display import Progress, count, format_seconds
from jobs.cluster.arrays import read_submissions
from jobs.cluster.packing import Array
from jobs.cluster.profile import Cluster, Need
from jobs.cluster.schedulers.scheduler import (
    NoScheduler,
    Pace,
    QueuedJob,
    Scheduler,
    describe_queue,
    queued_jobs,
    schedulers,
    this_user,
)
from jobs.cluster.submit import Plan, follow, submit_commands, submit_missing, write_scripts
from prosebench.machine.terminal import plain_table
from prosebench.record import Cell


def submit_and_follow(
    cells: Sequence[Cell],
    directory: Path,
    cluster: Cluster,
    references: Sequence[Path],
    out: Console,
    *,
    followed: bool,
) -> None:
    """Submit what is missing; then return, or follow until no job is left. Raises NoScheduler."""
    plan, submissions = submit_missing(cells, directory, cluster, references)
    show_plan(plan, cluster, out)
    for submission in submissions:
        out.print(
            f"submitted {count(submission.size, 'job')} as {submission.name}; output in {submission.logs}",
            soft_wrap=True,
        )
    if plan.queued and not followed:
        out.print(describe_queue(queued_jobs(read_submissions(directory))))
    if not followed:
        if plan.works or plan.queued:
            _tell_what_next(directory, out)
        return
    folders = [directory / "cells" / cell.folder_name for cell in cells]
    with Progress(folders, out) as progress:
        follow(folders, directory, progress)


def write_and_tell(
    cells: Sequence[Cell],
    directory: Path,
    cluster: Cluster,
    references: Sequence[Path],
    script: Path,
    out: Console,
) -> None:
    """Write scripts for what is missing, and say how to submit them."""
    plan, paths = write_scripts(cells, directory, cluster, references, script)
    show_plan(plan, cluster, out)
    for path in paths:
        out.print(schedulers()[cluster.scheduler].how_to_submit(path), soft_wrap=True)


def show_work(plan: Plan, workers: int, out: Console) -> None:
    """Print what is to be done on this machine: cells, evaluations, hours."""
    out.print(f"{count(plan.finished, 'cell')} finished, {plan.parked} parked, {len(plan.works)} to run")
    if not plan.works:
        return
    seconds = sum(work.seconds for work in plan.works)
    at_once = min(workers, len(plan.works))
    out.print(
        f"{_cells_and_evaluations(plan)}, about {format_seconds(seconds)} of one worker, "
        f"{format_seconds(seconds / at_once)} with {at_once}",
        soft_wrap=True,
    )
    _tell_guesses(plan, out)


def show_plan(plan: Plan, cluster: Cluster, out: Console) -> None:
    """Print what is to be done by jobs: cells, jobs, hours, evaluations."""
    counts = f"{count(plan.finished, 'cell')} finished, {plan.queued} in queued jobs, {plan.parked} parked"
    out.print(f"{counts}, {len(plan.works)} to run")
    if not plan.works:
        return
    scheduler = schedulers()[cluster.scheduler]
    table = plain_table()
    for heading in ("jobs", "cells", "evaluations", "cores", "GPUs", "limit", "core h", "GPU h"):
        table.add_column(heading, justify="right")
    table.add_column("each job")
    for array in plan.arrays:
        need, works = array.need, [work for job in array.jobs for work in job]
        options = scheduler.options(need, array.minutes)
        table.add_row(
            f"{len(array.jobs)}",
            f"{len(works)}",
            f"{sum(work.evaluations for work in works):,}",
            f"{need.cores * need.workers * need.ranks}",
            f"{scheduler.gpus(need)}",
            format_seconds(60 * array.minutes),
            _hours(array.hours * need.cores * need.ranks),
            _hours(_gpu_hours(array, scheduler)),
            " ".join(f"{name}={options[name]}" for name in scheduler.told if name in options),
        )
    out.print(table)
    jobs = count(sum(len(array.jobs) for array in plan.arrays), "job")
    took = format_seconds(3600 * sum(array.hours for array in plan.arrays))
    gpu_hours = sum(_gpu_hours(array, scheduler) for array in plan.arrays)
    out.print(
        f"{_cells_and_evaluations(plan, f' in {jobs}')}, "
        f"about {took} of one worker, {_hours(gpu_hours)} GPU hours",
        soft_wrap=True,
    )
    _tell_guesses(plan, out)


def _cells_and_evaluations(plan: Plan, place: str = "") -> str:
    evaluations = sum(work.evaluations for work in plan.works)
    return f"{count(len(plan.works), 'cell')}{place}: {evaluations:,} evaluations"


def _gpu_hours(array: Array, scheduler: Scheduler) -> float:
    """Hours of GPUs that the cells of an array are expected to hold."""
    return array.hours / array.need.workers * scheduler.gpus(array.need)


def _hours(hours: float) -> str:
    """A number of hours with two digits, or with all digits before the point."""
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _tell_guesses(plan: Plan, out: Console) -> None:
    """Name the rows whose time is not known from finished cells."""
    rows = dict.fromkeys(work.cell.row for work in plan.works if work.guessed)
    if rows:
        out.print(
            f"the time of {', '.join(rows)} is a rough guess until some of their cells have finished here or in a run "
            "folder beside; run a small budget first",
            soft_wrap=True,
        )


def _tell_what_next(directory: Path, out: Console) -> None:
    out.print(
        f"`prosebench status {quote(str(directory))}` shows how far they are; the same command continues what is left",
        soft_wrap=True,
    )


def submit_each(
    commands: Sequence[Sequence[str]],
    directory: Path,
    cluster: Cluster,
    out: Console,
    *,
    need: Need,
    nodes: int = 1,
    processes: int = 1,
    progress: Callable[[], tuple[str, bool]] | None = None,
) -> None:
    """Submit `prosebench` commands, one a job; then return or, with progress, say how far they are until they are done.

    progress tells that, and whether nothing is left to do. Raises NoScheduler.
    """
    submission = submit_commands(commands, directory, cluster, need, nodes=nodes, processes=processes)
    queued = len(commands) - submission.size
    output = f"; output in {submission.logs}" if submission.size else ""
    out.print(
        f"submitted {count(submission.size, 'job')}, {queued} were queued already{output}",
        soft_wrap=True,
    )
    if progress:
        _follow_commands(directory, progress, out)
    else:
        _tell_what_next(directory, out)


def _follow_commands(directory: Path, progress: Callable[[], tuple[str, bool]], out: Console) -> None:
    said, queue, pace = "", "", Pace()
    jobs: list[QueuedJob] | None = None
    while True:
        if pace.is_due():
            try:
                jobs = queued_jobs(read_submissions(directory))
                queue = describe_queue(jobs)
            except NoScheduler as problem:
                jobs, queue = None, str(problem)
        done, finished = progress()
        line = f"{done}; {queue}"
        if line != said:
            out.print(f"{time.strftime('%H:%M:%S')} {line}", soft_wrap=True)
        if finished or jobs == []:
            return
        said = line
        time.sleep(_LOOK_SECONDS)


def cancel_jobs(directory: Path, out: Console) -> None:
    """End this user's jobs of a run folder. What they stored stays. Raises NoScheduler."""
    submissions = read_submissions(directory)
    jobs = queued_jobs(submissions)
    mine = [job for job in jobs if job.user == this_user()]
    of = {submission.name: submission.scheduler for submission in submissions}
    for name in sorted({of[job.name] for job in mine}):
        schedulers()[name].cancel([job for job in mine if of[job.name] == name])
    running = sum(not job.pending for job in mine)
    out.print(
        f"cancelled {count(len(mine), 'job')} ({running} of them running); the command that submitted them continues",
        soft_wrap=True,
    )
    if len(mine) < len(jobs):
        whose = ", ".join(sorted({job.user for job in jobs if job.user != this_user()}))
        out.print(
            f"{count(len(jobs) - len(mine), 'job')} of {whose} go on: only who submitted them can end them"
        )


_LOOK_SECONDS = 0.5
