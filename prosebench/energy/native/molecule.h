// What the kernels are given: the parameters of one molecule, and batches of work on it.
//
// Plain data without functions, because this header is compiled once per instruction set and an inline function
// compiled for a new CPU must never be merged with the same function compiled for an old one.
// Units: nm, kJ/mol, dalton, ps, kelvin.

#pragma once

#include <stddef.h>
#include <stdint.h>

namespace prosebench {

template <class Real>
struct Atom {
    Real inverse_mass, inverse_sqrt_mass;
    // Born radius: 1/B = self_screening + (1 - tanh(psi (alpha - beta psi + gamma psi^2))) / radius.
    Real offset_radius, scaled_radius, radius, inverse_radius, inverse_offset_radius, self_screening;
    Real alpha, beta, gamma, self_coefficient, surface_coefficient;
};

template <class Real>
struct Bond {
    int32_t atoms[2];
    Real length, constant;
};

template <class Real>
struct Angle {
    int32_t atoms[3];
    Real radians, constant;
};

template <class Real>
struct Torsion {
    int32_t atoms[4];
    int32_t order;  // highest m with a coefficient
    Real cosine[7], sine[7];
};

template <class Real>
struct Pair {
    Real c12, c6, charge, solvent;
    Real reaction_k, reaction_c;  // charge times the constants of the reaction field, 0 for exceptions
    Real contact;  // squared distance beyond which neither sphere reaches into the other atom
    Real depth;    // distance below which a sphere has the other atom's core inside, or lies inside it
    int32_t is_exception;
};

// Neck of a pair, on its first and on its second atom; see born.h.
template <class Real>
struct Neck {
    Real height[2], distance[2];
    Real reach;
};

template <class Real>
struct Molecule {
    int32_t n_atoms, n_bonds, n_angles, n_torsions;
    int32_t has_solvent;
    Real squared_cutoff, reaction_k, solvent_shift;
    const Atom<Real>* atoms;
    const Bond<Real>* bonds;
    const Angle<Real>* angles;
    const Torsion<Real>* torsions;
    const Pair<Real>* pairs;  // all i < j, i slowest
    const Neck<Real>* necks;  // of the same pairs; null in models without
};

// Frames whose energies (and gradients, where `gradient` is not null) are wanted. Results are multiplied by `scale`.
struct EnergyBatch {
    int64_t n_frames;
    const void* frames;  // (n_frames, atoms, 3), float or double
    int32_t frames_are_double;
    double scale;
    double* energy;    // (n_frames,)
    double* gradient;  // (n_frames, atoms, 3) or null
};

// Replicas to be moved. `positions` and `velocities` (replicas, atoms, 3) are read and overwritten.
struct LangevinBatch {
    int64_t n_replicas, n_steps;
    double time_step_ps, friction_per_ps;
    const double* kt;  // (n_replicas,) in kJ/mol
    uint64_t key, first_step;
    uint32_t first_replica;
    int64_t n_keep;
    const int64_t* keep_steps;  // ascending, 1..n_steps
    double scale;               // of the kept energies
    double* positions;
    double* velocities;
    float* kept_frames;     // (n_keep, n_replicas, atoms, 3)
    double* kept_energies;  // (n_keep, n_replicas)
    uint8_t* failed;        // (n_replicas,)
};

// The entry points of one instruction set. A block is `lanes` neighbouring frames or replicas.
template <class Real>
struct Kernel {
    int32_t lanes;
    size_t (*workspace_bytes)(const Molecule<Real>&);
    void (*energies)(const Molecule<Real>&, const EnergyBatch&, int64_t block, void* workspace);
    void (*langevin)(const Molecule<Real>&, const LangevinBatch&, int64_t block, void* workspace);
};

struct Kernels {
    Kernel<float> single_precision;
    Kernel<double> double_precision;
};

Kernels plain_kernels();
Kernels avx2_kernels();
Kernels avx512_kernels();

}  // namespace prosebench
