"""External ensembles: frames made by programs that are not run here enter a run folder as records.

Beside each file of frames stands a declaration, a TOML or JSON file of the same name, that says who made them at what
cost. Such costs are declared, not metered; energies are computed here, once a frame, for the energy metrics alone, and
counted in the record's diagnostics and not in its ledger.
"""

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.cells.plan import lay_out
from jobs.cells.prepare import force_field_hash, prepare, start_hash
from jobs.cells.worker import versions
from prosebench.energy.gate import pass_gate
from prosebench.energy.meter import Counts, Ledger
from prosebench.energy.settings import make_target
from prosebench.energy.target import Target
from prosebench.ensemble import Ensemble, tidied
from prosebench.frames.trajectories import read_positions
from prosebench.machine.build_info import code_commit
from prosebench.names import EXTERNAL
from prosebench.peptide import Peptide
from prosebench.record import Cell, Provenance, Record, read_record, write_record
from prosebench.reference import known_reference
from prosebench.store.fields import (
    AskedKelvin,
    Count,
    Name,
    OneLetterCode,
    Seconds,
    Seed,
    SomeText,
    Text,
    explained,
)
from prosebench.store.storage import MOST_JSON_BYTES, DamagedFile, arrays_bytes, open_regular, parse_json
from prosebench.suite import Suite

ENERGIES_COMPUTED = "energies-computed-here"


class DeclarationError(ValueError):
    """A declaration that is missing, incomplete, or at odds with the suite; the message says what to change."""


class Declaration(BaseModel):
    """What the makers of an ensemble say of it.

    method is the name of the row. energy_evaluations and seconds are all that this ensemble cost, each started anew;
    hardware is what the seconds were taken on. force_field names the physics that the method aims at ("none" for one
    that was learned from structures). topology is a PDB file beside the frames, where their file does not name atoms.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Annotated[Name, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    peptide: OneLetterCode
    energy_evaluations: Count
    seconds: Seconds
    hardware: SomeText
    temperature_kelvin: AskedKelvin
    force_field: SomeText
    citation: SomeText
    seed: Seed = 0
    topology: Text = ""


@dataclass(frozen=True)
class Imported:
    """One ensemble as it entered: frames, how many of them have no finite energy, their median energy, budgets, and, in
    words, what was done to its frames or is odd about them.
    """

    declaration: Declaration
    folder: Path
    frames: int
    non_finite: int
    median_energy_kt: float
    budgets: tuple[int, ...]
    notes: tuple[str, ...] = ()


def read_declaration(frames: Path) -> Declaration:
    """The declaration beside a file of frames. Raises DeclarationError."""
    path = next((p for p in (frames.with_suffix(".toml"), frames.with_suffix(".json")) if p.is_file()), None)
    if path is None:
        needed = ", ".join(name for name, field in Declaration.model_fields.items() if field.is_required())
        raise DeclarationError(
            f"there is no {frames.with_suffix('.toml').name} beside {frames}: it must say {needed}"
        )
    try:
        with open_regular(path, MOST_JSON_BYTES) as file:
            text = file.read().decode("utf-8-sig")
        content = tomllib.loads(text) if path.suffix == ".toml" else parse_json(text)
        return Declaration.model_validate(content)
    except ValidationError as error:
        known = ", ".join(Declaration.model_fields)
        raise DeclarationError(f"{path}: {explained(error)}; known keys: {known}") from error
    except DamagedFile:
        raise
    except (ValueError, RecursionError) as error:
        raise DeclarationError(f"{path} is not {path.suffix[1:].upper()}: {error}") from error


def import_ensembles(
    paths: Sequence[Path], suite: Suite, directory: Path, reference_folders: Sequence[Path]
) -> list[Imported]:
    """Make a record of each file of frames in a run folder of the suite.

    An ensemble stands at every budget of the suite that covers its declared evaluations. All declarations are checked
    before anything is written. Raises DeclarationError, and what `read_positions` raises.
    """
    declared = [(path, read_declaration(path)) for path in paths]
    cells = [_cell(path, one, suite) for path, one in declared]
    for number, cell in enumerate(cells):
        if cell.id in {other.id for other in cells[:number]}:
            raise DeclarationError(
                f"two files are {cell.row} of {cell.peptide} with seed {cell.seed}; give each a seed of its own"
            )
    return [
        _import(path, one, cell, directory, reference_folders)
        for (path, one), cell in zip(declared, cells, strict=True)
    ]


def _cell(path: Path, one: Declaration, suite: Suite) -> Cell:
    """The cell that an ensemble fills. Raises DeclarationError where the suite has no place for it."""
    if one.peptide not in suite.peptides:
        raise DeclarationError(
            f"{path} is of {one.peptide}; suite {suite.name} has {' '.join(suite.peptides)}"
        )
    targets = {target.temperature_kelvin: target for target in suite.targets}
    if one.temperature_kelvin not in targets:
        at = ", ".join(f"{kelvin:g}" for kelvin in targets)
        raise DeclarationError(f"{path} is at {one.temperature_kelvin:g} K; suite {suite.name} is at {at} K")
    if one.method in suite.methods:
        raise DeclarationError(
            f"{path}: suite {suite.name} has a row {one.method} already; name yours otherwise"
        )
    budgets = tuple(budget for budget in suite.budgets if budget >= one.energy_evaluations)
    if not budgets:
        raise DeclarationError(
            f"{path} declares {one.energy_evaluations:,} energy evaluations, more than the largest budget of suite "
            f"{suite.name}, {suite.budgets[-1]:,}; use fewer frames of it, or --budgets"
        )
    return Cell(
        suite=suite.name,
        peptide=one.peptide,
        row=one.method,
        method=EXTERNAL,
        settings={"force_field": one.force_field, "citation": one.citation},
        budgets=budgets,
        frames=suite.frames,
        seed=one.seed,
        target=targets[one.temperature_kelvin],
    )


def _import(
    path: Path, one: Declaration, cell: Cell, directory: Path, reference_folders: Sequence[Path]
) -> Imported:
    known = known_reference(cell.peptide, reference_folders, cell.target.temperature_kelvin)
    peptide, gate = prepare(directory, cell.peptide, cell.target, known)
    found = read_positions(path, peptide, path.parent / one.topology if one.topology else None)
    positions = found.arrays["positions_nm"]
    target = make_target(peptide, cell.target)
    deviation = pass_gate(gate, target)
    n = len(positions)
    energies = target.energy(positions)
    ensemble = tidied(
        Ensemble(positions, energies, found.arrays.get("log_weights"), np.full(n, one.energy_evaluations))
    )
    # Of the declared evaluations only their number is known.
    spent = Counts(evaluations=one.energy_evaluations, energies=one.energy_evaluations)
    folder = directory / "cells" / cell.folder_name
    _refuse_another(folder, ensemble, path)
    lay_out([cell], directory)
    digest = ensemble.save(folder / "ensemble.npz")
    record = Record(
        cell_id=cell.id,
        cell=cell,
        status="done",
        ledger=Ledger(sampling=spent),
        frames=n,
        ensemble_sha256=digest,
        force_field_hash=force_field_hash(peptide, cell.target),
        start_hash=start_hash(peptide),
        target=target.describe(),
        gate_deviation_kj_mol=deviation,
        diagnostics={ENERGIES_COMPUTED: [float(n)]},
        versions=versions(),
    )
    provenance = Provenance(
        host="declared",
        device=one.hardware,
        commit=code_commit(),
        started=(now := datetime.now(UTC).isoformat(timespec="seconds")),
        finished=now,
        sittings=0,
        seconds={"sampling": one.seconds},
    )
    write_record(folder, record, provenance)
    finite = np.isfinite(ensemble.energies_kt)
    median = float(np.median(ensemble.energies_kt))
    notes = [*found.notes, *_strain(median, peptide, target)]
    return Imported(one, folder, n, int((~finite).sum()), median, cell.budgets, tuple(notes))


def _strain(median_kt: float, peptide: Peptide, target: Target) -> list[str]:
    """A note where the median energy is far above that of frames in equilibrium.

    By equipartition these lie about half a kT for each coordinate above a minimum; more than twice as much is odd.
    """
    lowest = float(target.energy(peptide.start_nm[None])[0])
    usual = 1.5 * peptide.n_atoms
    if median_kt - lowest <= 2.0 * usual:
        return []
    return [
        f"the median energy, {median_kt:.6g} kT, is {median_kt - lowest:.3g} kT above a minimum of {peptide.sequence}; "
        f"in equilibrium it would be about {usual:.0f} kT above. Are these frames strained, or of another force field?"
    ]


def _refuse_another(folder: Path, ensemble: Ensemble, path: Path) -> None:
    """Refuse frames other than those of the record: the same frames may come again, others may not take their
    place."""
    if not (folder / "record.json").exists():
        return
    digest = hashlib.sha256(arrays_bytes(ensemble.arrays())).hexdigest()
    if read_record(folder).ensemble_sha256 != digest:
        raise DeclarationError(
            f"{folder} holds other frames than {path}; remove that folder first, or declare another seed"
        )
