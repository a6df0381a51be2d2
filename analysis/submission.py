"""Results that somebody else made: checked from the frames up, and packed for a pull request.

Nothing that a run folder says of itself is taken on trust where it can be computed again: hashes, energies, scores.
What is packed are the scores that were recomputed, not those that came along.
"""

import math
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree

from analysis.leaderboard_runs import collect
from analysis.scores import read_scores
from analysis.statuses import SCORED
from analysis.style import FLOOR
from analysis.suite_plan import missing_places, shipped_suite
from prosebench.energy.gate import ABSOLUTE_TOLERANCE_KJ_MOL, RELATIVE_TOLERANCE
from prosebench.energy.settings import make_target
from prosebench.ensemble import Ensemble
from prosebench.force_field import system_hash
from prosebench.peptide import Peptide
from prosebench.record import EXTERNAL, Cell, Record, cell_folders, read_cell, read_provenance, read_record
from prosebench.reference import Reference, known_reference
from prosebench.storage import DamagedFile, write_bytes

PACKED = ("cell.json", "record.json", "provenance.json", "failure.json", "ensemble.npz")
"""Files of a cell that are packed."""

MOST_FRAMES = 4_000
"""Of larger ensembles, energies of so many frames, drawn at random, are computed again."""

ENERGY_TOLERANCE_KT = 0.05
ENERGY_TOLERANCE = 1e-4
"""Absolute and relative deviation of a frame's energy: stored coordinates are in single precision."""

DEVIATING_SHARE = 1e-3
"""So many frames may deviate more: energies of clashes change with the last digit of a coordinate."""

SCORE_TOLERANCE = 1e-3
"""Relative deviation of a score from the one that came along: k-means may settle otherwise on another machine."""

SHAPE_PAIRS = 24
SAME_SHAPE_NM = 1e-4
"""Two frames whose distances between this many pairs of atoms differ by less, as a vector, are one and the same."""

Progress = Callable[[str, int, int], None]


class RefusedSubmission(ValueError):
    """Results that are not accepted; the message lists every reason."""

    def __init__(self, reasons: Sequence[str]) -> None:
        number = f"{len(reasons)} reason{'' if len(reasons) == 1 else 's'}"
        super().__init__(f"{number} against these results:\n  " + "\n  ".join(reasons))
        self.reasons = tuple(reasons)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The run folder that a path is or, for a .tar file that `pack` wrote, that it holds."""
    if not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with tarfile.open(path) as archive:
                archive.extractall(scratch, filter="data")
        except tarfile.TarError as error:
            raise DamagedFile(f"{path} is neither a run folder nor a .tar file of one ({error})") from error
        inside = sorted(Path(scratch).iterdir())
        if len(inside) != 1 or not inside[0].is_dir():
            raise DamagedFile(
                f"{path} does not hold one run folder; pack it with `prosebench submit-results`"
            )
        yield inside[0]


def submit(
    directory: Path,
    target: Path,
    reference_folders: Sequence[Path] = (),
    *,
    name: str = "",
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[Path, Path]:
    """Check a run folder, keep it as `target/<name>` (see `leaderboard_runs`), and pack its frames beside that.

    Returns the folder, which goes into a pull request under results/runs, and the .tar file, which is put where the
    pull request can link to it: whoever reviews it runs the same command on it. Raises RefusedSubmission with all
    reasons; then nothing is written.
    """
    name = name or directory.resolve().name
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise ValueError(
            f"{name!r} is no name for a run: letters, digits and -_. alone; give one with --name"
        )
    reasons = check_cells(directory, reference_folders, progress=progress)
    if reasons:
        raise RefusedSubmission(reasons)
    with tempfile.TemporaryDirectory() as scratch:
        # Scores that came along stay outside: the cells are scored as if for the first time.
        fresh = Path(scratch) / name
        fresh.mkdir()
        (fresh / "cells").symlink_to((directory / "cells").resolve(), target_is_directory=True)
        made = collect(
            fresh, Path(scratch) / "kept", reference_folders, name=name, workers=workers, progress=progress
        )
        recomputed = read_scores(made / "scores.csv")
        reasons = compare_scores(directory, recomputed)
        if reasons:
            raise RefusedSubmission(reasons)
        _replace(made, target / name)
    return target / name, pack(directory, target / f"{name}.tar", name)


def _replace(made: Path, folder: Path) -> None:
    """Make a folder of kept runs what `made` is: files that an earlier submission of the name left are removed."""
    files = {path.relative_to(made): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    for path in (folder / "peptides").glob("*.json"):
        if path.relative_to(folder) not in files:
            path.unlink()
    for name, content in sorted(files.items()):
        write_bytes(folder / name, content)


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
        except (DamagedFile, OSError, ValueError) as error:
            found.append(f"{folder.name}: {str(error).splitlines()[0]}")
        if progress:
            progress("cells", number, len(folders))
    if not (finished or found):
        return ["no cell has finished"]
    return found + missing_places(ended)


def _check_plan(record: Record) -> Iterator[str]:
    """What a cell does otherwise than the suite whose name it bears."""
    cell, suite = record.cell, shipped_suite(record.cell.suite)
    if suite is None:
        return
    if cell.peptide not in suite.peptides:
        yield f"suite {cell.suite} has no peptide {cell.peptide}; give your suite another name"
    if not set(cell.budgets) <= set(suite.budgets):
        yield f"suite {cell.suite} has no budgets {cell.budgets}, it has {suite.budgets}"
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
    largest = float(np.abs(reference.gate_energies_kj_mol).max()) if reference else 0.0
    # The gate's own frames are not kept with a record: shaken ones lie higher than those of a reference.
    return 10.0 * (ABSOLUTE_TOLERANCE_KJ_MOL + RELATIVE_TOLERANCE * largest)


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


def compare_scores(directory: Path, recomputed: pd.DataFrame) -> list[str]:
    """Where scores that came along (scores.csv) are not those of the frames; empty where there are none."""
    path = directory / "scores.csv"
    if not path.exists():
        return []
    claimed = read_scores(path)
    place = ["cell_id", "budget", "metric", "reference"]
    sides = [
        table[table["status"].isin(SCORED) & (table["cell_id"] != "")] for table in (claimed, recomputed)
    ]
    both = sides[0].merge(sides[1], on=place, how="left", suffixes=("", "_found"))
    reasons = []
    close = np.isclose(both["value"], both["value_found"], rtol=SCORE_TOLERANCE, atol=1e-9, equal_nan=True)
    for line in both[~close].to_dict("records"):
        reasons.append(
            f"{line['peptide']}, {line['row']}, {line['budget']:,} evaluations, seed {line['seed']}: scores.csv says "
            f"{line['metric']} {line['value']:.6g}, its frames give {line['value_found']:.6g}"
        )
    if reasons:
        reasons.append(
            "where another version of prosebench scored, `prosebench score RUN_FOLDER` does it again"
        )
    return reasons


def gives_equal_bytes(theirs: Record, ours: Record) -> bool:
    """Whether a cell that was run again must give the same bytes: by the same versions on the same target.

    Elsewhere (another instruction set, another library) trajectories part ways after a few hundred steps.
    """
    return (theirs.target, theirs.versions) == (ours.target, ours.versions)


def compare_rerun(theirs: Record, ours: Record) -> list[str]:
    """What a cell that was run again here says against the record that came along.

    Where `gives_equal_bytes` does not hold, frames and energies are not compared: budgets must be spent alike,
    preparation to a tenth, as a minimiser may stop elsewhere.
    """
    if gives_equal_bytes(theirs, ours):
        equal = theirs.ensemble_sha256 == ours.ensemble_sha256 and theirs.ledger == ours.ledger
        return [] if equal else ["running it again gives another ensemble or ledger"]
    reasons = []
    if theirs.status != ours.status:
        reasons.append(f"it says {theirs.status}, running it again says {ours.status}")
    for phase, share in (("sampling", 0.001), ("preparation", 0.1)):
        said, found = (getattr(record.ledger, phase).evaluations for record in (theirs, ours))
        if abs(said - found) > share * max(said, found):
            reasons.append(
                f"its ledger has {said:,} evaluations of {phase}, running it again takes {found:,}"
            )
    return reasons


def pack(directory: Path, path: Path, name: str) -> Path:
    """Write the cells of a run folder with their frames as a .tar file: equal cells give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
        for folder in cell_folders(directory):
            for file in (folder / one for one in PACKED):
                if file.exists():
                    member = tarfile.TarInfo(f"{name}/cells/{folder.name}/{file.name}")
                    member.size = file.stat().st_size
                    with file.open("rb") as content:
                        archive.addfile(member, content)
    partial.replace(path)
    return path
