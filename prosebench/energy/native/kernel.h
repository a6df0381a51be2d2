// The entry points of one instruction set: batches of energies and stretches of Langevin dynamics.

#pragma once

#include "energy.h"
#include "langevin.h"

namespace {

// Read a block of frames, each relative to an atom in the middle of the chain: float keeps more digits near 0.
template <class Real, class Input>
void read_frames(const Molecule<Real>& molecule, const EnergyBatch& batch, int64_t first, int used, Block<Real>& block) {
    const int n_components = 3 * molecule.n_atoms, origin = 3 * (molecule.n_atoms / 2);
    const Input* frame[Vec<Real>::lanes];
    for (int lane = 0; lane < Vec<Real>::lanes; lane++)
        frame[lane] = static_cast<const Input*>(batch.frames) + (first + (lane < used ? lane : used - 1)) * n_components;
    for (int lane = 0; lane < Vec<Real>::lanes; lane++)
        for (int i = 0; i < n_components; i += 3)
            for (int c = 0; c < 3; c++)
                block.position[i + c].v[lane] = frame[lane][i + c] - frame[lane][origin + c];
}

template <class Real>
void energies(const Molecule<Real>& molecule, const EnergyBatch& batch, int64_t block_number, void* memory) {
    const int n_components = 3 * molecule.n_atoms;
    const int64_t first = block_number * Vec<Real>::lanes;
    const int used = used_lanes<Real>(batch.n_frames, first);
    Block<Real> block;
    lay_out(block, molecule, memory);
    if (batch.frames_are_double)
        read_frames<Real, double>(molecule, batch, first, used, block);
    else
        read_frames<Real, float>(molecule, batch, first, used, block);
    if (batch.gradient)
        evaluate<Real, true>(molecule, block);
    else
        evaluate<Real, false>(molecule, block);
    for (int lane = 0; lane < used; lane++) {
        const double energy = block.energy[lane] * batch.scale;
        const bool finite = energy - energy == 0;
        batch.energy[first + lane] = finite ? energy : __builtin_inf();
        if (!batch.gradient) continue;
        double* gradient = batch.gradient + (first + lane) * n_components;
        for (int k = 0; k < n_components; k++) gradient[k] = finite ? block.gradient[k].v[lane] * batch.scale : 0.0;
    }
}

template <class Real>
size_t workspace_bytes(const Molecule<Real>& molecule) {
    return block_vectors(molecule) * kVectorBytes;
}

template <class Real>
Kernel<Real> kernel() {
    return {Vec<Real>::lanes, workspace_bytes<Real>, energies<Real>, langevin<Real>};
}

}  // namespace
