"""What the harness costs: the arithmetic, and that whatever a worker does beside its method is seen."""

import time
from pathlib import Path

import pytest

from jobs.cells import worker
from jobs.cells.plan import lay_out, plan_cells
from jobs.making.bench import BenchFailed
from jobs.making.bench_overhead import cell_seconds, measure_cell
from prosebench.record import read_record
from prosebench.suite import Suite, load_suite

SLOW_SECONDS = 0.05


@pytest.fixture
def suite(small_suite: Path) -> Suite:
    return load_suite(str(small_suite))


def test_what_is_neither_start_up_nor_the_method_is_the_harness() -> None:
    by_phase = {"sampling": 7.0, "preparation": 1.0, "training": 0.5, "target": 6.0}
    found = cell_seconds(10.0, 13.0, 23.0, by_phase)
    assert (found.start_up, found.worked, found.method) == (3.0, 10.0, 8.5)
    assert found.overhead == pytest.approx(0.15)
    assert found.beside_target == pytest.approx(0.4)


def test_a_slow_disk_is_the_harness_and_a_slow_start_is_not(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_chunk, set_up = worker.write_chunk, worker._set_up

    def slow_write(*what: object) -> None:
        time.sleep(SLOW_SECONDS)
        write_chunk(*what)  # type: ignore[arg-type]

    def slow_start(*what: object) -> object:
        time.sleep(SLOW_SECONDS)
        return set_up(*what)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "write_chunk", slow_write)
    monkeypatch.setattr(worker, "_set_up", slow_start)
    (folder,) = lay_out(plan_cells(suite)[:1], tmp_path)
    launched = time.monotonic()
    found = measure_cell(folder, tmp_path, launched)
    took = time.monotonic() - launched
    chunks = read_record(folder).chunks
    assert chunks > 10
    assert found.worked - found.method > SLOW_SECONDS * chunks
    assert found.start_up > SLOW_SECONDS
    assert 0.98 * took < found.start_up + found.worked <= took
    assert 0.0 < found.target <= found.method
    assert 0.0 < found.overhead < found.beside_target < 1.0


def test_a_cell_that_fails_is_no_measurement(suite: Suite, tmp_path: Path) -> None:
    broken = suite.model_copy(update={"methods": {"md": {"time_step_fs": 1000.0, "warm_up_ps": 10.0}}})
    (folder, *_) = lay_out(plan_cells(broken), tmp_path)
    with pytest.raises(BenchFailed, match=r"AA-md-.*: .*time step"):
        measure_cell(folder, tmp_path, time.monotonic())
