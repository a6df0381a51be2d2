"""A submission: one array of jobs, as a folder `DIR/jobs/<name>/` that says which job does what.

The name of the folder is the name of the array in the scheduler's queue; so jobs are found there by name, whoever
submitted them and however.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from prosebench.store.locks import waiting_lock
from prosebench.store.storage import DamagedFile, read_json, write_json

_FILE = "submission.json"


class Submission(BaseModel):
    """What the jobs of an array do.

    Job i works on the cells of jobs[i] (names of folders under DIR/cells) or, where commands are given, runs
    `prosebench` with the arguments commands[i]; nodes x processes of it, where they are several, train together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    directory: Path
    scheduler: str = "slurm"
    jobs: list[list[str]] = []
    commands: list[list[str]] = []
    workers: int = 1
    threads: int = 1
    ranks: int = 1
    launcher: list[str] = []
    nodes: int = 1
    processes: int = 1
    minutes: int
    signal_seconds: int
    references: list[Path] = []

    @property
    def folder(self) -> Path:
        """The folder of this submission."""
        return self.directory / "jobs" / self.name

    @property
    def logs(self) -> Path:
        """The folder of the jobs' output."""
        return self.folder / "logs"

    @property
    def size(self) -> int:
        """Number of jobs."""
        return len(self.commands or self.jobs)

    def write(self) -> None:
        """Write submission.json, and make the folder of the logs."""
        write_json(self.folder / _FILE, self.model_dump(mode="json"))
        self.logs.mkdir(exist_ok=True)


def new_name() -> str:
    """A fresh name for a submission."""
    return f"prosebench-{uuid.uuid4().hex[:8]}"


def read_submission(folder: Path) -> Submission:
    """The submission of a folder, wherever the run folder lies now. Raises FileNotFoundError, DamagedFile."""
    content = read_json(folder / _FILE)
    try:
        return Submission.model_validate(content | {"directory": folder.resolve().parent.parent})
    except (TypeError, ValidationError) as error:
        raise DamagedFile(f"{folder / _FILE} is not a submission: {error}") from error


def read_submissions(directory: Path) -> list[Submission]:
    """All submissions of a run folder, the oldest first."""
    paths = sorted((directory / "jobs").glob(f"*/{_FILE}"), key=lambda path: path.stat().st_mtime_ns)
    return [read_submission(path.parent) for path in paths]


@contextmanager
def submitting(directory: Path) -> Iterator[None]:
    """One process at a time looks at what is queued and submits what is missing."""
    folder = directory / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    with waiting_lock(folder / "lock"):
        yield


def job_with_output(submission: Submission, index: int) -> str:
    """Id of the last job that worked on number `index` of a submission, by its output; empty where there is none."""
    paths = list(submission.logs.glob(f"*_{index}.log"))
    return max(paths, key=lambda path: path.stat().st_mtime_ns).stem if paths else ""
