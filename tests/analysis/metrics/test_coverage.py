"""A proposal that misses a state, seen by reference frames and not by its own weights: closed forms in 1-D."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from scipy import stats

from analysis.metrics.case import Case
from analysis.metrics.coverage import log_z, log_z_bar
from analysis.metrics.registry import _mass_seen, _missed
from prosebench.frames.importance import pareto_k

N = 20_000
LOG_Z = 37.0


def weights(x: np.ndarray, missed: float) -> np.ndarray:
    """log p(x) + LOG_Z - log q(x): p has a share `missed` in a state at 12 that q, around 0, does not know."""
    target = np.logaddexp(
        np.log1p(-missed) + stats.norm.logpdf(x), np.log(missed) + stats.norm.logpdf(x, 12.0)
    )
    return target + LOG_Z - stats.norm.logpdf(x, scale=1.2)


def frames_of_target(rng: np.random.Generator, missed: float) -> np.ndarray:
    return rng.standard_normal(N) + np.where(rng.random(N) < missed, 12.0, 0.0)


@pytest.mark.parametrize("missed", [0.05, 0.28])
def test_the_missed_state_is_seen_although_the_weights_look_well(missed: float):
    rng = np.random.default_rng(0)
    proposals = weights(1.2 * rng.standard_normal(N), missed)
    reference = weights(frames_of_target(rng, missed), missed)
    assert pareto_k(proposals) < 0.5  # nothing in the weights themselves tells
    case = cast(Case, SimpleNamespace(log_weights=proposals, of_reference=reference))
    assert _missed(case) == pytest.approx(missed, abs=0.01)
    assert _mass_seen(case) == pytest.approx(1.0 - missed, abs=0.02)
    assert log_z_bar(proposals, reference) == pytest.approx(LOG_Z, abs=0.02)


def test_where_nothing_is_missed_both_ways_agree():
    rng = np.random.default_rng(1)
    proposals = weights(1.2 * rng.standard_normal(N), 1e-12)
    reference = weights(rng.standard_normal(N // 4), 1e-12)
    assert log_z_bar(proposals, reference) == pytest.approx(LOG_Z, abs=0.02)
    assert log_z(proposals) == pytest.approx(LOG_Z, abs=0.02)
    assert np.isnan(log_z_bar(np.full(5, -np.inf), reference))


def test_proposals_without_weight_count_in_both_constants() -> None:
    """Half of the draws have no energy: the mean weight halves, and so does the share of the target that is told."""
    rng = np.random.default_rng(2)
    draws = 1.2 * rng.standard_normal(N)
    proposals = np.where(rng.random(N) < 0.5, weights(draws, 1e-12), -np.inf)
    reference = weights(rng.standard_normal(N), 1e-12)
    assert log_z(proposals) == pytest.approx(LOG_Z - np.log(2.0), abs=0.03)
    assert log_z_bar(proposals, reference) == pytest.approx(LOG_Z - np.log(2.0), abs=0.03)
