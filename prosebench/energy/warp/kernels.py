"""The two kernels: energies with gradients of frames, and stretches of Langevin dynamics of replicas.

A block of threads works on one replica after the other; see replica.py for where its state lies.
"""

from functools import cache
from typing import Any

import warp as wp

from prosebench.energy.warp.bonded import angles, bonds, gather, torsions
from prosebench.energy.warp.born import born_chain_rule, born_integrals, born_radii
from prosebench.energy.warp.molecule import Molecule
from prosebench.energy.warp.noise import normals
from prosebench.energy.warp.pairs import pair_energies
from prosebench.energy.warp.replica import FLOATS_AN_ATOM, Replica, barrier, shared_floats

CENTRING_INTERVAL = wp.constant(wp.uint64(256))
"""The number of steps of the whole run after which a molecule is moved back to the origin, again and again,
as in the native kernel."""

ATOMS_A_SIZE = 32
"""Kernels are compiled for molecules of up to 32, 64, 96 ... atoms: the size of shared memory is fixed when
the source is compiled."""


@wp.struct
class Bath:
    """What every step of Langevin dynamics needs; see `langevin`. key: low and high word of the random key."""

    time_step: float
    decay: float
    key: wp.vec2ui
    first_replica: wp.uint32
    noise: wp.array[float]
    inverse_mass: wp.array[float]
    inverse_sqrt_mass: wp.array[float]


@wp.func
def evaluate(
    m: Molecule,
    replica: Replica,
    rest: wp.array[float],
    slots: wp.array[wp.vec3],
    lane: int,
    gradient: bool,
) -> wp.float64:
    """Energy in kJ/mol of this lane's terms; the gradient of the whole replica, without `gradient` a part of it.

    rest (3 atoms) is what rounding took from the positions, or empty.
    """
    for k in range(lane, 3 * m.n_atoms, wp.block_dim()):
        replica.gradient[k] = 0.0
    for i in range(lane, m.n_atoms, wp.block_dim()):
        replica.integral[i] = 0.0
        replica.born_gradient[i] = 0.0
    energy = bonds(m, replica, rest, slots, lane)
    energy += angles(m, replica, rest, slots, lane)
    energy += torsions(m, replica, slots, lane)
    barrier()
    if m.has_solvent:
        born_integrals(m, replica, lane)
        energy += born_radii(m, replica, lane)
    energy += pair_energies(m, replica, lane)
    if gradient:
        if m.has_solvent:
            born_chain_rule(m, replica, lane)
        gather(m, replica, slots, lane)
    return energy


@wp.func
def centre(replica: Replica, n_atoms: int, lane: int) -> None:
    """Move the mean of the positions to the origin."""
    for axis in range(lane, 3, wp.block_dim()):
        total = float(0.0)
        for i in range(n_atoms):
            total += replica.position[3 * i + axis]
        mean = total / float(n_atoms)
        for i in range(n_atoms):
            replica.position[3 * i + axis] = replica.position[3 * i + axis] - mean


@wp.func
def step(
    m: Molecule, replica: Replica, bath: Bath, noise: float, number: int, step_number: wp.uint64, lane: int
) -> None:
    """One step of the "middle" scheme with the forces at the present positions; number is the number of the
    replica."""
    half_step = 0.5 * bath.time_step
    for block in range(lane, (3 * m.n_atoms + 3) // 4, wp.block_dim()):
        xi = normals(block, bath.first_replica + wp.uint32(number), step_number, bath.key)
        for k in range(4):
            c = 4 * block + k
            if c < 3 * m.n_atoms:
                atom = c // 3
                velocity = (
                    replica.velocity[c] - bath.time_step * bath.inverse_mass[atom] * replica.gradient[c]
                )
                halfway = replica.position[c] + half_step * velocity
                velocity = bath.decay * velocity + noise * bath.inverse_sqrt_mass[atom] * xi[k]
                replica.velocity[c] = velocity
                replica.position[c] = halfway + half_step * velocity
    barrier()
    if (step_number + wp.uint64(1)) % CENTRING_INTERVAL == wp.uint64(0):
        centre(replica, m.n_atoms, lane)
        barrier()


@cache
def make_kernels(max_atoms: int) -> tuple[Any, Any]:
    """The kernels `energies` and `langevin` for molecules of up to max_atoms atoms."""
    address = shared_floats(FLOATS_AN_ATOM * max_atoms)

    @wp.func
    def place(n_atoms: int, outside: wp.uint64) -> Replica:
        """A replica's arrays, one behind the other."""
        replica = Replica()
        replica.position = wp.array(ptr=address(0, outside), shape=(3 * n_atoms,), dtype=float)
        replica.velocity = wp.array(ptr=address(3 * n_atoms, outside), shape=(3 * n_atoms,), dtype=float)
        replica.gradient = wp.array(ptr=address(6 * n_atoms, outside), shape=(3 * n_atoms,), dtype=float)
        replica.integral = wp.array(ptr=address(9 * n_atoms, outside), shape=(n_atoms,), dtype=float)
        replica.born = wp.array(ptr=address(10 * n_atoms, outside), shape=(n_atoms,), dtype=float)
        replica.inverse_born = wp.array(ptr=address(11 * n_atoms, outside), shape=(n_atoms,), dtype=float)
        replica.born_slope = wp.array(ptr=address(12 * n_atoms, outside), shape=(n_atoms,), dtype=float)
        replica.born_gradient = wp.array(ptr=address(13 * n_atoms, outside), shape=(n_atoms,), dtype=float)
        return replica

    @wp.kernel(enable_backward=False, grid_stride=False, module="unique")
    def energies(
        m: Molecule,
        frames: wp.array2d[float],
        remainders: wp.array2d[float],
        with_gradient: bool,
        n_blocks: int,
        room: wp.array[float],
        slots: wp.array2d[wp.vec3],
        lane_energies: wp.array2d[wp.float64],
        gradients: wp.array2d[float],
    ) -> None:
        """Energies of frames (n, 3 atoms), which rounding took remainders from, by lane (n, lanes); gradients."""
        block, lane = wp.tid()
        outside = wp.uint64(room.ptr) + wp.uint64(4 * FLOATS_AN_ATOM * m.n_atoms) * wp.uint64(block)
        replica = place(m.n_atoms, outside)
        for number in range(block, frames.shape[0], n_blocks):
            for k in range(lane, 3 * m.n_atoms, wp.block_dim()):
                replica.position[k] = frames[number, k]
            barrier()
            lane_energies[number, lane] = evaluate(
                m, replica, remainders[number], slots[block], lane, with_gradient
            )
            if with_gradient:
                for k in range(lane, 3 * m.n_atoms, wp.block_dim()):
                    gradients[number, k] = replica.gradient[k]
            barrier()

    @wp.kernel(enable_backward=False, grid_stride=False, module="unique")
    def langevin(
        m: Molecule,
        bath: Bath,
        first_step: wp.uint64,
        n_steps: int,
        n_blocks: int,
        room: wp.array[float],
        slots: wp.array2d[wp.vec3],
        positions: wp.array2d[float],
        velocities: wp.array2d[float],
    ) -> None:
        """Move replicas (n, 3 atoms) by n_steps, in place."""
        block, lane = wp.tid()
        outside = wp.uint64(room.ptr) + wp.uint64(4 * FLOATS_AN_ATOM * m.n_atoms) * wp.uint64(block)
        replica = place(m.n_atoms, outside)
        nothing = wp.array(ptr=outside, shape=(0,), dtype=float)
        for number in range(block, positions.shape[0], n_blocks):
            for k in range(lane, 3 * m.n_atoms, wp.block_dim()):
                replica.position[k] = positions[number, k]
                replica.velocity[k] = velocities[number, k]
            barrier()
            for local in range(n_steps):
                evaluate(m, replica, nothing, slots[block], lane, True)
                step(m, replica, bath, bath.noise[number], number, first_step + wp.uint64(local), lane)
            for k in range(lane, 3 * m.n_atoms, wp.block_dim()):
                positions[number, k] = replica.position[k]
                velocities[number, k] = replica.velocity[k]
            barrier()

    return energies, langevin
