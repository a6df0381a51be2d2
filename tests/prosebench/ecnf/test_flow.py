"""Densities of the continuous flow against closed forms, and against each other."""

import math

import numpy as np
import pytest
import torch

from prosebench.ecnf.flow import Ecnf, Integration
from prosebench.ecnf.proposal import EcnfProposal
from prosebench.frames.geometry import random_rotations, remove_center
from prosebench.peptide import Peptide
from prosebench.proposal import centred_log_density
from prosebench.ranks import Ranks

from .conftest import GG, tiny_field

FINE = Integration(tolerance=1e-6)
DIMENSION = 3 * GG.n_atoms - 3


def flow_of(integration: Integration = FINE, **changes) -> Ecnf:
    return Ecnf(
        tiny_field(**{"scale": 0.1, "layers": 2, "channels": 4} | changes),
        device="cpu",
        integration=integration,
    )


def still(integration: Integration = FINE) -> Ecnf:
    """A field that is 0."""
    flow = flow_of(integration)
    with torch.no_grad():
        for layer in flow.field.stack:
            layer.pull_out.weight.zero_()
    return flow


def linear(rate: float, monkeypatch: pytest.MonkeyPatch, integration: Integration = FINE) -> Ecnf:
    """dx/dt = rate x, in the place of a field: x = z exp(rate), and the divergence is rate (3 atoms - 3)."""
    flow = flow_of(integration)

    def rates(field, t, x, nodes):
        return rate * x, torch.full_like(t, rate * (3 * x.shape[1] - 3))

    monkeypatch.setattr("prosebench.ecnf.flow.velocity_and_divergence", rates)
    return flow


def log_normal(frames_nm: np.ndarray, std_nm: float) -> np.ndarray:
    """Of centred frames, in the 3 atoms - 3 dimensions that they have."""
    squares = (remove_center(frames_nm) ** 2).sum(axis=(1, 2))
    return -0.5 * squares / std_nm**2 - 0.5 * DIMENSION * math.log(2 * math.pi * std_nm**2)


def test_a_field_that_stands_still_gives_the_prior() -> None:
    flow = still()
    found = flow.propose(GG, 200, np.random.default_rng(0), mirror=False)
    np.testing.assert_allclose(found.log_q, log_normal(found.frames_nm, flow.config.nm_per_unit), atol=1e-4)
    variance = found.frames_nm.astype(float).var() / flow.config.nm_per_unit**2
    error = math.sqrt(2 / (200 * DIMENSION))
    assert abs(variance / (DIMENSION / (3 * GG.n_atoms)) - 1) < 4 * error
    assert np.abs(found.frames_nm.mean(axis=1)).max() < 1e-6


@pytest.mark.parametrize("rate", [0.4, -0.7])
def test_a_linear_field_gives_the_density_of_its_normals(rate: float, monkeypatch) -> None:
    flow = linear(rate, monkeypatch)
    std_nm = flow.config.nm_per_unit * math.exp(rate)
    found = flow.propose(GG, 50, np.random.default_rng(0))
    np.testing.assert_allclose(found.log_q, log_normal(found.frames_nm, std_nm), atol=1e-3)
    shifted = found.frames_nm + np.array([0.3, -0.1, 2.0])
    np.testing.assert_allclose(flow.log_prob(GG, shifted), log_normal(shifted, std_nm), atol=1e-3)


def test_weights_on_a_target_that_ignores_centres(monkeypatch) -> None:
    """Of wells as wide as the proposals all weights are equal, and their logarithm is log Z of the centred wells."""
    flow = linear(0.2, monkeypatch)
    std_nm = flow.config.nm_per_unit * math.exp(0.2)
    found = flow.propose(GG, 50, np.random.default_rng(0))
    energies = 0.5 * (found.frames_nm.astype(float) ** 2).sum(axis=(1, 2)) / std_nm**2
    expected = 0.5 * DIMENSION * math.log(2 * math.pi * std_nm**2)
    np.testing.assert_allclose(found.log_weights(energies), expected, atol=1e-3)
    energies[3] = np.inf
    assert np.isneginf(found.log_weights(energies)[3])


def test_densities_of_draws_are_found_again_and_do_not_know_orientation_or_handedness() -> None:
    flow = flow_of()
    found = flow.propose(GG, 4, np.random.default_rng(0))
    assert found.log_q.std() > 0.5
    np.testing.assert_allclose(flow.log_prob(GG, found.frames_nm), found.log_q, atol=1e-3)
    turned = -found.frames_nm @ random_rotations(np.random.default_rng(1), 1)[0]
    np.testing.assert_allclose(flow.log_prob(GG, turned), found.log_q, atol=1e-3)


def test_tolerance_and_equal_steps_agree() -> None:
    exact = flow_of().propose(GG, 4, np.random.default_rng(0))
    for how, atol in ((Integration(), 0.05), (Integration(steps=10), 1e-3)):
        found = flow_of(how).propose(GG, 4, np.random.default_rng(0))
        np.testing.assert_allclose(found.log_q, exact.log_q, atol=atol)
        np.testing.assert_allclose(found.frames_nm, exact.frames_nm, atol=1e-3)
    assert found.field_evaluations.tolist() == [60] * 4


def test_batches_and_ranks_change_nothing() -> None:
    class Second(Ranks):
        """The second of two; the first one's results are made by the same work."""

        rank, size = 1, 2

        def map(self, work, pieces):
            return [work(piece) for piece in pieces]

    whole, parts, shared = (
        flow_of(Integration()).propose(GG, 5, np.random.default_rng(0), batch=batch, ranks=ranks)
        for batch, ranks in ((5, Ranks()), (2, Ranks()), (2, Second()))
    )
    np.testing.assert_allclose(whole.frames_nm, parts.frames_nm, atol=1e-6)
    np.testing.assert_allclose(whole.log_q, parts.log_q, atol=1e-8)
    assert np.array_equal(parts.frames_nm, shared.frames_nm)


def test_hutchinson_estimates_log_densities() -> None:
    exact = flow_of(Integration()).propose(GG, 6, np.random.default_rng(0))
    noisy = flow_of(Integration(divergence="hutchinson")).propose(GG, 6, np.random.default_rng(0))
    np.testing.assert_allclose(noisy.frames_nm, exact.frames_nm, atol=1e-3)
    assert np.abs(noisy.log_q - exact.log_q).max() > 0.1
    with pytest.raises(ValueError, match="must be exact"):
        flow_of(Integration(divergence="hutchinson")).log_prob(GG, exact.frames_nm)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        flow_of().log_prob(GG, np.zeros((2, 5, 3)))
    with pytest.raises(ValueError, match="peptides of 2 to 4 residues"):
        flow_of().propose(Peptide.from_sequence("GGGGG"), 1, np.random.default_rng(0))


def test_the_proposal_has_centres_and_gradients() -> None:
    proposal = EcnfProposal(flow_of(Integration(steps=6)), GG, gradient_steps=6)
    assert proposal.placement.centre_std_nm == pytest.approx(0.28 / math.sqrt(GG.n_atoms))
    draws = proposal.draw(60, np.random.default_rng(0))
    centres = draws.frames_nm.mean(axis=1)
    assert centres.std() == pytest.approx(proposal.placement.centre_std_nm, rel=4 / math.sqrt(2 * 180))
    frames = draws.frames_nm[:2].astype(np.float64)
    value, gradient = proposal.log_density_and_gradient(frames)
    np.testing.assert_allclose(value, draws.log_density[:2], atol=2e-3)
    own = flow_of().log_prob(GG, frames) + centred_log_density(frames, proposal.placement.centre_std_nm)[0]
    np.testing.assert_allclose(value, own, atol=5e-3)
    direction, h = np.random.default_rng(1).standard_normal(frames.shape), 1e-5
    above, below = (proposal.log_density_and_gradient(frames + s * h * direction)[0] for s in (1, -1))
    np.testing.assert_allclose((gradient * direction).sum(axis=(1, 2)), (above - below) / (2 * h), rtol=1e-5)


def test_the_proposal_of_normals_is_the_normal_density_in_all_coordinates(monkeypatch) -> None:
    """Centred normals and a centre of 1 / sqrt(atoms) of their width are independent normals of all atoms."""
    proposal = EcnfProposal(still(), GG, gradient_steps=2)
    frames = proposal.draw(2, np.random.default_rng(0)).frames_nm.astype(np.float64)
    unit = 0.28
    expected = -0.5 * (frames**2).sum(axis=(1, 2)) / unit**2 - 1.5 * GG.n_atoms * math.log(
        2 * math.pi * unit**2
    )
    value, gradient = proposal.log_density_and_gradient(frames)
    np.testing.assert_allclose(value, expected, atol=1e-6)
    np.testing.assert_allclose(gradient, -frames / unit**2, atol=1e-6)
