"""Targets with known answers, for the contract that every method must pass and for statistical tests."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prosebench.energy.target import (
    BOLTZMANN_KJ_MOL_K,
    Description,
    LangevinResult,
    PhaseState,
    Stretch,
    check_frames,
    kt_kj_mol,
)
from prosebench.frames.geometry import remove_center


@dataclass(frozen=True)
class HarmonicTarget:
    """Every coordinate of every atom in its own harmonic well: E = 1/2 k |x - x0|^2 with k in kJ/mol/nm^2.

    The Boltzmann distribution is Gaussian with mean `centre_nm` (atoms, 3) and variance kT/k. Wells that are `free`
    move with the frame: x is taken relative to the mean over its atoms, so that energies do not depend on where a
    frame is, as those of a molecule; centre_nm must then have the mean 0. All masses are `mass_dalton`.
    """

    centre_nm: NDArray[np.float64]
    temperature_kelvin: float = 310.0
    constant_kj_mol_nm2: float = 2000.0
    mass_dalton: float = 12.0
    free: bool = False

    @classmethod
    def free_wells(
        cls, n_atoms: int, spread_nm: float, temperature_kelvin: float = 310.0
    ) -> "HarmonicTarget":
        """Free wells, all at the mean of the atoms, of standard deviation spread_nm along each axis."""
        constant = kt_kj_mol(temperature_kelvin) / spread_nm**2
        return cls(np.zeros((n_atoms, 3)), temperature_kelvin, constant, free=True)

    @property
    def n_atoms(self) -> int:
        """The number of atoms in a frame."""
        return len(self.centre_nm)

    @property
    def variance_nm2(self) -> float:
        """kT/k: variance of each coordinate under the Boltzmann distribution, about its well."""
        return kt_kj_mol(self.temperature_kelvin) / self.constant_kj_mol_nm2

    @property
    def mean_energy_kt(self) -> float:
        """Mean energy: half a kT for each coordinate that the energy knows."""
        return 1.5 * (self.n_atoms - self.free)

    @property
    def shift_variance_nm2(self) -> float:
        """Variance of a coordinate of `shifts`."""
        return self.variance_nm2 * (1 - self.free / self.n_atoms)

    def shifts(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """The shifts (n, atoms, 3) of a frame's atoms from their wells, in nm."""
        frames = check_frames(frames_nm, self.n_atoms)
        return (remove_center(frames) if self.free else frames) - self.centre_nm

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Exact draws (n, atoms, 3); those of free wells have the mean 0."""
        noise = math.sqrt(self.variance_nm2) * rng.standard_normal((n, self.n_atoms, 3))
        return self.centre_nm + (remove_center(noise) if self.free else noise)

    def energy(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Reduced energies (n,) in kT."""
        return self.energy_and_gradient(frames_nm)[0]

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Energies (n,) in kT and gradients (n, atoms, 3) in kT/nm."""
        with np.errstate(invalid="ignore", over="ignore"):
            gradients = self.shifts(frames_nm) / self.variance_nm2
            energies = 0.5 * self.variance_nm2 * np.einsum("nad,nad->n", gradients, gradients)
        bad = ~np.isfinite(energies)
        energies[bad], gradients[bad] = np.inf, 0.0
        return energies, gradients

    def langevin(self, state: PhaseState, stretch: Stretch) -> LangevinResult:
        """See `Target.langevin`; noise from (key, step) for all replicas at once, those before first_replica too."""
        positions, velocities = state.positions_nm.copy(), state.velocities_nm_ps.copy()
        settings, first_replica = stretch.settings, stretch.first_replica
        temperatures = stretch.temperatures_of(len(positions))
        step_ps = settings.time_step_fs / 1000
        decay = np.exp(-settings.friction_per_ps * step_ps)
        kt = BOLTZMANN_KJ_MOL_K * temperatures[:, None, None]
        spread = np.sqrt((1 - decay**2) * kt / self.mass_dalton)
        kept, wanted = [], set(stretch.steps_to_keep().tolist())
        for step in range(1, stretch.n_steps + 1):
            velocities -= step_ps * self.constant_kj_mol_nm2 / self.mass_dalton * self.shifts(positions)
            positions += step_ps / 2 * velocities
            noise = np.random.Generator(
                np.random.Philox(key=stretch.random_key, counter=[0, 0, 0, stretch.first_step + step])
            )
            numbers = noise.standard_normal((first_replica + len(positions), *positions.shape[1:]))
            velocities = decay * velocities + spread * numbers[first_replica:]
            positions += step_ps / 2 * velocities
            if step in wanted:
                kept.append(positions.copy())
        frames = np.array(kept, dtype=np.float32).reshape(-1, *positions.shape)
        energies = np.array([self.energy(frame) for frame in kept]).reshape(len(kept), len(positions))
        return LangevinResult(
            PhaseState(positions, velocities), frames, energies, np.zeros(len(positions), bool)
        )

    def describe(self) -> Description:
        """Engine and precision."""
        return {"engine": "analytic", "precision": "double"}


@dataclass(frozen=True)
class StretchedTarget:
    """Wells whose stiffness differs from atom to atom: those of `wells`, with each atom's shift from its centre
    multiplied by its number in `stretches` (atoms, 1) first.

    A number of 10 makes wells ten times narrower. Masses follow, so that all atoms oscillate alike.
    """

    wells: HarmonicTarget
    stretches: NDArray[np.float64]

    @property
    def n_atoms(self) -> int:
        """The number of atoms in a frame."""
        return self.wells.n_atoms

    @property
    def temperature_kelvin(self) -> float:
        """Temperature at which energies are reduced."""
        return self.wells.temperature_kelvin

    def energies_by_atom(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """The part of each atom (n, atoms) in kT: 3/2 in the mean."""
        shifts = self.stretches * (check_frames(frames_nm, self.n_atoms) - self.wells.centre_nm)
        return np.asarray(0.5 * (shifts**2).sum(axis=2) / self.wells.variance_nm2)

    def energy(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Reduced energies (n,) in kT."""
        return self.wells.energy(self._of_wells(frames_nm))

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Energies (n,) in kT and gradients (n, atoms, 3) in kT/nm."""
        energies, gradients = self.wells.energy_and_gradient(self._of_wells(frames_nm))
        return energies, gradients * self.stretches

    def langevin(self, state: PhaseState, stretch: Stretch) -> LangevinResult:
        """See `Target.langevin`: dynamics of the wells, with its positions and velocities brought back."""
        inner = PhaseState(self._of_wells(state.positions_nm), state.velocities_nm_ps * self.stretches)
        found = self.wells.langevin(inner, stretch)
        centre = self.wells.centre_nm
        return LangevinResult(
            PhaseState(
                centre + (found.state.positions_nm - centre) / self.stretches,
                found.state.velocities_nm_ps / self.stretches,
            ),
            (centre + (found.frames_nm - centre) / self.stretches).astype(np.float32),
            found.energies_kt,
            found.failed,
        )

    def describe(self) -> Description:
        """Engine and precision."""
        return self.wells.describe()

    def _of_wells(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        return self.wells.centre_nm + self.stretches * (
            check_frames(frames_nm, self.n_atoms) - self.wells.centre_nm
        )
