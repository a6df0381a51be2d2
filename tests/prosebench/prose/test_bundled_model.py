"""The bundled flow: its densities are its own, local coordinates or not, and its weights lead to the physics."""

import numpy as np
import pytest
from scipy.special import expit

from prosebench.flows.molecule.handedness import one_handed
from prosebench.flows.proposal import FlowProposal
from prosebench.peptide import Peptide
from prosebench.prose.flow import Prose
from prosebench.reference import Reference, find_reference

PEPTIDE = Peptide.from_sequence("AA")


@pytest.fixture(scope="module")
def prose() -> Prose:
    return Prose.from_pretrained("prose-mini", device="cpu")


@pytest.fixture(scope="module")
def exact(prose: Prose) -> Prose:
    """In double precision."""
    return Prose(Prose.from_pretrained("prose-mini", device="cpu").network.double(), device="cpu")


@pytest.mark.parametrize("kelvin", [310.0, 450.0])
def test_density_of_draws_and_its_gradient(exact: Prose, kelvin: float) -> None:
    flow = FlowProposal(exact, PEPTIDE, kelvin)
    draws = flow.draw(6, np.random.default_rng(0))
    log_q, gradients = flow.log_density_and_gradient(draws.frames_nm)
    # Frames are float32: a rounding of 1e-8 nm times a gradient of some 1000/nm for each of 69 coordinates.
    np.testing.assert_allclose(log_q, draws.log_density, atol=2e-3)
    frames = draws.frames_nm.astype(np.float64)
    directions = np.random.default_rng(1).standard_normal(frames.shape)
    ahead, behind = (flow.log_density_and_gradient(frames + s * directions)[0] for s in (1e-7, -1e-7))
    np.testing.assert_allclose(
        (gradients * directions).sum(axis=(1, 2)), (ahead - behind) / 2e-7, rtol=1e-4, atol=1e-2
    )


@pytest.mark.parametrize("com", ["gaussian", "published"])
def test_centre_and_orientation_are_taken_out(exact: Prose, com: str) -> None:
    drawn = exact.propose(PEPTIDE, 10, np.random.default_rng(2), mirror=False)
    as_drawn = drawn.frames_nm + drawn.centres_nm[:, None]
    np.testing.assert_allclose(exact.log_prob(PEPTIDE, as_drawn, com=com), drawn.log_q(com), atol=2e-3)
    assert drawn.log_placement.std() > 0.5


def test_single_precision_is_enough(prose: Prose, exact: Prose) -> None:
    """Log-densities of the same latent differ by what weights do not feel."""
    ours, theirs = (one.propose(PEPTIDE, 50, np.random.default_rng(3)) for one in (prose, exact))
    assert np.abs(ours.frames_nm - theirs.frames_nm).max() < 1e-4
    assert np.abs(ours.log_q_full - theirs.log_q_full).max() < 0.05


@pytest.mark.parametrize(
    ("sequence", "largest_error", "above_kt"),
    [("AA", 0.06, 10.0), ("KG", 0.07, 18.0), ("SS", 0.07, 18.0), ("VF", 0.1, 35.0)],
)
def test_log_weights_tell_reference_frames_from_proposals(
    prose: Prose, sequence: str, largest_error: float, above_kt: float
) -> None:
    """Of as many frames of the target as proposals, one of log-weight w is of the target with log-odds w + constant.

    So their logistic regression has slope 1 (M. R. Shirts et al., Phys. Rev. Lett. 91 (2003) 140601), which a wrong
    density or energy changes; unlike a weighted mean, it does not hang on a few heavy weights. The median energy of
    proposals is less than above_kt above that of the reference.
    """
    n, rng, peptide = 1000, np.random.default_rng(3), Peptide.from_sequence(sequence)
    ensemble = prose.sample(sequence, n, seed=3)
    assert ensemble.log_weights is not None
    reference = Reference.load(find_reference(sequence, [])).scored
    drawn = rng.choice(len(reference), n, replace=False)
    frames_nm = placed(prose, peptide, reference.positions_nm[drawn], rng)
    log_q = prose.log_prob(peptide, frames_nm, com="gaussian")
    # Draws without a weight are surely none of the target's.
    of_proposal = ensemble.log_weights[np.isfinite(ensemble.log_weights)]
    assert len(of_proposal) > 0.99 * n
    slope, error = logistic_slope(-reference.energies_kt[drawn] - log_q, of_proposal)
    assert error < largest_error
    assert abs(slope - 1.0) < 4 * error
    assert np.median(ensemble.energies_kt) - np.median(reference.energies_kt) < above_kt


def placed(prose: Prose, peptide: Peptide, frames_nm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The frames with the hydrogens' labels that the flow knows, and with centres and orientations of the densities
    that `log_prob(..., com="gaussian")` takes out."""
    placement = FlowProposal(prose, peptide).placement
    assert placement.orientation is not None
    frames_nm = one_handed(frames_nm, [peptide.topology])
    centred = frames_nm - frames_nm.mean(axis=1, keepdims=True)
    turned = centred @ placement.orientation.draw_turns(centred, rng)
    return turned + placement.centre_std_nm * rng.standard_normal((len(turned), 1, 3))


def logistic_slope(of_target: np.ndarray, of_proposal: np.ndarray) -> tuple[float, float]:
    """Slope of the log-odds of being the target's, and its standard error, by Newton's method."""
    values = np.concatenate([of_target, of_proposal])
    is_target = np.arange(len(values)) < len(of_target)
    features = np.stack([np.ones(len(values)), values - np.median(of_target)], axis=1)
    found = np.zeros(2)
    for _ in range(30):
        odds = expit(features @ found)
        curvature = features.T @ (features * (odds * (1.0 - odds))[:, None])
        found = found + np.linalg.solve(curvature, features.T @ (is_target - odds))
    return found[1], np.sqrt(np.linalg.inv(curvature)[1, 1])


def test_gradients_of_single_precision_are_finite(prose: Prose) -> None:
    draws = FlowProposal(prose, PEPTIDE).draw(20, np.random.default_rng(5))
    log_q, gradients = FlowProposal(prose, PEPTIDE).log_density_and_gradient(draws.frames_nm)
    assert np.isfinite(log_q).all()
    assert np.isfinite(gradients).all()
