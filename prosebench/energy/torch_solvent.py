"""Generalised Born solvent in torch: Born radii, solvation energy and surface term, with the chain rule by
hand.

Expressions and sources: `torch_energy`; symbols: `GBParameters`. Values of pairs are (rows, atoms, frames) on
a `PairRing`; direction 0 is what the second atom of a pair does to the first, direction 1 the reverse.
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
    """Solvation energy of atoms on a ring, added to the other terms of their pairs."""

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
        self.descreening_squared = self.descreening**2
        self.engulfed_below_nm = float((self.descreening - self.descreened).max()) if ring.rows else 0.0
        self.has_negative_radii = bool((gb.scaled_radius < 0).any())
        self.neck = None if gb.neck is None else _Neck(gb.neck, ring, dtype)

    def add(self, pairs: PairDistances, energies: Tensor, pull: Tensor | None) -> Tensor:
        """Add pair energies to energies and, unless None, -(dE/dr)/r of all solvent terms to pull, in place.

        Returns the rest of the energy (frames,) in double: self and surface terms, and constants.
        """
        near = pairs.within(self.cutoff_nm)
        r = pairs.squared * pairs.inverse
        buffer, body = self.ring.room(r)
        on_first, first_slope = self._integral(0, r, pairs, near, torch.empty_like(r))
        _, second_slope = self._integral(1, r, pairs, near, body)
        born = self._born_radii(on_first.sum(0) + self.ring.sum_second(buffer))
        atom_energies, by_radius = self._atoms(born)
        constant, by_radius_of_pairs = self._pairs(pairs, near, born, energies, pull)
        if pull is not None:
            by_integral = (by_radius + by_radius_of_pairs) * born.slope
            through_born = first_slope.mul_(by_integral).addcmul_(
                second_slope, self.ring.partner(by_integral)
            )
            pull.addcmul_(through_born, pairs.inverse)
        return atom_energies.sum(0, dtype=torch.float64) + constant

    def _integral(
        self, direction: int, r: Tensor, pairs: PairDistances, near: Tensor | None, out: Tensor
    ) -> tuple[Tensor, Tensor]:
        """8 H(r; o, s) on the first (direction 0) or second atom of every pair, written to out, and -8 dH/dr.

        With Q = 1/U^2 - 1/L^2 and T = (r - s^2/r) Q + 2 log(L/U)/r: 8 H = T - 4 (1/U - 1/L), -8 dH/dr = T/r -
        2 Q. U is held above o: there L = U = o, and all parts are 0. For s - r > o (an atom deep inside the
        other's sphere) the terms of dL/dr no longer cancel, and 1/L^2 stays. The neck comes on top.
        """
        o, s = self.descreened[direction], self.descreening[direction]
        upper = torch.maximum(r + s, o)
        lower = torch.maximum((r - s).abs_(), o)
        share = (upper * lower).reciprocal_()
        inverse_upper = lower * share
        inverse_lower = upper.mul_(share)
        difference = inverse_upper - inverse_lower
        squares = (inverse_upper + inverse_lower).mul_(difference)
        log_ratio = lower.mul_(inverse_upper).log_()
        common = torch.addcmul(r, self.descreening_squared[direction], pairs.inverse, value=-1.0)
        common.mul_(squares).add_(log_ratio.mul_(pairs.inverse), alpha=2.0)
        torch.sub(common, difference, alpha=4.0, out=out)
        slope = common.mul_(pairs.inverse).sub_(squares, alpha=2.0)
        if pairs.shortest_nm <= self.engulfed_below_nm:
            slope.sub_((s - r > o) * inverse_lower * inverse_lower, alpha=8.0)
        if self.has_negative_radii:  # GBn2's sulfur: there L > U also where U is held
            outside = r + s > o
            out.mul_(outside)
            slope.mul_(outside)
        if self.neck is not None:
            self.neck.add(direction, r, out, slope)
        for values in (out, slope):
            if self.ring.halved:
                values[-1] *= 0.5
            if near is not None:
                values *= near
        return out, slope

    def _born_radii(self, integral: Tensor) -> BornRadii:
        """Born radii from the sums of 8 H; slope is dB / d(8 H)."""
        psi = integral * (self.offset_radius / 8.0)
        bend = torch.tanh(psi * (self.alpha - psi * (self.beta - psi * self.gamma)))
        inverse = 1.0 / self.offset_radius - bend / self.atom_radius
        radius = 1.0 / inverse
        psi_slope = self.alpha - psi * (2.0 * self.beta - 3.0 * psi * self.gamma)
        slope = (
            radius * radius * (1.0 - bend * bend) / self.atom_radius * psi_slope * (self.offset_radius / 8.0)
        )
        return BornRadii(radius, inverse, slope)

    def _atoms(self, born: BornRadii) -> tuple[Tensor, Tensor]:
        """Self and surface energies (atoms, frames) and their dE/dB."""
        solvation = self.self_coefficient * born.inverse
        surface = self.surface_coefficient * (self.atom_radius * born.inverse) ** 6
        return solvation + surface, -(solvation + 6.0 * surface) * born.inverse

    def _pairs(
        self,
        pairs: PairDistances,
        near: Tensor | None,
        born: BornRadii,
        energies: Tensor,
        pull: Tensor | None,
    ) -> tuple[float, Tensor]:
        """Add the pair energies, and the pull at fixed Born radii. Returns a constant energy and dE/dB
        (atoms, frames).
        """
        partner = self.ring.partner(born.radius)
        minus_4_product = (-4.0 * born.radius) * partner
        exponent = (pairs.squared / minus_4_product).clamp_(min=-LARGEST_EXPONENT)
        decay = torch.exp(exponent)
        inverse = torch.addcmul(pairs.squared, minus_4_product, decay, value=-0.25).rsqrt_()
        energy = self.pair_coefficient * inverse
        constant = -self.shift_constant
        if near is not None:
            energy.mul_(near)
            energies.addcmul_(self.pair_coefficient, near, value=-self.pair_shift)
            constant = 0.0
        energies.add_(energy)
        if pull is None:
            return constant, born.radius
        by_f2 = energy.mul_(inverse).mul_(inverse)
        by_decay = decay.mul_(by_f2)
        pull.add_(by_f2).sub_(by_decay, alpha=0.25)
        by_product = torch.addcmul(by_decay, exponent, by_decay, value=-1.0)
        buffer, body = self.ring.room(by_product)
        torch.mul(by_product, born.radius, out=body)
        by_second = self.ring.sum_second(buffer)
        return constant, -0.5 * (by_second + by_product.mul_(partner).sum(0))


class _Neck:
    """The neck of GBn and GBn2: height / (1 + 100 x^2 + 3e5 x^6), x = r - distance, for r < reach."""

    def __init__(self, neck: NeckParameters, ring: PairRing, dtype: torch.dtype) -> None:
        self.height = ring.direction_table(neck.height, dtype)
        self.distance = ring.direction_table(neck.distance, dtype)
        self.reach = ring.table(neck.reach, dtype)

    def add(self, direction: int, r: Tensor, integral: Tensor, slope: Tensor) -> None:
        """Add 8 times the neck to the integral and -8 times its derivative to the slope, in place."""
        x = r - self.distance[direction]
        x2 = x * x
        x4 = x2 * x2
        inverse = 1.0 / (1.0 + 100.0 * x2 + 3e5 * x2 * x4)
        value = (8.0 * self.height[direction]) * inverse * (r < self.reach)
        integral.add_(value)
        slope.add_(value * inverse * x * (200.0 + 18e5 * x4))
