"""Targets with known answers, for the contract that every method must pass and for statistical tests."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prosebench.energy.target import (
    BOLTZMANN_KJ_MOL_K,
    Description,
    LangevinResult,
    LangevinSettings,
    PhaseState,
    check_frames,
    kt_kj_mol,
)


@dataclass(frozen=True)
class HarmonicTarget:
    """Every coordinate of every atom in its own harmonic well: E = 1/2 k |x - x0|^2 with k in kJ/mol/nm^2.

    The Boltzmann distribution is Gaussian with mean `centre_nm` (atoms, 3) and variance kT/k; the mean energy is
    3 atoms / 2 in kT. All masses are `mass_dalton`.
    """

    centre_nm: NDArray[np.float64]
    temperature_kelvin: float = 310.0
    constant_kj_mol_nm2: float = 2000.0
    mass_dalton: float = 12.0

    @property
    def n_atoms(self) -> int:
        """Atoms of a frame."""
        return len(self.centre_nm)

    @property
    def variance_nm2(self) -> float:
        """Variance of each coordinate under the Boltzmann distribution."""
        return kt_kj_mol(self.temperature_kelvin) / self.constant_kj_mol_nm2

    def energy(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Reduced energies (n,) in kT."""
        return self.energy_and_gradient(frames_nm)[0]

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Energies (n,) in kT and gradients (n, atoms, 3) in kT/nm."""
        gradients = (check_frames(frames_nm, self.n_atoms) - self.centre_nm) / self.variance_nm2
        with np.errstate(invalid="ignore", over="ignore"):
            energies = 0.5 * self.variance_nm2 * np.einsum("nad,nad->n", gradients, gradients)
        bad = ~np.isfinite(energies)
        energies[bad], gradients[bad] = np.inf, 0.0
        return energies, gradients

    def langevin(
        self,
        state: PhaseState,
        n_steps: int,
        settings: LangevinSettings,
        random_key: int,
        first_step: int,
        keep_steps: NDArray[np.int64],
        *,
        temperatures_kelvin: NDArray[np.float64] | None = None,
    ) -> LangevinResult:
        """See `Target.langevin`; noise from (key, step) for all replicas at once."""
        positions, velocities = state.positions_nm.copy(), state.velocities_nm_ps.copy()
        if temperatures_kelvin is None:
            temperatures_kelvin = np.full(len(positions), settings.temperature_kelvin)
        step_ps = settings.time_step_fs / 1000
        decay = np.exp(-settings.friction_per_ps * step_ps)
        kt = BOLTZMANN_KJ_MOL_K * temperatures_kelvin[:, None, None]
        spread = np.sqrt((1 - decay**2) * kt / self.mass_dalton)
        kept, wanted = [], set(keep_steps.tolist())
        for step in range(1, n_steps + 1):
            velocities -= step_ps * self.constant_kj_mol_nm2 / self.mass_dalton * (positions - self.centre_nm)
            positions += step_ps / 2 * velocities
            noise = np.random.Generator(
                np.random.Philox(key=random_key, counter=[0, 0, 0, first_step + step])
            )
            velocities = decay * velocities + spread * noise.standard_normal(positions.shape)
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
