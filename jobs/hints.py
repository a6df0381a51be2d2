"""States of cells with what the scheduler knows beside them. The disk comes first: without SLURM nothing changes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jobs.scheduler import NoScheduler, QueuedJob, cells_of, ended_as, queued_jobs
from jobs.status import CellState
from jobs.submission import read_submissions


def ask_scheduler(states: Sequence[CellState], directory: Path) -> list[CellState]:
    """The same states, better informed; unchanged where no scheduler answers.

    Cells that wait say in which job. Cells whose job has left the queue are lost at once, with accounting's
    word for how it ended.
    """
    submissions = read_submissions(directory)
    try:
        queued = queued_jobs(submissions)
    except NoScheduler:
        return list(states)
    there, of_cell = {job.job: job for job in queued}, cells_of(submissions, queued)
    return [_informed(state, there, of_cell.get(state.folder.name)) for state in states]


def _informed(state: CellState, there: dict[str, QueuedJob], queued: QueuedJob | None) -> CellState:
    mine = there.get(state.job)
    if state.state in ("running", "lost") and state.job and (mine is None or mine.pending):
        how = ended_as(state.job) if mine is None else "it is back in the queue"
        reason = f"job {state.job} has ended{f' ({how})' if how else ''}"
        state = replace(state, state="lost", rate=None, reason=reason)
    if queued is None or state.state not in ("waiting", "lost", "failed"):
        return state
    why = f", {queued.reason}" if queued.pending and queued.reason not in ("", "None") else ""
    said = f"in job {queued.job}: {queued.state.lower()}{why}"
    return replace(state, reason=f"{state.reason}; {said}" if state.reason else said)
