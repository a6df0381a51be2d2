// Energy and gradient of one molecule in implicit solvent, one frame per vector lane.
//
//   E = sum_bonds    k/2 (r - r0)^2
//     + sum_angles   k/2 (theta - theta0)^2
//     + sum_torsions sum_m  a_m cos(m phi) + b_m sin(m phi)
//     + sum_pairs    c12/r^12 - c6/r^6 + q (1/r + k_rf r^2 - c_rf)      r < cutoff; exceptions: no cutoff, no k_rf, c_rf
//     + sum_pairs    g (1/f - 1/cutoff),  f^2 = r^2 + B_i B_j exp(-r^2 / (4 B_i B_j))         r < cutoff
//     + sum_atoms    s_i / B_i + a_i (radius_i / B_i)^6
//
// Force field: Amber ff14SB (Maier et al., JCTC 2015, 11, 3696). Cutoff and reaction field: OpenMM User Guide,
// "NonbondedForce" (Tironi et al., JCP 1995, 102, 5451). Solvent: generalised Born (Still et al., JACS 1990, 112,
// 6127) with the radii of Onufriev, Bashford and Case (Proteins 2004, 55, 383), which rest on the descreening
// integral of Hawkins, Cramer and Truhlar (J. Phys. Chem. 1996, 100, 19824); surface term after Schaefer, Bartels
// and Karplus (JMB 1998, 284, 835).

#pragma once

#include "molecule.h"
#include "vector.h"

namespace {

using namespace prosebench;

// Arrays of one block of frames; coordinate c of atom i is at [3 i + c].
template <class Real>
struct Block {
    Vec<Real>*position, *gradient, *velocity;
    Vec<Real>*integral;         // I_i, later dE/dI_i
    Vec<Real>*born, *inverse_born;
    Vec<Real>*born_slope;       // -1/2 dB_i/dI_i
    Vec<Real>*born_gradient;    // -2 dE/dB_i
    Vec<Real>*pairs;            // of every pair: 1/r, -(dI_i/dr)/r, -(dI_j/dr)/r
    DoubleSum<Real> energy;
};

// Lays the arrays out in `memory`; returns how many vectors they take.
template <class Real>
size_t lay_out(Block<Real>& block, const Molecule<Real>& molecule, Vec<Real>* memory) {
    const size_t n = molecule.n_atoms;
    size_t used = 0;
    const auto take = [&](size_t vectors) {
        Vec<Real>* start = memory + used;
        used += vectors;
        return start;
    };
    block.position = take(3 * n);
    block.gradient = take(3 * n);
    block.velocity = take(3 * n);
    block.integral = take(n);
    block.born = take(n);
    block.inverse_born = take(n);
    block.born_slope = take(n);
    block.born_gradient = take(n);
    block.pairs = take(3 * (n * (n - 1) / 2));
    return used;
}

template <class Real>
INLINE Vec3<Real> load(const Vec<Real>* array, int atom) {
    return {array[3 * atom], array[3 * atom + 1], array[3 * atom + 2]};
}

// array[atom] += factor * change
template <class Real>
INLINE void add(Vec<Real>* array, int atom, Vec<Real> factor, Vec3<Real> change) {
    array[3 * atom] = fma(factor, change.x, array[3 * atom]);
    array[3 * atom + 1] = fma(factor, change.y, array[3 * atom + 1]);
    array[3 * atom + 2] = fma(factor, change.z, array[3 * atom + 2]);
}

// ---- Bonded terms ----

template <class Real, bool kGradient>
void bonds(const Molecule<Real>& molecule, Block<Real>& block) {
    using V = Vec<Real>;
    V energy = 0.0;
    for (int k = 0; k < molecule.n_bonds; k++) {
        const Bond<Real>& bond = molecule.bonds[k];
        const int a = bond.atoms[0], b = bond.atoms[1];
        const Vec3<Real> d = load(block.position, a) - load(block.position, b);
        const V squared = dot(d, d), inverse = rsqrt(squared);
        const V stretch = fma(squared, inverse, V(-bond.length));
        const V pull = V(bond.constant) * stretch;  // dE/dr
        energy = fma(V(0.5) * pull, stretch, energy);
        if (kGradient) {
            add(block.gradient, a, pull * inverse, d);
            add(block.gradient, b, -(pull * inverse), d);
        }
    }
    block.energy.add(energy);
}

// theta = atan2(|p|, v.w) with p = v x w; d theta/d a = (v (v.w)/v^2 - w)/|p|, and the same for c with v and w exchanged.
template <class Real, bool kGradient>
void angles(const Molecule<Real>& molecule, Block<Real>& block) {
    using V = Vec<Real>;
    const V smallest = 1e-12;  // of p^2 in nm^4: a straight angle has no direction to push in (as in OpenMM)
    V energy = 0.0;
    for (int k = 0; k < molecule.n_angles; k++) {
        const Angle<Real>& angle = molecule.angles[k];
        const int a = angle.atoms[0], b = angle.atoms[1], c = angle.atoms[2];
        const Vec3<Real> middle = load(block.position, b);
        const Vec3<Real> v = load(block.position, a) - middle, w = load(block.position, c) - middle, p = cross(v, w);
        const V length_squared = dot(p, p), floored = max(length_squared, smallest), inverse = rsqrt(floored);
        const V overlap = dot(v, w);
        const V bend = atan2_positive(length_squared * inverse, overlap) - V(angle.radians);
        const V torque = V(angle.constant) * bend;  // dE/dtheta
        energy = fma(V(0.5) * torque, bend, energy);
        if (kGradient) {
            const V scaled = torque * inverse;
            const Vec3<Real> on_a = scaled * (overlap * rcp(dot(v, v)) * v - w), on_c = scaled * (overlap * rcp(dot(w, w)) * w - v);
            add(block.gradient, a, V(1.0), on_a);
            add(block.gradient, c, V(1.0), on_c);
            add(block.gradient, b, V(-1.0), on_a + on_c);
        }
    }
    block.energy.add(energy);
}

// Normals m = b1 x b2, n = b2 x b3; cos(m phi), sin(m phi) by the addition theorem, without the angle itself.
// Gradient: Blondel and Karplus, J. Comput. Chem. 1996, 17, 1132.
template <class Real, bool kGradient>
void torsions(const Molecule<Real>& molecule, Block<Real>& block) {
    using V = Vec<Real>;
    V energy = 0.0;
    for (int k = 0; k < molecule.n_torsions; k++) {
        const Torsion<Real>& torsion = molecule.torsions[k];
        const int32_t* at = torsion.atoms;
        const Vec3<Real> x1 = load(block.position, at[1]), x2 = load(block.position, at[2]);
        const Vec3<Real> b1 = x1 - load(block.position, at[0]), b2 = x2 - x1, b3 = load(block.position, at[3]) - x2;
        const Vec3<Real> m = cross(b1, b2), n = cross(b2, b3);
        const V inverse_m = rsqrt(dot(m, m)), inverse_n = rsqrt(dot(n, n)), inverse_mn = inverse_m * inverse_n;
        const V axis_squared = dot(b2, b2), inverse_axis = rsqrt(axis_squared), axis = axis_squared * inverse_axis;
        const V cosine = dot(m, n) * inverse_mn, sine = axis * dot(b1, n) * inverse_mn;
        V cos_m = cosine, sin_m = sine, slope = 0.0;  // slope = dE/dphi
        energy += V(torsion.cosine[0]);
        for (int order = 1;; order++) {
            const V a = torsion.cosine[order], b = torsion.sine[order];
            energy = fma(a, cos_m, fma(b, sin_m, energy));
            slope = fma(V(order), fnma(a, sin_m, b * cos_m), slope);
            if (order >= torsion.order) break;
            const V next = fnma(sin_m, sine, cos_m * cosine);
            sin_m = fma(sin_m, cosine, cos_m * sine);
            cos_m = next;
        }
        if (kGradient) {
            const V along_1 = dot(b1, b2) * inverse_axis * inverse_axis, along_3 = dot(b3, b2) * inverse_axis * inverse_axis;
            const V torque = slope * axis;
            const Vec3<Real> on_0 = -(torque * inverse_m * inverse_m) * m, on_3 = torque * inverse_n * inverse_n * n;
            add(block.gradient, at[0], V(1.0), on_0);
            add(block.gradient, at[3], V(1.0), on_3);
            const Vec3<Real> lever = along_1 * on_0 - along_3 * on_3;
            add(block.gradient, at[1], V(-1.0), on_0 + lever);
            add(block.gradient, at[2], V(1.0), lever - on_3);
        }
    }
    block.energy.add(energy);
}

// ---- Born radii ----

// What the sphere of atom j adds to the Born integral I of atom i, and fall = -(dI/dr)/r:
//   I = 1/2 (1/L - 1/U + (r - s^2/r)(1/U^2 - 1/L^2)/4 + log(L/U)/(2 r)),  L = max(o, |r - s|), U = r + s
// with o the offset radius of i and s the scaled radius of j; 0 where r + s < o.
template <class Real> struct Descreening { Vec<Real> integral, fall; };

// p(w) = sum_k w^k / ((2k+1)(2k+3)) for 0 <= w <= 0.4. It stands for the logarithm in all three cases below:
// atanh(u) = u q (1 - 2 w p) with w = u^2, q = 1/(1 - w).
INLINE Vec<float> atanh_series(Vec<float> w) {  // Chebyshev fit, relative error 1.2e-7
    Vec<float> p = 0.019575582f;
    p = fma(p, w, 0.0032340612f);
    p = fma(p, w, 0.017431508f);
    p = fma(p, w, 0.028418209f);
    p = fma(p, w, 0.066672042f);
    return fma(p, w, 0.3333333f);
}
INLINE Vec<double> atanh_series(Vec<double> w) {
    Vec<double> p = 0.0;
    for (int k = 34; k >= 0; k--) p = fma(p, w, 1.0 / ((2 * k + 1) * (2 * k + 3)));
    return p;
}

// Spheres apart, r > o + s. With w = (s/r)^2 the integral is s w p q / r^2: no logarithm, no cancellation.
template <class Real>
INLINE Descreening<Real> descreen_apart(Vec<Real> inverse_squared, Vec<Real> s) {
    using V = Vec<Real>;
    const V ratio = s * inverse_squared, w = s * ratio, p = atanh_series(w), q = rcp(V(1.0) - w);
    const V c = ratio * w * q;
    return {c * p, c * inverse_squared * (p + q)};
}

// Spheres cut each other, L = o. Every difference is taken from delta = U - o = r + (s - o), which has no rounding to speak
// of: 1/o - 1/U = delta/(o U), log(L/U) = -2 atanh(z) with z = delta/(U + o).
template <class Real>
INLINE Descreening<Real> descreen_cut(Vec<Real> r, Vec<Real> inverse, const Atom<Real>& i, const Atom<Real>& j) {
    using V = Vec<Real>;
    const V o = i.offset_radius, s = j.scaled_radius, inverse_o = i.inverse_offset_radius;
    const V delta = r + V(j.scaled_radius - i.offset_radius), upper = r + s, sum = upper + o;
    const V both = rcp(upper * sum), inverse_upper = both * sum, gap = delta * inverse_o * inverse_upper;
    const V z = delta * (both * upper), w = z * z, q = V(0.25) * inverse_o * (sum * sum) * inverse_upper;
    const V half_log = z * q * fma(w + w, atanh_series(w), V(-1.0)) * inverse;           // log(L/U)/(2 r)
    const V squares = V(-0.25) * gap * (inverse_upper + inverse_o), ratio = s * inverse;  // (1/U^2 - 1/L^2)/4
    const V integral = fma(fnma(s, ratio, r), squares, half_log + gap);
    const V slope = fnma(half_log, inverse, fma(ratio * ratio, squares, squares));
    return {V(0.5) * integral, V(-0.5) * slope * inverse};
}

// Atom i inside the sphere of j, r < s - o. With t = r/s the integral is q (t + w p) / s, finite at r = 0.
template <class Real>
INLINE Descreening<Real> descreen_inside(Vec<Real> r, Vec<Real> inverse, Vec<Real> inverse_s) {
    using V = Vec<Real>;
    const V t = r * inverse_s, w = t * t, p = atanh_series(w), q = rcp(V(1.0) - w);
    const V slope = q * inverse_s * inverse_s * fma(t, fma(t + t, q, q - p), V(1.0));
    return {q * inverse_s * fma(w, p, t), -(slope * inverse)};
}

template <class Real>
INLINE void put(Mask<Real> where, Descreening<Real> value, Descreening<Real>& result) {
    result.integral = select(where, value.integral, result.integral);
    result.fall = select(where, value.fall, result.fall);
}

// Any case, lane by lane. `deep`: some lane may have one atom's sphere and the other atom's core inside each other.
template <class Real>
INLINE Descreening<Real> descreen(Vec<Real> r, Vec<Real> inverse, Vec<Real> inverse_squared, const Atom<Real>& i,
                                  const Atom<Real>& j, bool deep) {
    using V = Vec<Real>;
    const Real o = i.offset_radius, s = j.scaled_radius;
    Descreening<Real> result = descreen_cut(r, inverse, i, j);
    const Mask<Real> apart = V(o + s) < r;
    if (any(apart)) put(apart, descreen_apart(inverse_squared, V(s)), result);
    if (deep) {
        put(r < V(s - o), descreen_inside(r, inverse, V(Real(1) / s)), result);
        put(r < V(o - s), {V(0.0), V(0.0)}, result);
    }
    return result;
}

template <class Real, bool kGradient, bool kCutoff>
void born_integrals(const Molecule<Real>& molecule, Block<Real>& block) {
    using V = Vec<Real>;
    const int n = molecule.n_atoms;
    const Pair<Real>* pair = molecule.pairs;
    V* store = block.pairs;
    for (int i = 0; i < n; i++) block.integral[i] = 0.0;
    for (int i = 0; i < n; i++) {
        const Vec3<Real> x = load(block.position, i);
        const Atom<Real>& atom_i = molecule.atoms[i];
        const V scaled_i = atom_i.scaled_radius;
        V integral = block.integral[i];
        for (int j = i + 1; j < n; j++, pair++, store += 3) {
            const Atom<Real>& atom_j = molecule.atoms[j];
            const Vec3<Real> d = x - load(block.position, j);
            const V squared = dot(d, d), inverse = rsqrt(squared), inverse_squared = inverse * inverse;
            Descreening<Real> on_i, on_j;
            if (any(squared < V(pair->contact))) {
                const V r = squared * inverse;
                const bool deep = any(r < V(pair->depth));
                on_i = descreen(r, inverse, inverse_squared, atom_i, atom_j, deep);
                on_j = descreen(r, inverse, inverse_squared, atom_j, atom_i, deep);
            } else {
                on_i = descreen_apart(inverse_squared, V(atom_j.scaled_radius));
                on_j = descreen_apart(inverse_squared, scaled_i);
            }
            if (kCutoff) {
                const Mask<Real> within = squared < V(molecule.squared_cutoff);
                const V zero = 0.0;
                on_i = {select(within, on_i.integral, zero), select(within, on_i.fall, zero)};
                on_j = {select(within, on_j.integral, zero), select(within, on_j.fall, zero)};
            }
            integral += on_i.integral;
            block.integral[j] += on_j.integral;
            store[0] = inverse;
            if (kGradient) {
                store[1] = on_i.fall;
                store[2] = on_j.fall;
            }
        }
        block.integral[i] = integral;
    }
}

// 1/B = 1/o - tanh(a)/radius with a = alpha psi - beta psi^2 + gamma psi^3, psi = I o, and the terms of single atoms.
// With c = 1 - tanh(a) = 2/(exp(2a) + 1) the difference becomes (1/o - 1/radius) + c/radius, which does not cancel.
template <class Real>
void born_radii(const Molecule<Real>& molecule, Block<Real>& block) {
    using V = Vec<Real>;
    V energy = 0.0;
    for (int i = 0; i < molecule.n_atoms; i++) {
        const Atom<Real>& atom = molecule.atoms[i];
        const V psi = block.integral[i] * V(atom.offset_radius);
        const V a = psi * fma(psi, fma(psi, V(atom.gamma), V(-atom.beta)), V(atom.alpha));
        const V c = V(2.0) * rcp(exp2(min(a * 2.88539008177792681, V(60.0))) + 1.0);  // 2 / log 2
        const V inverse = fma(c, V(atom.inverse_radius), V(atom.self_screening)), born = rcp(inverse);
        block.born[i] = born;
        block.inverse_born[i] = inverse;
        const V slope = fma(psi, fma(V(3.0) * psi, V(atom.gamma), V(-2.0) * V(atom.beta)), V(atom.alpha));  // da/dpsi
        block.born_slope[i] =  // with the -1/2 that dE/dB_i still lacks
            V(-0.5) * born * born * V(atom.inverse_radius) * (c * (V(2.0) - c)) * slope * V(atom.offset_radius);
        const V ratio = V(atom.radius) * inverse, ratio_3 = ratio * ratio * ratio;
        const V self = V(atom.self_coefficient) * inverse, surface = V(atom.surface_coefficient) * (ratio_3 * ratio_3);
        energy += self + surface;
        block.born_gradient[i] = V(2.0) * fma(V(6.0), surface, self) * inverse;
    }
    block.energy.add(energy);
}

// ---- Pairs ----

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

// The part of the gradient that comes through the Born radii: dE/dI_i = dE/dB_i dB_i/dI_i, times the stored dI_i/dr.
template <class Real>
void born_chain_rule(const Molecule<Real>& molecule, Block<Real>& block) {
    using V = Vec<Real>;
    const int n = molecule.n_atoms;
    const V* store = block.pairs;
    V* weight = block.integral;
    for (int i = 0; i < n; i++) weight[i] = block.born_gradient[i] * block.born_slope[i];
    for (int i = 0; i < n; i++) {
        const Vec3<Real> x = load(block.position, i);
        const V weight_i = weight[i];
        Vec3<Real> gradient = load(block.gradient, i);
        for (int j = i + 1; j < n; j++, store += 3) {
            const Vec3<Real> d = x - load(block.position, j);
            const V push = fma(weight_i, store[1], weight[j] * store[2]);
            add(block.gradient, j, push, d);
            gradient = {fnma(push, d.x, gradient.x), fnma(push, d.y, gradient.y), fnma(push, d.z, gradient.z)};
        }
        block.gradient[3 * i] = gradient.x;
        block.gradient[3 * i + 1] = gradient.y;
        block.gradient[3 * i + 2] = gradient.z;
    }
}

// ---- All together ----

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
        born_integrals<Real, kGradient, kCutoff>(molecule, block);
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

// Energies and gradients of the block's positions. A lane whose coordinates or gradient are not finite gets an energy that
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
