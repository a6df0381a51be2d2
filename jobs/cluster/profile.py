"""Cluster profiles: what a site wants to be asked for. Read from TOML, checked before anything is submitted."""

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from prosebench.store.fields import explained
from prosebench.store.storage import read_text

Positive = Annotated[int, Field(gt=0)]


class ClusterError(ValueError):
    """A cluster profile that cannot be used; the message says why, and what is known."""


class Need(BaseModel):
    """What one job asks for. cores, memory_gb and gpus are per worker; a job has `workers` of them, on one node.

    With `ranks`, a cell spans so many processes, on one node or several, and cores, memory_gb and gpus are for each.

    minutes is the longest time limit that jobs may ask for; they ask for less where less will do. extra reaches every
    other option of the scheduler, as in extra = {exclusive = true, "mail-type" = "END"}; false leaves one out that
    prosebench would give, as in extra = {mem = false}. modules and setup are loaded and run, environment is set, at the
    start of each job; one that fails ends the job. prefix stands before the Python of a job, as a container's
    ["apptainer", "exec", "--nv", "image.sif"]; python is that interpreter, where it is another than here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: str = ""
    account: str = ""
    qos: str = ""
    gres: str = ""
    constraint: str = ""
    gpus: int = Field(default=0, ge=0)
    cores: Positive = 1
    memory_gb: float = Field(default=4.0, gt=0)
    minutes: Positive = 240
    workers: Positive = 1
    ranks: Positive = 1
    extra: dict[str, str | int | bool] = {}
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], str] = {}
    prefix: tuple[str, ...] = ()
    python: str = ""

    @field_validator("extra")
    @classmethod
    def _with_dashes(cls, extra: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
        return {name.replace("_", "-").lstrip("-"): value for name, value in extra.items()}

    @model_validator(mode="after")
    def _one_cell_at_a_time(self) -> "Need":
        if self.ranks > 1 and self.workers > 1:
            raise ValueError(
                "where cells span several ranks, jobs have one cell at a time: workers must be 1"
            )
        return self

    def with_gpus(self, number: int) -> "Need":
        """The same need for a job of `number` workers with a GPU each; for number 0, of as many workers as
        this need has GPUs."""
        workers = number or self.gpus * self.workers
        if not workers:
            return self.model_copy(update={"workers": 1})
        gres = re.sub(r"^(gpu(?::[A-Za-z]\w*)?)(?::\d+)?$", rf"\1:{workers}", self.gres)
        return self.model_copy(update={"workers": workers, "gpus": 1, "gres": gres})


class Cluster(Need):
    """A cluster: what jobs ask for by default and, under `methods`, where rows or methods of a suite differ.

    scheduler is the batch system that it has. Cells are put together until a job has about pack_minutes of work; there
    are never more than max_jobs jobs in one submission, jobs_at_once of them running (0: as many as the scheduler
    lets). max_array_size 0: ask the scheduler. signal_seconds before its time limit, a job stops after its current
    chunk and puts itself back into the queue. mpi_launcher starts the ranks of a cell that spans several; without it,
    the scheduler's usual one does.
    """

    name: str = ""
    description: str = ""
    scheduler: str = "slurm"
    pack_minutes: float = Field(default=20.0, gt=0)
    max_jobs: Positive = 1000
    jobs_at_once: int = Field(default=0, ge=0)
    max_array_size: int = Field(default=0, ge=0)
    signal_seconds: Positive = 120
    mpi_launcher: str = ""
    methods: dict[str, dict[str, Any]] = {}

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for row, changes in methods.items():
            unknown = sorted(set(changes) - set(Need.model_fields))
            if unknown:
                known = ", ".join(Need.model_fields)
                raise ValueError(f"unknown key {unknown[0]!r} for method {row!r}; known: {known}")
            try:
                Need(**changes)
            except ValidationError as error:
                raise ValueError(f"method {row!r}: {_explain(error)}") from error
        return methods

    def need(self, row: str, method: str) -> Need:
        """What a job for cells of this row of a suite asks for. The row's own table counts before its method's."""
        own = {name: getattr(self, name) for name in Need.model_fields}
        tables = [self.methods.get(method, {}), self.methods.get(row, {})]
        environment = self.environment | {
            n: v for one in tables for n, v in one.get("environment", {}).items()
        }
        return Need(**own | tables[0] | tables[1] | {"environment": environment})

    def kinds(self) -> list[tuple[list[str], Need]]:
        """What jobs of this profile ask for, each kind once, with the rows that it is for."""
        found: dict[str, tuple[list[str], Need]] = {}
        for name in ("all other rows", *self.methods):
            need = self.need(name, name)
            found.setdefault(need.model_dump_json(exclude={"minutes"}), ([], need))[0].append(name)
        return list(found.values())


def cluster_names() -> list[str]:
    """Names of the example profiles that come with prosebench."""
    return sorted(
        path.name.removesuffix(".toml") for path in _shipped().iterdir() if path.name.endswith(".toml")
    )


def load_cluster(name_or_path: str, scheduler: str = "") -> Cluster:
    """A profile by its path, or a shipped example by its name, for the scheduler that it names or that is given.

    Raises ClusterError naming what is wrong or unknown.
    """
    path = Path(name_or_path)
    if name_or_path in cluster_names():
        text = (_shipped() / f"{name_or_path}.toml").read_text()
    elif path.suffix == ".toml" and path.exists():
        text = read_text(path)
    else:
        names = ", ".join(cluster_names())
        raise ClusterError(
            f"there is no cluster profile {name_or_path!r}; give the path of a .toml file, or one of: {names}"
        )
    try:
        found = Cluster.model_validate(tomllib.loads(text))
        return _for_scheduler(found, scheduler)
    except tomllib.TOMLDecodeError as error:
        raise ClusterError(f"cluster profile {name_or_path} is not TOML: {error}") from error
    except ValidationError as error:
        raise ClusterError(f"cluster profile {name_or_path}: {_explain(error)}") from error
    except ValueError as error:
        raise ClusterError(f"cluster profile {name_or_path}: {error}") from error


def _for_scheduler(cluster: Cluster, name: str) -> Cluster:
    """The profile, checked to ask for nothing that its scheduler has no word for. Raises ValueError."""
    from jobs.cluster.schedulers.scheduler import schedulers

    known = schedulers()
    if name and "scheduler" in cluster.model_fields_set and name != cluster.scheduler:
        raise ValueError(f"it says scheduler = {cluster.scheduler!r}, and you ask for {name}")
    chosen = cluster.model_copy(update={"scheduler": name or cluster.scheduler})
    if chosen.scheduler not in known:
        raise ValueError(f"unknown scheduler {chosen.scheduler!r}; known: {', '.join(known)}")
    for one in (chosen, *(chosen.need(table, table) for table in chosen.methods)):
        known[chosen.scheduler].check(one)
    return chosen


def _explain(error: ValidationError) -> str:
    # Pydantic names types as Python does; TOML has other names for them.
    said = explained(error).replace("valid tuple", "list in brackets").replace("valid dictionary", "table")
    known = f"; known keys: {', '.join(Cluster.model_fields)}" if said.startswith("unknown key") else ""
    return said + known


def _shipped() -> Any:
    return resources.files("jobs") / "clusters"
