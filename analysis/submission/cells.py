"""What must hold of the cells of a run that somebody else made: files, hashes, plan, ledgers, energies, their frames.

Whatever a folder holds, it is accepted and can be scored, or it is refused in one line.
"""

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import openmm

from analysis.board.review import CellReview, Review
from analysis.scores.run import StepsDone
from analysis.submission.archive import PACKED
from analysis.submission.frames import check_frames, check_repeats, copied, repeats
from analysis.submission.ledger import check_claims, check_ledger
from analysis.submission.suite_plan import missing_places, shipped_suite
from prosebench.energy.gate import ABSOLUTE_TOLERANCE_KJ_MOL
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.energy.target import Target
from prosebench.ensemble import Ensemble
from prosebench.inspection import Inspect, nothing_asked
from prosebench.names import EXTERNAL, FLOOR
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import ForceField, system_hash
from prosebench.record import Cell, Record, cell_folders, read_cell, read_provenance, read_record
from prosebench.reference import Reference, known_reference
from prosebench.store.fields import one_line
from prosebench.store.storage import DamagedFile, read_json

MOST_BYTES = 2**33
"""The largest size in bytes of one ensemble that is sent: a million frames of 170 atoms with all that belongs
to them."""


@dataclass
class Checked:
    """reasons: everything that is wrong with the cells of a run, a line each; review: what was seen of the others."""

    reasons: list[str] = field(default_factory=list)
    reviews: dict[str, CellReview] = field(default_factory=dict)

    @property
    def review(self) -> Review:
        """The review as it is kept beside the run."""
        return Review(cells=self.reviews)


def check_cells(
    directory: Path,
    reference_folders: Sequence[Path] = (),
    *,
    inspect: Inspect = nothing_asked,
    progress: StepsDone | None = None,
) -> Checked:
    """Everything that is wrong with the cells of a run folder, and what was seen of them.

    Of a shipped suite, each row must have ended everywhere: finished, skipped by its method, or failed. Raises
    FileNotFoundError for a folder without cells.
    """
    folders = cell_folders(directory)
    if not folders:
        raise FileNotFoundError(
            f"{directory} holds no cells; give a run folder, as `prosebench run` makes them"
        )
    found, ended, finished = Checked(), list[Cell](), 0
    for number, folder in enumerate(folders, start=1):
        name = one_line(folder.name)
        try:
            _check_files(folder)
            cell = read_cell(folder)
            if any((folder / file).exists() for file in ("record.json", "failure.json")):
                ended.append(cell)
            if (folder / "record.json").exists():
                finished += 1
                record = read_record(folder)
                reasons, review = _check_record(folder, cell, record, reference_folders, inspect)
                found.reasons += [f"{name}: {reason}" for reason in reasons]
                if review:
                    found.reviews[cell.id] = review
            elif (folder / "failure.json").exists() and not _failure_reason(folder):
                found.reasons.append(f"{name}: failure.json gives no reason; run the cell again")
        except Exception as error:
            # These are files of strangers: an error that they cause in a check is reported, and ends nothing.
            found.reasons.append(f"{name}: {_said(error)}")
        if progress:
            progress("cells", number, len(folders))
    if not (finished or found.reasons):
        return Checked(["no cell has finished"])
    found.reasons += missing_places(ended)
    return found


def _said(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{Path(error.filename).name} is missing; send the cell's folder whole, or run the cell again"
    text = one_line(str(error))
    if isinstance(error, DamagedFile | OSError | ValueError):
        return text
    return f"it could not be checked ({type(error).__name__}: {text})"


def _check_files(folder: Path) -> None:
    """Raise DamagedFile where what is read of a cell is not a file of its own: links lead anywhere."""
    for path in (folder, *(folder / name for name in PACKED)):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if not (stat.S_ISREG(mode) or (path == folder and stat.S_ISDIR(mode))):
            kind = "a link" if stat.S_ISLNK(mode) else "not a regular file"
            raise DamagedFile(f"{path.name} is {kind}; send the files themselves")


def _failure_reason(folder: Path) -> str:
    content = read_json(folder / "failure.json")
    return str(content.get("reason", "")).strip() if isinstance(content, dict) else ""


def _check_record(
    folder: Path, cell: Cell, record: Record, reference_folders: Sequence[Path], inspect: Inspect
) -> tuple[list[str], CellReview | None]:
    """What is wrong with a finished cell, and, of one with frames that can be read, what was seen of it."""
    reasons = ["cell.json and record.json describe different cells"] if record.cell != cell else []
    reasons += [*_check_plan(record), *check_ledger(record)]
    if not (folder / "provenance.json").exists():
        reasons.append("provenance.json is missing: nobody can know where this was run")
    else:
        read_provenance(folder)
    if record.status == "skipped":
        if not record.reason.strip():
            reasons.append("it says that its method skips this cell, but not why")
        if (folder / "ensemble.npz").exists():
            reasons.append("it says that its method skips this cell, but there are frames in it")
        return reasons, None
    _check_force_field(cell.target.force_field)
    place = _place(cell.peptide, tuple(reference_folders), cell.target.temperature_kelvin)
    physics = _physics(place, cell.target.temperature_kelvin, cell.target.force_field)
    if record.force_field_hash != physics.force_field_hash:
        reasons.append("force_field_hash is not that of this peptide and force field")
    if not record.gate_deviation_kj_mol <= _gate_tolerance(place.reference):
        reasons.append(f"its energies were {record.gate_deviation_kj_mol:g} kJ/mol off at the gate")
    ensemble = _load(folder, record, place.peptide.n_atoms)
    if not len(ensemble):
        return [*reasons, "it has no frames"], None
    asked = inspect(record, ensemble, place.peptide, place.reference_path)
    reasons += [
        *check_claims(ensemble, record),
        *check_frames(ensemble, record, physics.target),
        *asked.reasons,
        *check_repeats(ensemble, never=not asked.may_repeat),
    ]
    if place.reference and cell.method != FLOOR:
        number = copied(ensemble, place.reference)
        if number:
            reasons.append(f"{number:,} of its frames are frames of the reference")
    frames, distinct = repeats(ensemble)
    weights: Literal["recomputed", "as declared", "none"] = (
        "none" if ensemble.log_weights is None else asked.weights
    )
    return reasons, CellReview(
        ensemble_sha256=record.ensemble_sha256, frames=frames, distinct=distinct, weights=weights
    )


def _load(folder: Path, record: Record, n_atoms: int) -> Ensemble:
    """The frames, once it is sure that they fit into memory. Raises DamagedFile."""
    # This is more than everything takes in double precision.
    most = min(MOST_BYTES, record.frames * (24 * n_atoms + 64))
    size = (folder / "ensemble.npz").stat().st_size
    if size > most + 2**16:
        raise DamagedFile(f"ensemble.npz has {size:,} bytes; {record.frames:,} frames need {most:,} at most")
    return record.load_ensemble(folder, most_bytes=most)


class _Place(NamedTuple):
    """A peptide, and what is known of it."""

    peptide: Peptide
    reference: Reference | None
    reference_path: Path | None


class _Physics(NamedTuple):
    target: Target
    force_field_hash: str


# Cells come sorted by peptide, and a reference is large.
@lru_cache(maxsize=2)
def _place(sequence: str, folders: tuple[Path, ...], kelvin: float) -> _Place:
    path = known_reference(sequence, folders, kelvin)
    reference = Reference.load(path) if path else None
    return _Place(reference.peptide if reference else Peptide.from_sequence(sequence), reference, path)


@lru_cache(maxsize=4)
def _physics(place: _Place, kelvin: float, force_field: ForceField) -> _Physics:
    """The target by the engine of this machine: the one that a record names may not be here."""
    settings = TargetSettings(temperature_kelvin=kelvin, force_field=force_field)
    return _Physics(make_target(place.peptide, settings), system_hash(place.peptide.system(force_field)))


def _check_force_field(force_field: ForceField) -> None:
    """Raise DamagedFile for files that do not come with OpenMM: others may hold programs, which OpenMM would run."""
    shipped = Path(openmm.app.__file__).parent / "data"
    for name in force_field.files:
        plain = not Path(name).is_absolute() and ".." not in Path(name).parts
        if not (plain and (shipped / name).is_file()):
            raise DamagedFile(f"its force field, {one_line(name)}, does not come with OpenMM")


def _gate_tolerance(reference: Reference | None) -> float:
    allowed = float(reference.gate.allowed_kj_mol.max()) if reference else ABSOLUTE_TOLERANCE_KJ_MOL
    # A record does not keep the frames of its gate. Shaken ones have higher energies than those of a reference.
    return 10.0 * allowed


def _check_plan(record: Record) -> Iterator[str]:
    """What a cell does otherwise than the suite whose name it bears."""
    cell, suite = record.cell, shipped_suite(record.cell.suite)
    if suite is None:
        return
    if cell.peptide not in suite.peptides:
        yield f"suite {cell.suite} has no peptide {cell.peptide}; give your suite another name"
    budgets = suite.row_budgets(cell.row) if cell.row in suite.methods else suite.budgets
    if not set(cell.budgets) <= set(budgets):
        yield f"suite {cell.suite} has no budgets {cell.budgets}, it has {budgets}"
    if cell.row in suite.methods and cell.method != EXTERNAL:
        method = suite.methods[cell.row].get("method", cell.row)
        if cell.method != method:
            yield f"row {cell.row} of suite {cell.suite} is of method {method}, not {cell.method}"
    if cell.seed not in suite.seeds and cell.method != EXTERNAL:
        yield f"suite {cell.suite} has no seed {cell.seed}, it has {', '.join(map(str, suite.seeds))}"
    if cell.frames != suite.frames:
        yield f"suite {cell.suite} scores {suite.frames} frames, not {cell.frames}"
    if cell.target.force_field != suite.target.force_field:
        yield f"suite {cell.suite} has another force field"
    kelvins = [target.temperature_kelvin for target in suite.targets]
    if cell.target.temperature_kelvin not in kelvins:
        yield f"suite {cell.suite} is at {', '.join(f'{kelvin:g}' for kelvin in kelvins)} K"
