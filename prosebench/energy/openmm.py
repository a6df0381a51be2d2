"""The target by OpenMM: the oracle that every other path must agree with."""

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from prosebench.energy.parameters.masses import repartitioned
from prosebench.energy.target import (
    Description,
    LangevinResult,
    LangevinSettings,
    PhaseState,
    Stretch,
    check_frames,
    kt_kj_mol,
)
from prosebench.peptide.force_field import ForceField

if TYPE_CHECKING:
    from prosebench.peptide import Peptide

_PRECISION_OF_PLATFORM = {"Reference": "double", "CPU": "mixed"}
_INTEGRATOR_SEED_MASK = 0x7FFFFFFF


class OpenMMEnergy:
    """Energies, gradients and Langevin dynamics of a peptide, one frame at a time, on an OpenMM platform.

    platform is one of `platforms()`; precision ("single", "mixed", "double") is a choice on CUDA and OpenCL only:
    Reference computes in double, CPU in single with double sums. Raises ValueError for what OpenMM does not have.
    """

    def __init__(
        self,
        peptide: "Peptide",
        temperature_kelvin: float = 310.0,
        *,
        force_field: ForceField | None = None,
        platform: str = "CPU",
        precision: str | None = None,
        threads: int = 1,
    ) -> None:
        self.n_atoms = peptide.n_atoms
        self._bonds = np.array([[a.index, b.index] for a, b in peptide.topology.bonds])
        self.temperature_kelvin = temperature_kelvin
        self._kt = kt_kj_mol(temperature_kelvin)
        self._system = peptide.system(force_field or ForceField())
        self._platform = _find_platform(platform)
        self.precision = _check_precision(platform, precision)
        self.threads = threads
        self._properties = (
            {"Threads": str(threads), "DeterministicForces": "true"} if platform == "CPU" else {}
        )
        if platform in ("CUDA", "OpenCL", "HIP"):
            self._properties = {"Precision": self.precision}
            if "DeterministicForces" in self._platform.getPropertyNames():
                self._properties["DeterministicForces"] = "true"
        self._context = self._make_context(openmm.VerletIntegrator(0.001))

    def energy(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Reduced energies (n,) in kT of frames (n, atoms, 3) in nm; inf where not finite."""
        frames = check_frames(frames_nm, self.n_atoms)
        return np.array([self._evaluate(frame, gradient=False)[0] for frame in frames], dtype=np.float64)

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Energies (n,) in kT and gradients (n, atoms, 3) in kT/nm; gradient 0 where the energy is inf."""
        frames = check_frames(frames_nm, self.n_atoms)
        energies = np.empty(len(frames))
        gradients = np.zeros(frames.shape)
        for i, frame in enumerate(frames):
            energies[i], gradient = self._evaluate(frame, gradient=True)
            if gradient is not None:
                gradients[i] = gradient
        return energies, gradients

    def langevin(self, state: PhaseState, stretch: Stretch) -> LangevinResult:
        """See `Target.langevin`. Each replica gets its own context and its own seed from (key, replica, step)."""
        n_replicas, keep = len(state.positions_nm), stretch.steps_to_keep()
        temperatures = stretch.temperatures_of(n_replicas)
        positions, velocities = state.positions_nm.copy(), state.velocities_nm_ps.copy()
        frames = np.full((len(keep), n_replicas, self.n_atoms, 3), np.nan, dtype=np.float32)
        energies = np.full((len(keep), n_replicas), np.inf)
        failed = np.zeros(n_replicas, dtype=bool)
        for replica in range(n_replicas):
            context = self._langevin_context(
                replace(stretch.settings, temperature_kelvin=float(temperatures[replica])),
                _integrator_seed(stretch.random_key, stretch.first_replica + replica, stretch.first_step),
            )
            context.setPositions(positions[replica])
            context.setVelocities(velocities[replica])
            try:
                for kept, n in enumerate(np.diff(keep, prepend=0)):
                    context.getIntegrator().step(int(n))
                    frames[kept, replica], energies[kept, replica] = self._read(context)
                context.getIntegrator().step(stretch.n_steps - int(keep[-1] if len(keep) else 0))
                end = context.getState(positions=True, velocities=True)
                positions[replica] = end.getPositions(asNumpy=True)._value
                velocities[replica] = end.getVelocities(asNumpy=True)._value
            except openmm.OpenMMException as error:
                if "NaN" not in str(error):
                    raise
                failed[replica] = True
        # OpenMM's Reference platform complains of NaN only where a state was read on the way, so the end is
        # checked here.
        failed |= ~(np.isfinite(positions) & np.isfinite(velocities)).all(axis=(1, 2))
        positions[failed] = velocities[failed] = np.nan
        return LangevinResult(PhaseState(positions, velocities), frames, energies, failed)

    def describe(self) -> Description:
        """Engine, version, platform, precision, and the device of a platform that has several, for the record."""
        found: Description = {
            "engine": "openmm",
            "version": openmm.__version__,
            "platform": self._platform.getName(),
            "precision": self.precision,
        }
        if "DeviceName" not in self._platform.getPropertyNames():
            return found
        name = self._platform.getPropertyValue(self._context, "DeviceName")
        return found | {"device": f"{self._platform.getName()}: {name}"}

    def _evaluate(
        self, frame: NDArray[np.float64], *, gradient: bool
    ) -> tuple[float, NDArray[np.float64] | None]:
        if not np.isfinite(frame).all():
            return np.inf, None
        self._context.setPositions(frame)
        try:
            state = self._context.getState(energy=True, forces=gradient)
        except openmm.OpenMMException as error:
            if "NaN" not in str(error):
                raise
            return np.inf, None
        energy = state.getPotentialEnergy()._value / self._kt
        if not np.isfinite(energy):
            return np.inf, None
        if not gradient:
            return energy, None
        result = -state.getForces(asNumpy=True)._value / self._kt
        return (energy, result) if np.isfinite(result).all() else (np.inf, None)

    def _read(self, context: openmm.Context) -> tuple[NDArray[np.float64], float]:
        state = context.getState(positions=True, energy=True)
        positions = state.getPositions(asNumpy=True)._value
        energy = state.getPotentialEnergy()._value / self._kt
        if not (np.isfinite(energy) and np.isfinite(positions).all()):
            raise openmm.OpenMMException("Particle coordinate is NaN")
        return positions, energy

    def _langevin_context(self, settings: LangevinSettings, seed: int) -> openmm.Context:
        integrator = openmm.LangevinMiddleIntegrator(
            settings.temperature_kelvin * unit.kelvin,
            settings.friction_per_ps / unit.picosecond,
            settings.time_step_fs * unit.femtosecond,
        )
        integrator.setRandomNumberSeed(seed)
        return self._make_context(integrator, settings.hydrogen_mass_dalton)

    def _make_context(
        self, integrator: openmm.Integrator, hydrogen_mass_dalton: float | None = None
    ) -> openmm.Context:
        system = self._system
        if hydrogen_mass_dalton is not None:
            system = copy.deepcopy(system)
            given = np.array([system.getParticleMass(i)._value for i in range(self.n_atoms)])
            for atom, mass in enumerate(repartitioned(given, self._bonds, hydrogen_mass_dalton)):
                system.setParticleMass(atom, mass)
        return openmm.Context(system, integrator, self._platform, self._properties)


def platforms() -> list[str]:
    """Names of the OpenMM platforms of this machine."""
    return [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]


def _find_platform(name: str) -> openmm.Platform:
    if name not in platforms():
        raise ValueError(
            f"OpenMM has no platform {name!r} on this machine; it has {', '.join(platforms())}{_remedy(name)}"
        )
    return openmm.Platform.getPlatformByName(name)


def _remedy(name: str) -> str:
    """How to come by a platform that is not there, and why its plug-in was not loaded, as far as OpenMM says."""
    failures = [
        one.splitlines()[0] for one in openmm.Platform.getPluginLoadFailures() if name.lower() in one.lower()
    ]
    said = f" ({failures[0]})" if failures else ""
    if name == "CUDA":
        return f"{said}; install openmm[cuda12] or openmm[cuda13], as the driver goes, where there is a GPU"
    if name == "OpenCL":
        return f"{said}; install an OpenCL driver: that of the GPU, or pocl for CPUs"
    return said


def _check_precision(platform: str, precision: str | None) -> str:
    fixed = _PRECISION_OF_PLATFORM.get(platform)
    if fixed is not None:
        if precision not in (None, fixed):
            raise ValueError(
                f"OpenMM's {platform} platform computes in {fixed} precision, not in {precision!r}"
            )
        return fixed
    if precision is None:
        return "mixed"
    if precision not in ("single", "mixed", "double"):
        raise ValueError(f"unknown precision {precision!r}; known: single, mixed, double")
    return precision


def _integrator_seed(random_key: int, replica: int, first_step: int) -> int:
    # OpenMM takes 31 bits, and 0 asks for a random seed.
    words = np.random.SeedSequence([random_key, replica, first_step]).generate_state(1)
    return int(words[0]) & _INTEGRATOR_SEED_MASK or 1
