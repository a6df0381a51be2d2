"""The torch path as an engine: arrays in, arrays out, and Langevin dynamics with the native kernel's random
numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from prosebench.energy.masses import repartitioned
from prosebench.energy.parameters import EnergyParameters
from prosebench.energy.target import (
    LangevinResult,
    LangevinSettings,
    PhaseState,
    bath_temperatures,
    check_keep_steps,
    kt_kj_mol,
)
from prosebench.energy.torch_energy import TorchEnergy

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

CENTRING_INTERVAL = 256
"""Steps of the whole run after which molecules are moved back to the origin, as in the native kernel."""


class TorchEngine:
    """Energies in kJ/mol, gradients in kJ/mol/nm and Langevin dynamics by `TorchEnergy`; the interface of
    NativeEnergy.

    precision "single" or "double"; threads are torch's, for the length of a call, and matter on the CPU
    alone.
    """

    def __init__(
        self, parameters: EnergyParameters, threads: int = 1, precision: str = "single", device: str = "cpu"
    ) -> None:
        if precision not in ("single", "double"):
            raise ValueError(f"precision {precision!r} is not single or double")
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.threads, self.device = threads, device
        self._masses, self._bonds = parameters.masses_dalton, parameters.bond_atoms
        dtype = torch.float32 if precision == "single" else torch.float64
        self._energy = TorchEnergy(parameters, dtype, device)

    def energy(self, frames_nm: NDArray[np.floating], *, scale: float = 1.0) -> Floats:
        """Energies (n,) of frames (n, atoms, 3) in nm, in kJ/mol times scale; inf where not finite."""
        with _torch_threads(self.threads):
            return self._energy.energy(torch.as_tensor(frames_nm)).cpu().numpy() * scale

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating], *, scale: float = 1.0
    ) -> tuple[Floats, Floats]:
        """Energies (n,) and gradients (n, atoms, 3) in kJ/mol(/nm) times scale; gradient 0 where the energy
        is inf.
        """
        with _torch_threads(self.threads):
            energies, gradients = self._energy.energy_and_gradient(torch.as_tensor(frames_nm))
        return energies.cpu().numpy() * scale, gradients.cpu().numpy() * scale

    def langevin(
        self,
        state: PhaseState,
        n_steps: int,
        settings: LangevinSettings,
        random_key: int,
        first_step: int,
        keep_steps: NDArray[np.int64],
        *,
        first_replica: int = 0,
        temperatures_kelvin: NDArray[np.float64] | None = None,
        scale: float = 1.0,
    ) -> LangevinResult:
        """Run n_steps of Langevin dynamics on every replica; see `Target.langevin`. Energies in kJ/mol times
        scale.

        The state stays in double precision. A replica whose energy or position stops being finite is NaN from
        then on.
        """
        keep = check_keep_steps(keep_steps, n_steps)
        positions, velocities = state.positions_nm.copy(), state.velocities_nm_ps.copy()
        kt = kt_kj_mol(1.0) * bath_temperatures(settings, temperatures_kelvin, len(positions))
        time_step = settings.time_step_fs / 1000.0
        decay = np.exp(-settings.friction_per_ps * time_step)
        inverse = 1.0 / repartitioned(self._masses, self._bonds, settings.hydrogen_mass_dalton)[:, None]
        noise = np.sqrt((1.0 - decay**2) * kt[:, None, None] * inverse)
        frames = np.empty((len(keep), *positions.shape), dtype=np.float32)
        energies = np.empty((len(keep), len(positions)))
        for local in range(n_steps):
            step = first_step + local
            xi = standard_normals(random_key, step, positions.shape, first_replica)
            velocities -= time_step * inverse * self._finite_gradient(positions)
            positions += time_step / 2 * velocities
            velocities = decay * velocities + noise * xi
            positions += time_step / 2 * velocities
            if (step + 1) % CENTRING_INTERVAL == 0:
                positions -= positions.mean(axis=1, keepdims=True)
            kept = np.searchsorted(keep, local + 1)
            if kept < len(keep) and keep[kept] == local + 1:
                frames[kept], energies[kept] = positions, self.energy(positions, scale=scale)
        failed = ~np.isfinite((positions + velocities).sum(axis=(1, 2)))
        positions[failed] = velocities[failed] = np.nan
        frames[~np.isfinite(frames).all(axis=(2, 3))] = np.nan
        return LangevinResult(PhaseState(positions, velocities), frames, energies, failed)

    def _finite_gradient(self, positions: Floats) -> Floats:
        """Gradients, NaN instead of 0 where the energy is infinite: no replica may fly on without forces."""
        energies, gradients = self.energy_and_gradient(positions)
        gradients[~np.isfinite(energies)] = np.nan
        return gradients


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def standard_normals(random_key: int, step: int, shape: tuple[int, ...], first_replica: int = 0) -> Floats:
    """Normal numbers (replicas, atoms, 3) of one step: Philox4x32-10 (Salmon et al., SC'11) and Box-Muller.

    Key: the 64 bits of random_key. Counter: (block, replica, low and high word of step); block b of a replica
    gives its flat components 4b..4b+3. So a number depends on key, replica, step and component alone.
    """
    n_replicas, n_components = shape[0], int(np.prod(shape[1:]))
    block, replica = np.meshgrid(np.arange(-(-n_components // 4)), first_replica + np.arange(n_replicas))
    low, high = step & 0xFFFFFFFF, step >> 32 & 0xFFFFFFFF
    counter = (block, replica, np.full_like(block, low), np.full_like(block, high))
    words = _philox([word.astype(np.uint64) for word in counter], random_key % 2**64)
    uniform = (np.stack(words, axis=-1) >> np.uint64(8)) * 2.0**-24 + 2.0**-25
    radius = np.sqrt(-2.0 * np.log(uniform[..., 0::2]))
    angle = 2.0 * np.pi * uniform[..., 1::2]
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=-1)
    return pairs.reshape(n_replicas, -1)[:, :n_components].reshape(shape)


def _philox(counter: list[Words], key: int) -> list[Words]:
    """Four 32-bit words from a counter of four; words are held in 64 bits."""
    mask, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    key_low, key_high = key & 0xFFFFFFFF, key >> 32
    c0, c1, c2, c3 = counter
    for _ in range(10):
        product_0, product_1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1 = product_1 >> shift ^ c1 ^ np.uint64(key_low), product_1 & mask
        c2, c3 = product_0 >> shift ^ c3 ^ np.uint64(key_high), product_0 & mask
        key_low, key_high = (key_low + 0x9E3779B9) & 0xFFFFFFFF, (key_high + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]
