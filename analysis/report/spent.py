"""What a run took: hours of CPU cores and of GPUs by row, and joules where machines counted them."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from prosebench.joules import NODES, Reading, read_readings
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
    return f"The {reading.host} says {_amount(joules)} for the nodes of all jobs; what counters counted is in it."


def _amount(joules: float) -> str:
    return f"{joules / 1e3:,.0f} kJ ({joules / _JOULES_PER_KWH:.2g} kWh)"


def _counters(readings: list[Reading]) -> list[str]:
    """A sentence about what counters of CPUs and GPUs counted; none where there were none."""
    sums: dict[str, float] = defaultdict(float)
    for reading in readings:
        for part, joules in reading.joules.items():
            sums[part] += joules
    if not sums:
        return []
    parts = ", ".join(f"{_PARTS.get(part, part)} {_amount(joules)}" for part, joules in sorted(sums.items()))
    hosts = len({reading.host for reading in readings})
    where = "1 host" if hosts == 1 else f"{hosts} hosts"
    hours = sum(reading.seconds for reading in readings) / _SECONDS_PER_HOUR
    return [
        f"Energy, as counted by the machines: {parts}, over {hours:.3g} hours on {where}. "
        "These are joules of whole CPU packages and GPUs, with whatever else ran on them."
    ]
