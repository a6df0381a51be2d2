"""What is said of proposals with their weights: how many cannot be right, and the effective sample size so far."""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from prosebench.frames.importance import clean_log_weights, pareto_tail_size

CLASH_NM = 0.08
"""Two atoms closer than this, in nm, clash, whether bonded or not: the shortest bond (O-H) has 0.096 nm."""


class MirroredFrames(Protocol):
    """What the shares below need of the proposals of any flow."""

    @property
    def frames_nm(self) -> NDArray[np.float32]:
        """The frames (n, atoms, 3) in nm, after mirroring."""

    @property
    def mirrored(self) -> NDArray[np.bool_]:
        """Which frames (n,) were mirrored."""

    @property
    def still_wrong(self) -> NDArray[np.bool_]:
        """Which frames (n,) have a wrong chirality centre even after mirroring."""

    def log_weights(self, energies_kt: NDArray[np.float64]) -> NDArray[np.float64]:
        """Importance weights (n,); -inf where there is none."""


def proposal_shares(proposals: MirroredFrames, energies_kt: NDArray[np.float64]) -> dict[str, float]:
    """Shares of proposals that were mirrored, have a wrong chirality centre even so, clash, or are not finite."""
    return {
        "mirrored": float(proposals.mirrored.mean()),
        "chirality-wrong": float(proposals.still_wrong.mean()),
        "clashing": float(clashing(proposals.frames_nm).mean()),
        "non-finite": float(1.0 - np.isfinite(proposals.log_weights(energies_kt)).mean()),
    }


def clashing(frames_nm: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which frames (n, atoms, 3) have two atoms closer than CLASH_NM."""
    clash = np.zeros(len(frames_nm), dtype=bool)
    for i in range(1, frames_nm.shape[1]):
        squares = ((frames_nm[:, :i] - frames_nm[:, i : i + 1]) ** 2).sum(axis=2)
        clash |= (squares < CLASH_NM**2).any(axis=1)
    return clash


def extend_tail(
    tail: NDArray[np.float64] | None, log_weights: NDArray[np.float64], most: int
) -> NDArray[np.float64]:
    """A summary of the log-weights so far: log sum w, log sum w^2, then the largest ones, enough of them for
    the k-hat of `most` weights."""
    new = clean_log_weights(log_weights)
    before = np.full(2, -np.inf) if tail is None else tail
    largest = np.sort(np.concatenate([before[2:], new]))[-pareto_tail_size(most) - 1 :]
    sums = [np.logaddexp.reduce(power * new, initial=before[power - 1]) for power in (1, 2)]
    return np.concatenate([sums, largest])


def tail_ess(tail: NDArray[np.float64], n: int) -> float:
    """ESS of n weights with such a summary; 0 where none is finite."""
    return math.exp(2.0 * tail[0] - tail[1]) / n if np.isfinite(tail[0]) else 0.0
