"""Trajectories of a reference are cut where they begin and end: each frame knows its replica and its time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jobs.making.reference_plan import ReferencePlan
from jobs.making.references import (
    MadeReference,
    _build,
    _Making,
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
    ladders=1,
    levels=2,
    tempering_ns=0.001,
    replicas=REPLICAS,
    md_ns=TIMES / 100,
    lag_ns=0.02,
    n_frames=100,
    flow_replicas=REPLICAS,
    flow_rounds=TIMES,
)
WITHOUT_FLOW = replace(PLAN, flow="")


def store(directory: Path, cell: Cell, frames: np.ndarray, energies: np.ndarray) -> None:
    ensemble = Ensemble(frames, energies, evaluations=np.full(len(frames), cell.budgets[-1]))
    RunBuilder(directory).done(cell, ensemble)


def wandering(seed: int) -> np.ndarray:
    """Frames of wandering replicas as `md-replicas` and `md-flow` store them."""
    peptide, rng = Peptide.from_sequence(SEQUENCE), np.random.default_rng(seed)
    steps = np.cumsum(rng.normal(scale=1e-3, size=(TIMES, REPLICAS, peptide.n_atoms, 3)), axis=0)
    return (peptide.start_nm + steps).astype(np.float32).reshape(-1, peptide.n_atoms, 3)


def build(directory: Path, plan: ReferencePlan) -> tuple[np.ndarray, np.ndarray, MadeReference]:
    """Frames of plain MD and of replicas with a flow, and the reference made of them."""
    settings, plain, with_flow = TargetSettings(), wandering(0), wandering(1)
    hot = tempering_cell(SEQUENCE, plan, settings)
    store(directory, hot, plain[:8], np.zeros(8))
    making = _Making.of(hot, plan, settings, ensemble_path(directory, hot))
    store(directory, making.plain, plain, np.zeros(len(plain)))
    if making.with_flow is not None:
        store(directory, making.with_flow, with_flow, np.zeros(len(with_flow)))
    return plain, with_flow, _build(making, plan, directory)


@pytest.mark.parametrize("plan", [PLAN, WITHOUT_FLOW], ids=["flow", "plain"])
def test_frames_know_their_replica_and_their_time(plan: ReferencePlan, tmp_path: Path) -> None:
    """All replicas of one time are stored together. Positions say which frame is which, and of which cell."""
    plain, with_flow, made = build(tmp_path, plan)
    own, frames = made.reference, with_flow if plan.flow else plain
    place = own.frame * REPLICAS + own.trajectory
    np.testing.assert_allclose(own.ensemble.positions_nm, centred(frames)[place], atol=3e-5)
    assert [len(one) for one in made.trajectories] == [TIMES] * REPLICAS
    for number, one in enumerate(made.trajectories):
        np.testing.assert_allclose(one.positions_nm, centred(frames)[number::REPLICAS], atol=3e-5)


def test_slow_modes_are_those_of_plain_md(tmp_path: Path) -> None:
    """Jumps have no time: the same basis with and without a flow, and plain MD stands beside the frames."""
    _, _, with_flow = build(tmp_path / "flow", PLAN)
    plain, _, without = build(tmp_path / "plain", WITHOUT_FLOW)
    assert with_flow.reference.tica.hash == without.reference.tica.hash
    np.testing.assert_allclose(
        np.sort(with_flow.others["plain-md"].positions_nm, axis=0), np.sort(centred(plain), axis=0), atol=3e-5
    )
    assert set(without.others) == {"tempering"}
    assert "md-flow" in with_flow.reference.source["made_by"]
    assert set(with_flow.reference.source["cells"]) == {"parallel-tempering", "md-replicas", "md-flow"}


def test_energies_are_those_of_the_stored_frames(tmp_path: Path) -> None:
    """Frames are rounded before they are kept, and what dynamics said of their energies is not what is stored."""
    made = build(tmp_path, PLAN)[2]
    target = make_target(made.reference.peptide, TargetSettings())
    np.testing.assert_array_equal(
        target.energy(made.reference.ensemble.positions_nm), made.reference.ensemble.energies_kt
    )
    assert on_grid(made.reference.ensemble.positions_nm)


def test_a_peptide_that_the_flow_does_not_know_is_made_by_plain_md() -> None:
    assert PLAN.has_flow("ARIP")
    assert not PLAN.has_flow("ARIPA")
    assert not WITHOUT_FLOW.has_flow("ARIP")


def centred(frames: np.ndarray) -> np.ndarray:
    return frames - frames.mean(axis=1, keepdims=True)
