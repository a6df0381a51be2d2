// Born radii: the descreening integral of every pair, the radius of every atom, and the way back from dE/dB to the
// gradient. Hawkins, Cramer and Truhlar, J. Phys. Chem. 1996, 100, 19824; Onufriev, Bashford and Case, Proteins 2004,
// 55, 383.

#pragma once

#include "block.h"

namespace {

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

// Spheres cut each other, L = o. Every difference is taken from delta = U - o = r + (s - o), which does not cancel:
// 1/o - 1/U = delta/(o U), log(L/U) = -2 atanh(z) with z = delta/(U + o).
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

// The neck between two spheres (Mongan et al., JCTC 2007, 3, 156): within its reach the integral gets
// height / (1 + 100 x^2 + 3e5 x^6) with x = r - distance in nm.
template <class Real>
INLINE void add_neck(Vec<Real> r, Vec<Real> inverse, Mask<Real> reached, Real height, Real distance,
                     Descreening<Real>& result) {
    using V = Vec<Real>;
    const V x = r - V(distance), x_2 = x * x, x_4 = x_2 * x_2;
    const V shape = rcp(fma(x_2, fma(x_4, V(3e5), V(100.0)), V(1.0)));
    const V value = select(reached, V(height) * shape, V(0.0));
    result.integral += value;
    result.fall = fma(value * shape * x, fma(x_4, V(18e5), V(200.0)) * inverse, result.fall);
}

template <class Real, bool kGradient, bool kCutoff, bool kNeck>
void born_integrals(const Molecule<Real>& molecule, Block<Real>& block) {
    using V = Vec<Real>;
    const int n = molecule.n_atoms;
    const Pair<Real>* pair = molecule.pairs;
    const Neck<Real>* neck = molecule.necks;
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
            if (kNeck) {
                const V r = squared * inverse;
                const Mask<Real> reached = r < V(neck->reach);
                add_neck(r, inverse, reached, neck->height[0], neck->distance[0], on_i);
                add_neck(r, inverse, reached, neck->height[1], neck->distance[1], on_j);
                neck++;
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
        block.energy.add(self + surface);
        block.born_gradient[i] = V(2.0) * fma(V(6.0), surface, self) * inverse;
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

}  // namespace
