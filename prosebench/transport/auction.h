// Prices near those of the optimum, by an auction (Bertsekas, "The auction algorithm", Ann. Oper. Res. 1988, 14, 105).

#pragma once

#include <vector>

#include "rows.h"

namespace prosebench {

// Every row without a column bids for its best one: the price rises until that is worse than the second best by epsilon,
// and the row that had it bids again. When each row has a column, costs are within n epsilon of the least. Prices of one
// round are where the next, with a smaller epsilon, starts; a round that takes too many bids ends all rounds, as
// prices are useful whatever they are.
class Auction {
   public:
    Auction(Rows& rows, Columns& columns) : rows_(rows), columns_(columns), owner_(columns.size()) {}

    // Rows and columns are of equal number. Epsilon goes from `first` to `last`, or to a share of the mean cost.
    void run(double first, double last) {
        if (columns_.size() < 2) return;
        for (double epsilon = first; epsilon > last; epsilon /= kFactor)
            if (!round(epsilon) || epsilon < kEnough * mean_cost()) return;
    }

   private:
    static constexpr double kFactor = 5.0;       // from one epsilon to the next
    static constexpr double kEnough = 0.01;      // the last epsilon in units of the mean cost
    static constexpr int64_t kMostBids = 200;    // per row and round

    bool round(double epsilon) {
        std::fill(owner_.begin(), owner_.end(), -1);
        waiting_.clear();
        for (int64_t row = rows_.size() - 1; row >= 0; row--) waiting_.push_back(row);
        for (int64_t bids = 0; !waiting_.empty(); bids++) {
            if (bids == kMostBids * rows_.size()) return false;
            const int64_t row = waiting_.back();
            waiting_.pop_back();
            const Best best = rows_.best(row);
            columns_.set_price(best.column, columns_.price(best.column) + (best.second - best.value) + epsilon);
            if (owner_[best.column] >= 0) waiting_.push_back(owner_[best.column]);
            owner_[best.column] = row;
        }
        return true;
    }

    double mean_cost() const {
        double sum = 0;
        for (int64_t column = 0; column < columns_.size(); column++) sum += rows_.cost(owner_[column], column);
        return sum / columns_.size();
    }

    Rows& rows_;
    Columns& columns_;
    std::vector<int64_t> owner_, waiting_;
};

}  // namespace prosebench
