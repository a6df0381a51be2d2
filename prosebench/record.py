"""Cells and records: one unit of work, and what it leaves on disk.

A run folder holds `cells/<cell folder>/` with
  cell.json         what is to be done (its hash is the cell's id)
  chunks/           finished chunks, while the cell is at work
  ensemble.npz      all frames, once it is finished
  record.json       what was done and spent; its being there means that the cell is finished
  provenance.json   where and how fast it was done
record.json and ensemble.npz depend on the cell alone: a run that was killed and resumed leaves the same bytes.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from prosebench.energy.meter import Ledger
from prosebench.energy.settings import TargetSettings
from prosebench.ensemble import MOST_BYTES, Ensemble, value_faults
from prosebench.store.fields import (
    Budget,
    Count,
    Finite,
    FrameCount,
    Name,
    OneLetterCode,
    Processes,
    Seconds,
    Seed,
    Settings,
    Sha256,
    Text,
    explained,
)
from prosebench.store.storage import DamagedFile, file_sha256, json_bytes, read_json, write_json

SCHEMA: Literal[1] = 1
"""The version of the format of cells, chunks and records. It is raised when the meaning of a field changes."""

Model = TypeVar("Model", bound=BaseModel)
Found = TypeVar("Found")


class Cell(BaseModel):
    """One (suite, peptide, method with its settings, budget, seed): one unit of work.

    row is the name under which the method stands in the suite. budgets are ascending; the largest is what may be
    spent, the smaller ones are marks at which the same run is scored too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = SCHEMA
    suite: Name
    peptide: OneLetterCode
    row: Name
    method: Name
    settings: Settings
    budgets: tuple[Budget, ...] = Field(min_length=1, max_length=100)
    frames: FrameCount
    seed: Seed
    target: TargetSettings

    @field_validator("budgets")
    @classmethod
    def _ascending(cls, budgets: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in pairwise(budgets)):
            raise ValueError("must ascend, each once")
        return budgets

    # Not cached: a copy with changes would keep the id of what it was copied from.
    @property
    def id(self) -> str:
        """Sixteen hex digits from the SHA-256 of everything above; files count by their content, not their place."""
        content = self.model_dump(mode="json") | {"settings": without_places(self.settings)}
        return hashlib.sha256(json_bytes(content)).hexdigest()[:16]

    @property
    def folder_name(self) -> str:
        """Name of the cell's folder: readable, and unique by the id at its end."""
        return f"{self.peptide}-{self.row}-{self.budgets[-1]}-s{self.seed}-{self.id}"


class Record(BaseModel):
    """What a finished cell did: the same numbers whatever happened on the way.

    status "done", or "skipped" with the reason why the method cannot do this cell (then there is no ensemble).
    force_field_hash identifies the OpenMM System, start_hash the start structure, target what computed the energies,
    gate_deviation_kj_mol how far that was from OpenMM's Reference platform on stored frames. diagnostics are lists
    with one number a chunk, or, of methods that count steps within a chunk, one a step.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = SCHEMA
    cell_id: str
    cell: Cell
    status: Literal["done", "skipped"]
    reason: Text = ""
    ledger: Ledger = Ledger()
    frames: Count = 0
    chunks: Count = 0
    ensemble_sha256: Sha256 | Literal[""] = ""
    force_field_hash: Sha256
    start_hash: Sha256
    target: Annotated[dict[Name, Text | int | Finite], Field(max_length=100)]
    gate_deviation_kj_mol: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    diagnostics: Annotated[dict[Name, list[Finite | None]], Field(max_length=1000)] = {}
    versions: Annotated[dict[Name, Text], Field(max_length=100)]

    def load_ensemble(self, folder: Path, *, most_bytes: int = MOST_BYTES) -> Ensemble:
        """The frames.

        Raises DamagedFile where the file is not the one that the record speaks of, needs more memory than that, or
        holds numbers that cannot be (`value_faults`).
        """
        path = folder / "ensemble.npz"
        if file_sha256(path) != self.ensemble_sha256:
            raise DamagedFile(
                f"{path} has changed since its record was written; remove the folder and run again"
            )
        ensemble = Ensemble.load(path, most_bytes=most_bytes)
        wrong = "; ".join(value_faults(ensemble))
        if wrong:
            raise DamagedFile(f"{path}: {wrong}")
        return ensemble


class Provenance(BaseModel):
    """Where and how fast a cell was done; it may differ between two runs that leave the same record.

    threads are those of each rank in the last sitting. instructions says by which instruction sets the processor
    computed: the native kernel gives the same bits with all of them, torch does not.
    """

    model_config = ConfigDict(extra="forbid")

    host: Text
    device: Text
    commit: Text
    started: Text
    finished: Text
    sittings: Count
    ranks: Processes = 1
    threads: Processes = 1
    instructions: Text = ""
    seconds: Annotated[dict[Name, Seconds], Field(max_length=100)]


def without_places(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without the path of each file that they hold the hash of: of `starts` where there is `starts_sha256`.

    Names of bundled models, which have neither folder nor suffix, stay.
    """
    return {
        name: without_places(value) if isinstance(value, dict) else value
        for name, value in settings.items()
        if not (settings.get(f"{name}_sha256") and _is_path(str(value)))
    }


def open_weights(settings: dict[str, Any]) -> list[str]:
    """Published weights that settings name without their SHA-256: nobody knew it where the cell was planned."""
    found = [settings["weights"]] if settings.get("weights") and settings.get("weights_sha256") == "" else []
    nested = (open_weights(value) for value in settings.values() if isinstance(value, dict))
    return [*found, *(name for names in nested for name in names)]


def without_hashes(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as they were before the SHA-256 of weights was known."""
    return {
        name: without_hashes(value) if isinstance(value, dict) else "" if name == "weights_sha256" else value
        for name, value in settings.items()
    }


def _is_path(name: str) -> bool:
    return Path(name).name != name or Path(name).suffix != ""


def read_cell(folder: Path) -> Cell:
    """The cell of a folder. Raises DamagedFile where cell.json is foreign or does not belong to this folder."""
    cell = _read_model(folder / "cell.json", Cell)
    if cell.folder_name != folder.name:
        raise DamagedFile(
            f"{folder / 'cell.json'} describes {cell.folder_name}, another cell than its folder's name"
        )
    return cell


def read_record(folder: Path) -> Record:
    """The record of a finished cell. Raises FileNotFoundError, or DamagedFile where it is foreign."""
    record = _read_model(folder / "record.json", Record)
    if record.cell_id != record.cell.id or record.cell.folder_name != folder.name:
        raise DamagedFile(f"{folder / 'record.json'} belongs to another cell ({record.cell.folder_name})")
    return record


def read_provenance(folder: Path) -> Provenance:
    """Where and how fast the cell was done. Raises FileNotFoundError, or DamagedFile where it is foreign."""
    return _read_model(folder / "provenance.json", Provenance)


def write_record(folder: Path, record: Record, provenance: Provenance) -> None:
    """Write what makes a cell finished. Raises ValidationError where a number of it cannot be: nothing is written."""
    files = {"provenance.json": provenance, "record.json": record}
    contents = {name: model.model_dump(mode="json") for name, model in files.items()}
    for name, model in files.items():
        # A model that was copied with changes has not been validated since then.
        type(model).model_validate(contents[name])
    for name, content in contents.items():
        write_json(folder / name, content)


def cell_folders(directory: Path) -> list[Path]:
    """Folders of all cells of a run folder, in order of their names."""
    cells = directory / "cells"
    return sorted(path for path in cells.iterdir() if path.is_dir()) if cells.is_dir() else []


def readable_cells(directory: Path, read: Callable[[Path], Found]) -> Iterator[tuple[Path, Found]]:
    """The folder of each cell with what `read` gives of it; damaged ones and those that lack it are passed over."""
    for folder in cell_folders(directory):
        try:
            found = read(folder)
        except (DamagedFile, OSError):
            continue
        yield folder, found


def reference_weights_path(directory: Path, cell: Cell, reference_hash: str) -> Path:
    """File in a run folder with the log-weights that a cell's method gives to frames of its reference.

    Cells of several seeds share it: it depends on the peptide, the method with its settings, the target and the
    reference.
    """
    content = [
        cell.peptide,
        cell.method,
        without_places(cell.settings),
        cell.target.model_dump(mode="json"),
        cell.frames,
        reference_hash,
    ]
    digest = hashlib.sha256(json_bytes(content)).hexdigest()[:16]
    return directory / "reference-weights" / f"{cell.peptide}-{digest}.npz"


def keep_plan(directory: Path, suite: str, peptides: Sequence[str]) -> None:
    """Note in a run folder (`plan.json`) which peptides a suite has, also those that are not run in this folder.

    Tables say on how many of them a row stands, wherever the folder is read and whatever the suite of that name is
    there.
    """
    known = planned_peptides(directory)
    known[suite] = tuple(dict.fromkeys([*known.get(suite, ()), *peptides]))
    write_json(directory / "plan.json", {"peptides": {name: list(of) for name, of in sorted(known.items())}})


def planned_peptides(directory: Path) -> dict[str, tuple[str, ...]]:
    """Peptides by suite, as `keep_plan` noted them; empty where nobody has, or where the file cannot be read."""
    try:
        stored = read_json(directory / "plan.json")["peptides"]
        return {str(suite): tuple(map(str, of)) for suite, of in stored.items()}
    except (DamagedFile, OSError, KeyError, TypeError, AttributeError):
        return {}


def _read_model(path: Path, model: type[Model]) -> Model:
    content = read_json(path)
    if isinstance(content, dict) and content.get("schema_version", SCHEMA) != SCHEMA:
        raise DamagedFile(
            f"{path} has schema version {content['schema_version']}; this prosebench reads {SCHEMA}"
        )
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise DamagedFile(f"{path} is not a {model.__name__.lower()} file: {explained(error)}") from error
