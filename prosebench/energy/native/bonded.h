// Bonds, angles and torsions.

#pragma once

#include "block.h"

namespace {

template <class Real, bool kGradient>
void bonds(const Molecule<Real>& molecule, Block<Real>& block) {
    using V = Vec<Real>;
    for (int k = 0; k < molecule.n_bonds; k++) {
        const Bond<Real>& bond = molecule.bonds[k];
        const int a = bond.atoms[0], b = bond.atoms[1];
        const Vec3<Real> d = exact_way(block, a, b);
        const V squared = dot(d, d), inverse = rsqrt(squared);
        const V stretch = fma(squared, inverse, V(-bond.length));
        const V pull = V(bond.constant) * stretch;  // dE/dr
        block.energy.add(V(0.5) * pull * stretch);
        if (kGradient) {
            add(block.gradient, a, pull * inverse, d);
            add(block.gradient, b, -(pull * inverse), d);
        }
    }
}

// theta = atan2(|p|, v.w) with p = v x w; d theta/d a = (v (v.w)/v^2 - w)/|p|, and for c with v and w exchanged.
template <class Real, bool kGradient>
void angles(const Molecule<Real>& molecule, Block<Real>& block) {
    using V = Vec<Real>;
    const V smallest = 1e-12;  // of p^2 in nm^4: a straight angle has no direction to push in (as in OpenMM)
    for (int k = 0; k < molecule.n_angles; k++) {
        const Angle<Real>& angle = molecule.angles[k];
        const int a = angle.atoms[0], b = angle.atoms[1], c = angle.atoms[2];
        const Vec3<Real> v = exact_way(block, a, b), w = exact_way(block, c, b), p = cross(v, w);
        const V length_squared = dot(p, p), floored = max(length_squared, smallest), inverse = rsqrt(floored);
        const V overlap = dot(v, w);
        const V bend = atan2_positive(length_squared * inverse, overlap) - V(angle.radians);
        const V torque = V(angle.constant) * bend;  // dE/dtheta
        block.energy.add(V(0.5) * torque * bend);
        if (kGradient) {
            const V scaled = torque * inverse;
            const Vec3<Real> on_a = scaled * (overlap * rcp(dot(v, v)) * v - w);
            const Vec3<Real> on_c = scaled * (overlap * rcp(dot(w, w)) * w - v);
            add(block.gradient, a, V(1.0), on_a);
            add(block.gradient, c, V(1.0), on_c);
            add(block.gradient, b, V(-1.0), on_a + on_c);
        }
    }
}

// Normals m = b1 x b2, n = b2 x b3; cos(m phi), sin(m phi) by the addition theorem, without the angle itself.
// Gradient: Blondel and Karplus, J. Comput. Chem. 1996, 17, 1132.
template <class Real, bool kGradient>
void torsions(const Molecule<Real>& molecule, Block<Real>& block) {
    using V = Vec<Real>;
    for (int k = 0; k < molecule.n_torsions; k++) {
        const Torsion<Real>& torsion = molecule.torsions[k];
        const int32_t* at = torsion.atoms;
        const Vec3<Real> x1 = load(block.position, at[1]), x2 = load(block.position, at[2]);
        const Vec3<Real> b1 = x1 - load(block.position, at[0]), b2 = x2 - x1, b3 = load(block.position, at[3]) - x2;
        const Vec3<Real> m = cross(b1, b2), n = cross(b2, b3);
        const V inverse_m = rsqrt(dot(m, m)), inverse_n = rsqrt(dot(n, n)), inverse_mn = inverse_m * inverse_n;
        const V axis_squared = dot(b2, b2), inverse_axis = rsqrt(axis_squared), axis = axis_squared * inverse_axis;
        const V cosine = dot(m, n) * inverse_mn, sine = axis * dot(b1, n) * inverse_mn;
        V cos_m = cosine, sin_m = sine, energy = torsion.cosine[0], slope = 0.0;  // slope = dE/dphi
        for (int order = 1;; order++) {
            const V a = torsion.cosine[order], b = torsion.sine[order];
            energy = fma(a, cos_m, fma(b, sin_m, energy));
            slope = fma(V(order), fnma(a, sin_m, b * cos_m), slope);
            if (order >= torsion.order) break;
            const V next = fnma(sin_m, sine, cos_m * cosine);
            sin_m = fma(sin_m, cosine, cos_m * sine);
            cos_m = next;
        }
        block.energy.add(energy);
        if (kGradient) {
            const V inverse_squared = inverse_axis * inverse_axis, torque = slope * axis;
            const V along_1 = dot(b1, b2) * inverse_squared, along_3 = dot(b3, b2) * inverse_squared;
            const Vec3<Real> on_0 = -(torque * inverse_m * inverse_m) * m, on_3 = torque * inverse_n * inverse_n * n;
            add(block.gradient, at[0], V(1.0), on_0);
            add(block.gradient, at[3], V(1.0), on_3);
            const Vec3<Real> lever = along_1 * on_0 - along_3 * on_3;
            add(block.gradient, at[1], V(-1.0), on_0 + lever);
            add(block.gradient, at[2], V(1.0), lever - on_3);
        }
    }
}

}  // namespace
