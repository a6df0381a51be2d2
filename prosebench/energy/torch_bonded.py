"""Bonds, angles and torsions in torch: energies and gradient vectors of all terms, for rows of frames.

Positions are (3, atoms, frames). A term gives its energies (terms, frames) and, per atom it moves, a vector
(3, terms, frames). Source of the form: Maier et al., JCTC 2015, 11, 3696 (amber14); the torsion gradient
follows Blondel and Karplus, J. Comput. Chem. 1996, 17, 1132, without the angle itself.
"""

import numpy as np
import torch
from torch import Tensor

from prosebench.energy.parameters import EnergyParameters

SMALLEST_CROSS_NM2 = 1e-6
"""Two arms of an angle count as parallel below this; the same floor as OpenMM's."""


class BondedTerms:
    """The bonded part of the energy. Bonds are computed in double precision: k r0^2 is 1e4 kJ/mol, and a
    coordinate rounded to single precision would cost 1e-4 kJ/mol a bond; angles and torsions use the given
    dtype.
    """

    def __init__(self, parameters: EnergyParameters, dtype: torch.dtype, device: torch.device) -> None:
        def column(values: object, kind: torch.dtype) -> Tensor:
            return torch.as_tensor(values, dtype=kind, device=device)[:, None]

        self.dtype = dtype
        self.bond = torch.as_tensor(parameters.bond_atoms.T.copy(), dtype=torch.long, device=device)
        self.angle = torch.as_tensor(parameters.angle_atoms.T.copy(), dtype=torch.long, device=device)
        self.torsion = torch.as_tensor(parameters.torsion_atoms.T.copy(), dtype=torch.long, device=device)
        self.bond_length = column(parameters.bond_length_nm, torch.float64)
        self.bond_constant = column(parameters.bond_constant, torch.float64)
        self.angle_radians = column(parameters.angle_radians, dtype)
        self.angle_constant = column(parameters.angle_constant, dtype)
        self.cosines = [column(c, dtype) for c in parameters.torsion_cos.T]
        self.sines = [column(s, dtype) if s.any() else None for s in parameters.torsion_sin.T]
        used = np.nonzero((parameters.torsion_cos != 0) | (parameters.torsion_sin != 0))[1]
        self.highest = int(used.max(initial=0))

    def add(self, positions: Tensor, energy: Tensor, gradient: Tensor | None) -> None:
        """Add the energies (frames,) and the gradient (3, atoms, frames), both in double, in place.

        positions (3, atoms, frames) in nm are in double precision.
        """
        rounded = positions.to(self.dtype)
        for terms, x in ((self._bonds, positions), (self._angles, rounded), (self._torsions, rounded)):
            energies, vectors = terms(x, gradient is not None)
            energy += energies.sum(0, dtype=torch.float64)
            if gradient is not None:
                for atoms, vector in vectors:
                    gradient.index_add_(1, atoms, vector.to(gradient.dtype))

    def _bonds(self, x: Tensor, gradient: bool) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        first, second = self.bond
        arm = x[:, first] - x[:, second]
        length = _norm(arm)
        stretch = length - self.bond_length
        force = self.bond_constant * stretch
        energies = 0.5 * force * stretch
        if not gradient:
            return energies, []
        vector = arm * (force / length)
        return energies, [(first, vector), (second, -vector)]

    def _angles(self, x: Tensor, gradient: bool) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        first, centre, last = self.angle
        v, w = x[:, first] - x[:, centre], x[:, last] - x[:, centre]
        cross = _cross(v, w)
        area = _norm(cross)
        bend = torch.atan2(area, (v * w).sum(0)) - self.angle_radians
        torque = self.angle_constant * bend
        energies = 0.5 * torque * bend
        if not gradient:
            return energies, []
        torque = torque / area.clamp(min=SMALLEST_CROSS_NM2)
        on_first = _cross(v, cross) * (torque / (v * v).sum(0))
        on_last = _cross(cross, w) * (torque / (w * w).sum(0))
        return energies, [(first, on_first), (last, on_last), (centre, -(on_first + on_last))]

    def _torsions(self, x: Tensor, gradient: bool) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        a, b, c, d = self.torsion
        ab, bc, cd = x[:, b] - x[:, a], x[:, c] - x[:, b], x[:, d] - x[:, c]
        m, n = _cross(ab, bc), _cross(bc, cd)
        m2, n2, axis2 = (m * m).sum(0), (n * n).sum(0), (bc * bc).sum(0)
        axis = axis2.sqrt()
        scale = m2.rsqrt() * n2.rsqrt()
        cosine, sine = (m * n).sum(0) * scale, axis * (ab * n).sum(0) * scale
        energies, slope = self._series(cosine, sine)
        if not gradient:
            return energies, []
        on_a = m * (-slope * axis / m2)
        on_d = n * (slope * axis / n2)
        shift = on_a * ((ab * bc).sum(0) / axis2) - on_d * ((cd * bc).sum(0) / axis2)
        return energies, [(a, on_a), (b, -on_a - shift), (c, shift - on_d), (d, on_d)]

    def _series(self, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
        """sum_m cos_m cos(m phi) + sin_m sin(m phi) and its derivative, by the addition theorem."""
        energies = self.cosines[0].expand_as(cosine).clone()
        slope = torch.zeros_like(cosine)
        cos_m, sin_m = cosine, sine
        for m in range(1, self.highest + 1):
            if m > 1:
                cos_m, sin_m = cos_m * cosine - sin_m * sine, sin_m * cosine + cos_m * sine
            energies += self.cosines[m] * cos_m
            slope -= m * self.cosines[m] * sin_m
            weight = self.sines[m]
            if weight is not None:
                energies += weight * sin_m
                slope += m * weight * cos_m
        return energies, slope


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack((a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]))


def _norm(a: Tensor) -> Tensor:
    return (a * a).sum(0).sqrt()
