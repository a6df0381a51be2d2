"""Suites: which peptides, which methods, which budgets, which physics. Read from TOML.

What its rows run is known to `prosebench.rows`: a suite can be read where no method is installed.
"""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from prosebench.energy.settings import TargetSettings
from prosebench.machine.installed import suite_names
from prosebench.names import check_kelvin
from prosebench.peptide.force_field import ForceField
from prosebench.store.fields import AskedKelvin, Budget, FrameCount, Name, Seed, explained, first_fault
from prosebench.store.storage import read_text


class SuiteError(ValueError):
    """A suite, or a change asked for on the command line, that cannot be run; the message says why."""


OF_A_ROW = ("method", "max_budget")
"""What a row of `methods` may say beside the settings of its method."""


class Suite(BaseModel):
    """A benchmark: every method on every peptide at every budget with every seed.

    budgets are energy evaluations of sampling. frames is the fixed number of frames that is scored. methods maps a
    name of this table to its settings; `method = "..."` among them lets one method appear twice with other settings,
    and `max_budget = ...` leaves out the budgets above it, for a method that is too slow there; where none is left, the
    row runs at its max_budget.
    temperatures_kelvin, where there are any, stand for that of target, one after the other.
    In a file, `rows = "paper"` stands for the methods of suites/rows/paper.toml; those of the suite itself are added,
    or change single settings of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    description: str = ""
    peptides: tuple[str, ...] = Field(min_length=1)
    budgets: tuple[Budget, ...] = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field((0,), min_length=1)
    frames: FrameCount = 10_000
    target: TargetSettings = TargetSettings()
    temperatures_kelvin: tuple[AskedKelvin, ...] = ()
    methods: dict[Name, dict[str, Any]] = Field(min_length=1)

    @property
    def targets(self) -> tuple[TargetSettings, ...]:
        """The physics at each temperature."""
        kelvins = self.temperatures_kelvin or (self.target.temperature_kelvin,)
        return tuple(self.target.model_copy(update={"temperature_kelvin": kelvin}) for kelvin in kelvins)

    @field_validator("peptides", "seeds", "budgets", "temperatures_kelvin")
    @classmethod
    def _no_repeats(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        repeated = sorted({value for value in values if values.count(value) > 1})
        if repeated:
            raise ValueError(f"named twice: {', '.join(map(str, repeated))}; name each once")
        return values

    @field_validator("target")
    @classmethod
    def _not_celsius(cls, target: TargetSettings) -> TargetSettings:
        check_kelvin(target.temperature_kelvin, "temperature_kelvin")
        return target

    @field_validator("budgets")
    @classmethod
    def _ascending(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(values))

    def row_budgets(self, name: str) -> tuple[int, ...]:
        """The budgets at which a row of `methods` runs. Raises SuiteError for a max_budget that is no whole number."""
        largest = self.methods[name].get("max_budget", self.budgets[-1])
        if type(largest) is not int or largest < 1:
            raise SuiteError(
                f"suite {self.name}, [methods.{name}]: max_budget is {largest!r}, not a positive whole number"
            )
        return tuple(budget for budget in self.budgets if budget <= largest) or (largest,)


def load_suite(name_or_path: str) -> Suite:
    """A shipped suite by its name, or any suite by its path. Raises SuiteError naming what is wrong."""
    path = Path(name_or_path)
    if name_or_path in suite_names():
        text = (_shipped() / f"{name_or_path}.toml").read_text()
    elif path.suffix == ".toml" and path.exists():
        text = read_text(path)
    elif path.suffix == ".toml":
        raise SuiteError(f"there is no suite file {name_or_path}; shipped suites: {', '.join(suite_names())}")
    else:
        raise SuiteError(
            f"unknown suite {name_or_path!r}; known: {', '.join(suite_names())}, or a path to a .toml file"
        )
    try:
        return Suite.model_validate(_with_rows(tomllib.loads(text), name_or_path))
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(f"suite {name_or_path} is not TOML: {error}") from error
    except ValidationError as error:
        raise SuiteError(f"suite {name_or_path}: {explained(error)}; {_known_keys(error)}") from error


def _known_keys(error: ValidationError) -> str:
    """The keys of the table that is wrong: those of [target] stand there, not those of the suite."""
    tables: dict[str, type[BaseModel]] = {"target": TargetSettings, "force_field": ForceField}
    place = [str(part) for part in first_fault(error)["loc"]]
    table = next((name for name in reversed(place[:-1]) if name in tables), None)
    if table:
        return f"known keys of [{'.'.join(place[: place.index(table) + 1])}]: {', '.join(tables[table].model_fields)}"
    return f"known keys: {', '.join([*Suite.model_fields, 'rows'])}"


def _with_rows(content: dict[str, Any], suite: str) -> dict[str, Any]:
    """The content of a suite file with the shared rows that it names, under its own."""
    if "rows" not in content:
        return content
    name, folder = content["rows"], _shipped() / "rows"
    known = sorted(path.name.removesuffix(".toml") for path in folder.iterdir())
    if name not in known:
        raise SuiteError(f"suite {suite}: there are no shared rows {name!r}; known: {', '.join(known)}")
    shared = tomllib.loads((folder / f"{name}.toml").read_text())["methods"]
    own = content.get("methods", {})
    if not (isinstance(own, dict) and all(isinstance(row, dict) for row in own.values())):
        return content
    methods = shared | {row: shared.get(row, {}) | settings for row, settings in own.items()}
    return {key: value for key, value in content.items() if key != "rows"} | {"methods": methods}


def narrow(
    suite: Suite,
    *,
    methods: Sequence[str] = (),
    peptides: Sequence[str] = (),
    budgets: Sequence[int] = (),
    seeds: Sequence[int] = (),
    temperatures: Sequence[float] = (),
    settings: Sequence[str] = (),
) -> Suite:
    """A suite changed from the command line.

    methods and peptides pick from the suite (a method that is installed but not in the suite is added with its
    defaults); budgets, seeds and temperatures replace; settings are "row.key=value" with a TOML value, where row is
    a row of methods, or "target". Raises SuiteError for what is unknown.
    """
    content = suite.model_dump(mode="json")
    if methods:
        content["methods"] = {name: suite.methods.get(name, {}) for name in methods}
    if peptides:
        unknown = [sequence for sequence in peptides if sequence not in suite.peptides]
        if unknown:
            raise SuiteError(
                f"suite {suite.name} has no peptide {', '.join(unknown)}; it has {' '.join(suite.peptides)}"
            )
        content["peptides"] = list(peptides)
    if budgets:
        content["budgets"] = list(budgets)
    if seeds:
        content["seeds"] = list(seeds)
    if temperatures:
        content["temperatures_kelvin"] = list(temperatures)
    for assignment in settings:
        _assign(content, assignment)
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        raise SuiteError(f"suite {suite.name} as changed: {explained(error)}") from error


def _assign(content: dict[str, Any], assignment: str) -> None:
    place, equals, text = assignment.partition("=")
    row, dot, key = place.strip().rpartition(".")
    if not (equals and dot and key):
        raise SuiteError(
            f"--set {assignment!r} is not of the form row.key=value, as in md.friction_per_ps=1.0"
        )
    tables = {"target": content["target"], **content["methods"]}
    if (row, key) == ("target", "temperature_kelvin") and content["temperatures_kelvin"]:
        raise SuiteError(
            f"--set {assignment!r}: this suite has temperatures of its own; name others with --temperature"
        )
    if row not in tables:
        raise SuiteError(f"--set {assignment!r}: there is no row {row!r}; known: {', '.join(tables)}")
    try:
        tables[row][key] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        tables[row][key] = text.strip()


def _shipped() -> Any:
    return resources.files("prosebench") / "suites"
