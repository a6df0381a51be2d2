// Langevin dynamics of one block of replicas, in the "middle" scheme (Zhang et al., J. Phys. Chem. A 2019, 123, 6056),
// that of OpenMM's LangevinMiddleIntegrator without constraints:
//
//   v += dt F/m;   x += dt/2 v;   v = a v + sqrt(1 - a^2) sqrt(kT/m) xi;   x += dt/2 v;   a = exp(-friction dt)
//
// The state is rounded to the kernel's precision after every step and nothing else is carried along, so a run may
// be cut into stretches anywhere. Positions near the origin keep float accurate, and free molecules drift: after every
// step whose number in the whole run is a multiple of kCentringInterval the centre is put back to the origin.

#pragma once

#include "energy.h"
#include "random.h"

namespace {

constexpr uint64_t kCentringInterval = 256;

template <class Real>
void centre(int n_atoms, Vec<Real>* position) {
    for (int c = 0; c < 3; c++) {
        Vec<Real> sum = 0.0;
        for (int i = 0; i < n_atoms; i++) sum += position[3 * i + c];
        const Vec<Real> mean = sum * Vec<Real>(Real(1) / n_atoms);
        for (int i = 0; i < n_atoms; i++) position[3 * i + c] = position[3 * i + c] - mean;
    }
}

// Numbers of a run that every step needs. kT differs from lane to lane.
template <class Real>
struct StepConstants {
    Vec<Real> noise;  // sqrt(1 - a^2) sqrt(kT)
    Vec<Real> time_step, half_step, decay;
};

template <class Real>
void step(const Molecule<Real>& molecule, Block<Real>& block, const StepConstants<Real>& constants,
          const Replicas<Real>& replicas, uint64_t key, uint64_t number) {
    using V = Vec<Real>;
    const int n_components = 3 * molecule.n_atoms;
    for (int k = 0; k < n_components; k += 4) {
        V xi[4];
        normals(replicas, key, static_cast<uint32_t>(k / 4), number, xi);
        for (int c = k; c < k + 4 && c < n_components; c++) {
            const Atom<Real>& atom = molecule.atoms[c / 3];
            V velocity = fnma(constants.time_step * V(atom.inverse_mass), block.gradient[c], block.velocity[c]);
            const V halfway = fma(constants.half_step, velocity, block.position[c]);
            velocity = fma(constants.noise * V(atom.inverse_sqrt_mass), xi[c - k], constants.decay * velocity);
            block.velocity[c] = velocity;
            block.position[c] = fma(constants.half_step, velocity, halfway);
        }
    }
    if ((number + 1) % kCentringInterval == 0) centre(molecule.n_atoms, block.position);
}

// How many lanes of the block hold a replica; the others repeat the last one.
template <class Real>
int used_lanes(int64_t total, int64_t first) {
    return total - first < Vec<Real>::lanes ? static_cast<int>(total - first) : Vec<Real>::lanes;
}

template <class Real>
bool is_finite(const Vec<Real>* array, int n, int lane) {
    Real probe = 0;
    for (int k = 0; k < n; k++) probe += array[k].v[lane] * Real(0);
    return probe == 0;
}

template <class Real>
void keep_frame(const LangevinBatch& batch, const Block<Real>& block, int n_components, int64_t first, int used,
                int64_t kept) {
    for (int lane = 0; lane < used; lane++) {
        float* frame = batch.kept_frames + (kept * batch.n_replicas + first + lane) * n_components;
        const bool finite = is_finite(block.position, n_components, lane);
        for (int k = 0; k < n_components; k++) frame[k] = finite ? block.position[k].v[lane] : __builtin_nanf("");
    }
}

template <class Real>
void keep_energies(const LangevinBatch& batch, const Block<Real>& block, int64_t first, int used, int64_t kept) {
    for (int lane = 0; lane < used; lane++) {
        const double energy = block.energy.lane(lane) * batch.scale;
        batch.kept_energies[kept * batch.n_replicas + first + lane] = energy - energy == 0 ? energy : __builtin_inf();
    }
}

template <class Real>
void langevin(const Molecule<Real>& molecule, const LangevinBatch& batch, int64_t block_number, void* memory) {
    constexpr int kLanes = Vec<Real>::lanes;
    const int n_components = 3 * molecule.n_atoms;
    const int64_t first = block_number * kLanes;
    const int used = used_lanes<Real>(batch.n_replicas, first);
    Block<Real> block;
    lay_out(block, molecule, static_cast<Vec<Real>*>(memory));
    StepConstants<Real> constants;
    const double decay = __builtin_exp(-batch.friction_per_ps * batch.time_step_ps);
    constants.time_step = batch.time_step_ps;
    constants.half_step = batch.time_step_ps / 2;
    constants.decay = decay;
    for (int k = 0; k < n_components; k++) block.remainder[k] = Vec<Real>(0.0);
    for (int lane = 0; lane < kLanes; lane++) {
        const int64_t replica = first + (lane < used ? lane : used - 1);
        constants.noise.v[lane] = __builtin_sqrt((1 - decay * decay) * batch.kt[replica]);
        for (int k = 0; k < n_components; k++) {
            block.position[k].v[lane] = batch.positions[replica * n_components + k];
            block.velocity[k].v[lane] = batch.velocities[replica * n_components + k];
        }
    }
    const Replicas<Real> replicas = replicas_from<Real>(batch.first_replica + static_cast<uint32_t>(first));

    // The energy of a kept frame comes with the forces of the next step, or after the loop for the last one.
    int64_t kept = 0;
    bool pending = false;
    for (int64_t local = 0; local < batch.n_steps; local++) {
        evaluate<Real, true>(molecule, block);
        if (pending) keep_energies(batch, block, first, used, kept++);
        step(molecule, block, constants, replicas, batch.key, batch.first_step + local);
        pending = kept < batch.n_keep && batch.keep_steps[kept] == local + 1;
        if (pending) keep_frame(batch, block, n_components, first, used, kept);
    }
    if (pending) {
        evaluate<Real, true>(molecule, block);
        keep_energies(batch, block, first, used, kept++);
    }

    for (int lane = 0; lane < used; lane++) {
        const int64_t replica = first + lane;
        const bool finite =
            is_finite(block.position, n_components, lane) && is_finite(block.velocity, n_components, lane);
        batch.failed[replica] = !finite;
        for (int k = 0; k < n_components; k++) {
            batch.positions[replica * n_components + k] = finite ? block.position[k].v[lane] : __builtin_nan("");
            batch.velocities[replica * n_components + k] = finite ? block.velocity[k].v[lane] : __builtin_nan("");
        }
    }
}

}  // namespace
