// The optimal plan, by shortest augmenting paths (Jonker and Volgenant, Computing 1987, 38, 325), with masses.

#pragma once

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "rows.h"

namespace prosebench {

struct Flow {
    int64_t row, mass;
};

// Rows send their masses one after the other. A row's mass goes to the column that is nearest in reduced cost, and may
// push aside what other rows have sent on the way. Raising the prices of the columns that were passed by what they lay
// nearer than the end keeps every flow on a best column of its row, which is what makes the plan optimal. Any prices
// will do to begin with; good ones make the paths short.
class Paths {
   public:
    // room (n_columns,): the mass that each column takes.
    Paths(Rows& rows, Columns& columns, std::vector<int64_t> room)
        : rows_(rows), columns_(columns), room_(std::move(room)), flows_(columns.size()),
          distance_(columns.size(), kInfinity), from_(columns.size()), done_(columns.size()), offset_(rows.size()),
          via_(rows.size(), kUnreached) {}

    void send(int64_t row, int64_t mass) {
        while (mass > 0) {
            const int64_t end = search(row);
            raise_prices(distance_[end]);
            mass -= augment(row, end, mass);
            forget();
        }
    }

    const std::vector<Flow>& flows(int64_t column) const { return flows_[column]; }

   private:
    static constexpr int64_t kStart = -1, kUnreached = -2;

    // What the search takes next: a column at its distance, or, numbered -1 - row, a row whose candidates end there.
    typedef std::pair<double, int64_t> Next;

    // Distances from the row to columns, up to the nearest with room; returns that one.
    int64_t search(int64_t start) {
        queue_ = {};
        end_ = -1;
        nearest_end_ = kInfinity;
        reach(start, kStart, 0.0, rows_.best(start).value);
        for (;;) {
            const auto [distance, item] = queue_.top();
            if (distance >= nearest_end_) return end_;
            queue_.pop();
            if (item < 0) {
                const int64_t row = -1 - item;
                rows_.widen(row, distance - offset_[row]);
                relax(row, distance);
            } else if (!done_[item] && distance <= distance_[item]) {
                done_[item] = 1;
                passed_.push_back(item);
                for (const Flow& flow : flows_[item])
                    if (via_[flow.row] == kUnreached)
                        reach(flow.row, item, distance, rows_.cost(flow.row, item) + columns_.price(item));
            }
        }
    }

    // A row at a distance, over a column that has some of its mass and is of this value for it.
    void reach(int64_t row, int64_t via, double distance, double value) {
        via_[row] = via;
        reached_.push_back(row);
        offset_[row] = distance - value;
        relax(row, distance);
    }

    void relax(int64_t row, double distance) {
        const Nearby& near = rows_.nearby(row);
        size_t seen = 0;
        for (; seen < near.candidates.size(); seen++) {
            const Candidate& candidate = near.candidates[seen];
            if (offset_[row] + candidate.floor >= nearest_end_) break;
            // Rounding must not make a column nearer than the row it is reached from.
            const double there = std::max(distance, offset_[row] + rows_.value(candidate));
            if (there < distance_[candidate.column] && there < nearest_end_) found(candidate.column, row, there);
        }
        const double beyond = offset_[row] + near.limit;
        if (beyond < nearest_end_) queue_.push({std::max(distance, beyond), -1 - row});
        rows_.looked_at(row, seen);
    }

    void found(int64_t column, int64_t row, double distance) {
        if (distance_[column] == kInfinity) touched_.push_back(column);
        distance_[column] = distance;
        from_[column] = row;
        if (room_[column] > 0) {
            nearest_end_ = distance;
            end_ = column;
        }
        queue_.push({distance, column});
    }

    void raise_prices(double end) {
        for (const int64_t column : passed_)
            columns_.set_price(column, columns_.price(column) + (end - distance_[column]));
    }

    // Moves as much along the path as fits; returns how much.
    int64_t augment(int64_t start, int64_t end, int64_t mass) {
        mass = std::min(mass, room_[end]);
        for (int64_t row = from_[end]; row != start; row = from_[via_[row]])
            mass = std::min(mass, flow(via_[row], row)->mass);
        room_[end] -= mass;
        for (int64_t column = end;;) {
            const int64_t row = from_[column];
            const auto there = flow(column, row);
            if (there == flows_[column].end()) flows_[column].push_back({row, mass});
            else there->mass += mass;
            if (row == start) return mass;
            column = via_[row];
            const auto left = flow(column, row);
            left->mass -= mass;
            if (left->mass == 0) flows_[column].erase(left);
        }
    }

    std::vector<Flow>::iterator flow(int64_t column, int64_t row) {
        std::vector<Flow>& flows = flows_[column];
        return std::find_if(flows.begin(), flows.end(), [&](const Flow& flow) { return flow.row == row; });
    }

    void forget() {
        for (const int64_t column : touched_) {
            distance_[column] = kInfinity;
            done_[column] = 0;
        }
        for (const int64_t row : reached_) {
            via_[row] = kUnreached;
            rows_.trim(row);
        }
        touched_.clear();
        passed_.clear();
        reached_.clear();
    }

    Rows& rows_;
    Columns& columns_;
    std::vector<int64_t> room_;
    std::vector<std::vector<Flow>> flows_;
    std::vector<double> distance_;   // of columns; infinite where not found
    std::vector<int64_t> from_;      // row over which a column was found
    std::vector<char> done_;
    std::vector<double> offset_;     // distance of a row less its value there
    std::vector<int64_t> via_;       // column over which a row was reached
    std::vector<int64_t> touched_, passed_, reached_;
    std::priority_queue<Next, std::vector<Next>, std::greater<Next>> queue_;
    double nearest_end_ = kInfinity;
    int64_t end_ = -1;
};

}  // namespace prosebench
