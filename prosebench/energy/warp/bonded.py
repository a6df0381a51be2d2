"""Bonds, angles and torsions: every term leaves its forces in slots of its own, and every atom gathers its slots.

So no two threads add to one number, and sums have one order. Formulas are the native kernel's (energy/native/bonded.h).
"""

import warp as wp

from prosebench.energy.warp.arithmetic import inverse, inverse_root
from prosebench.energy.warp.molecule import Molecule
from prosebench.energy.warp.replica import Replica, add, barrier, exact_way, vector

SMALLEST_CROSS = wp.constant(1.0e-12)
"""A lower limit in nm^4 of the squared cross product of the two arms of an angle (as in OpenMM). It keeps the
inverse finite at a straight angle, where there is no direction to push in."""


@wp.func
def bonds(
    m: Molecule, replica: Replica, rest: wp.array[float], slots: wp.array[wp.vec3], lane: int
) -> wp.float64:
    """k/2 (r - r0)^2 of this lane's bonds."""
    energy = wp.float64(0.0)
    for k in range(lane, m.n_bonds, wp.block_dim()):
        at = m.bond_atoms[k]
        put = m.bond_slots[k]
        d = exact_way(replica, rest, at[0], at[1])
        squared = wp.dot(d, d)
        inverse_r = inverse_root(squared)
        stretch = squared * inverse_r - m.bond[k][0]
        pull = m.bond[k][1] * stretch
        energy += wp.float64(0.5 * pull * stretch)
        push = d * (pull * inverse_r)
        slots[put[0]] = push
        slots[put[1]] = -push
    return energy


@wp.func
def angles(
    m: Molecule, replica: Replica, rest: wp.array[float], slots: wp.array[wp.vec3], lane: int
) -> wp.float64:
    """k/2 (theta - theta0)^2 of this lane's angles; theta = atan2(|p|, v.w) with p = v x w."""
    energy = wp.float64(0.0)
    for k in range(lane, m.n_angles, wp.block_dim()):
        at = m.angle_atoms[k]
        put = m.angle_slots[k]
        v = exact_way(replica, rest, at[0], at[1])
        w = exact_way(replica, rest, at[2], at[1])
        p = wp.cross(v, w)
        length_squared = wp.dot(p, p)
        inverse_length = inverse_root(wp.max(length_squared, SMALLEST_CROSS))
        overlap = wp.dot(v, w)
        bend = wp.atan2(length_squared * inverse_length, overlap) - m.angle[k][0]
        torque = m.angle[k][1] * bend
        energy += wp.float64(0.5 * torque * bend)
        torque *= inverse_length
        on_first = (v * (overlap * inverse(wp.dot(v, v))) - w) * torque
        on_last = (w * (overlap * inverse(wp.dot(w, w))) - v) * torque
        slots[put[0]] = on_first
        slots[put[1]] = -(on_first + on_last)
        slots[put[2]] = on_last
    return energy


@wp.func
def fourier(m: Molecule, k: int, cosine: float, sine: float) -> wp.vec2:
    """sum_m a_m cos(m phi) + b_m sin(m phi) of torsion k and its slope, by the addition theorem."""
    energy = float(m.torsion_cos[k, 0])
    slope = float(0.0)
    cos_m = float(cosine)
    sin_m = float(sine)
    for order in range(1, m.torsion_order[k] + 1):
        a = m.torsion_cos[k, order]
        b = m.torsion_sin[k, order]
        energy += a * cos_m + b * sin_m
        slope += float(order) * (b * cos_m - a * sin_m)
        following = cos_m * cosine - sin_m * sine
        sin_m = sin_m * cosine + cos_m * sine
        cos_m = following
    return wp.vec2(energy, slope)


@wp.func
def torsions(m: Molecule, replica: Replica, slots: wp.array[wp.vec3], lane: int) -> wp.float64:
    """Fourier series of this lane's torsions. Gradient: Blondel and Karplus, J. Comput. Chem. 1996, 17, 1132."""
    energy = wp.float64(0.0)
    for k in range(lane, m.n_torsions, wp.block_dim()):
        at = m.torsion_atoms[k]
        put = m.torsion_slots[k]
        x_1 = vector(replica.position, at[1])
        x_2 = vector(replica.position, at[2])
        b_1 = x_1 - vector(replica.position, at[0])
        b_2 = x_2 - x_1
        b_3 = vector(replica.position, at[3]) - x_2
        before = wp.cross(b_1, b_2)
        after = wp.cross(b_2, b_3)
        inverse_before = inverse_root(wp.dot(before, before))
        inverse_after = inverse_root(wp.dot(after, after))
        axis_squared = wp.dot(b_2, b_2)
        inverse_axis = inverse_root(axis_squared)
        axis = axis_squared * inverse_axis
        cosine = wp.dot(before, after) * (inverse_before * inverse_after)
        sine = axis * wp.dot(b_1, after) * (inverse_before * inverse_after)
        series = fourier(m, k, cosine, sine)
        energy += wp.float64(series[0])
        torque = series[1] * axis
        on_0 = before * (-(torque * inverse_before * inverse_before))
        on_3 = after * (torque * inverse_after * inverse_after)
        along_1 = wp.dot(b_1, b_2) * (inverse_axis * inverse_axis)
        along_3 = wp.dot(b_3, b_2) * (inverse_axis * inverse_axis)
        lever = on_0 * along_1 - on_3 * along_3
        slots[put[0]] = on_0
        slots[put[1]] = -(on_0 + lever)
        slots[put[2]] = lever - on_3
        slots[put[3]] = on_3
    return energy


@wp.func
def gather(m: Molecule, replica: Replica, slots: wp.array[wp.vec3], lane: int) -> None:
    """Add the slots of every atom to its gradient."""
    for i in range(lane, m.n_atoms, wp.block_dim()):
        total = wp.vec3(0.0, 0.0, 0.0)
        for slot in range(m.first_slot[i], m.first_slot[i + 1]):
            total += slots[slot]
        add(replica.gradient, i, total)
    barrier()
