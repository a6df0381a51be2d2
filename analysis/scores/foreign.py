"""Scores of frames made elsewhere: any ensemble or trajectory file."""

from collections.abc import Sequence
from pathlib import Path

from analysis.metrics.score import score
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble
from prosebench.frames.trajectories import read_positions
from prosebench.peptide import Peptide
from prosebench.reference import Reference, find_reference


def score_file(
    path: Path,
    sequence: str,
    *,
    topology: Path | None,
    n_frames: int,
    seed: int,
    temperature_kelvin: float,
    reference_folders: Sequence[Path],
) -> dict[str, float]:
    """Scores by metric name of a file of frames. Raises ValueError or FileNotFoundError saying what to change."""
    reference = Reference.load(find_reference(sequence, reference_folders, temperature_kelvin))
    if reference.temperature_kelvin != temperature_kelvin:
        raise ValueError(
            f"the reference of {sequence} is at {reference.temperature_kelvin:g} K, not at "
            f"{temperature_kelvin:g} K; make one with `prosebench reference --temperature {temperature_kelvin:g}`"
        )
    peptide = reference.peptide
    ensemble = read_frames(path, peptide, topology, temperature_kelvin)
    return score(ensemble, reference, n_frames=n_frames, seed=seed)


def read_frames(path: Path, peptide: Peptide, topology: Path | None, temperature_kelvin: float) -> Ensemble:
    """Frames of an ensemble file (.npz) with its energies, or of a trajectory, with energies computed here.

    See `read_positions` for formats and errors; energies are those of the published force field.
    """
    found = read_positions(path, peptide, topology)
    if path.suffix == ".npz":
        return Ensemble.load(path)
    target = make_target(peptide, TargetSettings(temperature_kelvin=temperature_kelvin))
    return Ensemble(found["positions_nm"], target.energy(found["positions_nm"]))
