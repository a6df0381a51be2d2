"""The bundled autoregressive flow: its weights lead to the physics, on peptides of 2 and of 4 residues."""

import numpy as np
import pytest

from prosebench.arbg.flow import Arbg
from prosebench.check.flow_quality import flow_quality
from prosebench.reference import Reference, find_reference
from tests.prosebench.prose.test_bundled_model import logistic_slope


@pytest.fixture(scope="module")
def flow() -> Arbg:
    return Arbg.from_pretrained("arbg-small", device="cpu")


@pytest.mark.parametrize(
    ("sequence", "largest_error", "above_kt"), [("AA", 0.2, 5.0), ("KG", 0.2, 8.0), ("VF", 0.2, 10.0)]
)
def test_log_weights_tell_reference_frames_from_proposals(
    flow: Arbg, sequence: str, largest_error: float, above_kt: float
) -> None:
    """The slope of their logistic regression is 1; see the test of the same name of the bundled Prose."""
    n, rng = 500, np.random.default_rng(3)
    ensemble = flow.sample(sequence, n, seed=3)
    assert ensemble.log_weights is not None
    reference = Reference.load(find_reference(sequence, []))
    scored, peptide = reference.scored, reference.peptide
    drawn = rng.choice(len(scored), n, replace=False)
    log_q = flow.log_q_of(peptide, scored.positions_nm[drawn], rng)
    of_proposal = ensemble.log_weights[np.isfinite(ensemble.log_weights)]
    assert len(of_proposal) > 0.99 * n
    slope, error = logistic_slope(-scored.energies_kt[drawn] - log_q, of_proposal)
    assert error < largest_error
    assert abs(slope - 1.0) < 4 * error
    assert np.median(ensemble.energies_kt) - np.median(scored.energies_kt) < above_kt


def test_single_precision_is_enough(flow: Arbg) -> None:
    """Densities of the same frames differ by what weights do not feel."""
    exact = Arbg(Arbg.from_pretrained("arbg-small", device="cpu").network.double(), device="cpu")
    frames = flow.propose("ARIP", 20, np.random.default_rng(3), mirror=False).frames_nm
    np.testing.assert_allclose(flow.log_prob("ARIP", frames), exact.log_prob("ARIP", frames), atol=0.05)


def test_it_sees_the_whole_of_its_target(flow: Arbg) -> None:
    """Hardly a reference frame outweighs all proposals, if its labels are those that the flow knows."""
    found = flow_quality(flow, Reference.load(find_reference("KG", [])), frames=500, proposals=1000, seed=3)
    assert found.spread < 0.1
    assert found.unseen < 0.08
