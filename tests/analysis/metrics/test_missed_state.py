"""A bundled flow sees all of its target; one that hardly ever proposes a state of it is found to miss that state.

Both through the whole score, with real frames, energies and densities: `test_coverage` has the closed forms.
"""

import math
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.metrics.score import score
from prosebench.ensemble import Ensemble
from prosebench.flows.snis import FlowSNIS
from prosebench.frames.features import torsions
from prosebench.frames.importance import ess
from prosebench.method import load_method
from prosebench.reference import Reference, find_reference

PROPOSALS = 2000
KELVIN = 310.0
HARDLY_EVER = 1e-12
"""Factor to the density of a state that a flow has unlearned."""


class Weighted(NamedTuple):
    """Proposals with weights, the weights of reference frames, and which of either have phi of residue 2 below 0."""

    proposals: Ensemble
    of_reference: NDArray[np.float64]
    usual: NDArray[np.bool_]
    usual_of_reference: NDArray[np.bool_]


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.load(find_reference("AA", []))


@pytest.fixture(scope="module")
def whole(reference: Reference) -> Weighted:
    """Of arbg-small, with every fourth scored frame of the reference."""
    kind = load_method("arbg-snis")
    method = kind(kind.Settings(weights="arbg-small"))
    assert isinstance(method, FlowSNIS)
    proposals = method.settings.load().sample("AA", PROPOSALS, KELVIN, seed=0)
    frames = reference.scored.select(slice(0, None, 4))
    of_reference = method.frame_log_weights(reference.peptide, frames, KELVIN)
    assert of_reference is not None
    below = (
        torsions(one.positions_nm, reference.peptide.topology)[0][:, 0] < 0.0 for one in (proposals, frames)
    )
    return Weighted(proposals, of_reference, *below)


def without(state: Weighted) -> Weighted:
    """What a flow gives that proposes no more than HARDLY_EVER a frame with phi of residue 2 above 0."""
    proposals, of_reference, usual, usual_of_reference = state
    assert proposals.log_weights is not None
    # The density that the state loses goes to all other frames.
    more = -math.log(usual.mean())
    left = Ensemble(
        proposals.positions_nm[usual], proposals.energies_kt[usual], proposals.log_weights[usual] - more
    )
    weights = of_reference - np.where(usual_of_reference, more, math.log(HARDLY_EVER))
    return Weighted(left, weights, usual[usual], usual_of_reference)


def seen_and_missed(state: Weighted, reference: Reference) -> tuple[float, float]:
    found = score(state.proposals, reference, n_frames=100, seed=0, of_reference=state.of_reference)
    return found.value("mass-seen"), found.value("weight-missed")


def error_of_mean_weight(state: Weighted) -> float:
    """Relative standard error of the mean weight of the proposals."""
    assert state.proposals.log_weights is not None
    return math.sqrt((1.0 / ess(state.proposals.log_weights) - 1.0) / len(state.proposals))


def test_a_bundled_flow_sees_all_of_the_mass_within_its_error(whole: Weighted, reference: Reference) -> None:
    seen, missed = seen_and_missed(whole, reference)
    error = error_of_mean_weight(whole)
    assert error < 0.02
    assert seen == pytest.approx(1.0, abs=4.0 * error)
    # Of good weights, about one in the number of proposals is above the largest of them.
    assert missed < 0.01


def test_a_state_that_the_flow_has_unlearned_is_missed(whole: Weighted, reference: Reference) -> None:
    """All of its reference frames are missed, and the mass seen falls by what the weights said that it has."""
    assert whole.proposals.log_weights is not None
    lacking = without(whole)
    (seen, missed), (seen_by_all, missed_by_all) = (
        seen_and_missed(one, reference) for one in (lacking, whole)
    )
    share = 1.0 - float(whole.usual_of_reference.mean())
    assert share > 0.01
    assert missed == pytest.approx(missed_by_all + share, abs=0.005)
    weights = np.exp(whole.proposals.log_weights - whole.proposals.log_weights.max())
    by_weights = float(weights[~whole.usual].sum() / weights.sum())
    noise = math.sqrt(share / len(whole.of_reference))
    assert seen == pytest.approx(seen_by_all - by_weights, abs=2.0 * noise)
    assert seen < seen_by_all - 0.5 * by_weights
