"""Frames made elsewhere: any ensemble or trajectory file, as an `Ensemble` in a peptide's own atom order."""

from collections.abc import Sequence
from pathlib import Path

import mdtraj
import numpy as np

from analysis.score import score
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.reference import Reference, atom_labels, find_reference


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
    reference = Reference.load(find_reference(sequence, reference_folders))
    peptide = reference.peptide
    ensemble = read_frames(path, peptide, topology, temperature_kelvin)
    return score(ensemble, reference, peptide.topology, n_frames=n_frames, seed=seed)


def read_frames(path: Path, peptide: Peptide, topology: Path | None, temperature_kelvin: float) -> Ensemble:
    """Frames of an ensemble file (.npz), or of a trajectory that mdtraj reads (XTC, DCD, PDB, HDF5 ...).

    Energies of a trajectory are computed here, at the published force field. Its atoms may stand in any order:
    topology, a PDB file, names them (a PDB or HDF5 trajectory names its own). Raises ValueError where atoms differ.
    """
    if path.suffix == ".npz":
        ensemble = Ensemble.load(path)
        if ensemble.positions_nm.shape[1] != peptide.n_atoms:
            found = ensemble.positions_nm.shape[1]
            raise ValueError(
                f"{path} has frames of {found} atoms; peptide {peptide.sequence} has {peptide.n_atoms}"
            )
        return ensemble
    trajectory = _load_trajectory(path, topology)
    frames = trajectory.xyz[:, _order(trajectory.topology, peptide, path)]
    target = make_target(peptide, TargetSettings(temperature_kelvin=temperature_kelvin))
    return Ensemble(frames, target.energy(frames))


def _load_trajectory(path: Path, topology: Path | None) -> mdtraj.Trajectory:
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return mdtraj.load(str(path), top=str(topology)) if topology else mdtraj.load(str(path))
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        hint = "" if topology else "; most formats need --topology with a PDB file that names the atoms"
        raise ValueError(f"mdtraj cannot read {path} ({error}){hint}") from error


def _order(topology: mdtraj.Topology, peptide: Peptide, path: Path) -> np.ndarray:
    labels = [f"{atom.residue.index + 1}{atom.residue.name}-{atom.name}" for atom in topology.atoms]
    wanted = atom_labels(peptide)
    missing = [label for label in wanted if label not in labels]
    if missing or len(labels) != len(wanted):
        named = (
            f"it lacks {', '.join(missing[:5])}"
            if missing
            else f"it has {len(labels)} atoms, not {len(wanted)}"
        )
        raise ValueError(f"{path} is not a trajectory of the whole peptide {peptide.sequence}: {named}")
    return np.array([labels.index(label) for label in wanted])
