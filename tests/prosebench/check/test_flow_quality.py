import numpy as np
import pytest

from prosebench.arbg.flow import Arbg
from prosebench.check.flow_quality import flow_quality
from prosebench.ensemble import Ensemble
from prosebench.prose.flow import Prose
from prosebench.reference import Reference, find_reference
from tests.prosebench.arbg.conftest import tiny_network


def test_numbers_of_a_bundled_flow() -> None:
    reference = Reference.load(find_reference("AA", []))
    found = flow_quality(
        Prose.from_pretrained("prose-mini", device="cpu"), reference, frames=300, proposals=60
    )
    assert (found.sequence, found.atoms) == ("AA", 23)
    # prose-mini has 0.16 on all frames.
    assert found.spread == pytest.approx(0.16, abs=0.06)
    assert 0 < found.ess <= found.ess_filtered + 0.1 <= 1.2
    assert 0 <= found.unseen <= 1


def test_a_flow_that_knows_nothing_has_a_wide_spread() -> None:
    reference = Reference.load(find_reference("AA", []))
    found = flow_quality(Arbg(tiny_network(), device="cpu"), reference, frames=50, proposals=20)
    assert found.spread > 1.0
    assert found.unseen > 0.9


def test_log_q_of_does_not_depend_on_how_a_frame_lies() -> None:
    flow, peptide = (
        Prose.from_pretrained("prose-mini", device="cpu"),
        Reference.load(find_reference("AA", [])).peptide,
    )
    frames = Ensemble(peptide.start_nm[None], np.zeros(1)).positions_nm
    found = [
        flow.log_q_of(peptide, frames + shift, np.random.default_rng(seed))
        for seed, shift in ((0, 0.0), (1, 3.0))
    ]
    # Local coordinates are exact, orientations within their narrow density differ by little.
    np.testing.assert_allclose(*found, atol=1.5)
