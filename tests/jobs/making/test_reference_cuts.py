"""Trajectories of a reference are cut where they begin and end: each frame knows its replica and its time."""

from pathlib import Path

import numpy as np

from jobs.making.references import ReferencePlan, _build, _md_cell, ensemble_path, tempering_cell
from prosebench.energy.settings import TargetSettings
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.record import Cell
from tests.analysis.conftest import RunBuilder

SEQUENCE, REPLICAS, TIMES = "GG", 5, 30
PLAN = ReferencePlan(
    ladders=1, levels=2, tempering_ns=0.001, replicas=REPLICAS, md_ns=TIMES / 100, lag_ns=0.02, n_frames=100
)


def store(directory: Path, cell: Cell, frames: np.ndarray, energies: np.ndarray) -> None:
    ensemble = Ensemble(frames, energies, evaluations=np.full(len(frames), cell.budgets[-1]))
    RunBuilder(directory).done(cell, ensemble)


def test_frames_know_their_replica_and_their_time(tmp_path: Path) -> None:
    """As `md-replicas` stores them: all replicas of one time together. Energies say which frame is which."""
    peptide, settings = Peptide.from_sequence(SEQUENCE), TargetSettings()
    rng = np.random.default_rng(0)
    wandering = np.cumsum(rng.normal(scale=1e-3, size=(TIMES, REPLICAS, peptide.n_atoms, 3)), axis=0)
    frames = (peptide.start_nm + wandering).astype(np.float32).reshape(-1, peptide.n_atoms, 3)
    time, replica = np.divmod(np.arange(TIMES * REPLICAS), REPLICAS)
    hot = tempering_cell(SEQUENCE, PLAN, settings)
    store(tmp_path, hot, frames[:8], np.zeros(8))
    cold = _md_cell(SEQUENCE, PLAN, settings, ensemble_path(tmp_path, hot))
    store(tmp_path, cold, frames, 1000.0 * replica + time)
    made = _build(hot, cold, PLAN, tmp_path)
    np.testing.assert_array_equal(
        made.reference.ensemble.energies_kt, 1000.0 * made.reference.trajectory + made.reference.frame
    )
    assert [len(one) for one in made.trajectories] == [TIMES] * REPLICAS
    for number, one in enumerate(made.trajectories):
        np.testing.assert_array_equal(one.energies_kt, 1000.0 * number + np.arange(TIMES))
