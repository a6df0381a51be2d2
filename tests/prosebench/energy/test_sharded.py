"""Shared out over ranks, a target gives the numbers that it gives alone."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from prosebench.energy import BatchedEnergy, OpenMMEnergy
from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.sharded import ShardedTarget
from prosebench.energy.target import LangevinResult, LangevinSettings, PhaseState, Stretch, Target
from prosebench.peptide import Peptide
from prosebench.ranks import ALONE, Ranks

SIZE = 3
PEPTIDE = Peptide.from_sequence("AA")
TARGETS: dict[str, Callable[[], Target]] = {
    "native": lambda: BatchedEnergy(PEPTIDE),
    "warp": lambda: BatchedEnergy(PEPTIDE, path="warp"),
    # Not "Reference": its random numbers are of the process, and so of all threads.
    "openmm": lambda: OpenMMEnergy(PEPTIDE, platform="CPU", threads=1),
    "analytic": lambda: HarmonicTarget(PEPTIDE.start_nm),
}


class ThreadRanks(Ranks):
    """Ranks that are threads of this process."""

    def __init__(self, rank: int, said: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size = rank, len(said)
        self._said, self._barrier = said, barrier

    def gather(self, value: Any) -> list[Any]:
        self._said[self.rank] = value
        self._barrier.wait()
        everybody = list(self._said)
        self._barrier.wait()
        return everybody


def on_ranks(work: Callable[[Ranks], Any]) -> list[Any]:
    """What work gives on each of SIZE ranks."""
    said, barrier = [None] * SIZE, threading.Barrier(SIZE)
    with ThreadPoolExecutor(SIZE) as pool:
        return list(pool.map(lambda rank: work(ThreadRanks(rank, said, barrier)), range(SIZE)))


def same(found: NDArray[np.floating], expected: NDArray[np.floating], relative: float) -> None:
    """Equal, bit for bit, or up to a part of the largest number."""
    largest = np.abs(expected[np.isfinite(expected)]).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=relative * largest)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 7, 8])
def test_pieces_come_back_in_order_and_each_is_done_once(number: int) -> None:
    done: list[int] = []

    def double(piece: int) -> int:
        done.append(piece)
        return 2 * piece

    expected = [2 * piece for piece in range(number)]
    assert on_ranks(lambda ranks: ranks.map(double, range(number))) == [expected] * SIZE
    assert sorted(done) == list(range(number))
    assert ALONE.map(double, range(number)) == expected


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("number", [2, 7])
def test_energies_are_those_of_one_rank(name: str, number: int) -> None:
    frames = PEPTIDE.start_nm + np.random.default_rng(0).normal(0, 0.005, (number, PEPTIDE.n_atoms, 3))
    frames[-1] = np.nan
    # OpenMM remembers the frame before.
    tolerance = {"openmm": 1e-6}.get(name, 0.0)
    energies, gradients = TARGETS[name]().energy_and_gradient(frames)
    target = TARGETS[name]

    def both(ranks: Ranks) -> list[Any]:
        sharded = ShardedTarget(target(), ranks)
        return [sharded.energy(frames), *sharded.energy_and_gradient(frames)]

    assert np.isinf(energies[-1])
    for mine in on_ranks(both):
        for found, expected in zip(mine, (energies, energies, gradients), strict=True):
            same(found, expected, tolerance)


def test_no_frames_have_no_energies() -> None:
    frames = np.empty((0, PEPTIDE.n_atoms, 3))
    found = on_ranks(lambda ranks: ShardedTarget(TARGETS["native"](), ranks).energy(frames))
    assert [energies.shape for energies in found] == [(0,)] * SIZE


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("tempered", [False, True])
def test_dynamics_is_that_of_one_rank(name: str, tempered: bool) -> None:
    replicas = 7
    rng = np.random.default_rng(0)
    state = PhaseState(
        np.repeat(PEPTIDE.start_nm[None], replicas, axis=0),
        rng.normal(0, 0.3, (replicas, PEPTIDE.n_atoms, 3)),
    )
    temperatures = np.linspace(300.0, 600.0, replicas) if tempered else None

    def run(target: Target) -> LangevinResult:
        return target.langevin(
            state, Stretch(6, LangevinSettings(), 17, 250, np.array([2, 6]), temperatures_kelvin=temperatures)
        )

    expected = run(TARGETS[name]())
    assert len(np.unique(expected.energies_kt)) == 2 * replicas
    for found in on_ranks(lambda ranks: run(ShardedTarget(TARGETS[name](), ranks))):
        same(found.frames_nm, expected.frames_nm, 0.0)
        same(found.energies_kt, expected.energies_kt, 0.0)
        same(found.state.positions_nm, expected.state.positions_nm, 0.0)
        same(found.state.velocities_nm_ps, expected.state.velocities_nm_ps, 0.0)
        np.testing.assert_array_equal(found.failed, expected.failed)
