"""Whether frames are of a peptide at all: the lengths of its bonds, and molecules that a periodic box cuts."""

from collections.abc import Iterator

import mdtraj
import numpy as np
from numpy.typing import NDArray

from prosebench.peptide.labels import atom_label

COVALENT_RADII_NM = {"H": 0.031, "C": 0.076, "N": 0.071, "O": 0.066, "S": 0.105}
"""The covalent radii in nm by element (Cordero et al., Dalton Trans. 2008, 2832). The radii of two atoms add
up to the length of their bond."""
SHORTEST, LONGEST = 0.78, 1.28
"""The bounds of a bond's length, relative to the sum of the two radii. The bonds of peptides lie between 0.86
(C=O) and 1.06. Where two atoms have changed places, a carbon and a hydrogen for instance, it is 0.72 or 1.33
at best.
"""
TORN_NM = 0.4
"""A bond longer than this, in nm, is none, or it joins two halves of a molecule that a periodic box has cut."""
_FRAMES_PER_BLOCK = 4096
_FRAMES_TO_JUDGE = 1000

Frames = NDArray[np.floating]


def bond_lengths(frames_nm: Frames, topology: mdtraj.Topology) -> Frames:
    """Lengths (n, bonds) in nm, in the order of the topology's bonds, of frames (n, atoms, 3)."""
    one, other = bonded_pairs(topology).T
    return np.linalg.norm(frames_nm[:, one] - frames_nm[:, other], axis=-1)


def bonded_pairs(topology: mdtraj.Topology) -> NDArray[np.int64]:
    """Pairs of atoms (bonds, 2) with a bond between them. Needs a topology with bonds."""
    return np.array([(one.index, other.index) for one, other in topology.bonds], dtype=np.int64)


def usual_lengths_nm(topology: mdtraj.Topology) -> NDArray[np.float64]:
    """Sums (bonds,) of the covalent radii of the two atoms of each bond, in nm."""
    return np.array(
        [sum(COVALENT_RADII_NM[atom.element.symbol] for atom in bond[:2]) for bond in topology.bonds]
    )


def bond_fault(frames_nm: Frames, topology: mdtraj.Topology) -> str | None:
    """Name the first bond whose median length over the frames (n, atoms, 3) in nm is that of no bond, if any.

    A wrong unit and a wrong order of the atoms show here. Frames that are not finite do not count.
    """
    chosen = frames_nm[:: max(1, len(frames_nm) // _FRAMES_TO_JUDGE)]
    chosen = chosen[np.isfinite(chosen).all(axis=(1, 2))]
    if not len(chosen):
        return None
    medians, usual = np.median(bond_lengths(chosen, topology), axis=0), usual_lengths_nm(topology)
    relative = medians / usual
    wrong = np.flatnonzero((relative < SHORTEST) | (relative > LONGEST))
    if not wrong.size:
        return None
    first = wrong[0]
    one, other, *_ = list(topology.bonds)[first]
    scale = float(np.median(relative))
    unit = (
        "; all lengths look like ångström: divide by 10"
        if SHORTEST < scale / 10 < LONGEST
        else "; all lengths look too short by a factor of 10"
        if SHORTEST < scale * 10 < LONGEST
        else ""
    )
    return (
        f"the bond between {atom_label(one)} and {atom_label(other)} has a length of {medians[first]:.3g} nm and "
        f"should have about {usual[first]:.2g} nm ({len(wrong)} of {len(usual)} bonds are wrong{unit})"
    )


def torn(frames_nm: Frames, topology: mdtraj.Topology) -> NDArray[np.bool_]:
    """Which frames (n,) are cut: a few bonds are longer than TORN_NM, and all the others have the length of a bond.

    So a periodic box leaves a molecule. A frame of a poor sampler, whose bonds are wrong in many ways, is not meant.
    """
    usual = usual_lengths_nm(topology)
    found = np.zeros(len(frames_nm), dtype=bool)
    for block in _blocks(len(frames_nm)):
        lengths = bond_lengths(frames_nm[block], topology)
        long = lengths > TORN_NM
        right = (lengths > SHORTEST * usual) & (lengths < LONGEST * usual)
        found[block] = long.any(axis=1) & (long.mean(axis=1) < 0.5) & (long | right).all(axis=1)
    return found


def make_whole(frames_nm: Frames, cells_nm: Frames, topology: mdtraj.Topology) -> Frames:
    """Frames (n, atoms, 3) in which each atom is the image of it that is nearest to an atom it is bonded to.

    cells_nm (n, 3, 3) are the vectors of each frame's periodic box, one a row. The first atom stays where it is.
    """
    whole = np.array(frames_nm, dtype=np.float64)
    inverse = np.linalg.inv(cells_nm)
    for near, atom in _outwards(topology):
        step = whole[:, atom] - whole[:, near]
        boxes = np.round(np.einsum("ni,nij->nj", step, inverse))
        whole[:, atom] -= np.einsum("ni,nij->nj", boxes, cells_nm)
    return whole.astype(frames_nm.dtype)


def _outwards(topology: mdtraj.Topology) -> Iterator[tuple[int, int]]:
    """Every atom but the first, after an atom that it is bonded to, as (that one, the atom)."""
    pairs = bonded_pairs(topology)
    reached, front = {0}, [0]
    while front:
        near = front.pop(0)
        for one, other in (*pairs, *pairs[:, ::-1]):
            if one == near and other not in reached:
                reached.add(int(other))
                front.append(int(other))
                yield near, int(other)


def _blocks(n: int) -> list[slice]:
    return [slice(start, start + _FRAMES_PER_BLOCK) for start in range(0, n, _FRAMES_PER_BLOCK)]
