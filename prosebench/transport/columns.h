// The columns with their prices: sorting them by place into leaves, and finding those of least value for a row.

#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "cloud.h"

namespace prosebench {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A column that may be of least value for a row. Prices only rise, so `floor`, the value when it was last worked out,
// bounds the value from below ever after.
struct Candidate {
    double floor, cost;
    int32_t column;
    bool operator<(const Candidate& other) const {
        return floor < other.floor || (floor == other.floor && column < other.column);
    }
};

class Columns {
   public:
    // Columns (n_columns, n_coordinates), in any order; `order()` tells which stands where.
    Columns(const double* points, int64_t n_columns, int32_t n_coordinates, double period, Scan scan)
        : order_(n_columns), scan_(scan), n_coordinates_(n_coordinates), period_(period) {
        std::iota(order_.begin(), order_.end(), 0);
        sort_by_place(points, 0, n_columns);
        const int64_t n_leaves = (n_columns + kLeaf - 1) / kLeaf;
        const int64_t n_bounds = (n_leaves + kBounds - 1) / kBounds * kBounds;
        coordinates_.assign(n_leaves * n_coordinates * kLeaf, 0.0);
        prices_.assign(n_leaves * kLeaf, kInfinity);
        centres_.assign(n_coordinates * n_bounds, 0.0);
        half_widths_.assign(n_coordinates * n_bounds, 0.0);
        least_prices_.assign(n_bounds, kInfinity);
        bounds_.resize(n_bounds);
        std::fill_n(prices_.begin(), n_columns, 0.0);
        std::fill_n(least_prices_.begin(), n_leaves, 0.0);
        cloud_ = {n_coordinates,       n_leaves,         n_bounds,           period,
                  coordinates_.data(), prices_.data(),   centres_.data(),    half_widths_.data(),
                  least_prices_.data()};
        for (int64_t leaf = 0; leaf < n_leaves; leaf++) lay_out(points, leaf);
    }
    Columns(const Columns&) = delete;  // cloud_ points into it

    int64_t size() const { return order_.size(); }
    int32_t n_coordinates() const { return n_coordinates_; }
    const std::vector<int64_t>& order() const { return order_; }
    double price(int64_t column) const { return prices_[column]; }

    double cost(const double* x, int64_t column) const {
        const double* y = coordinates_.data() + column / kLeaf * n_coordinates_ * kLeaf + column % kLeaf;
        double sum = 0;
        for (int32_t q = 0; q < n_coordinates_; q++) {
            double gap = std::abs(x[q] - y[q * kLeaf]);
            if (period_ > 0) gap = std::min(gap, period_ - gap);
            sum += gap * gap;
        }
        return sum;
    }

    void set_price(int64_t column, double price) {
        const int64_t leaf = column / kLeaf;
        const bool was_least = prices_[column] <= least_prices_[leaf];
        prices_[column] = price;
        if (price < least_prices_[leaf]) least_prices_[leaf] = price;
        else if (was_least) {
            const double* first = prices_.data() + leaf * kLeaf;
            double least = first[0];
            for (int k = 1; k < kLeaf; k++) least = first[k] < least ? first[k] : least;
            least_prices_[leaf] = least;
        }
    }

    // The least value for a row, over all columns, whatever the bounds say.
    double least_value(const double* x) const {
        double least = kInfinity, values[kLeaf];
        for (int64_t leaf = 0; leaf < cloud_.n_leaves; leaf++) least = std::min(least, scan_.values(cloud_, x, leaf, values));
        return least;
    }

    // The `count` columns of least value for a row, ascending. Returns what all others are not below. What was found for
    // the same row before (or nothing) narrows the search.
    double nearest(const double* x, int64_t count, std::vector<Candidate>& found) {
        scan_.bounds(cloud_, x, bounds_.data());
        double limit = known_limit(found, count);
        int64_t n_found = 0;
        do {
            // The leaves that promise most come first, for a low limit from the start.
            const int64_t leaf = std::min_element(bounds_.begin(), bounds_.begin() + cloud_.n_leaves) - bounds_.begin();
            bounds_[leaf] = kInfinity;
            limit = take(x, leaf, count, limit, n_found);
        } while (limit == kInfinity && n_found < std::min(count, size()));
        if (n_found > count) limit = keep_least(count, n_found);
        for (int64_t leaf = 0; leaf < cloud_.n_leaves; leaf++)
            if (bounds_[leaf] <= limit && bounds_[leaf] < kInfinity) limit = take(x, leaf, count, limit, n_found);
        if (n_found > count) limit = keep_least(count, n_found);
        std::sort(found_.begin(), found_.begin() + n_found);
        found.clear();
        for (int64_t k = 0; k < n_found; k++)
            found.push_back({found_[k].first, cost(x, found_[k].second), found_[k].second});
        return limit;
    }

   private:
    typedef std::pair<double, int32_t> Found;  // a value and its column

    // The greatest value among `count` candidates found before: so many columns are not above it.
    double known_limit(const std::vector<Candidate>& before, int64_t count) const {
        if (static_cast<int64_t>(before.size()) < count || count >= size()) return kInfinity;
        double greatest = -kInfinity;
        for (int64_t k = 0; k < count; k++) greatest = std::max(greatest, before[k].cost + price(before[k].column));
        return greatest;
    }

    // Adds the columns of a leaf that are within the limit; lowers it when many have come together.
    double take(const double* x, int64_t leaf, int64_t count, double limit, int64_t& n_found) {
        double values[kLeaf];
        if (scan_.values(cloud_, x, leaf, values) > limit) return limit;
        const int32_t first = leaf * kLeaf;
        const int used = static_cast<int>(std::min<int64_t>(kLeaf, size() - first));
        if (static_cast<int64_t>(found_.size()) < n_found + kLeaf) found_.resize(2 * n_found + 2 * kLeaf);
        Found* end = found_.data() + n_found;
        for (int k = 0; k < used; k++) {
            *end = {values[k], first + k};
            end += values[k] <= limit;
        }
        n_found = end - found_.data();
        return n_found < 2 * count ? limit : keep_least(count, n_found);
    }

    double keep_least(int64_t count, int64_t& n_found) {
        std::nth_element(found_.begin(), found_.begin() + (count - 1), found_.begin() + n_found);
        n_found = count;
        return found_[count - 1].first;
    }

    // Halves at the median of the widest coordinate until a leaf is left; all leaves but the last are full.
    void sort_by_place(const double* points, int64_t first, int64_t last) {
        if (last - first <= kLeaf) return;
        int32_t widest = 0;
        double width = -1;
        for (int32_t q = 0; q < n_coordinates_; q++) {
            double low = kInfinity, high = -kInfinity;
            for (int64_t k = first; k < last; k++) {
                const double place = points[order_[k] * n_coordinates_ + q];
                low = std::min(low, place);
                high = std::max(high, place);
            }
            if (high - low > width) width = high - low, widest = q;
        }
        std::sort(order_.begin() + first, order_.begin() + last, [&](int64_t a, int64_t b) {
            const double left = points[a * n_coordinates_ + widest], right = points[b * n_coordinates_ + widest];
            return left < right || (left == right && a < b);
        });
        const int64_t leaves = (last - first + kLeaf - 1) / kLeaf;
        const int64_t middle = first + leaves / 2 * kLeaf;
        sort_by_place(points, first, middle);
        sort_by_place(points, middle, last);
    }

    void lay_out(const double* points, int64_t leaf) {
        const int64_t used = std::min<int64_t>(kLeaf, size() - leaf * kLeaf);
        for (int32_t q = 0; q < n_coordinates_; q++) {
            double* row = coordinates_.data() + (leaf * n_coordinates_ + q) * kLeaf;
            for (int64_t k = 0; k < used; k++) row[k] = points[order_[leaf * kLeaf + k] * n_coordinates_ + q];
            const auto [low, high] = std::minmax_element(row, row + used);
            centres_[q * cloud_.n_bounds + leaf] = (*low + *high) / 2;
            half_widths_[q * cloud_.n_bounds + leaf] = (*high - *low) / 2;
        }
    }

    std::vector<int64_t> order_;
    Scan scan_;
    int32_t n_coordinates_;
    double period_;
    std::vector<double> coordinates_, prices_, centres_, half_widths_, least_prices_, bounds_;
    std::vector<Found> found_;
    Cloud cloud_;
};

}  // namespace prosebench
