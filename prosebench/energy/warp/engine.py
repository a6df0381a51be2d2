"""The engine: batches of frames and replicas for the kernels, in pieces that fit the device."""

from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from prosebench.energy.parameters.masses import repartitioned
from prosebench.energy.parameters.terms import EnergyParameters
from prosebench.energy.target import (
    LangevinResult,
    PhaseState,
    Stretch,
    kt_kj_mol,
)
from prosebench.energy.warp.kernels import ATOMS_A_SIZE, Bath, make_kernels
from prosebench.energy.warp.molecule import make_molecule
from prosebench.energy.warp.replica import FLOATS_AN_ATOM

Floats = NDArray[np.float64]

THREADS_A_BLOCK = 32
"""The number of threads of a block: one warp, whose threads wait for each other at no cost."""

BLOCKS_A_MULTIPROCESSOR = {86: 16, 87: 16, 89: 24, 120: 24, 121: 24}
"""How many blocks a multiprocessor holds at once, by architecture (CUDA C++ Programming Guide, table of
compute capabilities)."""

BLOCKS_OF_OTHERS = 32
"""How many blocks a multiprocessor of any other architecture holds: that of data centre GPUs since Ampere."""

FRAMES_A_LAUNCH = 65_536
STEPS_A_LAUNCH = 500
"""The number of steps of one launch. It takes less than a second on a GPU, so that an interrupt, which is
heeded between launches, need not wait long."""

GRID_NM = 2.0
"""The grid spacing in nm. Frames are read relative to the grid point nearest to their middle atom, as by the
native kernel."""


class WarpEnergy:
    """Energies in kJ/mol, gradients in kJ/mol/nm and Langevin dynamics of one molecule, on a device of Warp.

    The interface of NativeEnergy, in single precision with energies summed in double. device is "cuda", "cuda:1" or
    "cpu" (one thread, slow: for tests). Results do not depend on what else is in the batch. Raises RuntimeError for a
    device that is not there.
    """

    def __init__(self, parameters: EnergyParameters, device: str = "cuda") -> None:
        self.n_atoms = parameters.n_atoms
        self._device = wp.get_device(device)
        self.hardware, self.version = self._device.name, wp.__version__
        self._masses, self._bonds = parameters.masses_dalton, parameters.bond_atoms
        self._molecule, n_slots = make_molecule(parameters, device)
        max_atoms = -(-self.n_atoms // ATOMS_A_SIZE) * ATOMS_A_SIZE if self._device.is_cuda else ATOMS_A_SIZE
        self._energies, self._langevin = make_kernels(max_atoms)
        held = BLOCKS_A_MULTIPROCESSOR.get(self._device.arch, BLOCKS_OF_OTHERS)
        self._n_blocks = held * self._device.sm_count if self._device.is_cuda else 1
        room = 0 if self._device.is_cuda else FLOATS_AN_ATOM * self.n_atoms * self._n_blocks
        self._room = self._empty((room,), float)
        self._slots = self._empty((self._n_blocks, n_slots), wp.vec3)

    def energy(self, frames_nm: NDArray[np.floating], *, scale: float = 1.0) -> Floats:
        """Energies (n,) of frames (n, atoms, 3) in nm, in kJ/mol times scale; inf where not finite."""
        frames = self._frames(frames_nm)
        parts = [self._evaluate(part, gradient=False)[0] for part in _pieces(frames)]
        return np.concatenate(parts) * scale if parts else np.empty(0)

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating], *, scale: float = 1.0
    ) -> tuple[Floats, Floats]:
        """Energies (n,), gradients (n, atoms, 3) in kJ/mol and nm, times scale; gradient 0 at energy inf."""
        frames = self._frames(frames_nm)
        energies, gradients = np.empty(len(frames)), np.empty(frames.shape)
        for number, part in enumerate(_pieces(frames)):
            rows = slice(number * FRAMES_A_LAUNCH, number * FRAMES_A_LAUNCH + len(part))
            energies[rows], gradients[rows] = self._evaluate(part, gradient=True)
        return energies * scale, gradients * scale

    def langevin(self, state: PhaseState, stretch: Stretch, *, scale: float = 1.0) -> LangevinResult:
        """Run a stretch of Langevin dynamics on every replica; see `Target.langevin` and `NativeEnergy.langevin`.

        Random numbers are the native kernel's, so the two part by rounding alone.
        """
        keep, n_replicas = stretch.steps_to_keep(), len(state.positions_nm)
        bath = self._bath(stretch, kt_kj_mol(1.0) * stretch.temperatures_of(n_replicas))
        positions = self._put(self._frames(state.positions_nm).reshape(n_replicas, -1), float)
        velocities = self._put(self._frames(state.velocities_nm_ps).reshape(n_replicas, -1), float)
        frames = np.empty((len(keep), *state.positions_nm.shape), dtype=np.float32)
        energies = np.empty((len(keep), n_replicas))
        done = kept = 0
        for end in _launch_ends(stretch.n_steps, keep):
            step = wp.uint64((stretch.first_step + done) % 2**64)
            self._launch(
                self._langevin, n_replicas, [self._molecule, bath, step, end - done], [positions, velocities]
            )
            done = end
            if kept < len(keep) and keep[kept] == done:
                frames[kept] = positions.numpy().reshape(frames.shape[1:])
                energies[kept] = self._evaluate(frames[kept], gradient=False)[0] * scale
                kept += 1
        frames[~np.isfinite(frames).all(axis=(2, 3))] = np.nan
        end_state = [a.numpy().astype(np.float64).reshape(frames.shape[1:]) for a in (positions, velocities)]
        failed = ~np.isfinite(end_state[0] + end_state[1]).all(axis=(1, 2))
        for array in end_state:
            array[failed] = np.nan
        return LangevinResult(PhaseState(*end_state), frames, energies, failed)

    def _bath(self, stretch: Stretch, kt: Floats) -> Bath:
        settings = stretch.settings
        time_step = settings.time_step_fs / 1000
        decay = np.exp(-settings.friction_per_ps * time_step)
        mass = repartitioned(self._masses, self._bonds, settings.hydrogen_mass_dalton)
        inverse = np.divide(1.0, mass, out=np.zeros_like(mass), where=mass > 0)
        bath = Bath()
        bath.time_step, bath.decay = time_step, float(decay)
        bath.key = wp.vec2ui(stretch.random_key & 0xFFFFFFFF, stretch.random_key >> 32 & 0xFFFFFFFF)
        bath.first_replica = wp.uint32(stretch.first_replica)
        bath.noise = self._put(np.sqrt((1 - decay**2) * kt), float)
        bath.inverse_mass, bath.inverse_sqrt_mass = (
            self._put(inverse, float),
            self._put(np.sqrt(inverse), float),
        )
        return bath

    def _evaluate(self, frames: NDArray[Any], *, gradient: bool) -> tuple[Floats, NDArray[np.float32]]:
        """Energies in kJ/mol, inf where not finite, and gradients, of no more frames than one launch takes."""
        with np.errstate(invalid="ignore", over="ignore"):
            middle = frames[:, self.n_atoms // 2 : self.n_atoms // 2 + 1]
            exact = (frames - GRID_NM * np.rint(middle / GRID_NM).astype(np.float64)).reshape(len(frames), -1)
            near = exact.astype(np.float32)
            remainders = exact - near
        lanes = THREADS_A_BLOCK if self._device.is_cuda or wp.config.enable_cpu_blocks else 1
        energies = self._empty((len(frames), lanes), wp.float64)
        gradients = self._empty(near.shape if gradient else (0, 0), float)
        inputs = [self._molecule, self._put(near, float), self._put(remainders, float), gradient]
        self._launch(self._energies, len(frames), inputs, [energies, gradients])
        found = energies.numpy().sum(axis=1)
        slopes = gradients.numpy().reshape(frames.shape if gradient else (len(frames), 0, 3))
        finite = np.isfinite(found) & np.isfinite(near).all(axis=1) & np.isfinite(slopes).all(axis=(1, 2))
        return np.where(finite, found, np.inf), np.where(finite[:, None, None], slopes, 0.0)

    def _launch(self, kernel: Any, n: int, inputs: list[Any], outputs: list[Any]) -> None:
        blocks = min(n, self._n_blocks)
        wp.launch_tiled(
            kernel,
            dim=[blocks],
            inputs=[*inputs, blocks, self._room, self._slots, *outputs],
            block_dim=THREADS_A_BLOCK,
            device=self._device,
        )

    def _frames(self, frames_nm: NDArray[np.floating]) -> NDArray[np.floating]:
        frames = np.asarray(frames_nm)
        if frames.ndim != 3 or frames.shape[1:] != (self.n_atoms, 3):
            raise ValueError(f"frames have shape {frames.shape}, expected (n, {self.n_atoms}, 3)")
        return frames

    def _put(self, values: NDArray[Any], kind: Any) -> Any:
        with np.errstate(over="ignore"):
            return wp.array(np.ascontiguousarray(values, dtype=np.float32), dtype=kind, device=self._device)

    def _empty(self, shape: tuple[int, ...], kind: Any) -> Any:
        return wp.empty(shape, dtype=kind, device=self._device)


def _pieces(frames: NDArray[np.floating]) -> list[NDArray[np.floating]]:
    return [frames[start : start + FRAMES_A_LAUNCH] for start in range(0, len(frames), FRAMES_A_LAUNCH)]


def _launch_ends(n_steps: int, keep: NDArray[np.int64]) -> list[int]:
    """The step numbers after which a launch ends: where frames are kept, and before a launch gets too long."""
    return (
        np.union1d(np.r_[STEPS_A_LAUNCH : n_steps + 1 : STEPS_A_LAUNCH, n_steps], keep).astype(int).tolist()
    )
