// Scans of columns, compiled once per instruction set.

#pragma once

#include "../energy/native/vector.h"
#include "cloud.h"

namespace {

using prosebench::Cloud;
using prosebench::kBounds;
using prosebench::kLeaf;

typedef Vec<double> Row;

INLINE Row load(const double* from) {
    Row row;
    __builtin_memcpy(&row.v, from, sizeof row.v);
    return row;
}

INLINE void store(Row row, double* to) { __builtin_memcpy(to, &row.v, sizeof row.v); }

template <bool kPeriodic>
INLINE Row distance(Row difference, Row period) {
    difference = absolute(difference);
    return kPeriodic ? min(difference, period - difference) : difference;
}

template <bool kPeriodic>
double leaf_values(const Cloud& cloud, const double* x, int64_t leaf, double* values) {
    constexpr int kParts = kLeaf / Row::lanes;
    const double* y = cloud.coordinates + leaf * cloud.n_coordinates * kLeaf;
    const double* prices = cloud.prices + leaf * kLeaf;
    const Row period = cloud.period;
    Row sum[kParts];
    for (int k = 0; k < kParts; k++) sum[k] = 0.0;
    for (int q = 0; q < cloud.n_coordinates; q++, y += kLeaf) {
        const Row place = x[q];
#pragma GCC unroll 16
        for (int k = 0; k < kParts; k++) {
            const Row gap = distance<kPeriodic>(place - load(y + k * Row::lanes), period);
            sum[k] += gap * gap;
        }
    }
    for (int k = 0; k < kParts; k++) store(sum[k] + load(prices + k * Row::lanes), values + k * Row::lanes);
    Row least = load(values);
    for (int k = 1; k < kParts; k++) least = min(least, load(values + k * Row::lanes));
    double smallest = least.v[0];
    for (int k = 1; k < Row::lanes; k++) smallest = least.v[k] < smallest ? least.v[k] : smallest;
    return smallest;
}

template <bool kPeriodic>
void leaf_bounds(const Cloud& cloud, const double* x, double* bounds) {
    constexpr int kParts = kBounds / Row::lanes;
    const Row period = cloud.period, zero = 0.0;
    for (int64_t first = 0; first < cloud.n_bounds; first += kBounds) {
        Row sum[kParts];
        for (int k = 0; k < kParts; k++) sum[k] = 0.0;
        for (int q = 0; q < cloud.n_coordinates; q++) {
            const int64_t at = q * cloud.n_bounds + first;
            const Row place = x[q];
#pragma GCC unroll 16
            for (int k = 0; k < kParts; k++) {
                const Row to_centre =
                    distance<kPeriodic>(place - load(cloud.centres + at + k * Row::lanes), period);
                const Row gap = max(to_centre - load(cloud.half_widths + at + k * Row::lanes), zero);
                sum[k] += gap * gap;
            }
        }
        for (int k = 0; k < kParts; k++) {
            const int64_t at = first + k * Row::lanes;
            store(sum[k] + load(cloud.least_prices + at), bounds + at);
        }
    }
}

double values(const Cloud& cloud, const double* x, int64_t leaf, double* values) {
    return cloud.period > 0 ? leaf_values<true>(cloud, x, leaf, values)
                            : leaf_values<false>(cloud, x, leaf, values);
}

void bounds(const Cloud& cloud, const double* x, double* bounds) {
    cloud.period > 0 ? leaf_bounds<true>(cloud, x, bounds) : leaf_bounds<false>(cloud, x, bounds);
}

}  // namespace
