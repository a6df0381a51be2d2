"""Frames in files of other programs, in a peptide's own atom order."""

from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from numpy.typing import NDArray

from prosebench.peptide import Peptide
from prosebench.reference import atom_labels
from prosebench.store.storage import DamagedFile, read_arrays

BOND_NM = (0.07, 0.25)
"""Between these lies the median length of the bonds of any peptide in nanometres (H-C 0.11, S-S 0.2)."""


def read_positions(path: Path, peptide: Peptide, topology: Path | None = None) -> dict[str, NDArray[Any]]:
    """positions_nm (n, atoms, 3) of a file, and log_weights (n,) where an .npz file has them.

    An .npz file holds frames in nm in the peptide's own atom order. Of anything else that mdtraj reads (XTC, DCD, PDB,
    HDF5 ...) the atoms may stand in any order: topology, a PDB file, names them (a PDB or HDF5 file names its own).
    Raises FileNotFoundError, DamagedFile, or ValueError where the frames are not of this peptide in nm.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    found = _arrays(path, peptide) if path.suffix == ".npz" else _trajectory(path, peptide, topology)
    _check_bonds(found["positions_nm"], peptide, path)
    return found


def _arrays(path: Path, peptide: Peptide) -> dict[str, NDArray[Any]]:
    arrays = read_arrays(path)
    if "positions_nm" not in arrays:
        raise DamagedFile(f"{path} has no array positions_nm (frames, atoms, 3); it has {sorted(arrays)}")
    shape = arrays["positions_nm"].shape
    if len(shape) != 3 or shape[1:] != (peptide.n_atoms, 3):
        raise ValueError(
            f"positions_nm of {path} has shape {shape}; {peptide.sequence} needs (frames, {peptide.n_atoms}, 3)"
        )
    return {name: arrays[name] for name in ("positions_nm", "log_weights") if name in arrays}


def _trajectory(path: Path, peptide: Peptide, topology: Path | None) -> dict[str, NDArray[Any]]:
    try:
        found = mdtraj.load(str(path), top=str(topology)) if topology else mdtraj.load(str(path))
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        hint = "" if topology else "; most formats need a topology: a PDB file that names the atoms"
        raise ValueError(f"mdtraj cannot read {path} ({error}){hint}") from error
    return {"positions_nm": found.xyz[:, _order(found.topology, peptide, path)]}


def _order(topology: mdtraj.Topology, peptide: Peptide, path: Path) -> NDArray[np.int64]:
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


def _check_bonds(positions_nm: NDArray[Any], peptide: Peptide, path: Path) -> None:
    """A wrong unit or order of atoms shows in the lengths of bonds."""
    if not len(positions_nm):
        raise ValueError(f"{path} holds no frames")
    bonds = np.array([(one.index, other.index) for one, other in peptide.topology.bonds])
    ends = positions_nm[:: max(1, len(positions_nm) // 100)][:, bonds]
    lengths = np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=-1)
    median = float(np.median(lengths[np.isfinite(lengths)])) if np.isfinite(lengths).any() else np.nan
    if not BOND_NM[0] < median < BOND_NM[1]:
        likely = " (they look like ångström: divide by 10)" if 0.7 < median < 2.5 else ""
        raise ValueError(
            f"bonds in {path} have a median length of {median:.3g} nm, which is no peptide's{likely}: "
            f"positions must be in nm, and in an .npz file in the atom order of {peptide.sequence}"
        )
