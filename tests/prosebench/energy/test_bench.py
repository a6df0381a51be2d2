"""Measured speeds are rows: of every engine in one run, and such as the throughput figure can draw."""

import pytest

from analysis.figures.costs import throughput
from prosebench.energy import native, warp
from prosebench.energy.bench import GPU, QUANTITIES, YARDSTICK, bench_batches, bench_energy


def test_engines_are_measured_in_one_run() -> None:
    """Every engine, quantity and number of threads; the yardstick is 1, batches are far beyond it."""
    rows = bench_energy(("AA",), (1, 2), rounds=1)
    ratios = {(row["engine"], row["threads"], row["quantity"]): float(row["ratio"]) for row in rows}
    engines = {(YARDSTICK, 1), ("openmm-reference", 1)}
    if native.available():
        engines |= {("native", 1), ("native", 2)}
    if warp.why_unavailable() is None:
        engines.add((GPU, 1))
    assert ratios.keys() == {(*engine, quantity) for engine in engines for quantity in QUANTITIES}
    for quantity in QUANTITIES:
        assert ratios[YARDSTICK, 1, quantity] == 1.0
        assert not native.available() or ratios["native", 1, quantity] > 20.0
    assert all(float(row["microseconds"]) > 0.0 for row in rows)


@pytest.mark.skipif(not native.available(), reason=str(native.why_unavailable()))
def test_batches_are_measured_by_engine_and_drawn() -> None:
    rows = bench_batches(("AA",), (1, 64), rounds=2)
    series = {str(row["series"]) for row in rows}
    assert "native AA" in series
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
