"""What the velocity field knows of the atoms of a peptide: one-hot codes, and which atoms are real."""

from collections.abc import Sequence
from dataclasses import dataclass

import mdtraj
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from prosebench.ecnf.config import EcnfConfig
from prosebench.flows.molecule.conditions import ATOM_TYPES, RESIDUE_TYPES, conditions


@dataclass(frozen=True)
class Nodes:
    """features (peptides, atoms, features) float32; real (peptides, atoms), False where padded.

    A feature vector is one-hot atom type, residue position, residue type and length, in this order. With one peptide
    it broadcasts over any number of its frames.
    """

    features: Tensor
    real: Tensor

    @classmethod
    def of(cls, topology: mdtraj.Topology, config: EcnfConfig) -> "Nodes":
        """Nodes of one peptide. Raises ValueError for one that is shorter or longer than the config allows."""
        codes = conditions(topology)
        length = int(codes.length[0])
        if not config.residues_min <= length <= config.residues_max:
            raise ValueError(
                f"this velocity field takes peptides of {config.residues_min} to {config.residues_max} residues, and "
                f"not of {length}"
            )
        parts = (
            _one_hot(codes.atom_type, len(ATOM_TYPES)),
            _one_hot(codes.residue_position, config.residues_max),
            _one_hot(codes.residue_type, len(RESIDUE_TYPES)),
            _one_hot(np.full(topology.n_atoms, length - config.residues_min + 1), config.lengths),
        )
        return cls(torch.cat(parts, dim=1)[None], torch.ones(1, topology.n_atoms, dtype=torch.bool))

    @classmethod
    def join(cls, parts: Sequence["Nodes"], atoms: int) -> "Nodes":
        """One batch from several, padded to a number of atoms."""
        more = [atoms - part.real.shape[1] for part in parts]
        features = [F.pad(part.features, (0, 0, 0, n)) for part, n in zip(parts, more, strict=True)]
        real = [F.pad(part.real, (0, n)) for part, n in zip(parts, more, strict=True)]
        return cls(torch.cat(features), torch.cat(real))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Nodes":
        """The same nodes on another device, with features of the given type."""
        return Nodes(self.features.to(device, dtype), self.real.to(device))


def _one_hot(codes: NDArray[np.int64], n: int) -> Tensor:
    """One-hot vectors of codes that count from 1: (atoms,) -> (atoms, n)."""
    return F.one_hot(torch.from_numpy(codes) - 1, n).float()
