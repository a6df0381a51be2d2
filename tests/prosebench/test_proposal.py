"""Proposals: densities that are normalised, gradients that are theirs, and a centre that is counted once."""

import math

import numpy as np
import pytest

from prosebench.frames.geometry import remove_center
from prosebench.frames.placement import centre_energy
from prosebench.method import UnknownMethod
from prosebench.proposal import (
    GaussianProposal,
    centred_log_density,
    finite_or_nothing,
    known_proposals,
    load_proposal,
    proposal_settings,
)

N_ATOMS = 5
RNG = np.random.default_rng(0)
FRAMES = 0.3 * RNG.standard_normal((7, N_ATOMS, 3))
DIRECTIONS = RNG.standard_normal(FRAMES.shape)


def slope(function, frames: np.ndarray, directions: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Central difference of a function (frames -> values, gradients) along directions."""
    ahead, behind = function(frames + step * directions)[0], function(frames - step * directions)[0]
    return (ahead - behind) / (2 * step)


@pytest.mark.parametrize(
    "function",
    [
        GaussianProposal(np.ones((N_ATOMS, 3)), 0.2).log_density_and_gradient,
        lambda frames: centre_energy(frames, 0.1),
        lambda frames: centred_log_density(frames, 0.1),
    ],
    ids=["gaussian", "centre energy", "centred"],
)
def test_gradients_are_those_of_the_values(function) -> None:
    expected = (function(FRAMES)[1] * DIRECTIONS).sum(axis=(1, 2))
    np.testing.assert_allclose(slope(function, FRAMES, DIRECTIONS), expected, rtol=1e-6, atol=1e-6)


def test_a_gaussian_is_normalised_and_draws_itself() -> None:
    """The mean of -log q over draws is the entropy, 3/2 atoms (1 + log(2 pi s^2))."""
    proposal = GaussianProposal(np.ones((N_ATOMS, 3)), 0.2)
    draws = proposal.draw(4000, np.random.default_rng(1))
    entropy = 1.5 * N_ATOMS * (1 + math.log(2 * math.pi * 0.2**2))
    error = draws.log_density.std() / math.sqrt(4000)
    assert abs(-draws.log_density.mean() - entropy) < 4 * error
    assert draws.frames_nm.dtype == np.float32
    again = proposal.log_density_and_gradient(draws.frames_nm)[0]
    np.testing.assert_array_equal(again, draws.log_density)


def test_centred_normals_with_a_centre_are_normals() -> None:
    """Normals of variance s^2 without their centre, and a centre of variance s^2 / atoms, are normals again."""
    std = 0.2
    centred = remove_center(FRAMES)
    without = -0.5 * (centred**2).sum(axis=(1, 2)) / std**2 - 1.5 * (N_ATOMS - 1) * math.log(
        2 * math.pi * std**2
    )
    centre = centred_log_density(FRAMES, std / math.sqrt(N_ATOMS))[0]
    full = GaussianProposal(np.zeros((N_ATOMS, 3)), std).log_density_and_gradient(FRAMES)[0]
    np.testing.assert_allclose(without + centre, full, rtol=1e-12)


def test_a_centre_is_a_normalised_density() -> None:
    frames = np.zeros((1, 2, 3))
    np.testing.assert_allclose(centre_energy(frames, 0.1)[0], 1.5 * math.log(2 * math.pi * 0.01), rtol=1e-12)


def test_what_is_not_finite_has_no_density() -> None:
    gradients = np.zeros((3, 1, 3))
    gradients[1, 0, 2] = np.nan
    log_density, cleaned = finite_or_nothing(np.array([np.nan, 1.0, 2.0]), gradients)
    np.testing.assert_array_equal(log_density, [-np.inf, -np.inf, 2.0])
    assert np.isfinite(cleaned).all()
    log_density, cleaned = GaussianProposal(np.zeros((2, 3)), 0.1).log_density_and_gradient(
        np.full((1, 2, 3), np.nan)
    )
    np.testing.assert_array_equal(log_density, [-np.inf])
    assert (cleaned == 0).all()


def test_proposals_are_found_by_their_method() -> None:
    assert {"gaussian", "prose-snis"} <= set(known_proposals())
    assert "md" not in known_proposals()
    assert proposal_settings("gaussian", {"std_nm": 0.1}) == {"std_nm": 0.1}
    with pytest.raises(UnknownMethod, match=r"known: .*prose-snis"):
        load_proposal("no-such", {})
