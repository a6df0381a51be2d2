"""Trajectories of a reference are cut where they begin and end: each frame knows its replica and its time."""

from pathlib import Path

import numpy as np

from jobs.making.references import (
    MadeReference,
    ReferencePlan,
    _build,
    _md_cell,
    ensemble_path,
    tempering_cell,
)
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.record import Cell
from prosebench.reference.fixed_point import on_grid
from tests.analysis.conftest import RunBuilder

SEQUENCE, REPLICAS, TIMES = "GG", 5, 30
PLAN = ReferencePlan(
    ladders=1, levels=2, tempering_ns=0.001, replicas=REPLICAS, md_ns=TIMES / 100, lag_ns=0.02, n_frames=100
)


def store(directory: Path, cell: Cell, frames: np.ndarray, energies: np.ndarray) -> None:
    ensemble = Ensemble(frames, energies, evaluations=np.full(len(frames), cell.budgets[-1]))
    RunBuilder(directory).done(cell, ensemble)


def build(directory: Path) -> tuple[np.ndarray, MadeReference]:
    """Frames of wandering replicas as `md-replicas` stores them, and the reference made of them."""
    peptide, settings = Peptide.from_sequence(SEQUENCE), TargetSettings()
    rng = np.random.default_rng(0)
    wandering = np.cumsum(rng.normal(scale=1e-3, size=(TIMES, REPLICAS, peptide.n_atoms, 3)), axis=0)
    frames = (peptide.start_nm + wandering).astype(np.float32).reshape(-1, peptide.n_atoms, 3)
    hot = tempering_cell(SEQUENCE, PLAN, settings)
    store(directory, hot, frames[:8], np.zeros(8))
    cold = _md_cell(SEQUENCE, PLAN, settings, ensemble_path(directory, hot))
    store(directory, cold, frames, np.zeros(TIMES * REPLICAS))
    return frames, _build(hot, cold, PLAN, directory)


def test_frames_know_their_replica_and_their_time(tmp_path: Path) -> None:
    """As `md-replicas` stores them: all replicas of one time together. Positions say which frame is which."""
    frames, made = build(tmp_path)
    own = made.reference
    place = own.frame * REPLICAS + own.trajectory
    np.testing.assert_allclose(own.ensemble.positions_nm, centred(frames)[place], atol=3e-5)
    assert [len(one) for one in made.trajectories] == [TIMES] * REPLICAS
    for number, one in enumerate(made.trajectories):
        np.testing.assert_allclose(one.positions_nm, centred(frames)[number::REPLICAS], atol=3e-5)


def test_energies_are_those_of_the_stored_frames(tmp_path: Path) -> None:
    """Frames are rounded before they are kept, and what dynamics said of their energies is not what is stored."""
    made = build(tmp_path)[1]
    target = make_target(made.reference.peptide, TargetSettings())
    np.testing.assert_array_equal(
        target.energy(made.reference.ensemble.positions_nm), made.reference.ensemble.energies_kt
    )
    assert on_grid(made.reference.ensemble.positions_nm)


def centred(frames: np.ndarray) -> np.ndarray:
    return frames - frames.mean(axis=1, keepdims=True)
