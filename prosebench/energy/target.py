"""What a target is: reduced energy, its gradient, and Langevin dynamics for a batch of frames."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

BOLTZMANN_KJ_MOL_K = 0.00831446261815324
"""Molar gas constant in kJ/mol/K (CODATA 2018; the value OpenMM uses)."""

Description = dict[str, str | int | float]


def kt_kj_mol(temperature_kelvin: float) -> float:
    """Thermal energy kT in kJ/mol."""
    return BOLTZMANN_KJ_MOL_K * temperature_kelvin


def check_frames(frames_nm: NDArray[np.floating], n_atoms: int) -> NDArray[np.float64]:
    """Frames as float64 (n, atoms, 3). Raises ValueError where the shape is another."""
    frames = np.asarray(frames_nm, dtype=np.float64)
    if frames.ndim != 3 or frames.shape[1:] != (n_atoms, 3):
        raise ValueError(f"frames_nm has shape {frames.shape}; this target needs (frames, {n_atoms}, 3)")
    return frames


@dataclass(frozen=True)
class LangevinSettings:
    """Settings of Langevin dynamics. Defaults are the published protocol.

    hydrogen_mass_dalton: mass of hydrogens, taken from the atoms they are bonded to, for longer steps
    (`prosebench.energy.parameters.masses`); None leaves the masses of the elements.
    """

    temperature_kelvin: float = 310.0
    friction_per_ps: float = 0.3
    time_step_fs: float = 1.0
    hydrogen_mass_dalton: float | None = None


@dataclass(frozen=True)
class PhaseState:
    """Positions (replicas, atoms, 3) in nm and velocities of the same shape in nm/ps, both float64."""

    positions_nm: NDArray[np.float64]
    velocities_nm_ps: NDArray[np.float64]


@dataclass(frozen=True)
class Stretch:
    """A stretch of Langevin dynamics of some replicas: how long, in which bath, and which frames of it are kept.

    n_steps: steps of every replica. random_key, first_step and first_replica decide the random numbers: a trajectory
    that is cut into stretches, or replicas that are shared out, go on as one where these go on. keep_steps: the steps
    (1 to n_steps, ascending) after which frames are kept; none by default. temperatures_kelvin (replicas,): bath
    temperatures of replica exchange; without them all replicas have settings.temperature_kelvin.
    """

    n_steps: int
    settings: LangevinSettings
    random_key: int
    first_step: int = 0
    keep_steps: NDArray[np.int64] = field(default_factory=lambda: np.array([], dtype=np.int64))
    first_replica: int = 0
    temperatures_kelvin: NDArray[np.float64] | None = None

    def steps_to_keep(self) -> NDArray[np.int64]:
        """keep_steps (kept,), contiguous. Raises ValueError unless they ascend within 1 to n_steps."""
        keep = np.ascontiguousarray(self.keep_steps, dtype=np.int64)
        if self.n_steps < 0:
            raise ValueError(f"n_steps must not be negative, got {self.n_steps}")
        outside = keep.ndim == 1 and keep.size > 0 and (keep[0] < 1 or keep[-1] > self.n_steps)
        if keep.ndim != 1 or outside or (np.diff(keep) <= 0).any():
            raise ValueError(f"keep_steps must be ascending numbers from 1 to n_steps = {self.n_steps}")
        return keep

    def temperatures_of(self, n_replicas: int) -> NDArray[np.float64]:
        """The bath temperature in kelvin of every replica (replicas,). Raises ValueError for another shape, or one
        below 0."""
        given = (
            self.settings.temperature_kelvin if self.temperatures_kelvin is None else self.temperatures_kelvin
        )
        temperatures = np.full(n_replicas, given) if np.ndim(given) == 0 else np.asarray(given)
        if temperatures.shape != (n_replicas,) or not (temperatures >= 0).all():
            raise ValueError(f"temperatures_kelvin must be {n_replicas} numbers of at least 0")
        return np.ascontiguousarray(temperatures, dtype=np.float64)


@dataclass(frozen=True)
class LangevinResult:
    """End state of a stretch of dynamics and what was kept on the way.

    frames_nm (kept, replicas, atoms, 3) float32, energies_kt (kept, replicas), failed (replicas,): True where
    a replica's coordinates stopped being finite; its later kept frames are NaN with infinite energy.
    """

    state: PhaseState
    frames_nm: NDArray[np.float32]
    energies_kt: NDArray[np.float64]
    failed: NDArray[np.bool_]


@runtime_checkable
class Target(Protocol):
    """The Boltzmann distribution of a system at a temperature."""

    @property
    def n_atoms(self) -> int:
        """The number of atoms in a frame."""
        ...

    @property
    def temperature_kelvin(self) -> float:
        """Temperature at which energies are reduced."""
        ...

    def energy(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Reduced energies (n,) in kT of frames (n, atoms, 3) in nm; inf where not finite."""
        ...

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Energies (n,) in kT and gradients (n, atoms, 3) in kT/nm; gradient 0 where the energy is inf."""
        ...

    def langevin(self, state: PhaseState, stretch: Stretch) -> LangevinResult:
        """Run a stretch of Langevin dynamics on every replica.

        One step is OpenMM's LangevinMiddle scheme (Zhang et al., J. Phys. Chem. A 2019, 123, 6056):
        v += dt F/m; x += dt/2 v; v = a v + sqrt(1 - a^2) sqrt(kT/m) xi; x += dt/2 v with a = exp(-friction dt).
        The random numbers depend on (random_key, first_replica + replica, first_step + step) alone, where the engine
        allows it. Raises ValueError for a stretch that cannot be (`Stretch.steps_to_keep`, `Stretch.temperatures_of`).
        """
        ...

    def describe(self) -> Description:
        """Engine, platform, precision and whatever else decides the numbers, for the record.

        The number of threads does not: it stands in the provenance.
        """
        ...
