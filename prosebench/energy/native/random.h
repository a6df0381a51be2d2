// Standard normal numbers from a counter: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC'11) and Box-Muller.
//
// key = (low, high) word of the random key; counter = (block, replica, low, high word of the step). Block b of four
// words gives the numbers of the flat components 4b..4b+3 of a replica's (atoms, 3) array. So a number depends on
// (key, replica, step, component) alone, whatever the threads, lanes and stretches of the run.

#pragma once

#include "vector.h"

namespace {

constexpr int kRounds = 10;

// Four words for every lane, each in the low half of a 64-bit lane.
struct Counter { Word64Register word[4]; };

INLINE Word64Register spread(uint64_t word) { return word - Word64Register{}; }

INLINE Counter philox(Counter c, uint64_t key) {
    const Word64Register multiplier_0 = spread(0xD2511F53u), multiplier_1 = spread(0xCD9E8D57u);
    uint32_t key_0 = static_cast<uint32_t>(key), key_1 = static_cast<uint32_t>(key >> 32);
#pragma GCC unroll 16
    for (int round = 0; round < kRounds; round++) {
        // The high halves of the words are left dirty: only the low ones enter the next product and the result.
        const Word64Register product_0 = multiply_low_words(c.word[0], multiplier_0);
        const Word64Register product_1 = multiply_low_words(c.word[2], multiplier_1);
        c.word[0] = high_words(product_1) ^ c.word[1] ^ spread(key_0);
        c.word[1] = product_1;
        c.word[2] = high_words(product_0) ^ c.word[3] ^ spread(key_1);
        c.word[3] = product_0;
        key_0 += 0x9E3779B9u;
        key_1 += 0xBB67AE85u;
    }
    return c;
}

// The replica numbers of a block, in the 64-bit lanes that `philox` works on: even and odd ones apart for floats.
template <class Real> struct Replicas { Word64Register part[8 / sizeof(Real)]; };

template <class Real>
INLINE Replicas<Real> replicas_from(uint32_t first) {
    constexpr int kParts = 8 / sizeof(Real);
    Replicas<Real> replicas;
    for (int lane = 0; lane < Vec<Real>::lanes; lane++)
        replicas.part[lane % kParts][lane / kParts] = static_cast<uint32_t>(first + lane);
    return replicas;
}

// (word >> 8) 2^-24 + 2^-25, in (0, 1].
INLINE Vec<float> uniform(const Counter (&counters)[2], int k) {
    const Word64Register words = (counters[0].word[k] & 0xffffffffu) | (counters[1].word[k] << 32);
    const Int32Register high = (Int32Register)((Word32Register)words >> 8);
    return fma(Vec<float>(__builtin_convertvector(high, FloatRegister)), Vec<float>(0x1p-24f), Vec<float>(0x1p-25f));
}
INLINE Vec<double> uniform(const Counter (&counters)[1], int k) {
    const Int64Register high = (Int64Register)((counters[0].word[k] & 0xffffffffu) >> 8);
    return fma(Vec<double>(__builtin_convertvector(high, DoubleRegister)), Vec<double>(0x1p-24), Vec<double>(0x1p-25));
}

// The four normal numbers of a block.
template <class Real>
INLINE void normals(const Replicas<Real>& replicas, uint64_t key, uint32_t block, uint64_t step, Vec<Real> (&out)[4]) {
    Counter counters[8 / sizeof(Real)];
    for (unsigned part = 0; part < 8 / sizeof(Real); part++) {
        const Counter counter = {{spread(block), replicas.part[part], spread(step & 0xffffffffu), spread(step >> 32)}};
        counters[part] = philox(counter, key);
    }
    for (int k = 0; k < 4; k += 2) {
        Vec<Real> cosine, sine;
        circle(uniform(counters, k + 1), cosine, sine);
        const Vec<Real> squared = max(Vec<Real>(-2.0) * log(uniform(counters, k)), Vec<Real>(1e-30));  // u may be 1
        const Vec<Real> radius = squared * rsqrt(squared);
        out[k] = radius * cosine;
        out[k + 1] = radius * sine;
    }
}

}  // namespace
