"""What a run took: hours of CPU cores and of GPUs by row, and joules where machines counted them."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from prosebench.machine.joules import NODES, Reading, read_readings
from prosebench.names import EXTERNAL
from prosebench.record import Provenance, cell_folders, read_provenance, read_record
from prosebench.store.storage import DamagedFile

_SECONDS_PER_HOUR = 3600.0
_JOULES_PER_KWH = 3.6e6
_PARTS = {"cpu": "CPU packages", "gpu": "GPUs"}


@dataclass
class Hours:
    """Hours that finished cells held: wall clock of each, CPU cores, and GPUs."""

    cells: int = 0
    wall: float = 0.0
    cores: float = 0.0
    gpus: float = 0.0

    def add(self, where: Provenance) -> None:
        """Count a cell: all its phases, with the cores and GPUs that it had for itself."""
        hours = sum(where.seconds.get(phase, 0.0) for phase in ("sampling", "preparation", "training"))
        hours /= _SECONDS_PER_HOUR
        self.cells += 1
        self.wall += hours
        self.cores += hours * where.ranks * where.threads
        if where.device not in ("", "cpu"):
            self.gpus += hours * where.ranks


def hours_by_row(directory: Path) -> dict[str, Hours]:
    """Hours of the finished cells of a run folder, by row; those of other programs, whose costs are declared, are left
    out."""
    found: dict[str, Hours] = defaultdict(Hours)
    for folder in cell_folders(directory):
        try:
            record, where = read_record(folder), read_provenance(folder)
        except (DamagedFile, OSError):
            continue
        if record.cell.method != EXTERNAL:
            found[record.cell.row].add(where)
    return dict(sorted(found.items()))


def spent_markdown(directory: Path) -> str:
    """A table of hours and a line about joules; empty where no cell has finished."""
    rows = hours_by_row(directory)
    if not rows:
        return ""
    whole = Hours()
    for hours in rows.values():
        whole.cells += hours.cells
        whole.wall += hours.wall
        whole.cores += hours.cores
        whole.gpus += hours.gpus
    lines = ["| row | cells | wall hours | CPU core hours | GPU hours |", "| :-- | --: | --: | --: | --: |"]
    lines += [_line(row, hours) for row, hours in rows.items()]
    lines.append(_line("**all**", whole))
    said = "Hours of finished cells by their clocks, with the cores and GPUs that each held; scoring is not in them."
    return "\n".join([*lines, "", said, "", _joules_line(read_readings(directory))])


def _line(row: str, hours: Hours) -> str:
    numbers = " | ".join(f"{one:.3g}" for one in (hours.wall, hours.cores, hours.gpus))
    return f"| {row} | {hours.cells} | {numbers} |"


def _joules_line(readings: list[Reading]) -> str:
    """What counters counted, in kilojoules and kilowatt hours."""
    counted = [reading for reading in readings if NODES not in reading.joules]
    nodes = [_accounting(reading) for reading in readings if NODES in reading.joules]
    return " ".join([*_counters(counted), *nodes]) or (
        "Energy: not measured, since no counter of energy could be read on the machines of this run."
    )


def _accounting(reading: Reading) -> str:
    joules = reading.joules[NODES]
    return (
        f"The {reading.host} says {_amount(joules)} for the nodes of all jobs. This may hold part of what counters "
        "counted; the two must not be added."
    )


def _amount(joules: float) -> str:
    return f"{joules / 1e3:,.0f} kJ ({joules / _JOULES_PER_KWH:.2g} kWh)"


def _counters(readings: list[Reading]) -> list[str]:
    """A sentence about what counters of CPUs and GPUs counted; none where there were none."""
    by_counter: dict[tuple[str, str], list[Reading]] = defaultdict(list)
    for reading in readings:
        for part in reading.joules:
            by_counter[reading.host, part].append(reading)
    if not by_counter:
        return []
    sums: dict[str, float] = defaultdict(float)
    for (_host, part), some in by_counter.items():
        # Each GPU of a host has a part of its own, "gpu" and its UUID.
        sums[part.split()[0]] += most_apart(some, part)
    parts = ", ".join(f"{_PARTS.get(kind, kind)} {_amount(joules)}" for kind, joules in sorted(sums.items()))
    hosts = {reading.host for reading in readings}
    where = "1 host" if len(hosts) == 1 else f"{len(hosts)} hosts"
    hours = sum(_covered([one for one in readings if one.host == host]) for host in hosts) / _SECONDS_PER_HOUR
    least = any(_overlap(some) for some in by_counter.values())
    said = (
        f"Energy, as counted by the machines: {'at least ' * least}{parts}, over {hours:.3g} hours on {where}. "
        "These are joules of whole CPU packages and GPUs, with whatever else ran on them."
    )
    why = (
        " Jobs ran side by side on one host, and each counted the same packages: only readings that do not overlap in "
        "time are added, those that give the most."
    )
    return [said + why * least]


def most_apart(readings: Sequence[Reading], part: str) -> float:
    """The largest sum of joules of one counter over readings of it of which no two overlap in time.

    No joule is in it twice, so it is at most what the counter counted. Weighted interval scheduling (Kleinberg and
    Tardos, Algorithm Design, 2005, section 6.1).
    """
    ordered = sorted(readings, key=lambda one: one.ended)
    ends = [one.ended for one in ordered]
    best = [0.0]
    for index, reading in enumerate(ordered):
        before = bisect_right(ends, reading.started, hi=index)
        best.append(max(best[-1], best[before] + reading.joules[part]))
    return best[-1]


def _covered(readings: Sequence[Reading]) -> float:
    """Seconds in which there was a reading."""
    total, until = 0.0, 0.0
    for reading in sorted(readings, key=lambda one: one.started):
        total += max(0.0, reading.ended - max(reading.started, until))
        until = max(until, reading.ended)
    return total


def _overlap(readings: Sequence[Reading]) -> bool:
    ordered = sorted(readings, key=lambda one: one.started)
    return any(after.started < before.ended for before, after in pairwise(ordered))
