"""The path from a proposal to a target: weights, effective shares and times against closed forms; and the dead."""

import math
import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from baselines.annealing import (
    BLOCK,
    Points,
    State,
    blocks,
    conditional_ess,
    joined,
    langevin_move,
    next_time,
    reweighted,
    stream,
)
from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import Meter
from prosebench.method import Run
from prosebench.peptide import Peptide

N, ATOMS = 6, 3
EQUAL = np.full(N, -math.log(N))


def points(seed: int = 0, dead: tuple[int, ...] = ()) -> Points:
    rng = np.random.default_rng(seed)
    log_ratio = rng.normal(size=N)
    log_ratio[list(dead)] = -np.inf
    gradients = rng.normal(size=(2, N, ATOMS, 3)).astype(np.float32)
    gradients[:, list(dead)] = 0.0
    frames = rng.normal(size=(N, ATOMS, 3)).astype(np.float32)
    return Points(frames, rng.normal(size=N), rng.normal(size=N), log_ratio, gradients[0], gradients[1])


def test_the_density_goes_from_the_proposals_to_the_targets() -> None:
    some = points(dead=(2,))
    alive = some.alive
    assert alive.sum() == N - 1
    np.testing.assert_allclose(some.log_density(0.0)[alive], some.log_q[alive])
    np.testing.assert_allclose(some.log_density(1.0)[alive], (some.log_q + some.log_ratio)[alive])
    halves = 0.5 * (some.log_density(0.0) + some.log_density(1.0))
    np.testing.assert_allclose(some.log_density(0.5)[alive], halves[alive])
    # At time 0, where nothing but q counts, the dead are dead all the same.
    assert np.isneginf(some.log_density(0.0)[2])
    np.testing.assert_allclose(
        some.force(0.3), some.log_q_gradient + 0.3 * some.log_ratio_gradient.astype(float), rtol=1e-12
    )


def test_points_are_picked_mixed_and_joined_row_by_row() -> None:
    one, other = points(0), points(1)
    condition = np.arange(N) % 2 == 0
    mixed = one.where(condition, other)
    again = joined([one.select(slice(0, 2)), one.select(np.arange(2, N))])
    for name, array in mixed.arrays().items():
        np.testing.assert_array_equal(array[condition], one.arrays()[name][condition])
        np.testing.assert_array_equal(array[~condition], other.arrays()[name][~condition])
        np.testing.assert_array_equal(again.arrays()[name], one.arrays()[name])
        assert array.dtype == one.arrays()[name].dtype


def test_what_is_declared_dead_neither_counts_nor_pulls() -> None:
    some = points().alive_only(np.arange(N) != 4)
    assert some.alive.tolist() == [True] * 4 + [False, True]
    assert not some.force(0.7)[4].any()
    assert some.log_ratio_gradient.dtype == np.float32


@pytest.mark.parametrize("change", [0.0, 0.25, 1.0])
def test_reweighting_gives_normalised_weights_and_the_mean_of_what_they_grew_by(change: float) -> None:
    some = points(dead=(1,))
    weights, grown = reweighted(EQUAL, some.log_ratio, change)
    shares = np.where(some.alive, np.exp(change * np.where(some.alive, some.log_ratio, 0.0)), 0.0)
    assert grown == pytest.approx(math.log(shares.mean()))
    np.testing.assert_allclose(np.exp(weights), shares / shares.sum())


def test_two_steps_are_one() -> None:
    ratio = points().log_ratio
    once, whole = reweighted(EQUAL, ratio, 0.7)
    half, first = reweighted(EQUAL, ratio, 0.3)
    twice, second = reweighted(half, ratio, 0.4)
    np.testing.assert_allclose(twice, once, rtol=1e-12)
    assert first + second == pytest.approx(whole)


def test_where_all_are_dead_the_remedy_is_said() -> None:
    with pytest.raises(FloatingPointError, match=r"none of 6 particles has a finite energy .* lower epsilon"):
        reweighted(EQUAL, np.full(N, -np.inf), 0.5)
    assert conditional_ess(EQUAL, np.full(N, -np.inf), 0.5) == 0.0


def test_effective_shares_by_hand() -> None:
    assert conditional_ess(EQUAL, np.full(N, 3.0), 0.5) == pytest.approx(1.0)
    # Half are dead: half are left, whatever their weights.
    half = np.array([0.0, 0.0, 0.0, -np.inf, -np.inf, -np.inf])
    assert conditional_ess(EQUAL, half, 0.1) == pytest.approx(0.5)
    # One weighs e times as much as each of five others.
    one = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert conditional_ess(EQUAL, one, 1.0) == pytest.approx((math.e + 5) ** 2 / (6 * (math.e**2 + 5)))


def test_the_largest_ratio_overflows_nothing() -> None:
    ratio = np.array([5000.0, 4999.0, 0.0, 0.0, 0.0, -5000.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = conditional_ess(EQUAL, ratio, 1.0)
    assert found == pytest.approx((1 + math.exp(-1)) ** 2 / (6 * (1 + math.exp(-2))))


@pytest.mark.parametrize("least", [0.3, 0.5, 0.9, 0.99])
def test_the_next_time_is_as_late_as_the_effective_share_allows(least: float) -> None:
    ratio = 20.0 * points().log_ratio
    t = next_time(EQUAL, ratio, 0.2, least)
    assert 0.2 < t <= 1.0
    assert conditional_ess(EQUAL, ratio, t - 0.2) >= least
    assert conditional_ess(EQUAL, ratio, t - 0.2 + 1e-6) < least


def test_a_proposal_that_is_the_target_goes_there_in_one_step() -> None:
    assert next_time(EQUAL, np.full(N, 3.0), 0.0, 0.999) == 1.0


def test_blocks_share_streams_wherever_one_begins() -> None:
    assert blocks(0) == []
    assert [one.stop - one.start for one in blocks(2 * BLOCK + 1)] == [BLOCK, BLOCK, 1]
    assert blocks(2 * BLOCK + 1)[1:] == blocks(2 * BLOCK + 1, BLOCK)


def test_no_two_purposes_steps_or_blocks_have_the_same_numbers() -> None:
    peptide = Peptide.from_sequence("GG")
    run = Run("cell", peptide, Meter(HarmonicTarget(peptide.start_nm), 1), (1,), 1)
    draws = {
        (purpose, step, first): stream(run, purpose, step, first).random()
        for purpose in (1, 2, 3)
        for step in (0, 1, 2)
        for first in (0, BLOCK)
    }
    assert len(set(draws.values())) == len(draws)
    assert stream(run, 2, 1, BLOCK).random() == draws[2, 1, BLOCK]


def test_a_state_comes_back_from_its_arrays() -> None:
    state = State(points(), EQUAL, np.arange(N), 3, 0.25, math.nan, 1e-5, True)
    again = State.of(state.carry())
    for name, array in state.points.arrays().items():
        np.testing.assert_array_equal(again.points.arrays()[name], array)
    np.testing.assert_array_equal(again.origins, state.origins)
    assert (again.step, again.t, again.step_nm2, again.start_is_cut) == (3, 0.25, 1e-5, True)
    assert isinstance(again.step, int)
    assert math.isnan(again.log_z)


def gaussian(frames_nm: NDArray[np.float32]) -> Points:
    """A standard normal as target and as proposal; farther than 50 from the origin nothing lives."""
    wide = frames_nm.astype(float)
    energies = 0.5 * (wide**2).sum(axis=(1, 2))
    alive = energies < 1250.0
    gradients = np.where(alive[:, None, None], -wide, 0.0).astype(np.float32)
    return Points(
        frames_nm,
        energies,
        -energies,
        np.where(alive, 0.0, -np.inf),
        gradients,
        np.zeros_like(gradients),
    )


def test_moves_without_noise_follow_the_force() -> None:
    start = gaussian(np.random.default_rng(0).normal(size=(N, ATOMS, 3)).astype(np.float32))
    moved, went = langevin_move(start, 1.0, 0.1, gaussian, np.zeros((N, ATOMS, 3)), None)
    assert went.all()
    np.testing.assert_allclose(moved.positions_nm, 0.9 * start.positions_nm, rtol=1e-6)


def test_a_rejected_move_leaves_all_that_is_known_of_a_point() -> None:
    rng = np.random.default_rng(0)
    start = gaussian(rng.normal(size=(N, ATOMS, 3)).astype(np.float32))
    normals = rng.normal(size=(N, ATOMS, 3))
    surely, never = np.full(N, 1e-300), np.full(N, 1.0)
    moved, went = langevin_move(start, 1.0, 0.05, gaussian, normals, surely)
    assert went.all()
    far = normals * 1e4
    stayed, went = langevin_move(start, 1.0, 0.05, gaussian, far, never)
    assert not went.any()
    for name, array in start.arrays().items():
        np.testing.assert_array_equal(stayed.arrays()[name], array)
        assert not np.array_equal(moved.arrays()[name], array) or name in ("log_ratio", "log_ratio_gradient")


def test_the_chance_of_a_move_is_that_of_detailed_balance() -> None:
    """By hand for a normal distribution: log a = (x^2 - y^2)/2 + (|y - x + h x|^2 - |x - y + h y|^2) / (4 h)."""
    rng, h = np.random.default_rng(3), 0.4
    x = rng.normal(size=(200, 1, 3)).astype(np.float32)
    normals = rng.normal(size=(200, 1, 3))
    y = (x - h * x + math.sqrt(2 * h) * normals).astype(np.float32).astype(float)
    wide = x.astype(float)
    by_hand = 0.5 * (wide**2 - y**2).sum(axis=(1, 2)) + (
        ((y - wide + h * wide) ** 2).sum(axis=(1, 2)) - ((wide - y + h * y) ** 2).sum(axis=(1, 2))
    ) / (4 * h)
    for factor, accepted in ((0.999, True), (1.001, False)):
        uniforms = np.exp(np.minimum(by_hand, -1e-9)) * factor
        _, went = langevin_move(gaussian(x), 1.0, h, gaussian, normals, uniforms)
        some = by_hand < -1e-3
        assert some.sum() > 20
        assert (went[some] == accepted).all()


def test_nobody_moves_from_life_to_death() -> None:
    start = gaussian(np.full((1, ATOMS, 3), 2.0, np.float32))
    _, went = langevin_move(start, 1.0, 0.05, gaussian, np.full((1, ATOMS, 3), 1e3), np.array([1e-300]))
    assert not went.any()


def test_the_dead_have_no_say_in_how_far_the_others_go() -> None:
    log_weights = np.log([0.5, 0.5, 1e-300])
    log_weights[2] = -np.inf
    log_ratio = np.array([0.0, 0.0, 2000.0])
    assert conditional_ess(log_weights, log_ratio, 1.0) == 1.0
    assert next_time(log_weights, log_ratio, 0.0, 0.9) == 1.0
    assert conditional_ess(np.full(3, -np.inf), log_ratio, 1.0) == 0.0
