import math
from pathlib import Path

import numpy as np
import pytest

from prosebench.arbg.flow import CENTRE_STD_NM, Arbg
from prosebench.arbg.weights import load_weights, save_weights
from prosebench.flows.proposal import FlowProposal
from prosebench.flows.weights.files import WeightsError
from prosebench.frames.geometry import random_rotations

from .conftest import peptide_of, tiny_network


@pytest.fixture
def flow() -> Arbg:
    return Arbg(tiny_network(), {"notes": {"residues": "CGHPW"}}, device="cpu")


def test_proposals_know_their_density(flow: Arbg, sequence: str) -> None:
    found = flow.propose(sequence, 30, np.random.default_rng(0), mirror=False)
    frames = found.frames_nm.astype(np.float64) + found.centres_nm[:, None]
    # Frames are stored in float32: a bond of 0.003 nm spread is known to 1e-5 of it.
    one_hand = np.isfinite(found.log_q_full)
    assert one_hand.any()
    np.testing.assert_allclose(
        flow.log_prob(sequence, frames)[one_hand], found.log_q_full[one_hand], atol=0.05
    )


def test_the_density_does_not_depend_on_orientation(flow: Arbg, sequence: str) -> None:
    frames = flow.propose(sequence, 10, np.random.default_rng(0), mirror=False).frames_nm.astype(np.float64)
    turned = frames @ random_rotations(np.random.default_rng(1), 10)
    np.testing.assert_allclose(flow.log_prob(sequence, turned), flow.log_prob(sequence, frames), atol=1e-6)


def test_a_shift_costs_what_the_centre_says(flow: Arbg) -> None:
    frames = flow.propose("GG", 4, np.random.default_rng(0), mirror=False).frames_nm.astype(np.float64)
    frames -= frames.mean(axis=1, keepdims=True)
    shift = np.array([0.1, 0.0, -0.2])
    cost = -0.5 * (shift**2).sum() / (CENTRE_STD_NM**2 / peptide_of("GG").n_atoms)
    difference = flow.log_prob("GG", frames + shift) - flow.log_prob("GG", frames)
    np.testing.assert_allclose(difference, cost, atol=1e-6)


def test_frames_do_not_depend_on_how_many_are_drawn_together(flow: Arbg) -> None:
    alone, together = (flow.propose("WP", 12, np.random.default_rng(3), batch=size) for size in (5, 256))
    np.testing.assert_allclose(alone.frames_nm, together.frames_nm, atol=1e-6)
    np.testing.assert_allclose(alone.log_q_full, together.log_q_full, atol=1e-6)


def test_frames_of_a_smaller_number_are_the_first_of_a_larger_one(flow: Arbg) -> None:
    few, many = (flow.propose("WP", n, np.random.default_rng(3)) for n in (5, 9))
    np.testing.assert_array_equal(few.frames_nm, many.frames_nm[:5])
    with pytest.raises(ValueError, match="batch of 0"):
        flow.propose("WP", 5, np.random.default_rng(3), batch=0)


def test_orientations_are_drawn_from_all(flow: Arbg) -> None:
    """The first bond points anywhere: the mean of its direction is 0 within four standard errors."""
    frames = flow.propose("GG", 400, np.random.default_rng(0), mirror=False).frames_nm
    bond = frames[:, 1] - frames[:, 0]
    direction = bond / np.linalg.norm(bond, axis=-1, keepdims=True)
    assert np.abs(direction.mean(axis=0)).max() < 4 / math.sqrt(3 * 400)


def test_what_a_flow_does_not_know_is_said(flow: Arbg) -> None:
    assert flow.unknown(peptide_of("WP")) is None
    assert "never seen A" in (flow.unknown(peptide_of("AG")) or "")
    assert "up to 8 residues" in (flow.unknown(peptide_of("GGGGGGGGG")) or "")


def test_as_a_proposal_it_has_a_gradient(flow: Arbg) -> None:
    proposal = FlowProposal(flow, peptide_of("GG"))
    draws = proposal.draw(30, np.random.default_rng(0))
    one_hand = np.isfinite(draws.log_density)
    assert one_hand.sum() > 1
    log_q, gradients = proposal.log_density_and_gradient(draws.frames_nm)
    np.testing.assert_allclose(log_q[one_hand], draws.log_density[one_hand], atol=0.05)
    step = 1e-5 * gradients / np.linalg.norm(gradients, axis=(1, 2), keepdims=True)
    moved, _ = proposal.log_density_and_gradient(draws.frames_nm.astype(np.float64) + step)
    still, _ = proposal.log_density_and_gradient(draws.frames_nm.astype(np.float64))
    np.testing.assert_allclose(moved - still, (step * gradients).sum(axis=(1, 2)), rtol=0.05)


def test_weights_there_and_back(tmp_path: Path) -> None:
    network = tiny_network().float()
    try:
        save_weights(tmp_path / "a.npz", network, {"residues": "GW"})
        found = load_weights(tmp_path / "a.npz")
    finally:
        network.double()
    assert found.network.config == network.config
    assert found.source["notes"]["residues"] == "GW"
    for name, value in network.state_dict().items():
        np.testing.assert_allclose(found.network.state_dict()[name].numpy(), value.float().numpy())


def test_weights_that_are_not_there_are_named() -> None:
    with pytest.raises(WeightsError, match=r"no weights 'nothing'; known: .*wells"):
        Arbg.from_pretrained("nothing")
