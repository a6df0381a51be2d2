"""States of cells with what the scheduler knows beside them. The disk comes first: without one nothing changes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jobs.cells.status import CellState, find_log
from jobs.cluster.arrays import Submission, job_with_output, read_submissions
from jobs.cluster.schedulers.scheduler import (
    NoScheduler,
    QueuedJob,
    cells_of,
    describe_queue,
    ended_jobs,
    joules_of,
    queued_jobs,
    schedulers,
)
from prosebench.machine.joules import NODES, Reading, write_reading


def ask_scheduler(states: Sequence[CellState], directory: Path) -> tuple[list[CellState], str]:
    """The same states with what the scheduler knows of them, and a line about the queue; unchanged where no
    scheduler answers.

    Cells that wait say in which job. Cells whose job has left the queue are lost at once. Cells that stand
    still after a job has ended have accounting's word for how it ended.
    """
    submissions = read_submissions(directory)
    try:
        queued = queued_jobs(submissions)
    except NoScheduler as problem:
        return list(states), str(problem)
    there, of_cell = {job.job: job for job in queued}, cells_of(submissions, queued)
    told = [_with_queue(state, there, of_cell.get(state.folder.name), directory) for state in states]
    still = {state.folder.name for state in told if state.state in ("waiting", "lost")} - set(of_cell)
    # The last submission that a cell was part of counts.
    jobs = {
        cell: (submission, index)
        for submission in submissions
        for index, cells in enumerate(submission.jobs)
        for cell in cells
        if cell in still
    }
    ended = ended_jobs(submission for submission, _ in jobs.values())
    told = [_with_end(state, jobs.get(state.folder.name), ended) for state in told]
    return told, describe_queue(queued) if queued else ""


def describe_end(directory: Path) -> str:
    """How the jobs of a run folder that ran commands last ended, and their output; empty where there is nothing to say.

    Of several, only those that did not end well.
    """
    submissions = read_submissions(directory)
    if not submissions or not submissions[-1].commands:
        return ""
    ended = ended_jobs([submissions[-1]])
    said = [
        f"job {job} ended as {how}; log: {find_log(directory, job) or 'none'}"
        for job, how in ended.values()
        if how != "COMPLETED" or submissions[-1].size == 1
    ]
    return "\n".join(said)


def note_joules(directory: Path) -> None:
    """Write down what the scheduler's accounting knows of the energy of a run folder's jobs, for its report."""
    for scheduler, joules in joules_of(read_submissions(directory)).items():
        reading = Reading(
            host=f"accounting of {schedulers()[scheduler].title}", seconds=0.0, joules={NODES: joules}
        )
        write_reading(directory, f"accounting-{scheduler}", reading)


def _with_queue(
    state: CellState, there: dict[str, QueuedJob], queued: QueuedJob | None, directory: Path
) -> CellState:
    mine = there.get(state.job)
    ours = bool(state.job) and find_log(directory, state.job) is not None
    if state.state == "running" and ours and (mine is None or mine.pending):
        state = replace(state, state="lost", sitting=(0, 0.0), reason=f"job {state.job} is gone")
    if queued is None or state.state not in ("waiting", "lost", "failed"):
        return state
    why = f", {queued.reason}" if queued.pending and queued.reason not in ("", "None") else ""
    said = f"in job {queued.job}: {queued.state.lower()}{why}"
    return replace(state, reason=f"{state.reason}; {said}" if state.reason else said)


def _with_end(
    state: CellState, place: tuple[Submission, int] | None, ended: dict[tuple[str, int], tuple[str, str]]
) -> CellState:
    if place is None:
        return state
    submission, index = place
    # Accounting is some seconds late.
    job, how = ended.get((submission.name, index), (job_with_output(submission, index), "RUNNING"))
    known = how not in ("RUNNING", "PENDING", "REQUEUED")
    said = (
        f"job {job} ended as {how}"
        if known
        else f"job {job or f'{index} of {submission.name}'} has left the queue"
    )
    return replace(state, job=job or state.job, reason=said)
