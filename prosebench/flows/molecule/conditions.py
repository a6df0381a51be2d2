"""What the flow is told about each atom: its type, its residue, the residue's place, the length of the chain.

The numbers are those that the published weights were trained with; 0 is left for padding.
"""

from dataclasses import dataclass
from functools import cache

import mdtraj
import numpy as np
from numpy.typing import NDArray

from prosebench.peptide.residues import ONE_LETTER, SIDE_CHAINS, alpha_hydrogens, amide_hydrogens, side_chain

ATOM_TYPES = (
    "C", "CA", "CB", "CD", "CD1", "CD2", "CE", "CE1", "CE2", "CE3", "CG", "CG1", "CG2",
    "CH2", "CZ", "CZ2", "CZ3",
    "H", "HA", "HB", "HD", "HD1", "HD2", "HE", "HE1", "HE2", "HE3", "HG", "HG1", "HG2", "HH", "HH1", "HH2",
    "HZ", "HZ2", "HZ3", "N", "ND1", "ND2", "NE", "NE1", "NE2", "NH1", "NH2", "NZ",
    "O", "OD", "OE", "OG", "OG1", "OH", "OXT", "SD", "SG",
)  # fmt: skip
"""The 54 atom types in alphabetical order. The code of a type is its place in this list, counted from 1."""

RESIDUE_TYPES = tuple(ONE_LETTER)
"""The residue names in alphabetical order. The code of a residue is its place in this list, counted from 1."""

ACID_OXYGENS = {"OD1": "OD", "OD2": "OD", "OE1": "OE", "OE2": "OE"}


@dataclass(frozen=True)
class Conditions:
    """Integer codes of a peptide's atoms.

    atom_type (1..54), residue_type (1..20) and residue_position (1..length) have shape (atoms,); length, the
    number of residues, has shape (1,), so that it broadcasts over the atoms.
    """

    atom_type: NDArray[np.int64]
    residue_type: NDArray[np.int64]
    residue_position: NDArray[np.int64]
    length: NDArray[np.int64]


@cache
def atom_type_names(residue_name: str) -> dict[str, str]:
    """Type of every atom that a residue can have, by atom name.

    A hydrogen takes the name of its heavy atom with the element replaced (HD21 on CD2 is an HD2); only HG1 of
    THR, which sits on OG1, is an HG. The two oxygens of an acid or an amide share one type.
    """
    types = {"N": "N", "CA": "CA", "C": "C", "O": "O", "OXT": "OXT"}
    types |= dict.fromkeys([*amide_hydrogens("ALA", first=True)], "H")
    types |= dict.fromkeys(alpha_hydrogens(residue_name), "HA")
    heavy = ""
    for name in side_chain(residue_name):
        if name.startswith("H"):
            types[name] = "H" + heavy[1:]
        else:
            heavy = name
            types[name] = ACID_OXYGENS.get(name, name)
    if residue_name == "THR":
        types["HG1"] = "HG"
    return types


def conditions(topology: mdtraj.Topology) -> Conditions:
    """Codes of the atoms of a peptide, in the order of the topology.

    Raises ValueError, naming residue and atom, when the topology is not a peptide of natural amino acids.
    """
    atom_type, residue_type, position = [], [], []
    for atom in topology.atoms:
        name = atom.residue.name
        if name not in SIDE_CHAINS or atom.name not in atom_type_names(name):
            raise ValueError(f"{atom} has no atom type; build the peptide with Peptide.from_sequence")
        atom_type.append(ATOM_TYPES.index(atom_type_names(name)[atom.name]) + 1)
        residue_type.append(RESIDUE_TYPES.index(name) + 1)
        position.append(atom.residue.index + 1)
    return Conditions(
        np.array(atom_type, dtype=np.int64),
        np.array(residue_type, dtype=np.int64),
        np.array(position, dtype=np.int64),
        np.array([topology.n_residues], dtype=np.int64),
    )
