"""What of a frame is compared: backbone torsions, and the features that TICA projects.

Torsions come from mdtraj in float32, as in the published protocol, so that k-means on them sees the same
numbers.
"""

from typing import NamedTuple

import mdtraj
import numpy as np
from numpy.typing import NDArray

FRAMES_PER_BLOCK = 512


class Dihedrals(NamedTuple):
    """Atom quadruples (n, 4) of the backbone torsions, along the chain."""

    phi: NDArray[np.int64]
    psi: NDArray[np.int64]
    omega: NDArray[np.int64]


def dihedral_indices(topology: mdtraj.Topology) -> Dihedrals:
    """Quadruples of phi (C, N, CA, C), psi (N, CA, C, N) and omega (CA, C, N, CA) by mdtraj's definitions.

    A peptide of L residues has L - 1 of each: the first residue has no phi, the last neither psi nor omega.
    """
    finders = (mdtraj.geometry.indices_phi, mdtraj.geometry.indices_psi, mdtraj.geometry.indices_omega)
    return Dihedrals(*(np.asarray(find(topology), dtype=np.int64).reshape(-1, 4) for find in finders))


def torsions(frames_nm: NDArray[np.floating], topology: mdtraj.Topology) -> tuple[NDArray[np.float32], ...]:
    """Angles phi, psi, omega, each (n, number of that kind), in rad within [-pi, pi].

    frames_nm is (n, atoms, 3). Raises ValueError where its atoms are not those of the topology.
    """
    trajectory = _trajectory(frames_nm, topology)
    return tuple(
        mdtraj.compute_dihedrals(trajectory, quadruples, periodic=False)
        for quadruples in dihedral_indices(topology)
    )


def torus_points(frames_nm: NDArray[np.floating], topology: mdtraj.Topology) -> NDArray[np.float32]:
    """Points (n, 2 (L - 1)) on the torus in rad: all phi of a frame, then all psi."""
    phi, psi, _ = torsions(frames_nm, topology)
    return np.concatenate([phi, psi], axis=1)


def same_peptide_bonds(
    frames_nm: NDArray[np.floating], topology: mdtraj.Topology, start_nm: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Which frames (n,) have each peptide bond, cis or trans (omega below or above pi / 2), as a structure (atoms, 3)
    has it. Our dynamics at 310 K turned none."""
    is_trans, of_start = (
        np.abs(torsions(frames, topology)[2]) > np.pi / 2 for frames in (frames_nm, start_nm[None])
    )
    return np.asarray((is_trans == of_start).all(axis=1))


def torsion_features(frames_nm: NDArray[np.floating], topology: mdtraj.Topology) -> NDArray[np.float32]:
    """Features (n, 6 (L - 1)): sin phi, cos phi, sin psi, cos psi, sin omega, cos omega."""
    angles = torsions(frames_nm, topology)
    return np.concatenate([part(angle) for angle in angles for part in (np.sin, np.cos)], axis=1)


def distance_atoms(topology: mdtraj.Topology) -> NDArray[np.int64]:
    """Indices of the carbon, nitrogen and sulphur atoms, whose pair distances TICA sees."""
    return np.array(
        [atom.index for atom in topology.atoms if atom.element.symbol in ("C", "N", "S")], dtype=np.int64
    )


def n_tica_features(topology: mdtraj.Topology) -> int:
    """Number of TICA features of a peptide (AA: 34, ARIP: 369)."""
    n_atoms = len(distance_atoms(topology))
    return n_atoms * (n_atoms - 1) // 2 + 2 * sum(map(len, dihedral_indices(topology)))


def tica_features(frames_nm: NDArray[np.floating], topology: mdtraj.Topology) -> NDArray[np.float32]:
    """Features (n, d): distances (nm) of all pairs i < j of C, N and S atoms row by row, then
    `torsion_features`.
    """
    frames = _trajectory(frames_nm, topology).xyz
    atoms = distance_atoms(topology)
    first, second = np.triu_indices(len(atoms), k=1)
    features = np.empty((len(frames), n_tica_features(topology)), dtype=np.float32)
    for start in range(0, len(frames), FRAMES_PER_BLOCK):
        block = frames[start : start + FRAMES_PER_BLOCK, atoms]
        features[start : start + len(block), : len(first)] = np.linalg.norm(
            block[:, first] - block[:, second], axis=-1
        )
    features[:, len(first) :] = torsion_features(frames, topology)
    return features


def _trajectory(frames_nm: NDArray[np.floating], topology: mdtraj.Topology) -> mdtraj.Trajectory:
    frames = np.ascontiguousarray(frames_nm, dtype=np.float32)
    if frames.ndim != 3 or frames.shape[1:] != (topology.n_atoms, 3):
        raise ValueError(f"frames have shape {frames.shape}; this topology needs (n, {topology.n_atoms}, 3)")
    return mdtraj.Trajectory(frames, topology)
