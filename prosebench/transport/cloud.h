// The columns of a transport problem, laid out for scans, and what each instruction set offers to scan them.
//
// The cost of moving row x to column y is the squared distance, each coordinate's difference wrapped to half a period
// where there is one. Its value for the row is cost + price. Columns are sorted by place into leaves of kLeaf; the box
// around a leaf and the least price in it bound all values there from below.
// Plain data without functions: this header is compiled once per instruction set.

#pragma once

#include <stdint.h>

namespace prosebench {

constexpr int kLeaf = 32;    // columns in a leaf
constexpr int kBounds = 8;   // bounds are worked out in groups of so many leaves

struct Cloud {
    int32_t n_coordinates;
    int64_t n_leaves;             // those with columns
    int64_t n_bounds;             // n_leaves, rounded up to whole groups
    double period;                // 0: none
    const double* coordinates;    // (leaves, coordinates, kLeaf)
    const double* prices;         // (leaves, kLeaf); inf where a leaf has no further column
    const double* centres;        // (coordinates, n_bounds), of boxes
    const double* half_widths;    // (coordinates, n_bounds)
    const double* least_prices;   // (n_bounds,)
};

// Every instruction set adds and multiplies in the same order, without fused operations: the same bits everywhere.
struct Scan {
    // Values (kLeaf,) of one leaf for a row x (coordinates,). Returns the least.
    double (*values)(const Cloud&, const double* x, int64_t leaf, double* values);
    // Lower bounds (n_bounds,) of the values in every leaf for a row.
    void (*bounds)(const Cloud&, const double* x, double* bounds);
};

Scan plain_scan();
Scan avx2_scan();
Scan avx512_scan();

}  // namespace prosebench
