"""What is said of proposals so far is what would be said of all of them at once."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from prosebench.flows.diagnostics import CLASH_NM, clashing, extend_tail, proposal_shares, tail_ess
from prosebench.frames.importance import ess, pareto_k, pareto_tail_size


@pytest.mark.parametrize("cuts", [[], [1], [300, 301], [10, 500, 990]])
def test_chunks_add_up_to_the_whole(cuts: list[int]) -> None:
    rng = np.random.default_rng(0)
    weights = 3.0 * rng.normal(size=1000)
    weights[rng.integers(1000, size=30)] = -np.inf
    weights[5], weights[6] = np.nan, np.inf
    tail = None
    for part in np.split(weights, cuts):
        tail = extend_tail(tail, part, 1000)
    assert tail is not None
    assert tail_ess(tail, 1000) == pytest.approx(ess(weights), rel=1e-12)
    assert pareto_k(tail[2:], 1000) == pareto_k(weights)
    assert len(tail) == 2 + pareto_tail_size(1000) + 1


def test_sums_hold_weights_that_no_number_could() -> None:
    """exp(2000) overflows; the share does not."""
    tail = extend_tail(None, np.array([2000.0, 2000.0, 2000.0, -3000.0]), 4)
    assert tail_ess(tail, 4) == pytest.approx(0.75)
    assert tail_ess(extend_tail(None, np.array([-5000.0, -5000.0]), 2), 2) == pytest.approx(1.0)


def test_without_a_finite_weight_the_ess_is_none_and_a_first_one_counts() -> None:
    nothing = extend_tail(None, np.array([-np.inf, np.nan]), 4)
    assert tail_ess(nothing, 2) == 0.0
    assert tail_ess(extend_tail(nothing, np.array([1.0, 1.0]), 4), 4) == pytest.approx(0.5)


@pytest.mark.parametrize(("apart", "clash"), [(0.9, True), (1.1, False)])
@pytest.mark.parametrize("pair", [(0, 1), (0, 5), (4, 5)])
def test_a_clash_is_any_two_atoms_too_close(pair: tuple[int, int], apart: float, clash: bool) -> None:
    frames = np.arange(6.0)[None, :, None] * np.ones((2, 1, 3))
    frames[1, pair[1]] = frames[1, pair[0]] + [apart * CLASH_NM, 0.0, 0.0]
    assert clashing(frames).tolist() == [False, clash]


@dataclass
class _Frames:
    frames_nm: NDArray[np.float32]
    mirrored: NDArray[np.bool_]
    still_wrong: NDArray[np.bool_]

    def log_weights(self, energies_kt: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(np.isfinite(energies_kt), -energies_kt, -np.inf)


def test_shares_are_of_all_proposals() -> None:
    frames = np.zeros((4, 2, 3), np.float32)
    frames[:3, 1] = 1.0
    of = _Frames(frames, np.array([True, True, False, False]), np.array([False, True, False, False]))
    assert proposal_shares(of, np.array([1.0, np.inf, 2.0, np.nan])) == {
        "mirrored": 0.5,
        "chirality-wrong": 0.25,
        "clashing": 0.25,
        "non-finite": 0.5,
    }
