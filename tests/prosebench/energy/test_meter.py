"""The meter counts every frame and stops at the budget, exactly."""

from dataclasses import replace
from types import FunctionType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import Account, BudgetExhausted, Counts, Ledger, Meter, count_calls
from prosebench.energy.target import LangevinResult, LangevinSettings, PhaseState, Stretch

CENTRE = np.zeros((4, 3))
NOTHING = np.array([], dtype=np.int64)


def make_meter(budget: int) -> Meter:
    return Meter(HarmonicTarget(CENTRE), budget)


def frames(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.01, size=(n, 4, 3))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
    meter.langevin(state, Stretch(10, LangevinSettings(), 1))
    assert meter.spent == 30
    with pytest.raises(BudgetExhausted) as stopped:
        meter.langevin(state, Stretch(100, LangevinSettings(), 1, 10, np.array([20, 24], dtype=np.int64)))
    assert meter.spent == 99
    assert stopped.value.result.frames_nm.shape == (1, 3, 4, 3)


def test_failures_are_counted_and_paid_for() -> None:
    meter, positions = make_meter(10), frames(4)
    positions[2, 0, 0] = np.nan
    energies = meter.energy(positions)
    assert np.isinf(energies[2])
    assert np.isfinite(np.delete(energies, 2)).all()
    assert (meter.ledger.sampling.failures, meter.spent) == (1, 4)


class Falling(HarmonicTarget):
    """Replicas that start beyond all numbers fail, as those of real engines do."""

    def langevin(self, state: PhaseState, stretch: Stretch) -> LangevinResult:
        failed = ~np.isfinite(state.positions_nm).all(axis=(1, 2))
        return replace(super().langevin(state, stretch), failed=failed)


@pytest.mark.parametrize("call", ["energy", "energy_and_gradient", "langevin"])
def test_every_failure_counts_whatever_the_call(call: str) -> None:
    """Two of four frames, or of four replicas; an evaluation that failed is paid for like any other."""
    meter, positions = Meter(Falling(CENTRE), 10), frames(4)
    positions[1:3, 0, 0] = np.nan
    if call == "langevin":
        meter.langevin(PhaseState(positions, np.zeros((4, 4, 3))), Stretch(1, LangevinSettings(), 1))
    else:
        getattr(meter, call)(positions)
    counts = meter.ledger.sampling
    assert (counts.failures, counts.evaluations) == (2, 4)
    assert counts.energies == (0 if call == "langevin" else 4)
    assert counts.gradients == (0 if call == "energy" else 4)


def test_training_is_paid_for_out_of_the_budget() -> None:
    meter = make_meter(10)
    with meter.phase("training"):
        meter.energy(frames(6))
        with pytest.raises(BudgetExhausted) as stopped:
            meter.energy(frames(6))
    assert stopped.value.granted == 4
    assert (meter.spent, meter.ledger.preparation.evaluations) == (10, 0)


def test_preparation_stands_apart_from_the_budget() -> None:
    meter = make_meter(5)
    with meter.phase("preparation"):
        meter.energy(frames(50))
    assert meter.spent == 0
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


def objects_of_attributes(thing: object) -> list[object]:
    """A thing, what its attributes hold, what theirs hold, and so on; functions and classes are not looked into."""
    found, todo = [], [thing]
    while todo:
        one = todo.pop()
        if any(one is other for other in found):
            continue
        found.append(one)
        if isinstance(one, (int, float, str, bytes, type, np.ndarray, FunctionType, BaseModel)):
            continue
        names = [name for name in dir(one) if not (name.startswith("__") and name.endswith("__"))]
        todo += [getattr(one, name) for name in names]
        todo += list(one) if isinstance(one, tuple) else []
    return found


def test_no_attribute_leads_to_the_target_or_the_account() -> None:
    account = Account()
    target = HarmonicTarget(CENTRE)
    meter = Meter(target, 10, account)
    reached = objects_of_attributes(meter)
    assert len(reached) > 20
    assert not [one for one in reached if isinstance(one, (HarmonicTarget, Account))]


def test_nothing_about_a_meter_can_be_set() -> None:
    meter = make_meter(10)
    for name, value in (
        ("budget", 99),
        ("ledger", Ledger()),
        ("_calls", None),
        ("energy", print),
        ("new", 1),
    ):
        with pytest.raises(AttributeError):
            setattr(meter, name, value)
    with pytest.raises(AttributeError):
        del meter.ledger
    meter.energy(frames(4))
    meter.ledger.sampling.evaluations = 0
    assert (meter.budget, meter.spent, meter.ledger.sampling.evaluations) == (10, 4, 4)


def test_what_looks_shorter_than_it_is_pays_for_all() -> None:
    class Short(np.ndarray):
        def __len__(self) -> int:
            return 1

    meter = make_meter(100)
    assert len(meter.energy(frames(7).view(Short))) == meter.spent == 7


def test_a_ledger_is_taken_over_forwards_only() -> None:
    meter = make_meter(100)
    meter.energy(frames(3))
    earlier = Ledger(sampling=Counts(evaluations=2))
    with pytest.raises(
        ValueError, match="3 evaluations of sampling were spent here; a ledger of 2 takes some back"
    ):
        meter.take_over(earlier)
    meter.take_over(Ledger(sampling=Counts(evaluations=40), preparation=Counts(evaluations=7)))
    assert (meter.remaining, meter.ledger.preparation.evaluations) == (60, 7)


def test_an_unknown_phase_is_refused() -> None:
    known = "known: sampling, preparation, training"
    with pytest.raises(ValueError, match=known), make_meter(1).phase("target"):  # type: ignore[arg-type]
        pass


def test_calls_of_a_target_are_counted_whoever_makes_them() -> None:
    target, asked = count_calls(HarmonicTarget(CENTRE))
    meter = Meter(target, 20)
    meter.energy(frames(3))
    meter.langevin(PhaseState(frames(2), np.zeros((2, 4, 3))), Stretch(5, LangevinSettings(), 1))
    assert asked() == meter.spent == 13
    with pytest.raises(BudgetExhausted):
        meter.energy_and_gradient(frames(30))
    assert asked() == meter.spent == 20
    target.energy(frames(4))
    assert asked() == 24
    assert not hasattr(target, "target")
