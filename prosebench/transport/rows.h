// The rows with the columns that may be best for each.

#pragma once

#include <algorithm>
#include <vector>

#include "columns.h"

namespace prosebench {

// A row's candidates, ascending by floor. All other columns are of value `limit` or more, now and ever after.
struct Nearby {
    std::vector<Candidate> candidates;
    double limit = -kInfinity;
    int64_t count = 0;   // so many candidates are looked for
    int64_t uses = 0;    // since they were found
};

// The best column for a row, its value and that of the second best (or something below it).
struct Best {
    int32_t column;
    double value, second;
};

class Rows {
   public:
    Rows(const double* points, int64_t n_rows, Columns& columns)
        : points_(points), columns_(columns), nearby_(n_rows) {}

    int64_t size() const { return nearby_.size(); }
    double cost(int64_t row, int64_t column) const { return columns_.cost(point(row), column); }
    double least_value(int64_t row) const { return columns_.least_value(point(row)); }
    double value(const Candidate& candidate) const { return candidate.cost + columns_.price(candidate.column); }

    Best best(int64_t row) {
        Nearby& near = nearby_[row];
        for (;;) {
            Best best = {-1, kInfinity, kInfinity};
            size_t seen = 0;
            for (; seen < near.candidates.size() && near.candidates[seen].floor < best.second; seen++) {
                const Candidate& candidate = near.candidates[seen];
                const double its = value(candidate);
                if (its < best.value) best = {candidate.column, its, best.value};
                else if (its < best.second) best.second = its;
            }
            if (best.value > near.limit || best.column < 0) {
                // Where a search does not serve long, a short one will do.
                near.count = near.uses < kFewUses ? std::max<int64_t>(kFew, near.count / 2)
                                                  : std::min<int64_t>(kMost, near.count * 2);
                look_around(row, std::min(near.count, columns_.size()));
                continue;
            }
            if (seen > kPatience) sort(near);
            near.uses++;
            best.second = std::min(best.second, near.limit);
            return best;
        }
    }

    // Candidates of a row, ascending by floor, and the limit; floors are brought up to date when `seen` were looked at.
    const Nearby& nearby(int64_t row) const { return nearby_[row]; }
    void looked_at(int64_t row, size_t seen) {
        if (seen > kPatience) sort(nearby_[row]);
    }

    // Finds more candidates, until all columns of value `reach` or less are among them.
    void widen(int64_t row, double reach) {
        int64_t count = nearby_[row].candidates.size();
        for (look_around(row, count); nearby_[row].limit <= reach; look_around(row, count))
            count = std::min(2 * count, columns_.size());
    }

    // Drops the last candidates of a row that has very many.
    void trim(int64_t row) {
        Nearby& near = nearby_[row];
        if (near.candidates.size() <= kMany) return;
        near.limit = near.candidates[kMany].floor;
        near.candidates.resize(kMany);
        near.candidates.shrink_to_fit();
    }

   private:
    static constexpr int64_t kFew = 4, kMost = 64, kFewUses = 2;
    static constexpr size_t kMany = 1024;
    static constexpr size_t kPatience = 20;  // candidates looked at in vain before they are sorted again

    const double* point(int64_t row) const { return points_ + row * columns_.n_coordinates(); }

    void look_around(int64_t row, int64_t count) {
        nearby_[row].uses = 0;
        nearby_[row].limit = columns_.nearest(point(row), count, nearby_[row].candidates);
    }

    void sort(Nearby& near) {
        for (Candidate& candidate : near.candidates) candidate.floor = value(candidate);
        std::sort(near.candidates.begin(), near.candidates.end());
    }

    const double* points_;
    Columns& columns_;
    std::vector<Nearby> nearby_;
};

}  // namespace prosebench
