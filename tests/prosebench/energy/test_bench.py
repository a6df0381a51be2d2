"""Measured speeds are rows that the throughput figure can draw."""

from analysis.figures_costs import throughput
from prosebench.energy.bench import bench_batches


def test_batches_are_measured_by_engine_and_drawn() -> None:
    rows = bench_batches(("AA",), (1, 64), rounds=2)
    series = {str(row["series"]) for row in rows}
    assert "torch AA" in series
    assert len(rows) == 2 * 2 * len(series)
    for name in series:
        slow, fast = (
            max(
                float(row["evaluations_per_second"])
                for row in rows
                if (row["series"], row["batch"]) == (name, n)
            )
            for n in (1, 64)
        )
        assert 0.0 < slow < fast
    figure = throughput(rows, "batch")
    assert figure is not None
    assert {line.get_label() for line in figure.axes[0].lines} == series
