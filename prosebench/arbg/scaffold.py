"""What is known of a peptide before any coordinate: the order of placing, what each atom is seen from, and its codes.

All arrays are in placing order: entry i belongs to the i-th atom that is placed (its rank). The order is that of
`prosebench.flows.molecule.local_frames.placing`: outwards along the bonds from C of the middle peptide bond.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import mdtraj
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prosebench.flows.molecule.conditions import conditions
from prosebench.flows.molecule.local_frames import FIXED, placing
from prosebench.frames.geometry import neighbours

SEEN = 4
"""The number of atoms that an atom is directly seen from: its parent, the atom behind that, the one beside,
and one more sister."""

FAR_BONDS = 7
"""All pairs of atoms that are this many bonds apart, or more, share one code."""

MIDDLE_PLACE = 16
"""The code of the residue that holds the first atom placed. The codes of the residues before and behind it
count down and up from this number."""

ENDS = 4
"""The number of codes that say which end of the chain a residue is: none, first, last, both."""

TWINS = 3
"""The largest number of atoms of one type that share a parent: the hydrogens of a methyl or an ammonium
group."""

N_KEYS = 64 * 32 * 2 * TWINS * ENDS
"""The number of keys of the table: each is one atom type, residue type, side of the middle bond, number among
its twins, and end of the chain."""


@dataclass(frozen=True, eq=False)
class Scaffold:
    """Integer tensors of one peptide, in placing order.

    order (atoms,): index in the topology of the atom of each rank. parent, behind, beside (atoms,): ranks that the atom
    is seen from; those of the first three atoms that do not exist are 0. context (atoms, 4): the same and one more
    sister, `atoms` where there is none. turns (atoms,): whether the atom turns freely with a dihedral.
    atom_type, residue_type, twin, place, length, ends (atoms,): codes for embeddings; key (atoms,): for tables. twin is
    the number of atoms of the same type that were placed before on the same parent: HB2 and HB3 are of one type, and on
    different sides.
    bonds_apart (atoms, atoms): number of bonds between two atoms, at most FAR_BONDS.
    levels: ranks that can be placed at the same time, from the fourth atom on.
    """

    order: Tensor
    parent: Tensor
    behind: Tensor
    beside: Tensor
    context: Tensor
    turns: Tensor
    atom_type: Tensor
    residue_type: Tensor
    twin: Tensor
    place: Tensor
    length: Tensor
    ends: Tensor
    key: Tensor
    bonds_apart: Tensor
    levels: tuple[Tensor, ...]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.order)

    @classmethod
    def of(cls, topology: mdtraj.Topology) -> "Scaffold":
        """The scaffold of a peptide of at least two residues, with bonds."""
        placed = placing(topology)
        order, codes = placed.order, conditions(topology)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        seen_from = np.where(placed.references >= FIXED, rank[np.maximum(placed.references - FIXED, 0)], 0)[
            order
        ]
        middle = codes.residue_position[order[0]]
        place = codes.residue_position[order] - middle + MIDDLE_PLACE
        ends = (codes.residue_position == 1) + 2 * (codes.residue_position == codes.length[0])
        atom_type, residue_type, ends = codes.atom_type[order], codes.residue_type[order], ends[order]
        twin = _twins(seen_from[:, 0], atom_type)
        key = ((atom_type * 32 + residue_type) * 2 + (place > MIDDLE_PLACE)) * TWINS + twin
        key = key * ENDS + ends
        bonded = neighbours(topology)
        arrays = {
            "order": order,
            "parent": seen_from[:, 0].copy(),
            "behind": seen_from[:, 1].copy(),
            "beside": seen_from[:, 2].copy(),
            "context": _context(seen_from, order, rank, bonded),
            "turns": placed.turns[order],
            "atom_type": atom_type,
            "residue_type": residue_type,
            "twin": twin,
            "place": place,
            "length": np.repeat(codes.length, len(order)),
            "ends": ends,
            "key": key,
            "bonds_apart": _bonds_apart(order, rank, bonded),
        }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return cls(**tensors, levels=tuple(map(torch.from_numpy, _levels(seen_from))))

    def to(self, device: torch.device | str) -> "Scaffold":
        """The same scaffold on another device."""
        moved = {one.name: getattr(self, one.name).to(device) for one in fields(self) if one.name != "levels"}
        return Scaffold(**moved, levels=tuple(level.to(device) for level in self.levels))


def _context(
    seen_from: NDArray[np.int64], order: NDArray[np.int64], rank: NDArray[np.int64], bonded: list[list[int]]
) -> NDArray[np.int64]:
    """The ranks (atoms, 4) of parent, behind, beside and of the last sister placed before; `atoms` where
    there is none."""
    none = len(order)
    context = np.full((none, SEEN), none)
    context[1, 0], context[2, :2] = 0, (0, 1)
    context[3:, :3] = seen_from[3:]
    for i in range(3, none):
        sisters = [rank[j] for j in bonded[order[seen_from[i, 0]]] if rank[j] < i]
        others = sorted(set(sisters) - set(context[i, :3]))
        context[i, 3] = others[-1] if others else none
    return context


def _twins(parent: NDArray[np.int64], atom_type: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many atoms (atoms,) of the same type were placed before on the same parent."""
    pairs = list(zip(parent.tolist(), atom_type.tolist(), strict=True))
    # The first three atoms have no parents of their own.
    return np.array([pairs[3:i].count(pair) if i > 3 else 0 for i, pair in enumerate(pairs)])


def _bonds_apart(
    order: NDArray[np.int64], rank: NDArray[np.int64], bonded: list[list[int]]
) -> NDArray[np.int64]:
    """The number of bonds (atoms, atoms) between two ranks, at most FAR_BONDS."""
    apart = np.full((len(order), len(order)), FAR_BONDS)
    for start in range(len(order)):
        apart[start, start], front = 0, [start]
        for distance in range(1, FAR_BONDS):
            reached = {int(rank[j]) for i in front for j in bonded[order[i]]}
            front = [i for i in reached if apart[start, i] == FAR_BONDS]
            apart[start, front] = distance
    return apart


def _levels(seen_from: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The ranks from 3 on, in groups; the atoms of a group need only atoms of earlier groups."""
    level = np.zeros(len(seen_from), dtype=np.int64)
    for i in range(3, len(seen_from)):
        level[i] = 1 + level[seen_from[i]].max()
    for number in range(1, level.max() + 1):
        yield np.flatnonzero(level == number)
