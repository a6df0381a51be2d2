"""What the network knows of the peptides in a batch: codes of their atoms, and the order of each block."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import mdtraj
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from prosebench.flows.molecule.conditions import conditions
from prosebench.flows.molecule.local_frames import NO_REFERENCES, placing
from prosebench.flows.molecule.orders import atom_order


@dataclass(frozen=True)
class Tokens:
    """Integer arrays of a batch of peptides, padded behind to the same number of atoms.

    atom_type, residue_type, residue_position (peptides, atoms), length (peptides, 1): the codes, 0 where
    padded. orders (blocks, peptides, atoms): atom indices in the order of each block, padding last. mask
    (peptides, atoms): True for an atom. placing_order, turns (peptides, atoms) and references (peptides, atoms, 3): see
    `prosebench.flows.molecule.local_frames`. With one peptide everything broadcasts over any number of its frames,
    and what depends on the peptide alone is computed once.
    """

    atom_type: Tensor
    residue_type: Tensor
    residue_position: Tensor
    length: Tensor
    orders: Tensor
    mask: Tensor
    placing_order: Tensor
    references: Tensor
    turns: Tensor

    @classmethod
    def of(
        cls, topologies: Sequence[mdtraj.Topology], orders: Sequence[str], padded_length: int | None = None
    ) -> "Tokens":
        """The tokens of one peptide for many frames, or of one peptide for each frame; `orders` has one key a
        block."""
        return cls.join([cls._of_one(topology, orders) for topology in topologies], padded_length)

    @classmethod
    def join(cls, parts: Sequence["Tokens"], padded_length: int | None = None) -> "Tokens":
        """Join several batches to one, padded to the longest or further. This is cheap, so that parts may be
        kept."""
        atoms = padded_length or max(part.mask.shape[1] for part in parts)
        parts = [part._padded(atoms - part.mask.shape[1]) for part in parts]
        joined = {
            name: torch.cat([getattr(part, name) for part in parts], dim=1 if name == "orders" else 0)
            for name in (field.name for field in fields(parts[0]))
        }
        return cls(**joined)

    @classmethod
    def _of_one(cls, topology: mdtraj.Topology, orders: Sequence[str]) -> "Tokens":
        codes, placed = conditions(topology), placing(topology)
        return cls(
            torch.from_numpy(codes.atom_type)[None],
            torch.from_numpy(codes.residue_type)[None],
            torch.from_numpy(codes.residue_position)[None],
            torch.from_numpy(codes.length)[None],
            torch.from_numpy(np.stack([atom_order(topology, key) for key in orders]))[:, None],
            torch.ones(1, topology.n_atoms, dtype=torch.bool),
            torch.from_numpy(placed.order)[None],
            torch.from_numpy(placed.references)[None],
            torch.from_numpy(placed.turns)[None],
        )

    def _padded(self, more: int) -> "Tokens":
        """The same tokens with `more` atoms of padding at the end."""
        if more == 0:
            return self
        atoms = self.mask.shape[1]
        padding = torch.arange(atoms, atoms + more, device=self.mask.device)
        unplaced = torch.tensor(NO_REFERENCES, device=self.mask.device)
        return Tokens(
            F.pad(self.atom_type, (0, more)),
            F.pad(self.residue_type, (0, more)),
            F.pad(self.residue_position, (0, more)),
            self.length,
            torch.cat([self.orders, padding.expand(*self.orders.shape[:2], -1)], dim=2),
            F.pad(self.mask, (0, more)),
            torch.cat([self.placing_order, padding.expand(len(self.mask), -1)], dim=1),
            torch.cat([self.references, unplaced.expand(len(self.mask), more, 3)], dim=1),
            F.pad(self.turns, (0, more)),
        )

    @cached_property
    def placing(self) -> tuple[list[int], list[list[int]]]:
        """The order of placing and the references of the first peptide, as arrays in the memory of the host."""
        return self.placing_order[0].tolist(), self.references[0].tolist()

    def to(self, device: torch.device | str) -> "Tokens":
        """The same tokens on another device."""
        return Tokens(*(getattr(self, field.name).to(device) for field in fields(self)))


def take(values: Tensor, order: Tensor) -> Tensor:
    """Rows of values (frames | 1, atoms, ...) in an order (peptides | 1, atoms)."""
    return values.take_along_dim(order[..., None] if values.ndim == 3 else order, dim=1)
