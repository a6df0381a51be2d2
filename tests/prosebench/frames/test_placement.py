"""Densities of centre and orientation: normalised, drawn from as they say, and with gradients that are theirs."""

import math
import warnings

import numpy as np
import pytest

from prosebench.frames.geometry import random_rotations
from prosebench.frames.placement import Orientation, Placement, centre_energy, middle_plane
from prosebench.peptide import Peptide

PEPTIDE = Peptide.from_sequence("ASG")
TURNED = PEPTIDE.start_nm @ random_rotations(np.random.default_rng(0), 4000)


def orientation(std_rad: float) -> Orientation:
    return Orientation.of([PEPTIDE.topology], std_rad)


def test_the_body_is_fixed_to_the_middle_peptide_bond() -> None:
    names = [str(PEPTIDE.topology.atom(i)) for i in middle_plane(PEPTIDE.topology)]
    assert names == ["SER2-CA", "SER2-C", "GLY3-N"]
    axes = orientation(0.1).axes(TURNED[:50])
    np.testing.assert_allclose(axes @ axes.transpose(0, 2, 1), np.tile(np.eye(3), (50, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(axes), 1.0)
    ca, c, n = middle_plane(PEPTIDE.topology)
    inside = np.einsum("fij,faj->fai", axes, TURNED[:50] - TURNED[:50, c : c + 1])
    np.testing.assert_allclose(inside, np.tile(inside[:1], (50, 1, 1)), atol=1e-12)
    assert inside[0, n, 0] > 0.1
    assert inside[0, ca, 1] > 0.1
    np.testing.assert_allclose(inside[0, [n, n, ca], [1, 2, 2]], 0.0, atol=1e-12)


@pytest.mark.parametrize("std_rad", [0.4, 0.9])
def test_the_density_is_normalised_over_all_rotations(std_rad: float) -> None:
    values = np.exp(orientation(std_rad).log_density(TURNED))
    assert abs(values.mean() - 1.0) < 4 * values.std() / math.sqrt(len(values))


@pytest.mark.parametrize("std_rad", [0.4, 0.9])
def test_draws_come_from_the_density(std_rad: float) -> None:
    """The trace of drawn rotations has the mean that uniform ones have when weighted by the density."""
    density = orientation(std_rad)
    drawn = TURNED @ density.draw_turns(TURNED, np.random.default_rng(1))
    ours, uniform = (np.trace(density.axes(frames), axis1=1, axis2=2) for frames in (drawn, TURNED))
    weighted = np.exp(density.log_density(TURNED)) * uniform
    error = math.hypot(ours.std(), weighted.std()) / math.sqrt(len(ours))
    assert abs(ours.mean() - weighted.mean()) < 4 * error
    assert abs(uniform.mean() - weighted.mean()) > 4 * error


def test_std_is_the_angle_about_each_axis() -> None:
    density = orientation(0.05)
    axes = density.axes(TURNED @ density.draw_turns(TURNED, np.random.default_rng(2)))
    for tilt in (axes[:, 0, 1], axes[:, 0, 2], axes[:, 1, 2]):
        assert tilt.std() == pytest.approx(0.05, rel=4 / math.sqrt(2 * len(tilt)))


def test_draws_change_the_orientation_alone() -> None:
    turns = orientation(0.2).draw_turns(TURNED, np.random.default_rng(3))
    np.testing.assert_allclose(
        turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (len(turns), 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(turns), 1.0)


def test_each_frame_may_have_its_own_anchors() -> None:
    other = Peptide.from_sequence("GG")
    frames = np.zeros((2, PEPTIDE.n_atoms, 3))
    frames[0], frames[1, : other.n_atoms] = TURNED[0], other.start_nm
    both = Orientation.of([PEPTIDE.topology, other.topology], 0.3).log_density(frames)
    alone = Orientation.of([other.topology], 0.3).log_density(other.start_nm[None])
    np.testing.assert_allclose(both, [*orientation(0.3).log_density(TURNED[:1]), *alone])


@pytest.mark.parametrize("std_rad", [None, 0.3])
def test_gradients_are_those_of_the_energy(std_rad: float | None) -> None:
    placement = Placement(0.1, orientation(std_rad) if std_rad else None)
    frames = TURNED[:7] + 0.05
    directions = np.random.default_rng(4).standard_normal(frames.shape)
    energies, gradients = placement.energy_and_gradient(frames)
    ahead, behind = (placement.energy_and_gradient(frames + s * directions)[0] for s in (1e-6, -1e-6))
    np.testing.assert_allclose(
        (gradients * directions).sum(axis=(1, 2)), (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-5
    )
    of_centre, gradients_of_centre = centre_energy(frames, 0.1)
    if std_rad is None:
        np.testing.assert_array_equal(energies, of_centre)
        np.testing.assert_array_equal(gradients, gradients_of_centre)
    else:
        np.testing.assert_allclose(energies - of_centre, -orientation(std_rad).log_density(frames))
        assert np.ptp(energies - of_centre) > 0.1


def test_the_opposite_orientation_has_no_density() -> None:
    half_turn = np.diag([-1.0, -1.0, 1.0])
    density = orientation(0.3)
    ca, _, n = middle_plane(PEPTIDE.topology)
    aligned = np.zeros((1, PEPTIDE.n_atoms, 3))
    aligned[0, n, 0], aligned[0, ca, 1] = 0.13, 0.15
    assert density.log_density(aligned)[0] > 0
    assert density.log_density(aligned @ half_turn)[0] == -np.inf
    energies, gradients = Placement(0.1, density).energy_and_gradient(aligned @ half_turn)
    assert energies[0] == np.inf
    np.testing.assert_array_equal(gradients, centre_energy(aligned @ half_turn, 0.1)[1])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_frames_without_finite_numbers_have_no_density_and_no_warning(value: float) -> None:
    density = orientation(0.3)
    frames = TURNED[:3].copy()
    frames[0] = value
    frames[1, middle_plane(PEPTIDE.topology)[1], 0] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        energies, gradients = density.energy_and_gradient(frames)
        np.testing.assert_array_equal(-density.log_density(frames), energies)
        assert not np.isfinite(Placement(0.1, density).energy_and_gradient(frames)[0][:2]).any()
    assert np.isfinite(energies).tolist() == [False, False, True]
    assert (gradients[:2] == 0).all()
    assert np.isfinite(gradients).all()
