"""What the network knows of the peptides in a batch: codes of their atoms, and the order of each block."""

from collections.abc import Sequence
from dataclasses import dataclass

import mdtraj
import numpy as np
import torch
from torch import Tensor

from prosebench.prose.conditions import conditions
from prosebench.prose.orders import atom_order


@dataclass(frozen=True)
class Tokens:
    """Integer arrays of a batch of peptides, padded behind to the same number of atoms.

    atom_type, residue_type, residue_position (peptides, atoms), length (peptides, 1): the codes, 0 where
    padded. orders (blocks, peptides, atoms): atom indices in the order of each block, padding last. mask
    (peptides, atoms): True for an atom. With one peptide everything broadcasts over any number of its frames,
    and what depends on the peptide alone is computed once.
    """

    atom_type: Tensor
    residue_type: Tensor
    residue_position: Tensor
    length: Tensor
    orders: Tensor
    mask: Tensor

    @classmethod
    def of(
        cls, topologies: Sequence[mdtraj.Topology], orders: Sequence[str], padded_length: int | None = None
    ) -> "Tokens":
        """Tokens of one peptide for many frames, or of one peptide a frame; `orders` has one key a block."""
        longest = max(topology.n_atoms for topology in topologies)
        atoms = longest if padded_length is None else padded_length
        codes = [conditions(topology) for topology in topologies]
        sequences = [[atom_order(topology, key) for topology in topologies] for key in orders]
        padding = np.arange(atoms)
        return cls(
            torch.stack([_padded(code.atom_type, atoms) for code in codes]),
            torch.stack([_padded(code.residue_type, atoms) for code in codes]),
            torch.stack([_padded(code.residue_position, atoms) for code in codes]),
            torch.stack([torch.from_numpy(code.length) for code in codes]),
            torch.tensor(np.array([[[*o, *padding[len(o) :]] for o in row] for row in sequences])),
            torch.stack([torch.arange(atoms) < topology.n_atoms for topology in topologies]),
        )

    def to(self, device: torch.device | str) -> "Tokens":
        """The same on another device."""
        return Tokens(*(value.to(device) for value in vars(self).values()))


def take(values: Tensor, order: Tensor) -> Tensor:
    """Rows of values (frames | 1, atoms, ...) in an order (peptides | 1, atoms)."""
    return values.take_along_dim(order[..., None] if values.ndim == 3 else order, dim=1)


def _padded(codes: np.ndarray, atoms: int) -> Tensor:
    return torch.from_numpy(np.pad(codes, (0, atoms - len(codes))))
