"""Frames in files of other programs, in a peptide's own atom order, and checked to be of that peptide."""

from pathlib import Path
from typing import Any, NamedTuple

import mdtraj
import numpy as np
from numpy.typing import NDArray

from prosebench.frames.bonds import bond_fault, make_whole, torn
from prosebench.frames.methyls import exchanged_methyls
from prosebench.peptide import Peptide
from prosebench.peptide.labels import atom_label, atom_labels
from prosebench.peptide.names import standard_atom, standard_residue
from prosebench.store.hub import first_line
from prosebench.store.storage import DamagedFile, read_arrays

KNOWN_ARRAYS = ("positions_nm", "energies_kt", "log_weights", "evaluations")
"""The arrays that an .npz file of frames may hold: positions, and for each frame its energy in kT, its
log-weight, and the evaluations spent so far."""
TORN_SHARE = 0.01
"""A file is refused if a periodic box cuts the molecule in more than this share of its frames."""

WITHOUT_ATOMS = (
    ".xtc", ".trr", ".dcd", ".nc", ".ncdf", ".netcdf", ".crd", ".mdcrd", ".xyz", ".xyz.gz", ".lammpstrj", ".dtr",
    ".stk", ".rst7", ".restrt", ".inpcrd", ".ncrst",
)  # fmt: skip
"""The file endings of formats that hold coordinates, and no names of atoms."""

Arrays = dict[str, NDArray[Any]]


class ForeignFrames(NamedTuple):
    """What a file holds: arrays by name (KNOWN_ARRAYS), and, in words, what was done to them or is odd about them."""

    arrays: Arrays
    notes: list[str]


def read_positions(path: Path, peptide: Peptide, topology: Path | None = None) -> ForeignFrames:
    """positions_nm (n, atoms, 3) of a file in the order of the peptide's atoms, and what else an .npz file has.

    topology, a PDB file, names the atoms of the file in its order. A PDB or HDF5 file names its own, an .npz file
    without it has the order of the peptide; anything else that mdtraj reads (XTC, DCD ...) needs it. Molecules that a
    periodic box cuts are made whole where the file states its box, and the methyl groups of VAL and LEU get their right
    names; notes say so. Raises FileNotFoundError, DamagedFile, or ValueError where the frames are not of this peptide
    in nm, or not finite.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if topology is not None and not topology.is_file():
        raise FileNotFoundError(f"there is no topology {topology}")
    notes: list[str] = []
    if path.suffix == ".npz":
        arrays = _arrays(path, peptide, topology)
    else:
        arrays = {"positions_nm": _trajectory(path, peptide, topology, notes)}
    if not len(arrays["positions_nm"]):
        raise ValueError(f"{path} holds no frames")
    _check_finite(arrays, path, notes)
    _check_bonds(arrays["positions_nm"], peptide, path)
    _check_torn(arrays["positions_nm"], peptide, path, notes)
    order, residues = exchanged_methyls(arrays["positions_nm"], peptide)
    if residues:
        arrays["positions_nm"] = arrays["positions_nm"][:, order]
        notes.append(
            f"the two methyl groups of {', '.join(residues)} stand under each other's names in {path}, by their hand; "
            "they were renamed"
        )
    return ForeignFrames(arrays, notes)


def _arrays(path: Path, peptide: Peptide, topology: Path | None) -> Arrays:
    arrays = read_arrays(path)
    if "positions_nm" not in arrays:
        raise DamagedFile(f"{path} has no array positions_nm (frames, atoms, 3); it has {sorted(arrays)}")
    unknown = sorted(set(arrays) - set(KNOWN_ARRAYS))
    if unknown:
        raise ValueError(
            f"{path} has an unknown array {unknown[0]!r}; known: {', '.join(KNOWN_ARRAYS)}. Rename it, or leave it out"
        )
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{name} of {path} has the type {array.dtype}; it must hold real numbers")
    shape = arrays["positions_nm"].shape
    if len(shape) != 3 or shape[1:] != (peptide.n_atoms, 3):
        raise ValueError(
            f"positions_nm of {path} has shape {shape}; {peptide.sequence} needs (frames, {peptide.n_atoms}, 3)"
        )
    for name, array in arrays.items():
        if name != "positions_nm" and array.shape != shape[:1]:
            raise ValueError(
                f"{name} of {path} has shape {array.shape}; {shape[0]} frames need ({shape[0]},)"
            )
    _check_values(arrays, path)
    if topology is not None:
        arrays["positions_nm"] = arrays["positions_nm"][
            :, _order(_load_topology(topology), peptide, topology)
        ]
    return arrays


def _check_values(arrays: Arrays, path: Path) -> None:
    """Refuse log-weights and evaluations that cannot be."""
    weights, evaluations = arrays.get("log_weights"), arrays.get("evaluations")
    if weights is not None and (np.isnan(weights) | np.isposinf(weights)).any():
        first = int(np.flatnonzero(np.isnan(weights) | np.isposinf(weights))[0])
        raise ValueError(
            f"log_weights of {path} holds {weights[first]} (frame {first}); a log-weight is a number, or -inf for a "
            "frame of weight 0"
        )
    if evaluations is not None and not (np.isfinite(evaluations) & (evaluations >= 0)).all():
        first = int(np.flatnonzero(~(np.isfinite(evaluations) & (evaluations >= 0)))[0])
        raise ValueError(
            f"evaluations of {path} holds {evaluations[first]} (frame {first}); they count from 0 upwards"
        )


def _trajectory(path: Path, peptide: Peptide, topology: Path | None, notes: list[str]) -> NDArray[Any]:
    top = _load_topology(topology) if topology else None
    if top is None and path.name.lower().endswith(WITHOUT_ATOMS):
        raise ValueError(
            f"{path} names no atoms: give --topology FILE (in a declaration: topology), a PDB file with the atoms in "
            "the order of the frames"
        )
    if _is_empty_pdb(path):
        raise ValueError(f"{path} holds no atoms: none of its lines begins with ATOM or HETATM")
    try:
        found = mdtraj.load(str(path), top=top) if top is not None else mdtraj.load(str(path))
    except Exception as error:
        # Every reader of mdtraj has its own types for a file that is cut or of another kind.
        raise ValueError(f"{path} cannot be read ({first_line(error)})") from error
    positions = found.xyz[:, _order(found.topology, peptide, topology or path)]
    cut = torn(positions, peptide.topology)
    if cut.any() and found.unitcell_vectors is not None:
        positions[cut] = make_whole(positions[cut], found.unitcell_vectors[cut], peptide.topology)
        notes.append(
            f"{cut.sum():,} of {len(cut):,} frames of {path} were cut by its periodic box; made whole"
        )
    return positions


def _is_empty_pdb(path: Path) -> bool:
    """Whether a PDB file has no line of an atom: mdtraj stumbles over one."""
    if path.suffix.lower() != ".pdb":
        return False
    with path.open(errors="replace") as lines:
        return not any(line.startswith(("ATOM", "HETATM")) for line in lines)


def _load_topology(path: Path) -> mdtraj.Topology:
    try:
        topology = mdtraj.Topology() if _is_empty_pdb(path) else mdtraj.load_topology(str(path))
    except Exception as error:
        raise ValueError(
            f"the topology {path} cannot be read ({first_line(error)}); give a PDB file with a line for each atom"
        ) from error
    if not topology.n_atoms:
        raise ValueError(f"the topology {path} names no atoms; give a PDB file with a line for each atom")
    return topology


def _order(topology: mdtraj.Topology, peptide: Peptide, path: Path) -> NDArray[np.int64]:
    """The place in a topology of each atom of the peptide. Raises ValueError, naming what it lacks."""
    labels = []
    for atom in topology.atoms:
        residue = standard_residue(atom.residue.name)
        labels.append(atom_label(atom, residue, standard_atom(residue, atom.name)))
    wanted = atom_labels(peptide)
    missing = [label for label in wanted if label not in labels]
    if missing or len(labels) != len(wanted):
        named = (
            f"it lacks {', '.join(missing[:5])}"
            if missing
            else f"it has {len(labels)} atoms, not {len(wanted)}"
        )
        raise ValueError(f"{path} is not of the whole peptide {peptide.sequence}: {named}")
    return np.array([labels.index(label) for label in wanted])


def _check_finite(arrays: Arrays, path: Path, notes: list[str]) -> None:
    """Frames without finite coordinates can have no weight; without weights they have no place in a file."""
    bad = np.logical_not(np.isfinite(arrays["positions_nm"]).all(axis=(1, 2)))
    if not bad.any():
        return
    said = f"{bad.sum():,} of {len(bad):,} frames of {path} have coordinates that are not finite"
    if bad.all() or "log_weights" not in arrays:
        raise ValueError(
            f"{said} (the first is frame {bad.argmax()}); leave them out, and say how many they were"
        )
    notes.append(f"{said}; their weight is 0")


def _check_bonds(positions_nm: NDArray[Any], peptide: Peptide, path: Path) -> None:
    fault = bond_fault(positions_nm, peptide.topology)
    if fault:
        raise ValueError(
            f"{path} holds no frames of {peptide.sequence} in nm: {fault}. If the atoms stand in another order, name "
            "it with --topology FILE.pdb (in a declaration: topology), a PDB file with the atoms in the order of the "
            "frames"
        )


def _check_torn(positions_nm: NDArray[Any], peptide: Peptide, path: Path, notes: list[str]) -> None:
    cut = torn(positions_nm, peptide.topology)
    if not cut.any():
        return
    said = f"{cut.sum():,} of {len(cut):,} frames of {path} are cut in two, as by a periodic box"
    if cut.mean() > TORN_SHARE:
        raise ValueError(
            f"{said}: make molecules whole first (as `gmx trjconv -pbc whole` does), or give a trajectory that "
            "states its box"
        )
    notes.append(f"{said}; they are scored as they are")
