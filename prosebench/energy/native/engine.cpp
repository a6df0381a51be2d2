// The C interface: builds a molecule from arrays, picks the instruction set, spreads blocks of frames over threads.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "molecule.h"
#include "pool.h"

#if defined(__x86_64__) || defined(__i386__)
#define PROSEBENCH_X86 1
#endif

using namespace prosebench;

namespace {

// Mirrors the ctypes structure in library.py.
struct Parameters {
    int32_t n_atoms, n_bonds, n_angles, n_torsions, has_solvent;
    double cutoff, reaction_k, reaction_c, solvent_shift;
    const double *masses;
    const int32_t *bond_atoms, *angle_atoms, *torsion_atoms;
    const double *bond_length, *bond_constant, *angle_radians, *angle_constant, *torsion_cos, *torsion_sin;
    const double *pair_c12, *pair_c6, *pair_charge, *pair_solvent;
    const uint8_t* pair_is_exception;
    const double *radius, *offset_radius, *scaled_radius, *alpha, *beta, *gamma;
    const double *self_coefficient, *surface_coefficient;
    const double *neck_height, *neck_distance, *neck_reach;  // null in models without necks
};

bool supports(const char* name) {
    if (!std::strcmp(name, "plain")) return true;
#if PROSEBENCH_X86
    __builtin_cpu_init();
    if (!std::strcmp(name, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!std::strcmp(name, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && supports("avx2");
#endif
    return false;
}

Kernels kernels_for([[maybe_unused]] const char* name) {
#if PROSEBENCH_X86
    if (!std::strcmp(name, "avx512")) return avx512_kernels();
    if (!std::strcmp(name, "avx2")) return avx2_kernels();
#endif
    return plain_kernels();
}

template <class Real> struct Choose;
template <> struct Choose<float> { static Kernel<float> from(const Kernels& k) { return k.single_precision; } };
template <> struct Choose<double> { static Kernel<double> from(const Kernels& k) { return k.double_precision; } };

struct FreeDeleter { void operator()(void* memory) const { std::free(memory); } };

// The molecule with the storage behind it, and scratch memory for every thread.
template <class Real>
struct Storage {
    std::vector<Atom<Real>> atoms;
    std::vector<Bond<Real>> bonds;
    std::vector<Angle<Real>> angles;
    std::vector<Torsion<Real>> torsions;
    std::vector<Pair<Real>> pairs;
    std::vector<Neck<Real>> necks;
    Molecule<Real> molecule;

    explicit Storage(const Parameters& p) {
        read_atoms(p);
        read_bonded(p);
        read_pairs(p);
        if (p.neck_reach) read_necks(p);
        const double largest = std::numeric_limits<Real>::max();
        molecule = {p.n_atoms, p.n_bonds, p.n_angles, p.n_torsions, p.has_solvent,
                    Real(std::min(p.cutoff * p.cutoff, largest)), Real(p.reaction_k), Real(p.solvent_shift),
                    atoms.data(), bonds.data(), angles.data(), torsions.data(), pairs.data(),
                    necks.empty() ? nullptr : necks.data()};
    }

    void read_atoms(const Parameters& p) {
        for (int i = 0; i < p.n_atoms; i++) {
            Atom<Real> a{};
            a.inverse_mass = p.masses[i] > 0 ? 1 / p.masses[i] : 0;
            a.inverse_sqrt_mass = p.masses[i] > 0 ? 1 / std::sqrt(p.masses[i]) : 0;
            if (p.has_solvent) {
                a.offset_radius = p.offset_radius[i];
                a.scaled_radius = p.scaled_radius[i];
                a.radius = p.radius[i];
                a.inverse_radius = 1 / p.radius[i];
                a.inverse_offset_radius = 1 / p.offset_radius[i];
                a.self_screening = 1 / p.offset_radius[i] - 1 / p.radius[i];
                a.alpha = p.alpha[i];
                a.beta = p.beta[i];
                a.gamma = p.gamma[i];
                a.self_coefficient = p.self_coefficient[i];
                a.surface_coefficient = p.surface_coefficient[i];
            }
            atoms.push_back(a);
        }
    }

    void read_bonded(const Parameters& p) {
        for (int k = 0; k < p.n_bonds; k++)
            bonds.push_back({{p.bond_atoms[2 * k], p.bond_atoms[2 * k + 1]},
                             Real(p.bond_length[k]), Real(p.bond_constant[k])});
        for (int k = 0; k < p.n_angles; k++) {
            const int32_t* at = p.angle_atoms + 3 * k;
            angles.push_back({{at[0], at[1], at[2]}, Real(p.angle_radians[k]), Real(p.angle_constant[k])});
        }
        for (int k = 0; k < p.n_torsions; k++) {
            Torsion<Real> torsion{};
            std::copy(p.torsion_atoms + 4 * k, p.torsion_atoms + 4 * k + 4, torsion.atoms);
            for (int m = 0; m < 7; m++) {
                torsion.cosine[m] = p.torsion_cos[7 * k + m];
                torsion.sine[m] = p.torsion_sin[7 * k + m];
                if (torsion.cosine[m] != 0 || torsion.sine[m] != 0) torsion.order = m;
            }
            torsions.push_back(torsion);
        }
    }

    void read_pairs(const Parameters& p) {
        size_t k = 0;
        for (int i = 0; i < p.n_atoms; i++)
            for (int j = i + 1; j < p.n_atoms; j++, k++) {
                const bool exception = p.pair_is_exception[k];
                Pair<Real> pair{};
                pair.c12 = p.pair_c12[k];
                pair.c6 = p.pair_c6[k];
                pair.charge = p.pair_charge[k];
                pair.reaction_k = exception ? 0 : p.pair_charge[k] * p.reaction_k;
                pair.reaction_c = exception ? 0 : p.pair_charge[k] * p.reaction_c;
                pair.is_exception = exception;
                if (p.has_solvent) {
                    pair.solvent = p.pair_solvent[k];
                    const double o_i = p.offset_radius[i], o_j = p.offset_radius[j];
                    const double s_i = p.scaled_radius[i], s_j = p.scaled_radius[j];
                    const double reach = std::max(o_i + s_j, o_j + s_i);
                    const double depth = std::max(std::abs(o_i - s_j), std::abs(o_j - s_i));
                    // Depth exceeds reach where a scaled radius is negative (sulfur in GBn2). Rounding must not let a
                    // touching pair pass as apart.
                    const double contact = std::max(reach, depth);
                    pair.contact = contact * contact * 1.00001;
                    pair.depth = depth * 1.00001;
                }
                pairs.push_back(pair);
            }
    }

    void read_necks(const Parameters& p) {
        for (size_t k = 0; k < pairs.size(); k++) {
            const double *height = p.neck_height + 2 * k, *distance = p.neck_distance + 2 * k;
            necks.push_back({{Real(height[0]), Real(height[1])}, {Real(distance[0]), Real(distance[1])},
                             Real(p.neck_reach[k])});
        }
    }
};

class Engine {
   public:
    virtual ~Engine() = default;
    virtual void energies(const EnergyBatch& batch) = 0;
    virtual void langevin(const LangevinBatch& batch) = 0;
};

template <class Real>
class EngineFor final : public Engine {
   public:
    EngineFor(const Parameters& parameters, const char* instruction_set, int threads)
        : storage_(parameters), kernel_(Choose<Real>::from(kernels_for(instruction_set))) {
        const size_t bytes = (kernel_.workspace_bytes(storage_.molecule) + 4095) / 4096 * 4096;
        for (int t = 0; t < threads; t++) {
            workspaces_.emplace_back(std::aligned_alloc(4096, bytes));
            if (!workspaces_.back()) throw std::bad_alloc();
            std::memset(workspaces_.back().get(), 0, bytes);
        }
        pool_ = std::make_unique<Pool>(threads - 1);
    }

    ~EngineFor() override {
        if (pool_ && pool_->is_forked()) pool_.release();
    }

    void energies(const EnergyBatch& batch) override {
        for_blocks(batch.n_frames, [&](int64_t block, void* memory) {
            kernel_.energies(storage_.molecule, batch, block, memory);
        });
    }

    void langevin(const LangevinBatch& batch) override {
        for_blocks(batch.n_replicas, [&](int64_t block, void* memory) {
            kernel_.langevin(storage_.molecule, batch, block, memory);
        });
    }

   private:
    // Run work(block, memory) for all blocks, on whichever thread is free: blocks know nothing of each other.
    template <class Work>
    void for_blocks(int64_t items, const Work& work) {
        std::lock_guard<std::mutex> one_call_at_a_time(mutex_);
        const int64_t blocks = (items + kernel_.lanes - 1) / kernel_.lanes;
        const int64_t workers = std::min<int64_t>(workspaces_.size(), blocks);
        std::atomic<int64_t> next{0};
        pool_->run(static_cast<int>(workers) - 1, [&](int worker) {
            for (int64_t block = next++; block < blocks; block = next++) work(block, workspaces_[worker].get());
        });
    }

    const Storage<Real> storage_;
    const Kernel<Real> kernel_;
    std::vector<std::unique_ptr<void, FreeDeleter>> workspaces_;
    std::mutex mutex_;
    std::unique_ptr<Pool> pool_;  // after the workspaces, which its threads use
};

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// Bytes of the structures that cross this interface, for the caller to compare with its own.
EXPORT void prosebench_sizes(int32_t sizes[3]) {
    sizes[0] = sizeof(Parameters);
    sizes[1] = sizeof(EnergyBatch);
    sizes[2] = sizeof(LangevinBatch);
}

EXPORT int prosebench_supports(const char* instruction_set) { return supports(instruction_set); }

// Returns null when memory runs out.
EXPORT void* prosebench_create(const Parameters* parameters, const char* instruction_set, int is_double, int threads) {
    try {
        if (is_double) return static_cast<Engine*>(new EngineFor<double>(*parameters, instruction_set, threads));
        return static_cast<Engine*>(new EngineFor<float>(*parameters, instruction_set, threads));
    } catch (const std::exception&) {
        return nullptr;
    }
}

EXPORT void prosebench_destroy(void* engine) { delete static_cast<Engine*>(engine); }

EXPORT void prosebench_energies(void* engine, const EnergyBatch* batch) {
    static_cast<Engine*>(engine)->energies(*batch);
}

EXPORT void prosebench_langevin(void* engine, const LangevinBatch* batch) {
    static_cast<Engine*>(engine)->langevin(*batch);
}
