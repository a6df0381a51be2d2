"""The orders in which the blocks of the flow go through the atoms of a peptide.

From the N- to the C-terminus, either the whole backbone first and the rest after it, or residue by residue.
The atoms of a residue other than its backbone go outwards from N and CA, each hydrogen after its heavy atom;
the second family (`variant`) walks rings the other way around and takes branches in reverse. A `flip` is the
whole order from its end to its start.
"""

import mdtraj
import numpy as np
from numpy.typing import NDArray

from prosebench.peptide.residues import SIDE_CHAINS, alpha_hydrogens, amide_hydrogens, side_chain

ORDER_KEYS = (
    "n2c_backbone-first_standard",
    "n2c_residue-by-residue_standard_flip",
    "n2c_backbone-first_standard_flip",
    "n2c_residue-by-residue_standard",
    "n2c_backbone-first_variant",
    "n2c_residue-by-residue_variant_flip",
    "n2c_backbone-first_variant_flip",
    "n2c_residue-by-residue_variant",
)
"""The published names of the eight orders, in the order of the blocks that use them."""


def atom_order(topology: mdtraj.Topology, key: str) -> NDArray[np.int64]:
    """Atom indices (atoms,) of a peptide in autoregressive order: `frames[:, order]` is what the block sees.

    Raises ValueError for a key that is not one of ORDER_KEYS, or a topology that is not a peptide of natural
    amino acids.
    """
    if key not in ORDER_KEYS:
        raise ValueError(f"unknown order {key!r}; known are {', '.join(ORDER_KEYS)}")
    turned = "_variant" in key
    order = (
        _backbone_first(topology, turned)
        if "_backbone-first_" in key
        else _residue_by_residue(topology, turned)
    )
    if sorted(order) != list(range(topology.n_atoms)):
        raise ValueError(
            f"{topology} is not a peptide of natural amino acids: some of its atoms have no place"
        )
    return np.array(order[::-1] if key.endswith("_flip") else order, dtype=np.int64)


def _backbone_first(topology: mdtraj.Topology, turned: bool) -> list[int]:
    backbone, rest = [], []
    for residue in topology.residues:
        backbone += _pick(residue, ("N", "CA", "C", "O", "OXT"))
        rest += _pick(residue, (*_amide(residue), *_beyond_alpha(residue, turned)))
    return backbone + rest


def _residue_by_residue(topology: mdtraj.Topology, turned: bool) -> list[int]:
    order = []
    for residue in topology.residues:
        names = ("N", *_amide(residue), "CA", *_beyond_alpha(residue, turned), "C", "O", "OXT")
        order += _pick(residue, names)
    return order


def _amide(residue: mdtraj.core.topology.Residue) -> tuple[str, ...]:
    return amide_hydrogens(residue.name, first=residue.index == 0)


def _beyond_alpha(residue: mdtraj.core.topology.Residue, turned: bool) -> tuple[str, ...]:
    if residue.name not in SIDE_CHAINS:
        raise ValueError(f"residue {residue} is not one of the 20 natural amino acids")
    return (*alpha_hydrogens(residue.name), *side_chain(residue.name, turned=turned))


def _pick(residue: mdtraj.core.topology.Residue, names: tuple[str, ...]) -> list[int]:
    """Indices of the atoms of a residue that have these names, in the order of the names."""
    index = {atom.name: atom.index for atom in residue.atoms}
    return [index[name] for name in names if name in index]
