"""Cluster profiles: what a site wants to be asked for. Read from TOML, checked before anything is submitted."""

import re
import shlex
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from prosebench.store.storage import read_text

Positive = Annotated[int, Field(gt=0)]
_OURS = {
    "array", "job-name", "output", "error", "open-mode", "signal", "requeue", "no-requeue", "chdir", "wait", "wrap",
    "parsable", "test-only",
}  # fmt: skip
"""Options of sbatch that make resuming, following and cancelling work; a profile may not change them."""


class ClusterError(ValueError):
    """A cluster profile that cannot be used; the message says why, and what is known."""


class Need(BaseModel):
    """What one job asks for. cores, memory_gb and gpus are per worker; a job has `workers` of them, on one node.

    With `ranks`, a cell spans so many processes, on one node or several, and cores, memory_gb and gpus are for each.

    minutes is the longest time limit that jobs may ask for; they ask for less where less will do. extra reaches every
    other option of sbatch, as in extra = {exclusive = true, "mail-type" = "END"}; false leaves one out that prosebench
    would give, as in extra = {mem = false}.
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

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, extra: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
        extra = {name.replace("_", "-").lstrip("-"): value for name, value in extra.items()}
        refused = sorted(set(extra) & _OURS)
        if refused:
            raise ValueError(f"{', '.join(refused)} is set by prosebench itself and cannot be changed")
        if "time" in extra:
            raise ValueError("time has a key of its own: minutes")
        return extra

    @model_validator(mode="after")
    def _one_cell_at_a_time(self) -> "Need":
        if self.ranks > 1 and self.workers > 1:
            raise ValueError(
                "where cells span several ranks, jobs have one cell at a time: workers must be 1"
            )
        return self

    def with_gpus(self, number: int) -> "Need":
        """The same for a job of `number` workers with a GPU each; of as many as this need has GPUs for number 0."""
        workers = number or self.gpus * self.workers
        if not workers:
            return self.model_copy(update={"workers": 1})
        gres = re.sub(r"^(gpu(?::[A-Za-z]\w*)?)(?::\d+)?$", rf"\1:{workers}", self.gres)
        return self.model_copy(update={"workers": workers, "gpus": 1, "gres": gres})


class Cluster(Need):
    """A cluster: what jobs ask for by default and, under `methods`, where rows or methods of a suite differ.

    modules and setup are loaded and run, environment is set, at the start of each job. Cells are put together until a
    job has about pack_minutes of work; there are never more than max_jobs jobs in one submission, jobs_at_once of them
    running (0: as many as the scheduler lets). max_array_size 0: ask the scheduler. signal_seconds before its time
    limit, a job stops after its current chunk and puts itself back into the queue. mpi_launcher starts the ranks of a
    cell that spans several.
    """

    name: str = ""
    description: str = ""
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], str] = {}
    pack_minutes: float = Field(default=20.0, gt=0)
    max_jobs: Positive = 1000
    jobs_at_once: int = Field(default=0, ge=0)
    max_array_size: int = Field(default=0, ge=0)
    signal_seconds: Positive = 120
    mpi_launcher: str = Field(default="srun --mpi=pmi2", pattern=r"\S")
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
        return Need(**own | self.methods.get(method, {}) | self.methods.get(row, {}))

    def opening_lines(self) -> list[str]:
        """Shell lines at the start of each job."""
        # A folder called jobs/ where the user stands must not hide ours.
        environment = {"PYTHONSAFEPATH": "1"} | self.environment
        lines = [f"module load {module}" for module in self.modules]
        lines += [f"export {name}={_quoted(value)}" for name, value in environment.items()]
        return [*lines, *self.setup]


def sbatch_options(need: Need, minutes: int, nodes: int = 1) -> dict[str, str | int | bool]:
    """Options of sbatch for a job with this need on each of its nodes, and a time limit in whole minutes."""
    options: dict[str, str | int | bool] = {
        "nodes": nodes,
        "ntasks": nodes,
        "time": minutes,
        "cpus-per-task": need.cores * need.workers,
        "mem": f"{round(need.memory_gb * need.workers * 1024)}M",
        "requeue": True,
    }
    for name in ("partition", "account", "qos", "gres", "constraint"):
        if getattr(need, name):
            options[name] = getattr(need, name)
    if need.gpus and not need.gres:
        options["gpus-per-node"] = need.gpus * need.workers
    if need.ranks > 1:
        del options["mem"]
        options |= {"nodes": f"1-{need.ranks}", "ntasks": need.ranks}
        options["mem-per-cpu"] = f"{round(need.memory_gb * 1024 / need.cores)}M"
        if options.pop("gpus-per-node", 0):
            options["gpus-per-task"] = need.gpus
    return {name: value for name, value in (options | need.extra).items() if value is not False}


def gpus_of_job(need: Need) -> int:
    """GPUs that a job holds: those of its workers or ranks, or as many as gres or another option asks for."""
    options = sbatch_options(need, need.minutes)
    asked = [need.gpus * need.workers * need.ranks]
    for name in ("gres", "gpus", "gpus-per-node", "gpus-per-task"):
        kind = r"gpu\b[^,]*" if name == "gres" else ".*"
        for found in re.findall(kind, str(options.get(name, ""))):
            number = re.search(r"(?:^|[:=])(\d+)$", found)
            times = need.ranks if name == "gpus-per-task" else 1
            asked.append(int(number[1]) * times if number else int(bool(found)))
    return max(asked)


def rank_launcher(cluster: Cluster, need: Need) -> list[str]:
    """The command that starts the ranks of a cell from within a job; `-n RANKS PROGRAM` follows."""
    words = shlex.split(cluster.mpi_launcher)
    if words[0] == "srun":
        words += [f"--cpus-per-task={need.cores}", "--kill-on-bad-exit=1"]
    return words


def srun_options(options: Mapping[str, str | int | bool]) -> list[str]:
    """What srun is to be told: the cores, which since SLURM 22.05 it no longer knows by itself; and, where a task of
    several ends badly, to leave it to the others how they end.
    """
    cores = [f"--cpus-per-task={options['cpus-per-task']}"] if "cpus-per-task" in options else []
    return [*cores, "--kill-on-bad-exit=0"]


def stop_signal(ranks: int, seconds: int) -> str:
    """Value of sbatch's --signal: SIGUSR2 so long before the time limit.

    SLURM gives it to the steps of a job. Where these are the ranks of its cells there is none between two cells, so
    there it is for the job's own process, which must have taken the place of its shell.
    """
    return f"{'B:' if ranks > 1 else ''}USR2@{seconds}"


def cluster_names() -> list[str]:
    """Names of the example profiles that come with prosebench."""
    return sorted(
        path.name.removesuffix(".toml") for path in _shipped().iterdir() if path.name.endswith(".toml")
    )


def load_cluster(name_or_path: str) -> Cluster:
    """A profile by its path, or a shipped example by its name. Raises ClusterError naming what is wrong or unknown."""
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
        return Cluster.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ClusterError(f"cluster profile {name_or_path} is not TOML: {error}") from error
    except ValidationError as error:
        raise ClusterError(f"cluster profile {name_or_path}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key {place!r}; known keys: {', '.join(Cluster.model_fields)}"
    # What pydantic calls by Python's names is called otherwise in TOML.
    said = first["msg"].removeprefix("Value error, ")
    said = said.replace("valid tuple", "list in brackets").replace("valid dictionary", "table")
    return f"{place}: {said}" if place else said


def _quoted(value: str) -> str:
    """In double quotes: $HOME and the like are meant."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`")
    return f'"{escaped}"'


def _shipped() -> Any:
    return resources.files("jobs") / "clusters"
