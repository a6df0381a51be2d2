"""Frames whose peptide bond is turned from trans to cis, or back."""

import numpy as np
from numpy.typing import NDArray

from prosebench.peptide import Peptide


def turned_bond(peptide: Peptide, frame_nm: NDArray[np.floating]) -> NDArray[np.floating]:
    """A frame (atoms, 3) of a peptide with all behind its first peptide bond turned by half a turn about it."""
    atoms = list(peptide.topology.atoms)
    named = {(atom.residue.index, atom.name): atom.index for atom in atoms}
    behind = [atom.index for atom in atoms if atom.residue.index > 0]
    turned = np.array(frame_nm)
    c, n = turned[named[0, "C"]], turned[named[1, "N"]]
    axis = (n - c) / np.linalg.norm(n - c)
    shifts = turned[behind] - n
    turned[behind] = n + 2 * (shifts @ axis)[:, None] * axis - shifts
    return turned
