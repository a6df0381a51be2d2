// The C interface of optimal transport: an auction finds prices, shortest paths with these the optimal plan.

#include <cstring>
#include <exception>
#include <vector>

#include "auction.h"
#include "paths.h"

using namespace prosebench;

namespace {

// Mirrors the ctypes structure in __init__.py.
struct TransportProblem {
    int64_t n_rows, n_columns;
    int32_t n_coordinates;
    double period;        // 0: none; else all coordinates lie in [0, period)
    double typical_cost;
    const double *rows, *columns;                  // (n_rows, n_coordinates), (n_columns, n_coordinates)
    const int64_t *row_masses, *column_masses;     // > 0, of equal sum
};

// Called once with all flows of the plan.
typedef void (*Receive)(int64_t n_flows, const int64_t* rows, const int64_t* columns, const int64_t* masses);

Scan scan_for([[maybe_unused]] const char* name) {
#if defined(__x86_64__) || defined(__i386__)
    if (!std::strcmp(name, "avx512")) return avx512_scan();
    if (!std::strcmp(name, "avx2")) return avx2_scan();
#endif
    return plain_scan();
}

// `count` of the points, evenly spaced in mass: all of them where there are as many and all weigh the same.
std::vector<double> drawn(const double* points, const int64_t* masses, int64_t n, int32_t n_coordinates, int64_t count) {
    double total = 0;
    for (int64_t k = 0; k < n; k++) total += masses[k];
    std::vector<double> sample;
    double before = 0;
    for (int64_t k = 0; k < n; k++) {
        before += masses[k];
        while (static_cast<int64_t>(sample.size()) < count * n_coordinates &&
               (sample.size() / n_coordinates + 0.5) * total < before * count)
            sample.insert(sample.end(), points + k * n_coordinates, points + (k + 1) * n_coordinates);
    }
    return sample;
}

bool all_equal(const int64_t* masses, int64_t n) {
    return std::all_of(masses, masses + n, [&](int64_t mass) { return mass == masses[0]; });
}

// Epsilon of the auction in units of the typical cost: large at first, among few points; the rest among all.
constexpr double kFirst = 1.0, kAmongAll = 0.1, kLast = 1e-8;
constexpr int64_t kFewer = 4;  // times fewer points, where there are enough

// Prices of columns from an auction between `n` points drawn from either side: the highest that leave each drawn row as
// well off as it is.
void draw_prices(const TransportProblem& problem, Scan scan, Columns& columns, int64_t n, double last) {
    const int32_t d = problem.n_coordinates;
    const std::vector<double> some_rows = drawn(problem.rows, problem.row_masses, problem.n_rows, d, n);
    const std::vector<double> some_columns = drawn(problem.columns, problem.column_masses, problem.n_columns, d, n);
    Columns drawn_columns(some_columns.data(), n, d, problem.period, scan);
    Rows drawn_rows(some_rows.data(), n, drawn_columns);
    Auction(drawn_rows, drawn_columns).run(kFirst * problem.typical_cost, last * problem.typical_cost);
    Columns mirror(some_rows.data(), n, d, problem.period, scan);
    for (int64_t k = 0; k < n; k++) mirror.set_price(k, -drawn_rows.best(mirror.order()[k]).value);
    for (int64_t k = 0; k < columns.size(); k++) {
        std::vector<Candidate> nearest;
        mirror.nearest(problem.columns + columns.order()[k] * d, 1, nearest);
        columns.set_price(k, -nearest[0].floor);
    }
}

void solve(const TransportProblem& problem, Scan scan, double* prices, Receive receive) {
    Columns columns(problem.columns, problem.n_columns, problem.n_coordinates, problem.period, scan);
    Rows rows(problem.rows, problem.n_rows, columns);
    const bool is_assignment = problem.n_rows == problem.n_columns && all_equal(problem.row_masses, problem.n_rows) &&
                               all_equal(problem.column_masses, problem.n_columns);
    const int64_t n = std::min(problem.n_rows, problem.n_columns);
    if (is_assignment) {
        if (n >= kFewer) draw_prices(problem, scan, columns, n / kFewer, kAmongAll);
        Auction(rows, columns).run(kAmongAll * problem.typical_cost, kLast * problem.typical_cost);
    } else draw_prices(problem, scan, columns, n, kLast);

    std::vector<int64_t> room;
    for (const int64_t column : columns.order()) room.push_back(problem.column_masses[column]);
    Paths paths(rows, columns, room);
    for (int64_t row = 0; row < rows.size(); row++) paths.send(row, problem.row_masses[row]);

    std::vector<int64_t> from, to, masses;
    for (int64_t column = 0; column < columns.size(); column++) {
        prices[columns.order()[column]] = columns.price(column);
        for (const Flow& flow : paths.flows(column)) {
            from.push_back(flow.row);
            to.push_back(columns.order()[column]);
            masses.push_back(flow.mass);
        }
    }
    receive(from.size(), from.data(), to.data(), masses.data());
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int64_t prosebench_transport_size() { return sizeof(TransportProblem); }

// Fills prices (n_columns,) and hands the optimal plan to `receive`. Returns 0, or 1 when memory runs out.
EXPORT int prosebench_transport(const TransportProblem* problem, const char* instruction_set, double* prices,
                                Receive receive) {
    try {
        solve(*problem, scan_for(instruction_set), prices, receive);
        return 0;
    } catch (const std::exception&) {
        return 1;
    }
}

// The least cost + price (n_rows,) of every row. Returns 0, or 1 when memory runs out.
EXPORT int prosebench_least_values(const TransportProblem* problem, const char* instruction_set, const double* prices,
                                   double* values) {
    try {
        Columns columns(problem->columns, problem->n_columns, problem->n_coordinates, problem->period,
                        scan_for(instruction_set));
        for (int64_t column = 0; column < columns.size(); column++)
            columns.set_price(column, prices[columns.order()[column]]);
        const Rows rows(problem->rows, problem->n_rows, columns);
        for (int64_t row = 0; row < rows.size(); row++) values[row] = rows.least_value(row);
        return 0;
    } catch (const std::exception&) {
        return 1;
    }
}
