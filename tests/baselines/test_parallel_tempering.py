"""Exchanges between levels: with which probability, between whom, and who goes where."""

import math
from functools import cache

import numpy as np
import pytest

from baselines.parallel_tempering import ParallelTempering
from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import Meter
from prosebench.method import Run
from prosebench.peptide import Peptide

peptide_of = cache(Peptide.from_sequence)


def run_of(budget: int = 10_000, frames: int = 100) -> Run:
    peptide = peptide_of("GG")
    return Run("cell", peptide, Meter(HarmonicTarget(peptide.start_nm), budget), (budget,), frames)


def tempering(**settings: object) -> ParallelTempering:
    return ParallelTempering(
        ParallelTempering.Settings.model_validate({"levels": 4, "hottest_kelvin": 620.0} | settings)
    )


class _Sure(np.random.Generator):
    """Uniform numbers that are all the same."""

    def __init__(self, value: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.value = value

    def random(self, size: tuple[int, ...]) -> np.ndarray:  # type: ignore[override]
        return np.full(size, self.value)


def test_levels_rise_by_equal_factors_in_every_ladder() -> None:
    kelvins = tempering(ladders=2)._temperatures(run_of())
    assert kelvins[[0, 3]] == pytest.approx([310.0, 620.0])
    np.testing.assert_allclose(kelvins[1:4] / kelvins[:3], 2 ** (1 / 3))
    np.testing.assert_array_equal(kelvins[:4], kelvins[4:])


@pytest.mark.parametrize(("colder_kt", "hotter_kt"), [(5.0, 3.0), (3.0, 5.0), (4.0, 4.0), (50.0, -10.0)])
def test_the_chance_of_an_exchange_is_that_of_detailed_balance(colder_kt: float, hotter_kt: float) -> None:
    """Reduced at 310 K, E / kT at 620 K is half: exp((1 - 1/2) (E_cold - E_hot)), at most 1."""
    method = tempering(levels=2)
    chance = min(1.0, math.exp(0.5 * (colder_kt - hotter_kt)))
    for uniform, exchanged in ((0.999 * chance, True), (min(1.001 * chance, 0.9999999), chance == 1.0)):
        order, hits, tries = method._exchange(np.array([colder_kt, hotter_kt]), 2, _Sure(uniform), run_of())
        assert (order.tolist() == [1, 0]) == exchanged
        assert (hits, tries) == (int(exchanged), 1)


@pytest.mark.parametrize(
    ("round_", "order"), [(0, [1, 0, 3, 2, 4]), (1, [0, 2, 1, 4, 3]), (2, [1, 0, 3, 2, 4])]
)
def test_neighbours_take_turns(round_: int, order: list[int]) -> None:
    """Falling energies upwards are always exchanged."""
    method = tempering(levels=5)
    found, hits, tries = method._exchange(np.arange(5.0, 0.0, -1.0), round_, _Sure(0.5), run_of())
    assert found.tolist() == order
    assert hits == tries == 2


def test_ladders_do_not_mix() -> None:
    method = tempering(levels=2, ladders=3)
    energies = np.array([9.0, 0.0, 0.0, 9.0, 9.0, 0.0])
    order, hits, tries = method._exchange(energies, 0, _Sure(0.5), run_of())
    assert order.tolist() == [1, 0, 2, 3, 5, 4]
    assert (hits, tries) == (2, 3)


def test_nobody_is_lost_whatever_is_exchanged() -> None:
    method, rng = tempering(levels=5, ladders=4), np.random.default_rng(0)
    for round_ in range(50):
        order, _, _ = method._exchange(rng.normal(scale=3.0, size=20), round_, rng, run_of())
        assert sorted(order) == list(range(20))
        assert (order // 5 == np.arange(20) // 5).all()


def test_equal_energies_at_equal_populations_leave_them() -> None:
    """Of two levels in equilibrium, exchanged or not, each keeps the mean energy of its temperature."""
    rng, method, run = np.random.default_rng(1), tempering(levels=2), run_of()
    # k coordinates of a harmonic well have k/2 kT; reduced at 310 K, twice as much at 620 K.
    energies = np.stack([rng.gamma(3.0, 1.0, 5_000), 2.0 * rng.gamma(3.0, 1.0, 5_000)], axis=1)
    after = np.array([one[method._exchange(one, 2, rng, run)[0]] for one in energies])
    assert (after != energies).any()
    for level, mean in ((0, 3.0), (1, 6.0)):
        error = after[:, level].std() / math.sqrt(len(after))
        assert abs(after[:, level].mean() - mean) < 4.0 * error


@pytest.mark.parametrize(("budget", "frames", "ladders"), [(8000, 100, 1), (8000, 100, 4), (4001, 7, 2)])
def test_frames_are_kept_evenly_after_what_is_discarded_and_all_replicas_pay(
    budget: int, frames: int, ladders: int
) -> None:
    method, run = tempering(ladders=ladders, discard=0.25), run_of(budget, frames)
    marks, replicas = method.marks(run), 4 * ladders
    assert (np.diff(marks) >= 0).all()
    assert marks[-1] == budget // replicas * replicas <= budget
    assert marks[0] > 0.25 * marks[-1]
    assert len(marks) == max(1, frames // ladders) * ladders
    assert (marks % replicas == 0).all()
    steps = np.diff(np.unique(marks)) // replicas
    assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize(
    ("budget", "settings", "said"),
    [
        (10_000, {"hottest_kelvin": 310.0}, "the hottest level, 310.0 K, is not above 310.0 K"),
        (399, {}, "a budget of 399 is less than a round of 400 evaluations"),
        (400, {}, None),
    ],
)
def test_what_cannot_be_exchanged_is_skipped(
    budget: int, settings: dict[str, float], said: str | None
) -> None:
    assert tempering(**settings).skip(run_of(budget)) == said
