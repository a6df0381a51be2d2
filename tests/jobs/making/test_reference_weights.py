"""Log-weights that a flow gives to frames of a reference: on the scale of those of its proposals."""

import numpy as np
import pytest

from analysis.metrics.coverage import log_z, log_z_bar
from prosebench.prose.snis import ProseSNIS
from prosebench.reference import Reference, bundled_folder


def test_proposals_that_are_weighted_as_given_frames_keep_their_weights() -> None:
    """Frames of the flow itself, scored as if they came from elsewhere: the same log Z, whichever way it is found."""
    reference = Reference.load(bundled_folder() / "AA.npz")
    method = ProseSNIS(ProseSNIS.Settings(weights="prose-mini"))
    ensemble = method.settings.load().sample("AA", 300, seed=0)
    assert ensemble.log_weights is not None
    again = method.frame_log_weights(reference.peptide, ensemble, 310.0)
    assert again is not None
    sound = np.isfinite(ensemble.log_weights)
    # Centre and orientation are drawn anew, and the flow is not quite blind to them: a spread, and no shift.
    difference = again[sound] - ensemble.log_weights[sound]
    assert np.median(difference) == pytest.approx(0.0, abs=0.15)
    truth = method.frame_log_weights(reference.peptide, reference.scored.select(slice(0, 300)), 310.0)
    assert truth is not None
    assert log_z_bar(ensemble.log_weights, truth) - log_z(ensemble.log_weights) > -1.0
    other = ProseSNIS(ProseSNIS.Settings(weights="prose-mini", com="published"))
    assert other.frame_log_weights(reference.peptide, ensemble, 310.0) is None
