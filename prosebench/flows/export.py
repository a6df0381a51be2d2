"""Samples as files that other programs read."""

import os
from pathlib import Path
from typing import Literal

import mdtraj
import numpy as np

from prosebench.ensemble import Ensemble
from prosebench.frames.importance import filter_top, pareto_smooth, resample
from prosebench.peptide import Peptide
from prosebench.store.storage import TEMPORARY_SUFFIX, make_folder

FORMATS = (".xtc", ".dcd", ".pdb", ".npz")

FARTHEST_NM = 900.0
"""No format holds every number: the columns of a PDB file end before 1000 nm."""

_DCD_HEADER_BYTES = 276
"""A DCD file begins with three records: numbers, title, number of atoms."""

Weighting = Literal["smoothed", "filtered"]


def files_of(path: Path) -> list[Path]:
    """The files that `write_frames` writes for a name: beside an .xtc or .dcd file, a .pdb file names the atoms."""
    return [path, path.with_suffix(".pdb")] if path.suffix in (".xtc", ".dcd") else [path]


def check_writable(path: Path) -> None:
    """Make the folder of a file. Raises ValueError where `write_frames` could not write the file, or would replace
    one."""
    if path.suffix not in FORMATS:
        raise ValueError(f"cannot write {path}: its name must end in one of {', '.join(FORMATS)}")
    for file in files_of(path):
        if file.exists():
            raise ValueError(f"{file} is there already: give another name, or remove it")
    make_folder(path.parent)


def write_frames(path: Path, peptide: Peptide, ensemble: Ensemble) -> list[Path]:
    """Write the frames of an ensemble as the name's end says; returns the paths of the files.

    An .npz file is the ensemble with energies and log-weights. Beside an .xtc or .dcd file stands a .pdb file with the
    first frame, which names the atoms. Frames that are not `writable` are left out of all but the .npz file. Raises
    ValueError where that leaves none, or as `check_writable`.
    """
    check_writable(path)
    if path.suffix == ".npz":
        ensemble.save(path)
        return [path]
    frames = ensemble.positions_nm[writable(ensemble)]
    if not len(frames):
        raise ValueError(
            f"none of {len(ensemble)} frames can be written: coordinates are not finite, or too large"
        )
    trajectory = mdtraj.Trajectory(frames, peptide.topology)
    _save_whole(trajectory, path)
    for topology in files_of(path)[1:]:
        _save_whole(trajectory[0], topology)
    return files_of(path)


def _save_whole(trajectory: mdtraj.Trajectory, path: Path) -> None:
    """Write a file under another name, look whether all frames are in it, and only then give it its own name.

    Raises OSError where they are not: some writers do not notice that a disk is full.
    """
    partial = path.with_name(f".{path.stem}{TEMPORARY_SUFFIX}{path.suffix}")
    try:
        trajectory.save(str(partial))
        there = _frames_in(partial, trajectory.n_atoms)
        if there < trajectory.n_frames:
            raise OSError(f"only {there} of {trajectory.n_frames} frames were written")
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except Exception as error:
        # Each writer of mdtraj has its own types for a disk that is full.
        raise OSError(f"{path} could not be written ({error}); is the disk full?") from error
    finally:
        partial.unlink(missing_ok=True)


def _frames_in(path: Path, n_atoms: int) -> int:
    """Whole frames in a file. A DCD file's are told from its size: its reader talks to the terminal."""
    if path.suffix == ".dcd":
        return (path.stat().st_size - _DCD_HEADER_BYTES) // (3 * (4 * n_atoms + 8))
    with mdtraj.open(str(path)) as file:
        return len(file)


def writable(ensemble: Ensemble) -> np.ndarray:
    """Which frames (n,) the formats of other programs can hold: all coordinates are within FARTHEST_NM of 0."""
    return (np.abs(ensemble.positions_nm) < FARTHEST_NM).all(axis=(1, 2))


def drawn_by_weight(ensemble: Ensemble, n: int, seed: int, weighting: Weighting = "smoothed") -> Ensemble:
    """n frames drawn with replacement by their weights: samples of the target.

    "smoothed" weights are Pareto-smoothed (`pareto_smooth`); "filtered" is the published way, in which the frames of
    the highest weights are left out. Raises ValueError for an ensemble without weights, or without a finite one.
    """
    if ensemble.log_weights is None:
        raise ValueError("the ensemble has no weights to draw by")
    rng = np.random.default_rng(seed)
    if weighting == "smoothed":
        index = resample(pareto_smooth(ensemble.log_weights)[0], n, rng)
    else:
        kept = filter_top(ensemble.log_weights)
        index = kept[resample(ensemble.log_weights[kept], n, rng)]
    return Ensemble(ensemble.positions_nm[index], ensemble.energies_kt[index])
