// The entry points of one instruction set: batches of energies and stretches of Langevin dynamics.

#pragma once

#include "energy.h"
#include "langevin.h"

namespace {

// A frame is read relative to an atom in the middle of the chain: floats keep more digits near 0. The place of that atom
// is rounded to this length, so that a frame near the origin stays where it is. What rounding takes is kept for the bonds.
constexpr double kGridNm = 2.0;

template <class Real, class Input>
void read_frames(const Molecule<Real>& molecule, const EnergyBatch& batch, int64_t first, int used,
                 Block<Real>& block) {
    const int n_components = 3 * molecule.n_atoms, middle = 3 * (molecule.n_atoms / 2);
    for (int lane = 0; lane < Vec<Real>::lanes; lane++) {
        const int64_t number = first + (lane < used ? lane : used - 1);
        const Input* frame = static_cast<const Input*>(batch.frames) + number * n_components;
        double origin[3];
        for (int c = 0; c < 3; c++) origin[c] = kGridNm * __builtin_rint(frame[middle + c] / kGridNm);
        for (int k = 0; k < n_components; k++) {
            const double exact = frame[k] - origin[k % 3];
            const Real rounded = exact;
            block.position[k].v[lane] = rounded;
            block.remainder[k].v[lane] = exact - rounded;
        }
    }
}

template <class Real>
void energies(const Molecule<Real>& molecule, const EnergyBatch& batch, int64_t block_number, void* memory) {
    const int n_components = 3 * molecule.n_atoms;
    const int64_t first = block_number * Vec<Real>::lanes;
    const int used = used_lanes<Real>(batch.n_frames, first);
    Block<Real> block;
    lay_out(block, molecule, static_cast<Vec<Real>*>(memory));
    if (batch.frames_are_double)
        read_frames<Real, double>(molecule, batch, first, used, block);
    else
        read_frames<Real, float>(molecule, batch, first, used, block);
    if (batch.gradient)
        evaluate<Real, true>(molecule, block);
    else
        evaluate<Real, false>(molecule, block);
    for (int lane = 0; lane < used; lane++) {
        const double scale = batch.scale, energy = block.energy.lane(lane) * scale;
        const bool finite = energy - energy == 0;
        batch.energy[first + lane] = finite ? energy : __builtin_inf();
        if (!batch.gradient) continue;
        double* gradient = batch.gradient + (first + lane) * n_components;
        for (int k = 0; k < n_components; k++) gradient[k] = block.gradient[k].v[lane] * scale;
        if (!finite)
            for (int k = 0; k < n_components; k++) gradient[k] = 0.0;
    }
}

template <class Real>
size_t workspace_bytes(const Molecule<Real>& molecule) {
    Block<Real> block;
    return lay_out<Real>(block, molecule, nullptr) * kVectorBytes;
}

template <class Real>
Kernel<Real> kernel() {
    return {Vec<Real>::lanes, workspace_bytes<Real>, energies<Real>, langevin<Real>};
}

}  // namespace
