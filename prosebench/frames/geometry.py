"""Geometry of batches of frames: centre of mass, random rotations, chirality."""

import mdtraj
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.floating]


def remove_center(frames: Frames) -> Frames:
    """Shift each frame (..., atoms, 3) so that the plain mean over its atoms (no masses) is zero."""
    return frames - frames.mean(axis=-2, keepdims=True)


def random_rotations(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """n independent rotation matrices (n, 3, 3), uniform over all rotations (Haar measure).

    The Q of the QR decomposition of a matrix of normals, with the signs of R moved into it, is uniform over
    the orthogonal matrices (Mezzadri, Notices of the AMS 54 (2007) 592); where its determinant is -1, a
    change of sign makes it a rotation.
    """
    q, r = np.linalg.qr(rng.standard_normal((n, 3, 3)))
    q = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None]
    return q * np.linalg.det(q).round()[:, None, None]


def neighbours(topology: mdtraj.Topology) -> list[list[int]]:
    """Indices of the atoms that each atom has bonds to. Needs a topology with bonds."""
    bonded: list[list[int]] = [[] for _ in range(topology.n_atoms)]
    for one, other in topology.bonds:
        bonded[one.index].append(other.index)
        bonded[other.index].append(one.index)
    return bonded


def chirality_centers(topology: mdtraj.Topology) -> NDArray[np.int64]:
    """Chirality centres (centres, 4): the atom and three of its non-hydrogen neighbours, sorted by name.

    A centre is an atom with four bonds and more than two non-hydrogen neighbours (this counts CB of VAL and
    CG of LEU, whose two methyl groups differ by name only). Needs a topology with bonds.
    """
    centers = []
    for center, bonded in enumerate(neighbours(topology)):
        atoms = (topology.atom(index) for index in bonded)
        heavy = sorted((atom for atom in atoms if atom.element.symbol != "H"), key=lambda atom: atom.name)
        if len(bonded) == 4 and len(heavy) > 2:
            centers.append([center, *(atom.index for atom in heavy[:3])])
    return np.array(centers, dtype=np.int64).reshape(-1, 4)


def chirality_signs(frames_nm: Frames, centers: NDArray[np.int64]) -> NDArray[np.int8]:
    """Handedness (..., centres) of frames (..., atoms, 3): the sign of the volume spanned by the three bonds.

    1 or -1; 0 for a flat centre or one whose coordinates are not finite.
    """
    bonds = frames_nm[..., centers[:, 1:], :] - frames_nm[..., centers[:, :1], :]
    volume = (bonds[..., 0, :] * np.cross(bonds[..., 1, :], bonds[..., 2, :])).sum(axis=-1)
    return np.sign(np.nan_to_num(volume, nan=0.0)).astype(np.int8)


def fix_chirality(
    frames_nm: Frames, topology: mdtraj.Topology, reference_nm: Frames
) -> tuple[Frames, NDArray[np.bool_], NDArray[np.bool_]]:
    """Mirror the frames that have any chirality centre other than in a reference structure.

    Takes frames (n, atoms, 3) and the reference (atoms, 3), both in nm. Mirroring is the inversion x -> -x of
    the whole position vector, as in the published protocol; energies do not change under it. Returns
    - the frames (a copy, same dtype), inverted where changed,
    - changed (n,): which frames had a wrong centre and were inverted,
    - still_wrong (n,): which of those have a wrong centre even so, because only some of them were wrong.
    """
    centers = chirality_centers(topology)
    reference = chirality_signs(reference_nm, centers)
    changed = (chirality_signs(frames_nm, centers) != reference).any(axis=-1)
    fixed = frames_nm.copy()
    fixed[changed] *= -1
    still_wrong = (chirality_signs(fixed, centers) != reference).any(axis=-1)
    return fixed, changed, still_wrong
