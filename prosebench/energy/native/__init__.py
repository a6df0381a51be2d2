"""The native kernel: energies, gradients and Langevin dynamics with one frame per SIMD lane.

The C++ sources stand beside this file; energy.h opens with the energy expression. The library is built when
the package is installed and holds the kernels of every instruction set; the best that this CPU has is taken.
The environment variable PROSEBENCH_INSTRUCTION_SET (plain, avx2 or avx512) chooses another one. Single
precision means float arithmetic with energies summed in double; double precision is for checks.
"""

from ctypes import POINTER, c_double, c_float, c_int32, c_int64, c_uint8
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prosebench.energy.compiled import (
    ENVIRONMENT_VARIABLE,
    INSTRUCTION_SETS,
    EnergyBatch,
    LangevinBatch,
    NativeUnavailable,
    Parameters,
    available,
    instruction_set,
    load_library,
    why_unavailable,
)
from prosebench.energy.parameters.masses import repartitioned
from prosebench.energy.parameters.terms import EnergyParameters, GBParameters, pair_indices
from prosebench.energy.target import (
    LangevinResult,
    PhaseState,
    Stretch,
    kt_kj_mol,
)

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "INSTRUCTION_SETS",
    "NativeEnergy",
    "NativeUnavailable",
    "available",
    "instruction_set",
    "why_unavailable",
]

Floats = NDArray[np.float64]


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(POINTER(kind))


@dataclass(frozen=True)
class _Checked:
    """Arrays in the layout the library reads; kept alive while it copies them."""

    n_atoms: int
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)

    def put(self, name: str, values: NDArray[Any], shape: tuple[int, ...], dtype: Any = np.float64) -> None:
        """Add an array. Raises ValueError for another shape, or atoms that are not there."""
        if values.shape != shape:
            raise ValueError(f"{name} has shape {values.shape}, expected {shape}")
        are_atoms = dtype == np.int32 and values.size
        if are_atoms and not 0 <= values.min() <= values.max() < self.n_atoms:
            raise ValueError(f"{name} names atoms outside 0..{self.n_atoms - 1}")
        self.arrays[name] = np.ascontiguousarray(values, dtype=dtype)

    def structure(self) -> Parameters:
        kinds = {np.dtype(np.float64): c_double, np.dtype(np.int32): c_int32, np.dtype(np.uint8): c_uint8}
        pointers = {name: _pointer(array, kinds[array.dtype]) for name, array in self.arrays.items()}
        return Parameters(n_atoms=self.n_atoms, **pointers, **self.numbers)


def _check(p: EnergyParameters) -> _Checked:
    """All parameters for the library. Raises ValueError where their shapes disagree, UnsupportedForce."""
    checked = _Checked(p.n_atoms)
    checked.put("masses", p.masses_dalton, (p.n_atoms,))
    _put_bonded(checked, p)
    _put_pairs(checked, p)
    if p.gb is not None:
        p.gb.check_series(p.cutoff_nm)
        _put_solvent(checked, p.gb)
    return checked


def _put_bonded(checked: _Checked, p: EnergyParameters) -> None:
    bonds, angles, torsions = len(p.bond_atoms), len(p.angle_atoms), len(p.torsion_atoms)
    checked.numbers.update(n_bonds=bonds, n_angles=angles, n_torsions=torsions)
    checked.put("bond_atoms", p.bond_atoms, (bonds, 2), np.int32)
    checked.put("bond_length", p.bond_length_nm, (bonds,))
    checked.put("bond_constant", p.bond_constant, (bonds,))
    checked.put("angle_atoms", p.angle_atoms, (angles, 3), np.int32)
    checked.put("angle_radians", p.angle_radians, (angles,))
    checked.put("angle_constant", p.angle_constant, (angles,))
    checked.put("torsion_atoms", p.torsion_atoms, (torsions, 4), np.int32)
    checked.put("torsion_cos", p.torsion_cos, (torsions, 7))
    checked.put("torsion_sin", p.torsion_sin, (torsions, 7))


def _put_pairs(checked: _Checked, p: EnergyParameters) -> None:
    if not np.array_equal(p.pair_atoms, pair_indices(p.n_atoms)):
        raise ValueError("pair_atoms must hold all pairs i < j, i slowest")
    checked.numbers.update(
        has_solvent=int(p.gb is not None),
        cutoff=p.cutoff_nm,
        reaction_k=p.reaction_field_k,
        reaction_c=p.reaction_field_c,
    )
    for name in ("pair_c12", "pair_c6", "pair_charge"):
        checked.put(name, getattr(p, name), (len(p.pair_atoms),))
    checked.put("pair_is_exception", p.pair_is_exception, (len(p.pair_atoms),), np.uint8)


def _put_solvent(checked: _Checked, gb: GBParameters) -> None:
    atoms = (checked.n_atoms,)
    pairs = checked.n_atoms * (checked.n_atoms - 1) // 2
    checked.numbers["solvent_shift"] = gb.pair_shift
    checked.put("pair_solvent", gb.pair_coefficient, (pairs,))
    for name in ("radius", "offset_radius", "scaled_radius", "alpha", "beta", "gamma"):
        checked.put(name, getattr(gb, name), atoms)
    checked.put("self_coefficient", gb.self_coefficient, atoms)
    checked.put("surface_coefficient", gb.surface_coefficient, atoms)
    if gb.neck is not None:
        checked.put("neck_height", gb.neck.height, (pairs, 2))
        checked.put("neck_distance", gb.neck.distance, (pairs, 2))
        checked.put("neck_reach", gb.neck.reach, (pairs,))


class NativeEnergy:
    """Energies in kJ/mol, gradients in kJ/mol/nm and Langevin dynamics of one molecule, by the native kernel.

    Raises NativeUnavailable without the library, UnsupportedForce for a solvent model it does not know.
    threads share the frames of a call; results do not depend on their number. Calls on one object take turns.
    """

    def __init__(
        self,
        parameters: EnergyParameters,
        threads: int = 1,
        precision: Literal["single", "double"] = "single",
    ) -> None:
        if precision not in ("single", "double"):
            raise ValueError(f"precision {precision!r} is not single or double")
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self._engines: dict[float | None, int] = {}
        self.n_atoms = parameters.n_atoms
        self.threads = threads
        self.precision = precision
        self.instruction_set = instruction_set()
        self._library = load_library()
        self._parameters = parameters
        self._engine = self._engine_with(None)

    def _engine_with(self, hydrogen_mass_dalton: float | None) -> int:
        """The engine whose hydrogens have a mass, made when it is first asked for."""
        if hydrogen_mass_dalton not in self._engines:
            p = self._parameters
            masses = repartitioned(p.masses_dalton, p.bond_atoms, hydrogen_mass_dalton)
            checked = _check(replace(p, masses_dalton=masses))
            name, is_double = self.instruction_set.encode(), self.precision == "double"
            engine = self._library.prosebench_create(checked.structure(), name, is_double, self.threads)
            if not engine:
                raise MemoryError("no memory for the native kernel")
            self._engines[hydrogen_mass_dalton] = engine
        return self._engines[hydrogen_mass_dalton]

    def __del__(self) -> None:
        while getattr(self, "_engines", None):
            self._library.prosebench_destroy(self._engines.popitem()[1])

    def energy(self, frames_nm: NDArray[np.floating], *, scale: float = 1.0) -> Floats:
        """Energies (n,) of frames (n, atoms, 3) in nm, in kJ/mol times scale; inf where not finite."""
        frames = self._frames(frames_nm)
        energies = np.empty(len(frames))
        self._run_energies(frames, energies, None, scale)
        return energies

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating], *, scale: float = 1.0
    ) -> tuple[Floats, Floats]:
        """Energies (n,), gradients (n, atoms, 3) in kJ/mol and nm, times scale; gradient 0 at energy inf."""
        frames = self._frames(frames_nm)
        energies, gradients = np.empty(len(frames)), np.empty(frames.shape)
        self._run_energies(frames, energies, gradients, scale)
        return energies, gradients

    def _frames(self, frames_nm: NDArray[np.floating]) -> NDArray[Any]:
        kind = np.float32 if np.asarray(frames_nm).dtype == np.float32 else np.float64
        frames = np.ascontiguousarray(frames_nm, dtype=kind)
        if frames.ndim != 3 or frames.shape[1:] != (self.n_atoms, 3):
            raise ValueError(f"frames have shape {frames.shape}, expected (n, {self.n_atoms}, 3)")
        return frames

    def _run_energies(
        self, frames: NDArray[Any], energies: Floats, gradients: Floats | None, scale: float
    ) -> None:
        batch = EnergyBatch(
            n_frames=len(frames),
            frames=frames.ctypes.data,
            frames_are_double=frames.dtype == np.float64,
            scale=scale,
            energy=_pointer(energies, c_double),
            gradient=None if gradients is None else _pointer(gradients, c_double),
        )
        self._library.prosebench_energies(self._engine, batch)

    def langevin(self, state: PhaseState, stretch: Stretch, *, scale: float = 1.0) -> LangevinResult:
        """Run a stretch of Langevin dynamics on every replica; see `Target.langevin`.

        Energies are in kJ/mol times scale. The random numbers depend on (random_key, first_replica + replica,
        first_step + step, component) alone, and the state carries all else: a run may be cut into
        stretches and replicas into groups, bit for bit. The state is rounded to the kernel's precision. Every
        256 steps the centre of each replica is moved to the origin (the energy does not notice); velocities
        are left alone, so all 3 n_atoms degrees of freedom count.
        """
        positions, velocities = self._phase(state.positions_nm), self._phase(state.velocities_nm_ps)
        if positions.shape != velocities.shape:
            raise ValueError(f"positions {positions.shape} and velocities {velocities.shape} differ in shape")
        n_replicas = len(positions)
        keep, settings = stretch.steps_to_keep(), stretch.settings
        kt = kt_kj_mol(1.0) * stretch.temperatures_of(n_replicas)
        n_steps, first_step, first_replica = stretch.n_steps, stretch.first_step, stretch.first_replica
        if not 0 <= first_step < 2**64 - n_steps or not 0 <= first_replica <= 2**32 - n_replicas:
            raise ValueError(f"first_step {first_step} or first_replica {first_replica} is out of range")
        frames = np.empty((len(keep), n_replicas, self.n_atoms, 3), dtype=np.float32)
        energies = np.empty((len(keep), n_replicas))
        failed = np.zeros(n_replicas, dtype=np.uint8)
        batch = LangevinBatch(
            n_replicas=n_replicas,
            n_steps=n_steps,
            time_step_ps=settings.time_step_fs / 1000,
            friction_per_ps=settings.friction_per_ps,
            kt=_pointer(kt, c_double),
            key=stretch.random_key % 2**64,
            first_step=first_step,
            first_replica=first_replica,
            n_keep=len(keep),
            keep_steps=_pointer(keep, c_int64),
            scale=scale,
            positions=_pointer(positions, c_double),
            velocities=_pointer(velocities, c_double),
            kept_frames=_pointer(frames, c_float),
            kept_energies=_pointer(energies, c_double),
            failed=_pointer(failed, c_uint8),
        )
        self._library.prosebench_langevin(self._engine_with(settings.hydrogen_mass_dalton), batch)
        return LangevinResult(PhaseState(positions, velocities), frames, energies, failed.astype(bool))

    def _phase(self, values: NDArray[np.floating]) -> Floats:
        """A copy that the library may write to."""
        copy = np.array(values, dtype=np.float64, order="C")
        if copy.ndim != 3 or copy.shape[1:] != (self.n_atoms, 3):
            raise ValueError(f"state has shape {copy.shape}, expected (replicas, {self.n_atoms}, 3)")
        return copy
