// Energy and gradient of one molecule in implicit solvent, one frame per vector lane.
//
//   E = sum_bonds    k/2 (r - r0)^2
//     + sum_angles   k/2 (theta - theta0)^2
//     + sum_torsions sum_m  a_m cos(m phi) + b_m sin(m phi)
//     + sum_pairs    c12/r^12 - c6/r^6 + q (1/r + k_rf r^2 - c_rf)     r < cutoff; exceptions: no cutoff, k_rf, c_rf
//     + sum_pairs    g (1/f - 1/cutoff),  f^2 = r^2 + B_i B_j exp(-r^2 / (4 B_i B_j))                     r < cutoff
//     + sum_atoms    s_i / B_i + a_i (radius_i / B_i)^6
//
// Force field: Amber ff14SB (Maier et al., JCTC 2015, 11, 3696). Cutoff and reaction field: OpenMM User Guide,
// "NonbondedForce" (Tironi et al., JCP 1995, 102, 5451). Solvent: generalised Born (Still et al., JACS 1990, 112,
// 6127) with the radii of Onufriev, Bashford and Case (Proteins 2004, 55, 383), which rest on the descreening
// integral of Hawkins, Cramer and Truhlar (J. Phys. Chem. 1996, 100, 19824) and, in GBn and GBn2, on the neck of Mongan
// et al. (JCTC 2007, 3, 156); surface term after Schaefer, Bartels and Karplus (JMB 1998, 284, 835).

#pragma once

#include "bonded.h"
#include "born.h"

namespace {

// So many pair energies at most are summed before they go to the sum in double: long sums of floats lose digits.
constexpr int kPartialSum = 8;

// `push` is -(dE/dr)/r, the length of the force over that of d = x_i - x_j.
template <class Real, bool kGradient, bool kCutoff>
void pair_energies(const Molecule<Real>& molecule, Block<Real>& block) {
    using V = Vec<Real>;
    constexpr double kLog2 = 0.693147180559945309417;
    const int n = molecule.n_atoms;
    const V shift = molecule.solvent_shift;
    const bool reaction_field = molecule.reaction_k != 0;
    const Pair<Real>* pair = molecule.pairs;
    const V* store = block.pairs;
    for (int i = 0; i < n; i++) {
        const Vec3<Real> x = load(block.position, i);
        const V born_i = block.born[i], exponent_i = V(-0.25 / kLog2) * block.inverse_born[i];
        V energy = 0.0, born_gradient = block.born_gradient[i];
        Vec3<Real> gradient = load(block.gradient, i);
        for (int j = i + 1; j < n; j++, pair++, store += 3) {
            const Vec3<Real> d = x - load(block.position, j);
            const V squared = dot(d, d), inverse = store[0], inverse_2 = inverse * inverse;
            // Lennard-Jones and Coulomb
            const V inverse_6 = inverse_2 * inverse_2 * inverse_2;
            const V repulsion = V(pair->c12) * inverse_6, excess = repulsion - V(pair->c6);
            const V coulomb = V(pair->charge) * inverse;
            V direct = fma(inverse_6, excess, coulomb - V(pair->reaction_c));
            V push = inverse_2 * fma(V(6.0) * inverse_6, repulsion + excess, coulomb);
            if (reaction_field) {
                direct = fma(V(pair->reaction_k), squared, direct);
                push = fnma(V(2.0) * V(pair->reaction_k), V(1.0), push);
            }
            // generalised Born: y = log2 of exp(-r^2 / (4 B_i B_j))
            const V born_j = block.born[j], product = born_i * born_j;
            const V y = squared * (exponent_i * block.inverse_born[j]), decay = exp2(y);
            const V inverse_f = rsqrt(fma(product, decay, squared));
            V field = V(pair->solvent) * inverse_f, solvent = fnma(V(pair->solvent), shift, field);
            const Mask<Real> within = squared < V(molecule.squared_cutoff);
            if (kCutoff) {
                if (!pair->is_exception) {
                    direct = select(within, direct, V(0.0));
                    push = select(within, push, V(0.0));
                }
                solvent = select(within, solvent, V(0.0));
                field = select(within, field, V(0.0));
            }
            energy += direct + solvent;
            if ((j & (kPartialSum - 1)) == 0) {
                block.energy.add(energy);
                energy = 0.0;
            }
            if (kGradient) {
                const V h = field * (inverse_f * inverse_f);  // -2 dE/d(f^2)
                push = fma(h, fnma(V(0.25), decay, V(1.0)), push);
                const V on_product = h * decay * fnma(V(kLog2), y, V(1.0));  // -2 dE/d(B_i B_j)
                born_gradient = fma(on_product, born_j, born_gradient);
                block.born_gradient[j] = fma(on_product, born_i, block.born_gradient[j]);
                add(block.gradient, j, push, d);
                gradient = {fnma(push, d.x, gradient.x), fnma(push, d.y, gradient.y), fnma(push, d.z, gradient.z)};
            }
        }
        block.energy.add(energy);
        if (kGradient) {
            block.born_gradient[i] = born_gradient;
            block.gradient[3 * i] = gradient.x;
            block.gradient[3 * i + 1] = gradient.y;
            block.gradient[3 * i + 2] = gradient.z;
        }
    }
}

// In vacuum the solvent coefficients of the pairs are 0, and any finite radius will do.
template <class Real>
void no_solvent(const Molecule<Real>& molecule, Block<Real>& block) {
    Vec<Real>* store = block.pairs;
    for (int i = 0; i < molecule.n_atoms; i++) {
        block.born[i] = block.inverse_born[i] = Vec<Real>(1.0);
        block.born_gradient[i] = Vec<Real>(0.0);
        const Vec3<Real> x = load(block.position, i);
        for (int j = i + 1; j < molecule.n_atoms; j++, store += 3) {
            const Vec3<Real> d = x - load(block.position, j);
            store[0] = rsqrt(dot(d, d));
        }
    }
}

template <class Real, bool kGradient, bool kCutoff>
void non_bonded(const Molecule<Real>& molecule, Block<Real>& block) {
    if (molecule.has_solvent) {
        if (molecule.necks)
            born_integrals<Real, kGradient, kCutoff, true>(molecule, block);
        else
            born_integrals<Real, kGradient, kCutoff, false>(molecule, block);
        born_radii(molecule, block);
    } else {
        no_solvent(molecule, block);
    }
    pair_energies<Real, kGradient, kCutoff>(molecule, block);
    if (kGradient && molecule.has_solvent) born_chain_rule(molecule, block);
}

// 0 in lanes where all components are finite, not-a-number elsewhere.
template <class Real>
Vec<Real> zero_if_finite(const Vec<Real>* array, int n_components) {
    Vec<Real> probe = 0.0;
    for (int k = 0; k < n_components; k++) probe = fma(array[k], Vec<Real>(0.0), probe);
    return probe;
}

// Can any pair of any lane be beyond the cutoff?
template <class Real>
bool cutoff_matters(const Molecule<Real>& molecule, const Block<Real>& block) {
    using V = Vec<Real>;
    V diagonal = 0.0;
    for (int c = 0; c < 3; c++) {
        V low = block.position[c], high = low;
        for (int i = 0; i < molecule.n_atoms; i++) {
            const V x = block.position[3 * i + c];
            low = min(low, x);
            high = max(high, x);
        }
        diagonal = fma(high - low, high - low, diagonal);
    }
    return any(V(molecule.squared_cutoff * Real(0.9999)) < diagonal);
}

// Energies and gradients of the positions. A lane whose coordinates or gradient are not finite gets an energy that
// is not finite either, and leaves the other lanes alone.
template <class Real, bool kGradient>
void evaluate(const Molecule<Real>& molecule, Block<Real>& block) {
    block.energy = {};
    block.energy.add(zero_if_finite(block.position, 3 * molecule.n_atoms));
    if (kGradient)
        for (int k = 0; k < 3 * molecule.n_atoms; k++) block.gradient[k] = 0.0;
    bonds<Real, kGradient>(molecule, block);
    angles<Real, kGradient>(molecule, block);
    torsions<Real, kGradient>(molecule, block);
    if (cutoff_matters(molecule, block))
        non_bonded<Real, kGradient, true>(molecule, block);
    else
        non_bonded<Real, kGradient, false>(molecule, block);
    if (kGradient) block.energy.add(zero_if_finite(block.gradient, 3 * molecule.n_atoms));
}

}  // namespace
