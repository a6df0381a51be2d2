"""Whatever a method does, `prosebench check` says it in one line and ends with a status that is not 0."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prosebench import contract
from prosebench.check.case import Case
from prosebench.ensemble import Ensemble
from prosebench.method import Carry, Chunk, Method, Run, all_methods, load_method


class _Base(Method):
    """Evaluates the start; those below return something else."""

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        frames = np.repeat(run.peptide.start_nm[None], min(10, run.meter.remaining), axis=0)
        energies, spent = run.meter.energy(frames), np.full(len(frames), run.meter.spent)
        return self.give(frames, energies, spent)

    def give(self, frames: np.ndarray, energies: np.ndarray, spent: np.ndarray) -> Chunk:
        raise RuntimeError("no idea")


class _None(_Base):
    def give(self, frames, energies, spent):
        return None


class _Object(_Base):
    def give(self, frames, energies, spent):
        return Chunk(Ensemble(frames, energies, None, spent), {"model": object()})


class _Ragged(_Base):
    def give(self, frames, energies, spent):
        return Chunk(Ensemble(frames, energies, None, spent), {"lists": [[1], [1, 2]]})


class _NoMapping(_Base):
    def give(self, frames, energies, spent):
        return Chunk(Ensemble(frames, energies, None, spent), None)


class _Frames(_Base):
    def give(self, frames, energies, spent):
        return Chunk(frames, {})


class _NaNWeights(_Base):
    def give(self, frames, energies, spent):
        return Chunk(Ensemble(frames, energies, np.full(len(frames), np.nan), spent), {})


class _InfiniteWeights(_Base):
    def give(self, frames, energies, spent):
        return Chunk(Ensemble(frames, energies, np.full(len(frames), np.inf), spent), {})


class _NaNEnergies(_Base):
    def give(self, frames, energies, spent):
        return Chunk(Ensemble(frames, energies * np.nan, None, spent), {})


class _Shapes(_Base):
    def give(self, frames, energies, spent):
        return Chunk(Ensemble(frames[:, :, :2], energies, None, spent), {})


class _Atoms(_Base):
    def give(self, frames, energies, spent):
        return Chunk(Ensemble(frames[:, :5], energies, None, spent), {})


class _Claimless(_Base):
    def give(self, frames, energies, spent):
        return Chunk(Ensemble(frames, energies), {})


class _Exit(_Base):
    def give(self, frames, energies, spent):
        sys.exit(0)


class _Empty(_Base):
    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        return Chunk(None, {})


class _NoFrames(_Base):
    def give(self, frames, energies, spent):
        return Chunk(Ensemble(frames[:0], energies[:0], None, spent[:0]), {}, done=True)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (_Base, "raised RuntimeError: no idea (test_misbehaviour.py, line"),
        (_None, "chunk() returned None"),
        (_Object, "'model' in the carry is of type object"),
        (_Ragged, "'lists' in the carry is of type list"),
        (_NoMapping, "`carry` of a chunk is None, not arrays by name"),
        (_Frames, "`ensemble` of a chunk is of type ndarray"),
        (_NaNWeights, "log_weights of 1 of 1 frames is NaN or +inf"),
        (_InfiniteWeights, "log_weights of 1 of 1 frames is NaN or +inf"),
        (_NaNEnergies, "energies_kt of 1 of 1 frames is NaN or -inf"),
        (_Shapes, "positions_nm has shape (1, 23, 2)"),
        (_Atoms, "frames have 5 atoms; the peptide has 23"),
        (_Claimless, "frames come without `evaluations`"),
        (_Exit, "called sys.exit(0) (test_misbehaviour.py, line"),
        (_Empty, "1000 chunks in a row spent nothing"),
        (_NoFrames, "1 chunks, and not a single frame among them"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_it_is_a_line_of_the_report(method: type[Method], said: str, tmp_path: Path) -> None:
    passed, seen = contract.outcome(contract.budget_is_kept, Case(method, tmp_path))
    assert not passed
    assert said in seen
    assert "\n" not in seen


STRANGE = """
import os, sys
from prosebench.method import Chunk, Method

class Exit(Method):
    def chunk(self, run, index, carry):
        sys.exit(0)

class HardExit(Method):
    def chunk(self, run, index, carry):
        os._exit(0)

class NoChunk(Method):
    pass

class BadSettings(Method):
    contract_settings = {"no_such": 1}
    def chunk(self, run, index, carry):
        raise ValueError

nothing = 7
"""
POINTS = """[prosebench.methods]
x-exit = strange:Exit
x-hard-exit = strange:HardExit
x-no-chunk = strange:NoChunk
x-no-class = strange:nothing
x-no-module = stranger:Nothing
x-no-name = strange:Missing
x-import-exits = strange_exit:Nothing
x-bad-settings = strange:BadSettings
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "strange.py").write_text(STRANGE)
    (folder / "strange_exit.py").write_text("raise SystemExit(0)\n")
    info = folder / "strange-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    return folder


def _prosebench(plugin: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "prosebench.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x-exit", "called sys.exit(0)"),
        ("x-hard-exit", "the method ended the process of the check with exit code 0"),
        ("x-no-chunk", "does not define chunk"),
        ("x-no-module", "cannot be imported: ModuleNotFoundError: No module named 'stranger'"),
        ("x-import-exits", "cannot be imported: SystemExit: 0"),
        ("x-bad-settings", "no_such"),
    ],
)
def test_the_command_fails_with_a_line(name: str, said: str, plugin: Path) -> None:
    done = _prosebench(plugin, "check", name)
    assert done.returncode == 1, done.stdout + done.stderr
    assert said in done.stdout
    assert "FAIL" in done.stdout
    assert "breaks the contract" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_broken_plug_ins_end_no_list(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(plugin))
    methods = all_methods()
    assert methods["md"] is load_method("md")
    assert "is not a subclass of prosebench.method.Method" in str(methods["x-no-class"])
    assert "has no attribute 'Missing'" in str(methods["x-no-name"])
    done = _prosebench(plugin, "list", "methods")
    assert done.returncode == 0, done.stderr
    assert "reference-draw" in done.stdout
    for name in ("x-no-class", "x-no-module", "x-import-exits"):
        assert name in done.stdout
