"""What must hold of the cells of a run that somebody else made: hashes, plan, ledgers, energies, their own frames."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from analysis.board.suite_plan import missing_places, shipped_suite
from prosebench.energy.gate import ABSOLUTE_TOLERANCE_KJ_MOL
from prosebench.energy.settings import make_target
from prosebench.ensemble import Ensemble
from prosebench.names import EXTERNAL, FLOOR
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import system_hash
from prosebench.record import Cell, Record, cell_folders, read_cell, read_provenance, read_record
from prosebench.reference import Reference, known_reference
from prosebench.store.storage import DamagedFile, read_json

MOST_FRAMES = 4_000
"""Of larger ensembles, energies of so many frames, drawn at random, are computed again."""

ENERGY_TOLERANCE_KT = 0.05
ENERGY_TOLERANCE = 1e-4
"""Absolute and relative deviation of a frame's energy: stored coordinates are in single precision."""

DEVIATING_SHARE = 1e-3
"""So many frames may deviate more: energies of clashes change with the last digit of a coordinate."""

SHAPE_PAIRS = 24
SAME_SHAPE_NM = 1e-4
"""Two frames whose distances between this many pairs of atoms differ by less, as a vector, are one and the same."""

Progress = Callable[[str, int, int], None]


def check_cells(
    directory: Path, reference_folders: Sequence[Path] = (), *, progress: Progress | None = None
) -> list[str]:
    """Everything that is wrong with the cells of a run folder, a line each; empty for none.

    Of a shipped suite, each row must have ended everywhere: finished, skipped by its method, or failed. Raises
    FileNotFoundError for a folder without cells.
    """
    folders = cell_folders(directory)
    if not folders:
        raise FileNotFoundError(
            f"{directory} holds no cells; give a run folder, as `prosebench run` makes them"
        )
    found: list[str] = []
    ended: list[Cell] = []
    finished = 0
    for number, folder in enumerate(folders, start=1):
        try:
            cell = read_cell(folder)
            if any((folder / name).exists() for name in ("record.json", "failure.json")):
                ended.append(cell)
            if (folder / "record.json").exists():
                finished += 1
                record = read_record(folder)
                if record.cell != cell:
                    found.append(f"{folder.name}: cell.json and record.json describe different cells")
                reasons = [*_check_plan(record), *_check_record(folder, record, reference_folders)]
                found.extend(f"{folder.name}: {reason}" for reason in reasons)
            elif (folder / "failure.json").exists() and not _failure_reason(folder):
                found.append(f"{folder.name}: failure.json gives no reason; run the cell again")
        except (DamagedFile, OSError, ValueError) as error:
            found.append(f"{folder.name}: {_said(error)}")
        if progress:
            progress("cells", number, len(folders))
    if not (finished or found):
        return ["no cell has finished"]
    return found + missing_places(ended)


def _said(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{Path(error.filename).name} is missing; send the cell's folder whole, or run the cell again"
    return str(error).splitlines()[0]


def _failure_reason(folder: Path) -> str:
    content = read_json(folder / "failure.json")
    return str(content.get("reason", "")).strip() if isinstance(content, dict) else ""


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
    if cell.seed not in suite.seeds and cell.method != EXTERNAL:
        yield f"suite {cell.suite} has no seed {cell.seed}, it has {', '.join(map(str, suite.seeds))}"
    if cell.frames != suite.frames:
        yield f"suite {cell.suite} scores {suite.frames} frames, not {cell.frames}"
    if cell.target.force_field != suite.target.force_field:
        yield f"suite {cell.suite} has another force field"
    kelvins = [target.temperature_kelvin for target in suite.targets]
    if cell.target.temperature_kelvin not in kelvins:
        yield f"suite {cell.suite} is at {', '.join(f'{kelvin:g}' for kelvin in kelvins)} K"


def _check_record(folder: Path, record: Record, reference_folders: Sequence[Path]) -> Iterator[str]:
    yield from check_ledger(record)
    if not (folder / "provenance.json").exists():
        yield "provenance.json is missing: nobody can know where this was run"
    else:
        read_provenance(folder)
    if record.status == "skipped":
        if not record.reason.strip():
            yield "it says that its method skips this cell, but not why"
        if (folder / "ensemble.npz").exists():
            yield "it says that its method skips this cell, but there are frames in it"
        return
    reference = _reference(record, reference_folders)
    peptide = reference.peptide if reference else Peptide.from_sequence(record.cell.peptide)
    if record.force_field_hash != system_hash(peptide.system(record.cell.target.force_field)):
        yield "force_field_hash is not that of this peptide and force field"
    if not record.gate_deviation_kj_mol <= _gate_tolerance(reference):
        yield f"its energies were {record.gate_deviation_kj_mol:g} kJ/mol off at the gate"
    ensemble = record.load_ensemble(folder)
    yield from check_ensemble(ensemble, record, peptide)
    if reference and record.cell.method != FLOOR:
        copied = _copied(ensemble, reference)
        if copied:
            yield f"{copied:,} of its frames are frames of the reference"


def _gate_tolerance(reference: Reference | None) -> float:
    allowed = float(reference.gate.allowed_kj_mol.max()) if reference else ABSOLUTE_TOLERANCE_KJ_MOL
    # The gate's own frames are not kept with a record: shaken ones lie higher than those of a reference.
    return 10.0 * allowed


def check_ledger(record: Record) -> Iterator[str]:
    """What cannot be in a ledger. A call that gives energies, gradients or both is one evaluation a frame."""
    budget = record.cell.budgets[-1]
    for phase, counts in (("sampling", record.ledger.sampling), ("preparation", record.ledger.preparation)):
        if min(counts.evaluations, counts.energies, counts.gradients, counts.failures) < 0:
            yield f"{phase} in its ledger has a negative number"
        low, high = max(counts.energies, counts.gradients), counts.energies + counts.gradients
        if not low <= counts.evaluations <= high:
            yield (
                f"{phase} in its ledger has {counts.evaluations:,} evaluations, but {counts.energies:,} energies and "
                f"{counts.gradients:,} gradients, which are {low:,} to {high:,}"
            )
        if counts.failures > counts.evaluations:
            yield f"{phase} in its ledger has more failures than evaluations"
    if record.ledger.sampling.evaluations > budget:
        yield f"its ledger has {record.ledger.sampling.evaluations:,} evaluations at a budget of {budget:,}"


def check_ensemble(ensemble: Ensemble, record: Record, peptide: Peptide) -> Iterator[str]:
    """What in an ensemble contradicts its record, its peptide, or the energy function."""
    n_atoms = ensemble.positions_nm.shape[1]
    if n_atoms != peptide.n_atoms:
        yield f"its frames have {n_atoms} atoms, {record.cell.peptide} has {peptide.n_atoms}"
        return
    if len(ensemble) != record.frames:
        yield f"its ensemble holds {len(ensemble):,} frames, its record says {record.frames:,}"
    if ensemble.evaluations is None:
        yield "its frames do not say when they were sampled"
    elif len(ensemble):
        spent, last = record.ledger.sampling.evaluations, int(ensemble.evaluations.max())
        if last > spent or int(ensemble.evaluations.min()) < 0:
            yield f"its frames were sampled after up to {last:,} evaluations, its ledger has {spent:,}"
        if (np.diff(ensemble.evaluations) < 0).any():
            yield "its frames are not in the order in which they were sampled"
    deviating, checked, worst = _deviating(ensemble, record, peptide)
    if deviating > math.ceil(DEVIATING_SHARE * checked):
        yield f"{deviating:,} of {checked:,} frames have other energies than stored, by up to {worst:.3g} kT"


def _deviating(ensemble: Ensemble, record: Record, peptide: Peptide) -> tuple[int, int, float]:
    """Number of frames whose energy is not the stored one, of how many, and the largest finite deviation."""
    chosen = np.arange(len(ensemble))
    if len(chosen) > MOST_FRAMES:  # which ones must not be known beforehand
        chosen = np.sort(np.random.default_rng().choice(chosen, MOST_FRAMES, replace=False))
    target = make_target(peptide, record.cell.target)
    stored, found = ensemble.energies_kt[chosen], target.energy(ensemble.positions_nm[chosen])
    with np.errstate(invalid="ignore"):
        gaps = np.abs(stored - found)
        fits = gaps <= ENERGY_TOLERANCE_KT + ENERGY_TOLERANCE * np.abs(found)
    fits |= ~np.isfinite(stored)  # a frame that calls itself bad only harms whoever sends it
    finite = gaps[np.isfinite(gaps)]
    return int((~fits).sum()), len(chosen), float(finite.max()) if len(finite) else math.nan


def _copied(ensemble: Ensemble, reference: Reference) -> int:
    """Number of frames that are frames of the reference, shifted, turned or mirrored as they may be."""
    known, asked = (_shape(one.positions_nm) for one in (reference.ensemble, ensemble))
    apart, _ = KDTree(known).query(asked, distance_upper_bound=SAME_SHAPE_NM)
    return int(np.isfinite(apart).sum())


def _shape(frames_nm: NDArray[np.float32]) -> NDArray[np.float64]:
    """Distances (n, SHAPE_PAIRS) in nm between pairs of atoms, the same pairs in every frame; 1e6 where not finite."""
    atoms = frames_nm.shape[1]
    first, second = np.triu_indices(atoms, 1)
    chosen = np.random.default_rng(0).permutation(len(first))[:SHAPE_PAIRS]
    with np.errstate(invalid="ignore", over="ignore"):
        apart = frames_nm[:, first[chosen]].astype(np.float64) - frames_nm[:, second[chosen]]
        distances = np.sqrt((apart**2).sum(axis=2))
    # What is not finite is like nothing in a reference.
    return np.where(np.isfinite(distances), distances, 1e6)


def _reference(record: Record, folders: Sequence[Path]) -> Reference | None:
    path = known_reference(record.cell.peptide, folders, record.cell.target.temperature_kelvin)
    return Reference.load(path) if path else None
