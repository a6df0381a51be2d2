"""The meter counts every frame and stops at the budget, exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import BudgetExhausted, Meter
from prosebench.energy.target import LangevinSettings, PhaseState

CENTRE = np.zeros((4, 3))
NOTHING = np.array([], dtype=np.int64)


def make_meter(budget: int) -> Meter:
    return Meter(HarmonicTarget(CENTRE), budget)


def frames(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.01, size=(n, 4, 3))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=20), st.integers(0, 200))
def test_no_sequence_of_calls_overspends(calls: list[tuple[bool, int]], budget: int) -> None:
    meter = make_meter(budget)
    asked = 0
    for with_gradient, n in calls:
        asked += n
        try:
            (meter.energy_and_gradient if with_gradient else meter.energy)(frames(n))
        except BudgetExhausted:
            break
    assert meter.spent == min(asked, budget)
    assert meter.remaining == budget - meter.spent


def test_an_overspending_call_is_stopped_at_the_exact_frame_and_its_result_is_kept() -> None:
    meter, positions = make_meter(10), frames(16)
    with pytest.raises(BudgetExhausted, match="budget of 10 evaluations") as stopped:
        meter.energy(positions)
    np.testing.assert_array_equal(stopped.value.result, HarmonicTarget(CENTRE).energy(positions[:10]))
    assert stopped.value.granted == 10
    with pytest.raises(BudgetExhausted) as again:
        meter.energy(positions)
    assert again.value.granted == 0


def test_energy_and_gradient_of_one_frame_are_one_evaluation() -> None:
    meter = make_meter(100)
    meter.energy(frames(3))
    meter.energy_and_gradient(frames(5))
    counts = meter.ledger.sampling
    assert (counts.evaluations, counts.energies, counts.gradients) == (8, 8, 5)


def test_a_step_of_every_replica_is_an_evaluation() -> None:
    meter = make_meter(100)
    state = PhaseState(frames(3), np.zeros((3, 4, 3)))
    meter.langevin(state, 10, LangevinSettings(), 1, 0, NOTHING)
    assert meter.spent == 30
    with pytest.raises(BudgetExhausted) as stopped:
        meter.langevin(state, 100, LangevinSettings(), 1, 10, np.array([20, 24], dtype=np.int64))
    assert meter.spent == 99
    assert stopped.value.result.frames_nm.shape == (1, 3, 4, 3)


def test_failures_are_counted_and_paid_for() -> None:
    meter, positions = make_meter(10), frames(4)
    positions[2, 0, 0] = np.nan
    energies = meter.energy(positions)
    assert np.isinf(energies[2])
    assert np.isfinite(np.delete(energies, 2)).all()
    assert (meter.ledger.sampling.failures, meter.spent) == (1, 4)


def test_preparation_stands_apart_from_the_budget() -> None:
    meter = make_meter(5)
    with meter.phase("preparation"):
        meter.energy(frames(50))
    meter.energy(frames(5))
    assert meter.ledger.preparation.evaluations == 50
    assert meter.spent == 5


def test_phases_are_clocked_apart() -> None:
    meter = make_meter(1000)
    with meter.phase("sampling"):
        with meter.phase("training"):
            sum(range(200_000))
        meter.energy(frames(10))
    assert meter.clock.training > 0
    assert meter.clock.sampling > 0
    assert meter.clock.sampling + meter.clock.training > meter.clock.target > 0


def test_a_method_has_no_other_way_to_the_target() -> None:
    public = [name for name in dir(make_meter(1)) if not name.startswith("_")]
    assert "target" not in public
