"""Workers that meet, die or are asked to stop: locks, signs of life, chunks written once, deaths counted."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.cells import signals, worker
from jobs.cells.chunks import Overtaken, StoredChunk, write_chunk
from jobs.cells.failures import MAX_ATTEMPTS, count_chunks, may_run, note_failure, parked, read_failure
from jobs.cells.heartbeat import JOB, SILENT_SECONDS, read_beat
from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.status import read_state
from jobs.cells.worker import Desk, DiskFull, run_cell
from prosebench.energy.compiled import instruction_set
from prosebench.energy.meter import Ledger
from prosebench.ensemble import Ensemble
from prosebench.method import Carry, Chunk, Method, MethodSettings, Run
from prosebench.record import read_provenance, read_record
from prosebench.store.storage import write_json
from prosebench.suite import load_suite
from tests.jobs.conftest import results


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "run", "this session")


@pytest.fixture
def folder(small_suite: Path, desk: Desk) -> Path:
    """A cell of 1500 steps, not started."""
    return lay_out(plan_cells(load_suite(str(small_suite)))[:1], desk.directory)[0]


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> "object":
    """Makes the worker believe, after so many chunks, that it was asked to stop."""

    def stop(folder: Path, chunks: int) -> None:
        asked = lambda: signal.SIGUSR2 if count_chunks(folder) >= chunks else None  # noqa: E731
        monkeypatch.setattr(worker, "stop_asked", asked)

    return stop


def beat(folder: Path, **changed: object) -> None:
    content = {
        "pid": 1,
        "host": "elsewhere",
        "job": "",
        "session": "that session",
        "started": time.time() - 100,
        "time": time.time(),
        "first_chunk": 0,
        "first_sampling": 0,
        "chunks": 0,
        "sampling": 0,
        "preparation": 0,
        "budget": 1500,
        "stopped": False,
    }
    write_json(folder / "heartbeat.json", content | changed)


def test_a_stop_is_taken_after_a_chunk_and_the_next_sitting_ends_the_same(
    folder: Path, desk: Desk, stop_after: "object", monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(folder, 5)
    assert run_cell(folder, desk) == "stopped"
    assert count_chunks(folder) == 5
    state = read_state(folder)
    assert (state.state, state.spent) == ("waiting", 200)
    monkeypatch.undo()
    assert run_cell(folder, desk) == "done"
    interrupted = results(desk.directory)
    (folder / "record.json").unlink()
    (folder / "ensemble.npz").unlink()
    assert run_cell(folder, desk) == "done"
    assert results(desk.directory) == interrupted
    assert read_beat(folder) is None


def test_a_fresh_sign_of_life_from_another_machine_keeps_others_away(folder: Path, desk: Desk) -> None:
    beat(folder)
    assert run_cell(folder, desk) == "locked"
    beat(folder, time=time.time() - SILENT_SECONDS - 1)
    assert read_state(folder).state == "lost"
    assert run_cell(folder, desk) == "done"


@pytest.mark.parametrize("job", ["", "7_0"])
def test_a_worker_whose_clock_is_a_day_ahead_is_not_waited_for_for_ever(
    folder: Path, desk: Desk, job: str
) -> None:
    beat(folder, time=time.time() + 86_400, job=job)
    state = read_state(folder)
    assert state.state == "lost"
    assert re.search(r"the clock of elsewhere is 86,\d+ s ahead", state.reason)
    assert run_cell(folder, desk) == "done"


def test_a_restarted_job_does_not_wait_for_itself(
    folder: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JOB, "12_3")
    beat(folder, job="12_3")
    assert run_cell(folder, desk) == "done"


def test_a_chunk_is_written_once(tmp_path: Path) -> None:
    stored = StoredChunk(Chunk(None, {"x": np.array([1.0])}), Ledger(), {}, "here")
    write_chunk(tmp_path / "chunks", "cell", 0, stored)
    content = (tmp_path / "chunks" / "000000.npz").read_bytes()
    other = StoredChunk(Chunk(None, {"x": np.array([2.0])}), Ledger(), {}, "there")
    with pytest.raises(Overtaken, match="another worker"):
        write_chunk(tmp_path / "chunks", "cell", 0, other)
    assert (tmp_path / "chunks" / "000000.npz").read_bytes() == content
    assert len(list((tmp_path / "chunks").iterdir())) == 1


def test_a_worker_that_is_overtaken_leaves(
    folder: Path, desk: Desk, stop_after: "object", monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(folder, 4)
    run_cell(folder, desk)
    monkeypatch.undo()
    last = (folder / "chunks" / "000003.npz").read_bytes()
    (folder / "chunks" / "000003.npz").unlink()
    reading = worker.read_chain

    def read_and_be_overtaken(*arguments: object) -> object:
        chain = reading(*arguments)  # type: ignore[arg-type]
        (folder / "chunks" / "000003.npz").write_bytes(last)
        return chain

    monkeypatch.setattr(worker, "read_chain", read_and_be_overtaken)
    assert run_cell(folder, desk) == "locked"
    assert read_failure(folder) is None


def test_deaths_without_progress_are_counted_and_park_the_cell(folder: Path, desk: Desk) -> None:
    for attempt in range(1, MAX_ATTEMPTS):
        note_failure(folder, "earlier", "it raised")
        assert read_failure(folder)["attempts"] == attempt
    beat(folder, job="77_1", host=socket.gethostname())
    assert run_cell(folder, desk) == "failed"
    assert parked(folder)
    state = read_state(folder)
    assert state.state == "parked"
    assert "job 77_1" in state.reason


def test_a_death_after_progress_is_no_failure(folder: Path, desk: Desk, stop_after: "object") -> None:
    stop_after(folder, 3)
    run_cell(folder, desk)
    beat(folder, job="77_1", host=socket.gethostname(), chunks=3)
    run_cell(folder, desk)
    assert read_failure(folder) is None


def test_failures_at_different_places_do_not_add_up(folder: Path) -> None:
    note_failure(folder, "one", "it raised")
    note_failure(folder, "two", "it raised")
    (folder / "chunks").mkdir()
    (folder / "chunks" / "000000.npz").write_bytes(b"")
    note_failure(folder, "three", "it raised")
    assert read_failure(folder)["attempts"] == 1
    assert may_run(folder, "four")
    assert not may_run(folder, "three")


def test_a_full_disk_blames_no_cell(folder: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(worker, "write_chunk", no_room)
    with pytest.raises(DiskFull, match="no room left on the disk"):
        run_cell(folder, desk)
    assert read_failure(folder) is None
    monkeypatch.undo()
    assert run_cell(folder, desk) == "done"


def test_old_temporary_files_go_and_fresh_ones_of_others_stay(folder: Path, desk: Desk) -> None:
    mine = folder / f".record.json.{socket.gethostname()}-1.partial"
    old = folder / ".ensemble.npz.elsewhere-1.partial"
    fresh = folder / ".ensemble.npz.elsewhere-2.partial"
    for path in (mine, old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert run_cell(folder, desk) == "done"
    assert [path.exists() for path in (mine, old, fresh)] == [False, False, True]


def test_signals_are_noted_and_do_not_kill() -> None:
    code = (
        "import os, signal; from jobs.cells.signals import listen, stop_asked; listen();"
        "os.kill(os.getpid(), signal.SIGUSR2); os.kill(os.getpid(), signal.SIGTERM); print(stop_asked().name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "SIGUSR2"
    assert signals.stop_asked() is None


CARRY_BYTES, CHUNKS = 2**21, 20


class HeavyCarry(Method):
    """Evaluates the start structure once a chunk, and hands over 2 MiB."""

    class Settings(MethodSettings, extra="ignore"):
        """Takes those of any method."""

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """One frame."""
        if index:
            assert carry["heavy"][0] == index - 1
        frame = run.peptide.start_nm[None]
        ensemble = Ensemble(frame, run.meter.energy(frame), evaluations=np.array([run.meter.spent]))
        return Chunk(ensemble, {"heavy": np.full(CARRY_BYTES // 8, float(index))}, done=index == CHUNKS - 1)


def test_only_the_last_carry_stays_in_memory(
    folder: Path, desk: Desk, stop_after: "object", monkeypatch: pytest.MonkeyPatch
) -> None:
    load_method = worker.load_method
    monkeypatch.setattr(worker, "load_method", lambda _: HeavyCarry)
    peaks = []
    tracemalloc.start()
    try:
        for outcome in ("stopped", "done"):  # the second sitting starts with ten stored chunks
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            stop_after(folder, CHUNKS // 2 if outcome == "stopped" else 2 * CHUNKS)
            assert run_cell(folder, desk) == outcome
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
        monkeypatch.setattr(worker, "load_method", load_method)
    # A chunk on its way to the disk is there about four times over.
    assert max(peaks) < 8 * CARRY_BYTES
    assert read_record(folder).chunks == CHUNKS


def test_threads_are_part_of_the_provenance_alone(tmp_path: Path) -> None:
    suite = tmp_path / "replicas.toml"
    suite.write_text(
        'name = "replicas"\npeptides = ["AA"]\nbudgets = [1600]\nframes = 40\n'
        "[methods.md-replicas]\nreplicas = 40\nminimise_steps = 5\nchunk_evaluations = 800\n"
    )
    left = []
    for threads in (1, 2):
        desk = Desk(tmp_path / f"run-{threads}", "session", threads)
        (cell,) = lay_out(plan_cells(load_suite(str(suite))), desk.directory)
        assert run_cell(cell, desk) == "done"
        assert read_provenance(cell).threads == threads
        # Both are loaded in this process: pytest has imported them.
        assert read_provenance(cell).instructions == (
            f"energies {instruction_set()}; torch {torch.backends.cpu.get_cpu_capability()}"
        )
        left.append(results(desk.directory))
    assert left[0] == left[1]


class Backdated(HeavyCarry):
    """Says of each frame that it was there from the first evaluation."""

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """One frame."""
        chunk = super().chunk(run, index, carry)
        assert chunk.ensemble is not None
        return replace(chunk, ensemble=replace(chunk.ensemble, evaluations=np.array([1])))


def test_frames_that_claim_the_evaluations_of_another_chunk_fail_the_cell(
    folder: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "load_method", lambda _: Backdated)
    assert run_cell(folder, desk) == "failed"
    failure = read_failure(folder)
    assert failure is not None
    assert "claim 1 to 1 evaluations, but their chunk began at 2 and ended at 3" in failure["reason"]


def test_the_commit_is_that_of_our_own_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
        line = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "somebody else's")
    assert worker.code_commit(tmp_path) == git("rev-parse", "--short=12", "HEAD")
    installed = tmp_path / "site-packages"
    installed.mkdir()
    released = f"prosebench {version('prosebench')}"
    assert worker.code_commit(installed) == released
    # A cell is not lost where there is no git.
    monkeypatch.setenv("PATH", str(installed))
    assert worker.code_commit(tmp_path) == released
