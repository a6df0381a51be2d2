"""From missing cells to jobs: cells with the same need side by side, short ones together in one job."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.cluster.profile import Cluster, Need
from prosebench.record import Cell

SAFETY = 1.5
"""The factor between a time limit and the estimated time. Estimates are medians, so half of all cells take
longer."""


@dataclass(frozen=True)
class Work:
    """A missing cell with an estimate of the seconds and the evaluations that are left of it; guessed: none like it
    has finished yet.
    """

    folder: Path
    cell: Cell
    seconds: float
    evaluations: int
    guessed: bool = False


@dataclass(frozen=True)
class Array:
    """Jobs of one need, submitted as one array: the cells of each, and the time limit in minutes of all."""

    need: Need
    jobs: list[list[Work]]
    minutes: int

    @property
    def hours(self) -> float:
        """Hours of a worker that the cells are expected to take, all together."""
        return sum(work.seconds for job in self.jobs for work in job) / 3600


def pack(missing: Sequence[Work], cluster: Cluster, max_array_size: int) -> list[Array]:
    """Arrays of jobs, none longer than max_array_size."""
    groups: dict[str, tuple[Need, list[Work]]] = {}
    for one in missing:
        need = cluster.need(one.cell.row, one.cell.method)
        work = replace(one, seconds=one.seconds / need.ranks)
        groups.setdefault(need.model_dump_json(), (need, []))[1].append(work)
    arrays = []
    for need, works in groups.values():
        share = max(1, cluster.max_jobs * len(works) // len(missing))
        jobs = _fill(works, _number_of_jobs(works, need, cluster, share))
        for start in range(0, len(jobs), max_array_size):
            part = jobs[start : start + max_array_size]
            arrays.append(Array(need, part, _minutes(part, need, cluster)))
    return arrays


def _number_of_jobs(works: list[Work], need: Need, cluster: Cluster, most: int) -> int:
    seconds = sum(work.seconds for work in works)
    by_time = math.ceil(seconds / (60 * min(cluster.pack_minutes, need.minutes) * need.workers))
    return max(1, min(by_time, len(works), most))


def _fill(works: list[Work], number: int) -> list[list[Work]]:
    """Distribute the work over jobs: the longest first, each to the job that has least to do."""
    jobs: list[list[Work]] = [[] for _ in range(number)]
    heap = [(0.0, index) for index in range(number)]
    for work in sorted(works, key=lambda one: -one.seconds):
        load, index = heapq.heappop(heap)
        jobs[index].append(work)
        heapq.heappush(heap, (load + work.seconds, index))
    return jobs


def _minutes(jobs: list[list[Work]], need: Need, cluster: Cluster) -> int:
    """A time limit that the longest job of an array will keep, or the longest there is."""
    longest = max(max(sum(work.seconds for work in job) / need.workers, job[0].seconds) for job in jobs)
    wanted = SAFETY * longest / 60 + 2 + cluster.signal_seconds / 60
    return min(need.minutes, math.ceil(wanted))
