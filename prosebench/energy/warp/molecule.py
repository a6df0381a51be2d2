"""The parameters of a molecule on a device, in the order in which threads read them.

Pairs lie on a ring: row d = 1..n // 2 holds the pairs of atoms i and (i + d) mod n, for even n only those with i < d
in the last row. In one row no two pairs share a first or a second atom, so threads may add to both without a conflict.
"""

from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from prosebench.energy.parameters.terms import EnergyParameters, GBParameters


@wp.struct
class Molecule:
    """Parameters of one molecule: of bonded terms, of pairs (row, first atom), of atoms. Units are those of OpenMM.

    bond: length, constant; angle: angle, constant. Slots: where the force of a term on each of its atoms goes; those of
    atom i are first_slot[i] to first_slot[i + 1].
    """

    n_atoms: int
    n_bonds: int
    n_angles: int
    n_torsions: int
    bond_atoms: wp.array[wp.vec2i]
    bond_slots: wp.array[wp.vec2i]
    bond: wp.array[wp.vec2]
    angle_atoms: wp.array[wp.vec3i]
    angle_slots: wp.array[wp.vec3i]
    angle: wp.array[wp.vec2]
    torsion_atoms: wp.array[wp.vec4i]
    torsion_slots: wp.array[wp.vec4i]
    torsion_order: wp.array[int]
    torsion_cos: wp.array2d[float]
    torsion_sin: wp.array2d[float]
    first_slot: wp.array[int]
    squared_cutoff: float
    reaction_k: float
    reaction_c: float
    solvent_shift: float
    has_solvent: bool
    has_necks: bool
    pair_c12: wp.array[float]
    pair_c6: wp.array[float]
    pair_charge: wp.array[float]
    pair_solvent: wp.array[float]
    is_exception: wp.array[int]
    neck_heights: wp.array[wp.vec2]
    neck_distances: wp.array[wp.vec2]
    neck_reach: wp.array[float]
    radius: wp.array[float]
    offset_radius: wp.array[float]
    scaled_radius: wp.array[float]
    self_screening: wp.array[float]
    bend: wp.array[wp.vec3]
    self_coefficient: wp.array[float]
    surface_coefficient: wp.array[float]


@wp.func
def partner(n_atoms: int, i: int, row: int) -> int:
    """The second atom of the pair of atom i in a row of the ring."""
    j = i + row
    if j >= n_atoms:
        j -= n_atoms
    return j


@wp.func
def has_pair(n_atoms: int, i: int, row: int) -> bool:
    """Whether there is an atom i, and whether it is the first of a pair in this row."""
    return i < n_atoms and (2 * row < n_atoms or i < row)


def ring(n_atoms: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The place, among the pairs i < j (i slowest), of the pair at (row, first atom) of the ring, and whether
    it is reversed; both flat."""
    first = np.arange(n_atoms)[None, :]
    second = (first + np.arange(1, n_atoms // 2 + 1)[:, None]) % max(1, n_atoms)
    low, high = np.minimum(first, second), np.maximum(first, second)
    return (low * (2 * n_atoms - low - 1) // 2 + high - low - 1).ravel(), (first > second).ravel()


def make_molecule(p: EnergyParameters, device: str) -> tuple[Molecule, int]:
    """The parameters on a device, and how many slots the forces of bonded terms need."""

    def put(values: NDArray[Any], kind: Any) -> Any:
        numpy_kind = np.int32 if np.issubdtype(values.dtype, np.integer) else np.float32
        return wp.array(np.ascontiguousarray(values, dtype=numpy_kind), dtype=kind, device=device)

    m = Molecule()
    m.n_atoms = p.n_atoms
    n_slots = _put_bonded(m, p, put)
    _put_pairs(m, p, put)
    m.has_solvent, m.has_necks = p.gb is not None, p.gb is not None and p.gb.neck is not None
    if p.gb is not None:
        _put_solvent(m, p.gb, put)
    return m, n_slots


def _put_bonded(m: Molecule, p: EnergyParameters, put: Any) -> int:
    atoms = [p.bond_atoms, p.angle_atoms, p.torsion_atoms]
    flat = np.concatenate([table.ravel() for table in atoms])
    slots = np.empty(len(flat), dtype=np.int32)
    slots[np.argsort(flat, kind="stable")] = np.arange(len(flat))
    parts = np.split(slots, np.cumsum([table.size for table in atoms])[:-1])
    m.n_bonds, m.n_angles, m.n_torsions = (len(table) for table in atoms)
    m.bond_atoms, m.bond_slots = put(atoms[0], wp.vec2i), put(parts[0].reshape(-1, 2), wp.vec2i)
    m.angle_atoms, m.angle_slots = put(atoms[1], wp.vec3i), put(parts[1].reshape(-1, 3), wp.vec3i)
    m.torsion_atoms, m.torsion_slots = put(atoms[2], wp.vec4i), put(parts[2].reshape(-1, 4), wp.vec4i)
    m.bond = put(np.stack([p.bond_length_nm, p.bond_constant], axis=1), wp.vec2)
    m.angle = put(np.stack([p.angle_radians, p.angle_constant], axis=1), wp.vec2)
    used = (p.torsion_cos != 0) | (p.torsion_sin != 0)
    m.torsion_order = put((used * np.arange(used.shape[1])).max(axis=1, initial=0), int)
    m.torsion_cos, m.torsion_sin = put(p.torsion_cos, float), put(p.torsion_sin, float)
    m.first_slot = put(np.searchsorted(np.sort(flat), np.arange(p.n_atoms + 1)), int)
    return len(flat)


def _put_pairs(m: Molecule, p: EnergyParameters, put: Any) -> None:
    order, _ = ring(p.n_atoms)
    for name in ("pair_c12", "pair_c6", "pair_charge"):
        setattr(m, name, put(getattr(p, name)[order], float))
    m.is_exception = put(p.pair_is_exception[order].astype(np.int32), int)
    m.squared_cutoff = min(p.cutoff_nm**2, float(np.finfo(np.float32).max))
    m.reaction_k, m.reaction_c = p.reaction_field_k, p.reaction_field_c


def _put_solvent(m: Molecule, gb: GBParameters, put: Any) -> None:
    order, reversed_there = ring(len(gb.radius))
    m.solvent_shift = gb.pair_shift
    m.pair_solvent = put(gb.pair_coefficient[order], float)
    for name in ("radius", "offset_radius", "scaled_radius", "self_coefficient", "surface_coefficient"):
        setattr(m, name, put(getattr(gb, name), float))
    m.self_screening = put(1 / gb.offset_radius - 1 / gb.radius, float)
    m.bend = put(np.stack([gb.alpha, gb.beta, gb.gamma], axis=1), wp.vec3)
    if gb.neck is None:
        return
    for name, values in (("neck_heights", gb.neck.height), ("neck_distances", gb.neck.distance)):
        on_ring = values[order]
        setattr(m, name, put(np.where(reversed_there[:, None], on_ring[:, ::-1], on_ring), wp.vec2))
    m.neck_reach = put(gb.neck.reach[order], float)
