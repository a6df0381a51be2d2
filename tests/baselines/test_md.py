"""MD: which frames are kept, what is charged, and that chunks do not show."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.md import MD, kept_steps
from prosebench.contract import run_chunks
from prosebench.energy.dynamics import evenly_spaced
from prosebench.energy.meter import Meter
from prosebench.energy.minimise import minimised
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import concatenate
from prosebench.method import Run
from prosebench.peptide import Peptide

PEPTIDE = Peptide.from_sequence("AA")


def make_run(*budgets: int, frames: int = 50, engine: str = "batched") -> Run:
    target = make_target(PEPTIDE, TargetSettings(engine=engine))
    return Run("cell", PEPTIDE, Meter(target, budgets[-1]), budgets, frames)


@given(st.integers(1, 100_000), st.integers(1, 500))
def test_frames_are_evenly_spaced_and_end_at_the_budget(budget: int, frames: int) -> None:
    steps = evenly_spaced(budget, frames)
    assert steps[-1] == budget
    assert len(steps) == min(budget, frames)
    gaps = np.diff(steps, prepend=0)
    assert gaps.max() - gaps.min() <= 1


def test_every_budget_finds_its_frames_in_the_one_run() -> None:
    kept = kept_steps([1000, 10_000, 100_000], 100)
    for budget in (1000, 10_000, 100_000):
        assert set(evenly_spaced(budget, 100)) <= set(kept)
    assert len(kept) < 300


@pytest.mark.parametrize("engine", ["batched", "openmm"])
def test_ledger_and_frames(engine: str) -> None:
    run = make_run(200, 600, engine=engine)
    method = MD(MD.Settings(warm_up_ps=0.1, chunk_steps=130, minimise_steps=3))
    chunks = run_chunks(method, run)
    ensemble = concatenate([chunk.ensemble for chunk in chunks if chunk.ensemble is not None])
    assert run.meter.spent == 600
    assert 100 < run.meter.ledger.preparation.evaluations < 120
    np.testing.assert_array_equal(ensemble.evaluations, kept_steps([200, 600], 50))
    np.testing.assert_allclose(
        ensemble.energies_kt, make_target(PEPTIDE, TargetSettings()).energy(ensemble.positions_nm), atol=5e-3
    )


def test_the_length_of_chunks_does_not_show_on_the_batched_engine() -> None:
    short, long = (
        concatenate(
            [
                chunk.ensemble
                for chunk in run_chunks(MD(MD.Settings(warm_up_ps=0.1, chunk_steps=steps)), make_run(500))
                if chunk.ensemble is not None
            ]
        )
        for steps in (37, 500)
    )
    np.testing.assert_array_equal(short.positions_nm, long.positions_nm)


def test_minimisation_goes_down_and_is_counted() -> None:
    run = make_run(10)
    shaken = PEPTIDE.start_nm + np.random.default_rng(0).normal(scale=0.005, size=PEPTIDE.start_nm.shape)
    with run.meter.phase("preparation"):
        found = minimised(run.meter, shaken, 50)
        before, after = run.meter.energy(np.array([shaken, found]))
    assert after < before - 50
    assert run.meter.spent == 0
    assert run.meter.ledger.preparation.gradients >= 50


def test_a_time_step_that_is_too_long_is_told() -> None:
    with pytest.raises(FloatingPointError, match="shorter time step than 20"):
        run_chunks(MD(MD.Settings(time_step_fs=20.0, warm_up_ps=0)), make_run(2000))
