"""What `prosebench run --executor slurm` and its relatives say and do."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from jobs.cluster import Cluster, Need, sbatch_options
from jobs.display import Progress, format_seconds
from jobs.scheduler import NoScheduler, QueuedJob, cancel, describe_queue, queued_jobs
from jobs.slurm import Plan, follow, submit_commands, submit_missing, write_scripts
from jobs.submission import read_submissions
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
    show_plan(plan, out)
    for submission in submissions:
        out.print(f"submitted {submission.size} jobs as {submission.name}; output in {submission.logs}")
    if plan.queued and not followed:
        out.print(describe_queue(queued_jobs(read_submissions(directory))))
    if not followed:
        if plan.works or plan.queued:
            out.print(
                f"`prosebench status {directory}` shows how far they are; the same command continues what is left"
            )
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
    show_plan(plan, out)
    for path in paths:
        out.print(f"sbatch {path}")


def show_plan(plan: Plan, out: Console) -> None:
    """Print what is to be done: cells, jobs, hours, evaluations."""
    counts = f"{plan.finished} cells finished, {plan.queued} in queued jobs, {plan.parked} parked"
    out.print(f"{counts}, {len(plan.works)} to run")
    if not plan.works:
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("jobs", "cells", "evaluations", "cores", "GPUs", "limit", "core h", "GPU h"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("each job", overflow="fold")
    for array in plan.arrays:
        need, works = array.need, [work for job in array.jobs for work in job]
        options = sbatch_options(need, array.minutes)
        table.add_row(
            f"{len(array.jobs)}",
            f"{len(works)}",
            f"{sum(work.evaluations for work in works):,}",
            f"{need.cores * need.workers * need.ranks}",
            f"{need.gpus * need.workers * need.ranks}",
            format_seconds(60 * array.minutes),
            f"{array.hours * need.cores * need.ranks:.2g}",
            f"{array.hours * need.gpus * need.ranks:.2g}",
            " ".join(f"{name}={options[name]}" for name in _TOLD if name in options),
        )
    out.print(table)
    jobs = sum(len(array.jobs) for array in plan.arrays)
    evaluations = sum(work.evaluations for work in plan.works)
    took = format_seconds(3600 * sum(array.hours for array in plan.arrays))
    gpu_hours = sum(array.hours * array.need.gpus * array.need.ranks for array in plan.arrays)
    out.print(
        f"{len(plan.works)} cells in {jobs} jobs: {evaluations:,} evaluations, "
        f"about {took} of one worker, {gpu_hours:.2g} GPU hours"
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
    out.print(f"submitted {submission.size} jobs, {queued} were queued already{output}", soft_wrap=True)
    if progress:
        _follow_commands(directory, progress, out)
    else:
        out.print(
            f"`prosebench status {directory}` shows how far they are; the same command continues what is left"
        )


def _follow_commands(directory: Path, progress: Callable[[], tuple[str, bool]], out: Console) -> None:
    said, queue, pause, asked = "", "", _FIRST_PAUSE_SECONDS, float("-inf")
    jobs: list[QueuedJob] | None = None
    while True:
        if time.monotonic() - asked > pause:
            asked, pause = time.monotonic(), min(1.5 * pause, _LONGEST_PAUSE_SECONDS)
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
    """End all jobs of a run folder. What they stored stays. Raises NoScheduler."""
    submissions = read_submissions(directory)
    jobs = queued_jobs(submissions)
    names = {job.name for job in jobs}
    cancel(submission for submission in submissions if submission.name in names)
    running = sum(not job.pending for job in jobs)
    out.print(
        f"cancelled {len(jobs)} jobs ({running} were running); `prosebench run` with the same arguments continues"
    )


_LOOK_SECONDS, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 1.0, 20.0
_TOLD = ("partition", "qos", "account", "constraint", "gres", "mem", "mem-per-cpu")
