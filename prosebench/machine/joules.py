"""Energy in joules that machines used while cells ran: what their own counters said, in `DIR/joules/*.json`.

A counter of a CPU or a GPU knows of no process. So these are joules of whole CPU packages and whole GPUs, other
programs on them included, over the time of one `prosebench run` or one job; what is idle meanwhile is in them, too.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prosebench.store.fields import Name, Seconds, Text
from prosebench.store.storage import DamagedFile, read_json, write_json

FOLDER = "joules"
NODES = "nodes"
"""The name under which a reading from a scheduler's accounting holds joules. These are of whole nodes, with
all that is in them."""


class Reading(BaseModel):
    """What the counters of one host counted: joules by part ("cpu": its packages; "gpu" and the UUID of a GPU that was
    visible), over so many seconds from a start (Unix time in s), for a process or a job of a scheduler.

    Readings of jobs that ran side by side hold the same joules. Where the start is not known (0), readings of a host
    count as such.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Text
    job: Text = ""
    started: Seconds = 0.0
    seconds: Seconds
    joules: dict[Name, float] = Field(max_length=100)

    @property
    def ended(self) -> float:
        """The end of the reading, as Unix time in s."""
        return self.started + self.seconds


def write_reading(directory: Path, name: str, reading: Reading) -> None:
    """Write a reading of a run folder under a name of its own; a later one of the same name takes its place."""
    write_json(directory / FOLDER / f"{name}.json", reading.model_dump(mode="json"))


def read_readings(directory: Path) -> list[Reading]:
    """All readings of a run folder; damaged ones are left out."""
    found = []
    for path in sorted((directory / FOLDER).glob("*.json")):
        try:
            found.append(Reading.model_validate(read_json(path)))
        except (DamagedFile, OSError, ValidationError):
            continue
    return found
