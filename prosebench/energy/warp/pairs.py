"""Lennard-Jones, Coulomb and generalised Born energies of all pairs.

    c12/r^12 - c6/r^6 + q (1/r + k_rf r^2 - c_rf)     r < cutoff; exceptions: no cutoff, k_rf, c_rf
    g (1/f - shift),  f^2 = r^2 + B_i B_j exp(-r^2 / (4 B_i B_j))                              r < cutoff

Cutoff and reaction field: OpenMM User Guide, "NonbondedForce" (Tironi et al., JCP 1995, 102, 5451). Solvent: Still et
al., JACS 1990, 112, 6127.
"""

import warp as wp

from prosebench.energy.warp.arithmetic import exp2, inverse_root
from prosebench.energy.warp.molecule import Molecule, has_pair, partner
from prosebench.energy.warp.replica import Replica, add, barrier, vector

LOG_2 = wp.constant(0.693147180559945309417)
QUARTER_LOG2_E = wp.constant(0.360673760222240852)
PARTIAL_SUM = wp.constant(8)
"""At most this many pair energies are summed in single precision before they go into the sum in double: long
sums in single precision lose digits."""


@wp.func
def direct(m: Molecule, pair: int, squared: float, inverse_r: float) -> wp.vec2:
    """Lennard-Jones and Coulomb energy of a pair, and its push -(dE/dr)/r."""
    charge = m.pair_charge[pair]
    inverse_2 = inverse_r * inverse_r
    inverse_6 = inverse_2 * inverse_2 * inverse_2
    repulsion = m.pair_c12[pair] * inverse_6
    excess = repulsion - m.pair_c6[pair]
    coulomb = charge * inverse_r
    energy = inverse_6 * excess + coulomb
    push = inverse_2 * (6.0 * inverse_6 * (repulsion + excess) + coulomb)
    if m.is_exception[pair] == 0:
        if squared < m.squared_cutoff:
            energy += charge * (m.reaction_k * squared - m.reaction_c)
            push -= 2.0 * m.reaction_k * charge
        else:
            energy = 0.0
            push = 0.0
    return wp.vec2(energy, push)


@wp.func
def solvent(m: Molecule, replica: Replica, pair: int, i: int, j: int, squared: float) -> wp.vec3:
    """Solvent energy of a pair within the cutoff, its push at fixed radii, and -2 dE/d(B_i B_j)."""
    coefficient = m.pair_solvent[pair]
    product = replica.born[i] * replica.born[j]
    y = -QUARTER_LOG2_E * squared * (replica.inverse_born[i] * replica.inverse_born[j])
    decay = exp2(y)
    inverse_f = inverse_root(product * decay + squared)
    field = coefficient * inverse_f
    h = field * (inverse_f * inverse_f)
    return wp.vec3(
        field - coefficient * m.solvent_shift, h * (1.0 - 0.25 * decay), h * decay * (1.0 - LOG_2 * y)
    )


@wp.func
def pair_energies(m: Molecule, replica: Replica, lane: int) -> wp.float64:
    """The energies of this lane's pairs; adds to the gradient and to born_gradient."""
    energy = wp.float64(0.0)
    partial = float(0.0)
    for first in range(0, m.n_atoms, wp.block_dim()):
        i = wp.min(first + lane, m.n_atoms - 1)
        x = vector(replica.position, i)
        gradient = wp.vec3(0.0, 0.0, 0.0)
        born_gradient = float(0.0)
        for row in range(1, m.n_atoms // 2 + 1):
            if has_pair(m.n_atoms, first + lane, row):
                j = partner(m.n_atoms, i, row)
                pair = (row - 1) * m.n_atoms + i
                d = x - vector(replica.position, j)
                squared = wp.dot(d, d)
                without = direct(m, pair, squared, inverse_root(squared))
                energy_of_pair = without[0]
                push = without[1]
                if m.has_solvent and squared < m.squared_cutoff:
                    with_solvent = solvent(m, replica, pair, i, j, squared)
                    energy_of_pair += with_solvent[
                        0
                    ]  # first, for the solvent undoes most of Coulomb's energy
                    push += with_solvent[1]
                    born_gradient += with_solvent[2] * replica.born[j]
                    replica.born_gradient[j] = replica.born_gradient[j] + with_solvent[2] * replica.born[i]
                partial += energy_of_pair
                gradient -= d * push
                add(replica.gradient, j, d * push)
            if row % PARTIAL_SUM == 0:
                energy += wp.float64(partial)
                partial = 0.0
            barrier()
        if first + lane < m.n_atoms:
            add(replica.gradient, i, gradient)
            replica.born_gradient[i] = replica.born_gradient[i] + born_gradient
        barrier()
    return energy + wp.float64(partial)
