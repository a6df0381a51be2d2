// The arrays of one block of frames, one frame per lane, and how terms read and add to them.

#pragma once

#include "molecule.h"
#include "vector.h"

namespace {

using namespace prosebench;

// Arrays of one block of frames; coordinate c of atom i is at [3 i + c].
template <class Real>
struct Block {
    Vec<Real>*position, *gradient, *velocity;
    Vec<Real>*remainder;        // what rounding to Real took from the positions of a frame; 0 in dynamics
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
    block.remainder = take(3 * n);
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

// The way from atom b to atom a, from the positions as they were before rounding: 1e-7 nm of a bond is 0.03 kJ/mol/nm.
template <class Real>
INLINE Vec3<Real> exact_way(const Block<Real>& block, int a, int b) {
    return load(block.position, a) - load(block.position, b) + (load(block.remainder, a) - load(block.remainder, b));
}

// array[atom] += factor * change
template <class Real>
INLINE void add(Vec<Real>* array, int atom, Vec<Real> factor, Vec3<Real> change) {
    array[3 * atom] = fma(factor, change.x, array[3 * atom]);
    array[3 * atom + 1] = fma(factor, change.y, array[3 * atom + 1]);
    array[3 * atom + 2] = fma(factor, change.z, array[3 * atom + 2]);
}

}  // namespace
