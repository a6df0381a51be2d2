"""Generalised Born solvent in torch: Born radii, solvation energy and surface term, with the chain rule by hand.

Expressions and sources: `torch_energy`; symbols: `GBParameters`. Values of pairs are (rows, atoms, frames) on a
`PairRing`; a leading axis of 2 holds both directions of a pair: what the second atom does to the first, and the reverse.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prosebench.energy.parameters import GBParameters, NeckParameters
from prosebench.energy.torch_pairs import PairDistances, PairRing


LARGEST_EXPONENT = 60.0
"""exp(-60) is 0 to double precision beside r^2, and keeps slow denormal numbers out of the arithmetic."""


@dataclass(frozen=True)
class BornRadii:
    """Born radii B, their inverse, and dB/dI, each (atoms, frames)."""

    radius: Tensor
    inverse: Tensor
    slope: Tensor


class SolventTerms:
    """Solvation energy of atoms on a ring: called with distances, gives energies and dE/d(r^2)."""

    def __init__(self, gb: GBParameters, ring: PairRing, dtype: torch.dtype) -> None:
        def column(values: NDArray[np.float64]) -> Tensor:
            return torch.as_tensor(values, dtype=dtype, device=ring.device)[:, None]

        self.ring, self.cutoff_nm = ring, gb.cutoff_nm
        self.offset_radius, self.atom_radius = column(gb.offset_radius), column(gb.radius)
        self.alpha, self.beta, self.gamma = column(gb.alpha), column(gb.beta), column(gb.gamma)
        self.self_coefficient = column(gb.self_coefficient)
        self.surface_coefficient = column(gb.surface_coefficient)
        self.pair_coefficient = ring.table(gb.pair_coefficient, dtype, weighted=True)
        self.pair_shift = gb.pair_shift
        self.shift_constant = gb.pair_shift * float(gb.pair_coefficient.sum())
        self.descreened = ring.atom_table(gb.offset_radius, dtype)
        self.descreening = ring.atom_table(gb.scaled_radius, dtype).flip(0)
        self.engulfed_below_nm = float((self.descreening - self.descreened).max()) if ring.rows else 0.0
        self.neck = None if gb.neck is None else _Neck(gb.neck, ring, dtype)

    def __call__(self, pairs: PairDistances, gradient: bool) -> tuple[Tensor, Tensor | None]:
        """Energies (frames,) in double and, if asked, dE/d(r^2) of every pair through r and through the Born radii."""
        near = pairs.within(self.cutoff_nm)
        integral, integral_slope = self._integrals(pairs, near, gradient)
        born = self._born_radii(self.ring.sum_first(integral[0]) + self.ring.sum_second(integral[1]))
        atom_energies, atom_slope = self._atoms(born)
        pair_energies, slope, pair_slope = self._pairs(pairs, near, born, gradient)
        energies = atom_energies.sum(0, dtype=torch.float64) + pair_energies
        if slope is None or integral_slope is None:
            return energies, None
        by_integral = (atom_slope + pair_slope) * born.slope
        through_born = integral_slope[0] * by_integral + integral_slope[1] * self.ring.partner(by_integral)
        return energies, slope.addcmul_(through_born, pairs.inverse, value=0.5)

    def _integrals(
        self, pairs: PairDistances, near: Tensor | None, gradient: bool
    ) -> tuple[Tensor, Tensor | None]:
        """H(r; o, s) of both directions (2, rows, atoms, frames) and dH/dr, with the neck where the model has one.

        U is held above o: there L = U = o and H, with all its parts, is 0. For s - r > o (an atom deep inside the other's
        sphere) the terms of dL/dr no longer cancel, and 1/L^2 stays.
        """
        r = pairs.squared * pairs.inverse
        upper = torch.maximum(r + self.descreening, self.descreened)
        lower = torch.maximum((r - self.descreening).abs_(), self.descreened)
        share = (upper * lower).reciprocal_()
        inverse_upper, inverse_lower = lower * share, upper * share
        ratio = self.descreening * pairs.inverse
        half_log = torch.log(lower * inverse_upper).mul_(pairs.inverse).mul_(0.5)
        difference = inverse_upper - inverse_lower
        squares = difference * (inverse_upper + inverse_lower) * 0.25
        integral = (r - self.descreening * ratio).mul_(squares).sub_(difference).add_(half_log).mul_(0.5)
        slope = None
        if gradient:
            slope = (1.0 + ratio * ratio).mul_(squares).sub_(half_log.mul_(pairs.inverse)).mul_(0.5)
            if pairs.shortest_nm <= self.engulfed_below_nm:
                engulfed = (self.descreening - r > self.descreened).to(r.dtype)
                slope += engulfed * inverse_lower * inverse_lower
        if self.neck is not None:
            integral, slope = self.neck.add(r, integral, slope)
        for values in (integral, slope):
            if values is not None and self.ring.halved:
                values[:, -1] *= 0.5
            if values is not None and near is not None:
                values *= near
        return integral, slope

    def _born_radii(self, integral: Tensor) -> BornRadii:
        psi = integral * self.offset_radius
        bend = torch.tanh(psi * (self.alpha - psi * (self.beta - psi * self.gamma)))
        inverse = 1.0 / self.offset_radius - bend / self.atom_radius
        radius = 1.0 / inverse
        psi_slope = self.alpha - psi * (2.0 * self.beta - 3.0 * psi * self.gamma)
        slope = radius * radius * (1.0 - bend * bend) / self.atom_radius * psi_slope * self.offset_radius
        return BornRadii(radius, inverse, slope)

    def _atoms(self, born: BornRadii) -> tuple[Tensor, Tensor]:
        """Self and surface energies (atoms, frames) and their dE/dB."""
        solvation = self.self_coefficient * born.inverse
        surface = self.surface_coefficient * (self.atom_radius * born.inverse) ** 6
        return solvation + surface, -(solvation + 6.0 * surface) * born.inverse

    def _pairs(
        self, pairs: PairDistances, near: Tensor | None, born: BornRadii, gradient: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Pair energies (frames,), dE/d(r^2) at fixed Born radii, and dE/dB (atoms, frames)."""
        partner = self.ring.partner(born.radius)
        product = born.radius * partner
        exponent = (pairs.squared / product).mul_(0.25).clamp_(max=LARGEST_EXPONENT)
        decay = torch.exp(-exponent)
        inverse = torch.addcmul(pairs.squared, product, decay).rsqrt_()
        energies = self.pair_coefficient * inverse
        constant = self.shift_constant
        if near is not None:
            shifted = (energies - self.pair_shift * self.pair_coefficient) * near
            total, constant, energies = shifted, 0.0, energies * near
        else:
            total = energies
        energy = total.sum((0, 1), dtype=torch.float64) - constant
        if not gradient:
            return energy, None, torch.zeros_like(born.radius)
        slope = energies * inverse * inverse * -0.5
        by_product = (exponent + 1.0).mul_(decay).mul_(slope)
        by_radius = self.ring.sum_first(by_product * partner) + self.ring.sum_second(by_product * born.radius)
        return energy, slope.mul_(1.0 - 0.25 * decay), by_radius


class _Neck:
    """The neck of GBn and GBn2: height / (1 + 100 x^2 + 3e5 x^6), x = r - distance, for r < reach."""

    def __init__(self, neck: NeckParameters, ring: PairRing, dtype: torch.dtype) -> None:
        self.height = ring.direction_table(neck.height, dtype)
        self.distance = ring.direction_table(neck.distance, dtype)
        self.reach = ring.table(neck.reach, dtype)

    def add(self, r: Tensor, integral: Tensor, slope: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Integral and slope (2, rows, atoms, frames) with the neck added."""
        x = r - self.distance
        x2 = x * x
        x4 = x2 * x2
        inverse = 1.0 / (1.0 + 100.0 * x2 + 3e5 * x2 * x4)
        value = self.height * inverse * (r < self.reach)
        if slope is not None:
            slope = slope - value * inverse * x * (200.0 + 18e5 * x4)
        return integral + value, slope
