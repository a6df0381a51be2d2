"""The two like methyl groups of VAL and LEU, which only their names tell apart, under the other's name."""

import numpy as np
from numpy.typing import NDArray

from prosebench.frames.geometry import chirality_centers, chirality_signs
from prosebench.peptide import Peptide
from prosebench.peptide.start_structure import PROCHIRAL

Frames = NDArray[np.floating]

EXCHANGED_SHARE = 0.9
"""Two methyl groups count as exchanged if more than this share of the frames has them so. A program that
names them the other way round does so in all frames; a poor sampler exchanges them in some."""


def exchanged_methyls(frames_nm: Frames, peptide: Peptide) -> tuple[NDArray[np.int64], list[str]]:
    """The order (atoms,) that gives each methyl group its right name, and the residues whose groups change places.

    A group is under the wrong name where, in nearly all frames (n, atoms, 3) in nm, the hand of CB (VAL) or CG (LEU)
    beside that of the residue's CA is not as in the peptide's start structure. Mirror images are no such case: both
    hands change there.
    """
    order, residues = np.arange(peptide.n_atoms), list[str]()
    kinds = dict(PROCHIRAL)
    if not kinds.keys() & {residue.name for residue in peptide.topology.residues}:
        return order, residues
    centers = chirality_centers(peptide.topology)
    found, right = chirality_signs(frames_nm, centers), chirality_signs(peptide.start_nm, centers)
    row_of = {
        (peptide.topology.atom(c).residue.index, peptide.topology.atom(c).name): row
        for row, c in enumerate(centers[:, 0])
    }
    for (residue, name), row in row_of.items():
        kind = peptide.topology.residue(residue).name
        if kinds.get(kind) != name:
            continue
        alpha = row_of[residue, "CA"]
        against = found[:, row] * found[:, alpha] == -right[row] * right[alpha]
        if against.mean() > EXCHANGED_SHARE:
            index = {atom.name: atom.index for atom in peptide.topology.residue(residue).atoms}
            for atom in _branches(kind):
                one, other = index[atom], index[_other(atom)]
                order[one], order[other] = other, one
            residues.append(f"{residue + 1}{kind}")
    return order, residues


def _branches(kind: str) -> tuple[str, ...]:
    """Atoms of the first of the two groups."""
    return ("CG1", "HG11", "HG12", "HG13") if kind == "VAL" else ("CD1", "HD11", "HD12", "HD13")


def _other(name: str) -> str:
    """The atom of the second group that corresponds to one of the first: CG1 -> CG2, HG12 -> HG22."""
    return f"{name[:2]}2{name[3:]}"
