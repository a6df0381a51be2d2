"""A worker keeps its own books: methods that cheat with the meter fail their cell, and say nothing to the record."""

import sys
from pathlib import Path

import numpy as np
import pytest

from jobs.cells import worker
from jobs.cells.failures import read_failure
from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.worker import Desk, run_cell
from prosebench.energy import meter as meters
from prosebench.energy.meter import Ledger, Meter
from prosebench.ensemble import Ensemble
from prosebench.method import Carry, Chunk, Method, MethodSettings, Run
from prosebench.record import read_record
from prosebench.suite import load_suite


class _Frames(Method):
    """Evaluates the start structure 100 times a chunk; those below do so at a discount."""

    class Settings(MethodSettings, extra="ignore"):
        """Takes those of any method."""

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """100 frames, or those that are left."""
        frames = np.repeat(run.peptide.start_nm[None], min(100, run.meter.remaining), axis=0)
        before = run.meter.spent
        energies = self.energies(run, frames)
        # So many were paid for, whatever is claimed.
        claims = np.clip(before + np.arange(1, len(frames) + 1), None, run.meter.spent)
        return Chunk(Ensemble(frames, energies, evaluations=claims), {})

    def energies(self, run: Run, frames: np.ndarray) -> np.ndarray:
        """Honest ones."""
        return run.meter.energy(frames)


class _Private(_Frames):
    def energies(self, run: Run, frames: np.ndarray) -> np.ndarray:
        return run.meter._target.energy(frames)  # type: ignore[attr-defined]


class _Resets(_Frames):
    def energies(self, run: Run, frames: np.ndarray) -> np.ndarray:
        run.meter.ledger = Ledger()  # type: ignore[misc]
        return run.meter.energy(frames)


class _Lengthens(_Frames):
    def energies(self, run: Run, frames: np.ndarray) -> np.ndarray:
        run.meter.budget = 10**9  # type: ignore[misc]
        return run.meter.energy(frames)


class _Burgles(_Frames):
    """Takes the target out of the variables of the meter's functions, and pays for one frame only."""

    def energies(self, run: Run, frames: np.ndarray) -> np.ndarray:
        cells = [cell.cell_contents for cell in run.meter._calls.energy.__closure__]
        target = next(found for found in cells if hasattr(found, "energy_and_gradient"))
        return np.append(run.meter.energy(frames[:1]), target.energy(frames[1:]))


class _Forges(_Frames):
    """Takes the account out of the variables of the meter's functions, and sets it back."""

    def energies(self, run: Run, frames: np.ndarray) -> np.ndarray:
        energies = run.meter.energy(frames)
        cells = [cell.cell_contents for cell in run.meter._calls.spent.__closure__]
        next(found for found in cells if hasattr(found, "ledger")).ledger.sampling.evaluations = 1
        return energies


class _Patches(_Frames):
    """Has every meter say that nothing was spent."""

    def energies(self, run: Run, frames: np.ndarray) -> np.ndarray:
        Meter.spent = property(lambda meter: 0)  # type: ignore[method-assign,assignment]
        Meter.ledger = property(lambda meter: Ledger())  # type: ignore[method-assign,assignment]
        return run.meter.energy(frames)


class _Hides(_Frames):
    """Calls it preparation, of which it has declared none."""

    def energies(self, run: Run, frames: np.ndarray) -> np.ndarray:
        with run.meter.phase("preparation"):
            prepared = run.meter.energy(frames[1:])
        return np.append(run.meter.energy(frames[:1]), prepared)


class _Exits(_Frames):
    def energies(self, run: Run, frames: np.ndarray) -> np.ndarray:
        sys.exit(0)


class _Nothing(_Frames):
    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        return None  # type: ignore[return-value]


@pytest.fixture
def folder(small_suite: Path, tmp_path: Path) -> Path:
    return lay_out(plan_cells(load_suite(str(small_suite)))[:1], tmp_path / "run")[0]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (_Private, "no attribute '_target'"),
        (_Resets, "ledger of a meter cannot be set"),
        (_Lengthens, "budget of a meter cannot be set"),
        (_Burgles, "the target was asked for 100 evaluations, but the meter counted 1"),
        (_Forges, "the target was asked for 100 evaluations, but the meter counted 1"),
        (_Patches, "frames claim 0 to 0 evaluations, but their chunk began at 100 and ended at 200"),
        (_Hides, "99 evaluations were spent on preparation, but preparation() declares 0 at most"),
        (_Exits, "called sys.exit(0)"),
        (_Nothing, "chunk() returned None"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_cheats_fail_their_cell(
    method: type[Method], said: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "load_method", lambda _: method)
    kept = {name: getattr(meters.Meter, name) for name in ("spent", "ledger")}
    try:
        assert run_cell(folder, Desk(tmp_path / "run", "session")) == "failed"
    finally:
        for name, value in kept.items():
            setattr(meters.Meter, name, value)
    failure = read_failure(folder)
    assert failure is not None
    assert said in failure["reason"]
    assert not (folder / "record.json").exists()


def test_an_honest_method_is_done(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "load_method", lambda _: _Frames)
    assert run_cell(folder, Desk(tmp_path / "run", "session")) == "done"
    record = read_record(folder)
    assert (record.ledger.sampling.evaluations, record.frames) == (1500, 1500)
