"""Targets with known answers: their own answers against each other, against finite differences and exact draws."""

import math

import numpy as np
import pytest

from prosebench.energy.analytic import HarmonicTarget, StretchedTarget
from prosebench.energy.target import LangevinSettings, PhaseState, Stretch, kt_kj_mol

CENTRE = np.random.default_rng(0).normal(size=(5, 3))
FIXED = HarmonicTarget(CENTRE)
FREE = HarmonicTarget.free_wells(5, 0.02)
STRETCHED = StretchedTarget(FIXED, np.array([[1.0], [2.0], [0.5], [4.0], [1.0]]))
TARGETS = {"fixed": FIXED, "free": FREE, "stretched": STRETCHED}


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> HarmonicTarget | StretchedTarget:
    return TARGETS[request.param]


def shaken(n: int, scale: float = 0.02) -> np.ndarray:
    return CENTRE + np.random.default_rng(1).normal(scale=scale, size=(n, 5, 3))


def test_gradients_are_those_of_the_energies(target: HarmonicTarget) -> None:
    frames, step = shaken(3), 1e-5
    gradients = target.energy_and_gradient(frames)[1]
    for atom in range(5):
        for axis in range(3):
            shift = np.zeros_like(frames)
            shift[:, atom, axis] = step
            found = (target.energy(frames + shift) - target.energy(frames - shift)) / (2 * step)
            np.testing.assert_allclose(gradients[:, atom, axis], found, rtol=1e-5, atol=1e-4)


def test_an_energy_by_hand() -> None:
    """1/2 k x^2 / kT of one coordinate that is off by 0.1 nm."""
    frame = CENTRE[None].copy()
    frame[0, 2, 1] += 0.1
    expected = 0.5 * 2000.0 * 0.1**2 / kt_kj_mol(310.0)
    assert FIXED.energy(frame)[0] == pytest.approx(expected)
    assert STRETCHED.energy(frame)[0] == pytest.approx(expected * 0.25)
    assert STRETCHED.energies_by_atom(frame)[0] == pytest.approx([0, 0, expected * 0.25, 0, 0])


@pytest.mark.parametrize("target", [FIXED, FREE], ids=["fixed", "free"])
def test_exact_draws_have_the_moments_that_are_promised(target: HarmonicTarget) -> None:
    draws = target.draw(20_000, np.random.default_rng(2))
    energies, shifts = target.energy(draws), target.shifts(draws)
    error = energies.std() / math.sqrt(len(draws))
    assert abs(energies.mean() - target.mean_energy_kt) < 4 * error
    # A sum of k squared normals has the variance k / 2 in kT^2.
    assert energies.var() == pytest.approx(target.mean_energy_kt, rel=0.05)
    assert shifts.var() == pytest.approx(target.shift_variance_nm2, rel=0.02)


def test_free_wells_move_with_the_frame_and_fixed_ones_do_not() -> None:
    frames = FREE.draw(4, np.random.default_rng(0))
    np.testing.assert_allclose(FREE.energy(frames + 7.0), FREE.energy(frames), rtol=1e-9)
    np.testing.assert_allclose(frames.mean(axis=1), 0.0, atol=1e-15)
    assert (FIXED.energy(shaken(4) + 7.0) > 1e4).all()
    assert math.sqrt(FREE.variance_nm2) == pytest.approx(0.02)


def test_parts_of_atoms_add_up() -> None:
    np.testing.assert_allclose(STRETCHED.energies_by_atom(shaken(6)).sum(axis=1), STRETCHED.energy(shaken(6)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_what_is_not_finite_is_infinite_without_a_force(target: HarmonicTarget, bad: float) -> None:
    frames = shaken(3)
    frames[1, 2, 0] = bad
    energies, gradients = target.energy_and_gradient(frames)
    assert np.isposinf(energies[1])
    assert not gradients[1].any()
    assert np.isfinite(energies[[0, 2]]).all()


def test_a_hotter_target_is_wider() -> None:
    hot = HarmonicTarget(CENTRE, temperature_kelvin=620.0)
    assert hot.variance_nm2 == pytest.approx(2 * FIXED.variance_nm2)
    np.testing.assert_allclose(hot.energy(shaken(3)), FIXED.energy(shaken(3)) / 2)


def run(target: HarmonicTarget, frames: np.ndarray, steps: int, first: int = 0, **more: object) -> PhaseState:
    state = PhaseState(frames, np.zeros_like(frames))
    stretch = Stretch(steps, LangevinSettings(), 7, first, **more)  # type: ignore[arg-type]
    return target.langevin(state, stretch).state


def test_dynamics_in_two_stretches_are_those_in_one(target: HarmonicTarget) -> None:
    start = PhaseState(shaken(2), np.zeros((2, 5, 3)))
    settings = LangevinSettings(friction_per_ps=1.0)
    keep = np.array([2, 5, 9])
    whole = target.langevin(start, Stretch(10, settings, 7, 0, keep))
    first = target.langevin(start, Stretch(4, settings, 7, 0, keep[:1]))
    second = target.langevin(first.state, Stretch(6, settings, 7, 4, keep[1:] - 4))
    np.testing.assert_allclose(second.state.positions_nm, whole.state.positions_nm, rtol=1e-12)
    np.testing.assert_allclose(
        np.concatenate([first.energies_kt, second.energies_kt]), whole.energies_kt, rtol=1e-6
    )
    assert whole.frames_nm.shape == (3, 2, 5, 3)
    assert whole.frames_nm.dtype == np.float32
    np.testing.assert_allclose(target.energy(whole.frames_nm[1]), whole.energies_kt[1], atol=1e-3)


def test_replicas_have_their_own_noise_wherever_a_batch_begins() -> None:
    frames = shaken(4)
    together = run(FIXED, frames, 5).positions_nm
    apart = run(FIXED, frames[2:], 5, first_replica=2).positions_nm
    np.testing.assert_array_equal(together[2:], apart)
    same = np.repeat(frames[:1], 2, axis=0)
    moved = run(FIXED, same, 5).positions_nm
    assert (moved[0] != moved[1]).any()


def test_replicas_have_their_own_baths() -> None:
    """At 0 K there is no noise: a minimum is not left."""
    still = np.repeat(CENTRE[None], 2, axis=0)
    moved = run(FIXED, still, 5, temperatures_kelvin=np.array([0.0, 310.0])).positions_nm
    np.testing.assert_array_equal(moved[0], CENTRE)
    assert (moved[1] != CENTRE).any()


def test_steps_without_noise_or_friction_swing_at_the_frequency_of_the_wells() -> None:
    """A quarter of a period of sqrt(k / m) brings an atom to its centre."""
    target = HarmonicTarget(np.zeros((1, 3)))
    period_ps = 2 * math.pi * math.sqrt(target.mass_dalton / target.constant_kj_mol_nm2)
    steps = round(0.25 * period_ps / 0.001)
    state = PhaseState(np.full((1, 1, 3), 0.01), np.zeros((1, 1, 3)))
    settings = LangevinSettings(temperature_kelvin=0.0, friction_per_ps=0.0)
    moved = target.langevin(state, Stretch(steps, settings, 0)).state
    assert np.abs(moved.positions_nm).max() < 0.01 * 0.02
    speed = 0.01 * 2 * math.pi / period_ps
    np.testing.assert_allclose(-moved.velocities_nm_ps, speed, rtol=0.01)
