"""Samples as files that other programs read."""

from pathlib import Path

import mdtraj
import numpy as np

from prosebench.ensemble import Ensemble
from prosebench.importance import filter_top, resample
from prosebench.peptide import Peptide

FORMATS = (".xtc", ".dcd", ".pdb", ".npz")


def check_format(path: Path) -> None:
    """Raise ValueError for a file name that ends in none of FORMATS."""
    if path.suffix not in FORMATS:
        raise ValueError(f"cannot write {path}: its name must end in one of {', '.join(FORMATS)}")


def write_frames(path: Path, peptide: Peptide, ensemble: Ensemble) -> list[Path]:
    """Write the frames of an ensemble as the name's end says; returns the paths of the files.

    An .npz file is the ensemble with energies and log-weights. Beside an .xtc or .dcd file stands a .pdb file with the
    first frame, which names the atoms. Frames that are not finite are left out of all but the .npz file.
    """
    check_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        ensemble.save(path)
        return [path]
    frames = ensemble.positions_nm[np.isfinite(ensemble.positions_nm).all(axis=(1, 2))]
    trajectory = mdtraj.Trajectory(frames, peptide.topology)
    trajectory.save(str(path))
    if path.suffix == ".pdb":
        return [path]
    topology = path.with_suffix(".pdb")
    trajectory[0].save(str(topology))
    return [path, topology]


def drawn_by_weight(ensemble: Ensemble, n: int, seed: int) -> Ensemble:
    """n frames drawn with replacement by their weights, after the published filter: samples of the target."""
    if ensemble.log_weights is None:
        raise ValueError("the ensemble has no weights to draw by")
    kept = filter_top(ensemble.log_weights)
    index = kept[resample(ensemble.log_weights[kept], n, np.random.default_rng(seed))]
    return Ensemble(ensemble.positions_nm[index], ensemble.energies_kt[index])
