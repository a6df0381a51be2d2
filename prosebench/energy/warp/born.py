"""Born radii: the descreening integral of every pair, the radius of every atom, and the way back to the gradient.

Hawkins, Cramer and Truhlar, J. Phys. Chem. 1996, 100, 19824; Onufriev, Bashford and Case, Proteins 2004, 55, 383; neck:
Mongan et al., JCTC 2007, 3, 156. Formulas and series are the native kernel's, derived in energy/native/born.h.
"""

import warp as wp

from prosebench.energy.warp.arithmetic import exp2, inverse, inverse_root
from prosebench.energy.warp.molecule import Molecule, has_pair, partner
from prosebench.energy.warp.replica import Replica, add, barrier, vector

TWICE_LOG2_E = wp.constant(2.88539008177792681)


@wp.func
def atanh_series(w: float) -> float:
    """sum_k w^k / ((2k+1)(2k+3)) for 0 <= w <= 0.4; atanh(u) = u q (1 - 2 w p) with w = u^2, q = 1/(1 - w)."""
    p = 0.017431508 + w * (0.0032340612 + w * 0.019575582)
    return 0.3333333 + w * (0.066672042 + w * (0.028418209 + w * p))


@wp.func
def descreen_apart(inverse_squared: float, s: float) -> wp.vec2:
    """Spheres apart, r > o + s: integral, and fall = -(dI/dr)/r."""
    ratio = s * inverse_squared
    w = s * ratio
    p = atanh_series(w)
    q = inverse(1.0 - w)
    c = ratio * w * q
    return wp.vec2(c * p, c * inverse_squared * (p + q))


@wp.func
def descreen_cut(r: float, inverse_r: float, o: float, s: float) -> wp.vec2:
    """Spheres that cut each other: differences from delta = r + s - o, which does not cancel."""
    delta = r + (s - o)
    upper = r + s
    total = upper + o
    inverse_o = inverse(o)
    both = inverse(upper * total)
    inverse_upper = both * total
    gap = delta * inverse_o * inverse_upper
    z = delta * (both * upper)
    w = z * z
    q = 0.25 * inverse_o * (total * total) * inverse_upper
    half_log = z * q * (2.0 * w * atanh_series(w) - 1.0) * inverse_r
    squares = -0.25 * gap * (inverse_upper + inverse_o)
    ratio = s * inverse_r
    integral = (r - s * ratio) * squares + (half_log + gap)
    slope = ratio * ratio * squares + squares - half_log * inverse_r
    return wp.vec2(0.5 * integral, -0.5 * slope * inverse_r)


@wp.func
def descreen_inside(r: float, inverse_r: float, s: float) -> wp.vec2:
    """Atom inside the sphere of the other, r < s - o."""
    inverse_s = inverse(s)
    t = r * inverse_s
    w = t * t
    p = atanh_series(w)
    q = inverse(1.0 - w)
    slope = q * inverse_s * inverse_s * (t * (2.0 * t * q + (q - p)) + 1.0)
    return wp.vec2(q * inverse_s * (w * p + t), -(slope * inverse_r))


@wp.func
def descreen(r: float, inverse_r: float, o: float, s: float) -> wp.vec2:
    """What a sphere of scaled radius s at distance r adds to the integral of an atom of offset radius o; its fall."""
    if r < o - s:
        return wp.vec2(0.0, 0.0)
    if r < s - o:
        return descreen_inside(r, inverse_r, s)
    if o + s < r:
        return descreen_apart(inverse_r * inverse_r, s)
    return descreen_cut(r, inverse_r, o, s)


@wp.func
def neck(r: float, inverse_r: float, height: float, distance: float) -> wp.vec2:
    """height / (1 + 100 x^2 + 3e5 x^6) with x = r - distance in nm, and its fall."""
    x = r - distance
    x_2 = x * x
    x_4 = x_2 * x_2
    shape = inverse(1.0 + x_2 * (100.0 + 3.0e5 * x_4))
    value = height * shape
    return wp.vec2(value, value * shape * x * (200.0 + 18.0e5 * x_4) * inverse_r)


@wp.func
def descreen_both(m: Molecule, pair: int, i: int, j: int, squared: float) -> wp.vec4:
    """Integral and fall on atom i of a pair, then on atom j."""
    inverse_r = inverse_root(squared)
    r = squared * inverse_r
    on_i = descreen(r, inverse_r, m.offset_radius[i], m.scaled_radius[j])
    on_j = descreen(r, inverse_r, m.offset_radius[j], m.scaled_radius[i])
    if m.has_necks:
        if r < m.neck_reach[pair]:
            heights = m.neck_heights[pair]
            distances = m.neck_distances[pair]
            on_i += neck(r, inverse_r, heights[0], distances[0])
            on_j += neck(r, inverse_r, heights[1], distances[1])
    return wp.vec4(on_i[0], on_i[1], on_j[0], on_j[1])


@wp.func
def born_integrals(m: Molecule, replica: Replica, lane: int) -> None:
    """The Born integral of every atom."""
    for first in range(0, m.n_atoms, wp.block_dim()):
        i = wp.min(first + lane, m.n_atoms - 1)
        x = vector(replica.position, i)
        integral = float(0.0)
        for row in range(1, m.n_atoms // 2 + 1):
            if has_pair(m.n_atoms, first + lane, row):
                j = partner(m.n_atoms, i, row)
                d = x - vector(replica.position, j)
                squared = wp.dot(d, d)
                if squared < m.squared_cutoff:
                    both = descreen_both(m, (row - 1) * m.n_atoms + i, i, j, squared)
                    integral += both[0]
                    replica.integral[j] = replica.integral[j] + both[2]
            barrier()
        if first + lane < m.n_atoms:
            replica.integral[i] = replica.integral[i] + integral
        barrier()


@wp.func
def born_radii(m: Molecule, replica: Replica, lane: int) -> wp.float64:
    """The radius of every atom out of its integral; the energy of the terms of this lane's atoms.

    1/B = 1/o - tanh(a)/radius, a = alpha psi - beta psi^2 + gamma psi^3, psi = I o; with c = 1 - tanh(a) the difference
    becomes (1/o - 1/radius) + c/radius, which does not cancel.
    """
    energy = wp.float64(0.0)
    for i in range(lane, m.n_atoms, wp.block_dim()):
        o = m.offset_radius[i]
        inverse_radius = inverse(m.radius[i])
        bend = m.bend[i]
        psi = replica.integral[i] * o
        a = psi * (bend[0] + psi * (bend[2] * psi - bend[1]))
        c = 2.0 * inverse(exp2(wp.min(a * TWICE_LOG2_E, 60.0)) + 1.0)
        inverse_born = c * inverse_radius + m.self_screening[i]
        born = inverse(inverse_born)
        slope = bend[0] + psi * (3.0 * psi * bend[2] - 2.0 * bend[1])
        ratio = m.radius[i] * inverse_born
        ratio_3 = ratio * ratio * ratio
        self_energy = m.self_coefficient[i] * inverse_born
        surface = m.surface_coefficient[i] * (ratio_3 * ratio_3)
        energy += wp.float64(self_energy + surface)
        replica.born[i] = born
        replica.inverse_born[i] = inverse_born
        replica.born_slope[i] = -0.5 * born * born * inverse_radius * (c * (2.0 - c)) * slope * o
        replica.born_gradient[i] = 2.0 * (6.0 * surface + self_energy) * inverse_born
    barrier()
    return energy


@wp.func
def born_chain_rule(m: Molecule, replica: Replica, lane: int) -> None:
    """The part of the gradient that comes through the Born radii: dE/dB dB/dI dI/dr."""
    for i in range(lane, m.n_atoms, wp.block_dim()):
        replica.integral[i] = replica.born_gradient[i] * replica.born_slope[i]
    barrier()
    for first in range(0, m.n_atoms, wp.block_dim()):
        i = wp.min(first + lane, m.n_atoms - 1)
        x = vector(replica.position, i)
        weight = replica.integral[i]
        gradient = wp.vec3(0.0, 0.0, 0.0)
        for row in range(1, m.n_atoms // 2 + 1):
            if has_pair(m.n_atoms, first + lane, row):
                j = partner(m.n_atoms, i, row)
                d = x - vector(replica.position, j)
                squared = wp.dot(d, d)
                if squared < m.squared_cutoff:
                    both = descreen_both(m, (row - 1) * m.n_atoms + i, i, j, squared)
                    push = d * (weight * both[1] + replica.integral[j] * both[3])
                    gradient -= push
                    add(replica.gradient, j, push)
            barrier()
        if first + lane < m.n_atoms:
            add(replica.gradient, i, gradient)
        barrier()
