"""Scores of frames made elsewhere: any ensemble or trajectory file."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.metrics.score import Score, score
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.energy.target import Target, kt_kj_mol
from prosebench.ensemble import Ensemble
from prosebench.frames.trajectories import read_positions
from prosebench.peptide import Peptide
from prosebench.reference import Reference, find_reference

FRAMES_RECOMPUTED = 16
ENERGY_TOLERANCE_KT = 0.5
"""The largest difference in kT between an energy in a file and the one that the published force field gives
here. A thousandth of the energy is allowed on top."""
KCAL_KJ = 4.184


class ForeignScore(NamedTuple):
    """Scores of a file, and, in words, what was done to its frames or is odd about them."""

    score: Score
    notes: list[str]


def score_file(
    path: Path,
    sequence: str,
    *,
    topology: Path | None,
    n_frames: int,
    seed: int,
    temperature_kelvin: float,
    reference_folders: Sequence[Path],
) -> ForeignScore:
    """Scores of a file of frames. Raises ValueError or FileNotFoundError saying what to change."""
    reference = Reference.load(find_reference(sequence, reference_folders, temperature_kelvin))
    if reference.temperature_kelvin != temperature_kelvin:
        raise ValueError(
            f"the reference of {sequence} is at {reference.temperature_kelvin:g} K, not at "
            f"{temperature_kelvin:g} K; make one with `prosebench reference --temperature {temperature_kelvin:g}`"
        )
    peptide = reference.peptide
    ensemble, notes = read_frames(path, peptide, topology, temperature_kelvin)
    return ForeignScore(score(ensemble, reference, n_frames=n_frames, seed=seed), notes)


def read_frames(
    path: Path, peptide: Peptide, topology: Path | None, temperature_kelvin: float
) -> tuple[Ensemble, list[str]]:
    """Frames of a file, with its energies where it has some and with energies computed here where not, and notes.

    See `read_positions` for formats, notes and errors. Energies are those of the published force field; a file whose
    energies are others, in kJ/mol for instance, is refused with ValueError.
    """
    arrays, notes = read_positions(path, peptide, topology)
    target = make_target(peptide, TargetSettings(temperature_kelvin=temperature_kelvin))
    if "energies_kt" in arrays:
        _check_energies(arrays["energies_kt"], arrays["positions_nm"], target, path)
    else:
        arrays["energies_kt"] = target.energy(arrays["positions_nm"])
    return Ensemble.from_arrays(arrays), notes


def _check_energies(
    energies_kt: NDArray[np.floating], positions_nm: NDArray[np.floating], target: Target, path: Path
) -> None:
    """Compute some energies again. Raises ValueError where those of the file are others, with the likely reason."""
    usable = np.flatnonzero(np.isfinite(energies_kt) & np.isfinite(positions_nm).all(axis=(1, 2)))
    chosen = usable[:: max(1, len(usable) // FRAMES_RECOMPUTED)][:FRAMES_RECOMPUTED]
    if not len(chosen):
        return
    right, given = target.energy(positions_nm[chosen]), energies_kt[chosen]
    wrong = ~(np.abs(given - right) <= ENERGY_TOLERANCE_KT + 1e-3 * np.abs(right))
    if not wrong.any():
        return
    first = int(np.flatnonzero(wrong)[0])
    unit = kt_kj_mol(target.temperature_kelvin)
    factor = float(np.median(given / right))
    names = {"kJ/mol": unit, "kcal/mol": unit / KCAL_KJ}
    likely = next((f"; they look like {name}" for name, f in names.items() if abs(factor / f - 1) < 0.02), "")
    raise ValueError(
        f"energies_kt of {path} are not those of the published force field in kT at {target.temperature_kelvin:g} K: "
        f"frame {chosen[first]} has {given[first]:.6g}, and {right[first]:.6g} computed here{likely}. Leave "
        "energies_kt out, and they are computed"
    )
