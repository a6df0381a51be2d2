"""Pairs of atoms in torch: the ring that lists them, their distances, Lennard-Jones and Coulomb terms.

Values of pairs are (rows, atoms, frames); see `PairRing`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prosebench.energy.parameters import EnergyParameters


class PairRing:
    """All pairs once, as (distances d, atoms i): row d holds the pairs of atoms i and (i + d) mod n, d = 1..n
    // 2.

    For even n the last row meets every pair twice; its weight is then 1/2.
    """

    def __init__(self, n_atoms: int, device: torch.device) -> None:
        self.n_atoms, self.rows, self.device = n_atoms, n_atoms // 2, device
        first = np.arange(n_atoms)[None, :]
        second = (first + np.arange(1, self.rows + 1)[:, None]) % n_atoms
        low, high = np.minimum(first, second), np.maximum(first, second)
        self.pair = low * (2 * n_atoms - low - 1) // 2 + high - low - 1
        self.swapped = first > second
        self.second = second
        self.halved = n_atoms % 2 == 0

    def table(self, values: NDArray, dtype: torch.dtype, *, weighted: bool = False) -> Tensor:
        """Values (pairs,) in the order of `pair_atoms` as (rows, atoms, 1), with the weight of the last row
        if asked.
        """
        ring = values[self.pair]
        if weighted and self.halved:
            ring[-1] *= 0.5
        return torch.as_tensor(ring, dtype=dtype, device=self.device)[..., None]

    def atom_table(self, values: NDArray, dtype: torch.dtype) -> Tensor:
        """Values (atoms,) of the first and of the second atom of every pair, (2, rows, atoms, 1)."""
        both = np.stack((np.broadcast_to(values, self.second.shape), values[self.second]))
        return torch.as_tensor(both, dtype=dtype, device=self.device)[..., None]

    def direction_table(self, values: NDArray, dtype: torch.dtype) -> Tensor:
        """Values (pairs, 2) for i from j and j from i as (2, rows, atoms, 1) for first and second atom."""
        forth, back = values[self.pair].transpose(2, 0, 1)
        both = np.stack((np.where(self.swapped, back, forth), np.where(self.swapped, forth, back)))
        return torch.as_tensor(both, dtype=dtype, device=self.device)[..., None]

    def partner(self, x: Tensor) -> Tensor:
        """Values (..., atoms, frames) of the second atom of every pair: (..., rows, atoms, frames), a view of
        a copy.
        """
        *lead, n_atoms, n_frames = x.shape
        doubled = torch.cat((x, x[..., : self.rows, :]), dim=-2)
        size = (*lead, self.rows, n_atoms, n_frames)
        stride = (*doubled.stride()[:-2], n_frames, n_frames, 1)
        return doubled.as_strided(size, stride, n_frames)

    def room(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """An empty buffer for `sum_second` and the view (rows, atoms, frames) of it to write values of pairs
        to.
        """
        rows, n_atoms, n_frames = like.shape
        buffer = like.new_empty((rows, rows + n_atoms, n_frames))
        return buffer, buffer[:, rows:]

    def sum_second(self, buffer: Tensor) -> Tensor:
        """Sum values of pairs over the pairs where an atom comes second: (atoms, frames).

        Atom k is second in row d of atom k - d. With every row continued to the left, that is a slanted view
        of the buffer, whose rows add up. (Over pairs where an atom comes first the sum is `values.sum(0)`.)
        """
        rows, n_atoms, n_frames = buffer.shape[0], self.n_atoms, buffer.shape[2]
        buffer[:, :rows] = buffer[:, n_atoms:]
        stride = ((rows + n_atoms - 1) * n_frames, n_frames, 1)
        start = max(0, rows - 1) * n_frames
        return buffer.as_strided((rows, n_atoms, n_frames), stride, start).sum(0)


@dataclass(frozen=True)
class PairDistances:
    """Squared and inverse distances (also squared) of all pairs, and the extremes of the distances as numbers
    (nm).
    """

    squared: Tensor
    inverse: Tensor
    inverse_squared: Tensor
    shortest_nm: float
    longest_nm: float

    @classmethod
    def of(cls, delta: Tensor) -> "PairDistances":
        """Distances of the difference vectors delta (3, rows, atoms, frames)."""
        squared = delta[0] * delta[0]
        squared.addcmul_(delta[1], delta[1]).addcmul_(delta[2], delta[2])
        shortest, longest = torch.stack((squared.amin(), squared.amax())).sqrt().tolist()
        inverse = squared.rsqrt()
        return cls(squared, inverse, inverse * inverse, shortest, longest)

    def within(self, cutoff_nm: float) -> Tensor | None:
        """1 for pairs closer than the cutoff, 0 for the others; None where all are closer."""
        if self.longest_nm < cutoff_nm:
            return None
        return (cutoff_nm**2 - self.squared).sign_().clamp_(min=0.0)


class NonbondedTerms:
    """c12/r^12 - c6/r^6 + q (1/r + krf r^2 - crf) for r < cutoff; exceptions c12/r^12 - c6/r^6 + q/r at any
    r.
    """

    def __init__(self, parameters: EnergyParameters, ring: PairRing, dtype: torch.dtype) -> None:
        field_charge = np.where(parameters.pair_is_exception, 0.0, parameters.pair_charge)
        field_k, field_c = (
            parameters.reaction_field_k * field_charge,
            parameters.reaction_field_c * field_charge,
        )
        self.cutoff_nm = parameters.cutoff_nm
        self.c12 = ring.table(parameters.pair_c12, dtype, weighted=True)
        self.c6 = ring.table(parameters.pair_c6, dtype, weighted=True)
        self.charge = ring.table(parameters.pair_charge, dtype, weighted=True)
        self.exception = ring.table(parameters.pair_is_exception, dtype)
        self.field_k = ring.table(field_k, dtype, weighted=True) if field_k.any() else None
        self.field_c = ring.table(field_c, dtype, weighted=True)
        self.field_constant = float(field_c.sum())

    def __call__(self, pairs: PairDistances, gradient: bool) -> tuple[Tensor, float, Tensor | None]:
        """Energies of pairs, a constant to add to every frame's sum, and, if asked, the pull -(dE/dr)/r of
        pairs.
        """
        inverse6 = pairs.inverse_squared * pairs.inverse_squared * pairs.inverse_squared
        repulsion = self.c12 * inverse6
        coulomb = self.charge * pairs.inverse
        energies = torch.addcmul(coulomb, repulsion - self.c6, inverse6)
        pull = None
        if gradient:
            pull = torch.add(-6.0 * self.c6, repulsion, alpha=12.0).mul_(inverse6).add_(coulomb)
            pull.mul_(pairs.inverse_squared)
        if self.field_k is not None:
            energies.addcmul_(self.field_k, pairs.squared)
            pull = None if pull is None else pull.sub_(self.field_k, alpha=2.0)
        near = pairs.within(self.cutoff_nm)
        if near is None:
            return energies, -self.field_constant, pull
        keep = torch.maximum(near, self.exception)
        return energies.sub_(self.field_c).mul_(keep), 0.0, None if pull is None else pull.mul_(keep)
