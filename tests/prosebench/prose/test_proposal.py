"""The flow as a proposal: its density and gradient are those of the network, at every temperature of the latent."""

import numpy as np
import pytest

from prosebench.flows.proposal import FlowProposal
from prosebench.peptide import Peptide
from prosebench.prose.flow import Prose

PEPTIDE = Peptide.from_sequence("AA")


@pytest.fixture(scope="module")
def prose() -> Prose:
    """The bundled flow with made-up weights, in double precision."""
    loaded = Prose.from_pretrained("breathing", device="cpu")
    return Prose(loaded.network.double(), device="cpu")


@pytest.mark.parametrize("kelvin", [310.0, 450.0])
def test_density_of_draws_and_its_gradient(prose: Prose, kelvin: float) -> None:
    flow = FlowProposal(prose, PEPTIDE, kelvin)
    draws = flow.draw(6, np.random.default_rng(0))
    log_q, gradients = flow.log_density_and_gradient(draws.frames_nm)
    # Frames are float32: a rounding of 1e-8 nm times a gradient of 100/nm for each of 69 coordinates.
    np.testing.assert_allclose(log_q, draws.log_density, atol=1e-4)
    if kelvin == 310.0:
        np.testing.assert_allclose(log_q, prose.log_prob(PEPTIDE, draws.frames_nm), rtol=1e-12)
    frames = draws.frames_nm.astype(np.float64)
    directions = np.random.default_rng(1).standard_normal(frames.shape)
    ahead, behind = (flow.log_density_and_gradient(frames + s * directions)[0] for s in (1e-6, -1e-6))
    np.testing.assert_allclose(
        (gradients * directions).sum(axis=(1, 2)), (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-4
    )


def test_parts_of_a_batch_are_the_batch(prose: Prose, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = FlowProposal(prose, PEPTIDE)
    frames = flow.draw(5, np.random.default_rng(2)).frames_nm
    whole = flow.log_density_and_gradient(frames)
    monkeypatch.setattr("prosebench.flows.proposal.GRADIENT_BYTES", 70_000)
    for part, all_of_it in zip(flow.log_density_and_gradient(frames), whole, strict=True):
        np.testing.assert_allclose(part, all_of_it, rtol=1e-10, atol=1e-8)
    assert all(value.requires_grad and value.grad is None for value in prose.network.parameters())


def test_what_the_flow_cannot_place_has_no_density(prose: Prose) -> None:
    frames = FlowProposal(prose, PEPTIDE).draw(2, np.random.default_rng(3)).frames_nm
    frames[1, 4, 0] = np.nan
    log_q, gradients = FlowProposal(prose, PEPTIDE).log_density_and_gradient(frames)
    assert np.isfinite(log_q[0])
    assert log_q[1] == -np.inf
    assert (gradients[1] == 0).all()
    with pytest.raises(ValueError, match=r"needs \(frames, 23, 3\)"):
        FlowProposal(prose, PEPTIDE).log_density_and_gradient(frames[:, 1:])


def test_the_centre_is_that_of_the_training() -> None:
    """Without a transformation, the centre's standard deviation is exact: sqrt(T / 310 / atoms) units."""
    identity = Prose.from_pretrained("identity", device="cpu")
    for kelvin in (310.0, 620.0):
        flow = FlowProposal(identity, PEPTIDE, kelvin)
        centres = flow.draw(1500, np.random.default_rng(4)).frames_nm.mean(axis=1)
        assert centres.std() == pytest.approx(flow.placement.centre_std_nm, rel=4 / np.sqrt(2 * centres.size))
