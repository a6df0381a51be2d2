"""Standard errors of averages cover the truth: for independent, weighted, repeated and correlated frames."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr

from prosebench.frames.averages import Estimate, Frames, Histogram, blocked_error

Draw = Callable[[np.random.Generator], Estimate]
TRIALS = 400
MEAN = 0.8


def estimate(values: NDArray, weights: NDArray | None = None, same_as: NDArray | None = None) -> Estimate:
    n = len(values)
    weights = np.full(n, 1.0 / n) if weights is None else weights / weights.sum()
    return Frames(weights, np.arange(n) if same_as is None else same_as).mean(values)


def independent(rng: np.random.Generator) -> Estimate:
    return estimate(MEAN + rng.exponential(size=1000) - 1.0)


def proposals(rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Draws of a wide normal around 0, and their weights for a unit normal around MEAN."""
    x = 1.3 * rng.standard_normal(4000)
    return x, np.exp(-0.5 * (x - MEAN) ** 2 + 0.5 * (x / 1.3) ** 2)


def weighted(rng: np.random.Generator) -> Estimate:
    return estimate(*proposals(rng))


def resampled(rng: np.random.Generator) -> Estimate:
    """A file drawn by weights, in which most proposals are missing and others stand several times."""
    x, weights = proposals(rng)
    index = rng.choice(len(x), len(x), p=weights / weights.sum())
    return estimate(x[index], same_as=index)


def chain(rng: np.random.Generator, steps: int, time: float, replicas: int = 1) -> NDArray:
    """An autoregressive chain of unit variance around MEAN, or several, interleaved."""
    slow = np.exp(-1.0 / time)
    noise = np.sqrt(1.0 - slow**2) * rng.standard_normal((steps + int(10 * time), replicas))
    return MEAN + lfilter([1.0], [1.0, -slow], noise, axis=0)[-steps:].ravel()


def trajectory(rng: np.random.Generator) -> Estimate:
    return estimate(chain(rng, 5000, 20.0))


def interleaved(rng: np.random.Generator) -> Estimate:
    return estimate(chain(rng, 2048, 20.0, replicas=8))


@pytest.mark.parametrize("draw", [independent, weighted, resampled, trajectory, interleaved])
def test_errors_are_as_large_as_what_estimates_miss_by(draw: Draw) -> None:
    rng = np.random.default_rng(0)
    found = [draw(rng) for _ in range(TRIALS)]
    off = np.array([one.value - MEAN for one in found])
    errors = np.array([one.standard_error for one in found])
    # A spread from TRIALS estimates is known to 1 / sqrt(2 TRIALS), 3.5 %; 4 sigma are allowed.
    assert abs(np.sqrt((errors**2).mean()) / off.std() - 1.0) < 4.0 / np.sqrt(2.0 * TRIALS)
    assert abs(off.mean()) < 4.0 * off.std() / np.sqrt(TRIALS) + 0.1 * errors.mean()
    covered = (np.abs(off) < 1.96 * errors).mean()
    assert 0.95 - 4.0 * np.sqrt(0.95 * 0.05 / TRIALS) < covered < 0.95 + 4.0 * np.sqrt(0.95 * 0.05 / TRIALS)


def test_what_a_naive_error_says_of_such_frames_is_far_too_small() -> None:
    rng = np.random.default_rng(1)
    for draw, least in ((resampled, 1.2), (trajectory, 4.0), (interleaved, 4.0)):
        one = draw(rng)
        n = {resampled: 4000, trajectory: 5000, interleaved: 8 * 2048}[draw]
        assert one.standard_error > least / np.sqrt(n)
        assert one.effective_frames < n / least**2


def test_effective_frames_of_a_chain_are_those_of_its_correlation_time() -> None:
    rng = np.random.default_rng(2)
    # 1 + 2 sum of exp(-t / 20) over lags is 40.0.
    counts = [estimate(chain(rng, 20_000, 20.0)).effective_frames for _ in range(50)]
    assert 20_000 / 40.0 * 0.8 < np.median(counts) < 20_000 / 40.0 * 1.25


def test_histogram_and_free_energy_cover_a_normal_distribution() -> None:
    rng, edges = np.random.default_rng(3), np.linspace(-1.2, 2.8, 9)
    truth = np.diff(ndtr(edges - MEAN))
    energy = -np.log(truth / np.diff(edges))
    hits = np.zeros((2, TRIALS // 2, len(truth)))
    for trial in range(TRIALS // 2):
        x, weights = proposals(rng)
        found = Frames(weights / weights.sum(), np.arange(len(x))).histogram(x, edges, None)
        hits[0, trial] = np.abs(found.share - truth) < 1.96 * found.share_error
        lowest = int(np.argmin(found.free_energy_kt))
        off = found.free_energy_kt - (energy - energy[lowest])
        hits[1, trial] = np.abs(off) <= 1.96 * found.free_energy_error_kt
        assert found.free_energy_error_kt[lowest] == pytest.approx(0.0, abs=1e-6)
        assert found.density == pytest.approx(found.share / 0.5)
    # The bin whose error is 0 by its definition is always hit; the others are as they should be, together.
    assert hits[0].mean() > 0.92
    assert 0.92 < hits[1].mean() < 1.0


def test_a_histogram_knows_bins_without_weight_and_weight_without_bins() -> None:
    values = np.array([0.1, 0.2, 0.2, 0.9, 5.0])
    found: Histogram = Frames(np.full(5, 0.2), np.arange(5)).histogram(values, 4, (0.0, 1.0))
    assert found.share.tolist() == pytest.approx([0.6, 0.0, 0.0, 0.2])
    assert found.free_energy_kt[[0, 3]].tolist() == pytest.approx([0.0, np.log(3.0)])
    assert np.isposinf(found.free_energy_kt[1:3]).all()
    assert np.isnan(found.free_energy_error_kt[1:3]).all()
    plane = Frames(np.full(5, 0.2), np.arange(5)).histogram(
        np.stack([values, values], axis=1), 2, [(0, 1), (0, 1)]
    )
    assert plane.share.tolist() == [[pytest.approx(0.6), 0.0], [0.0, pytest.approx(0.2)]]
    assert plane.volume.tolist() == [[0.25, 0.25], [0.25, 0.25]]


def test_blocks_agree_with_the_plain_error_where_frames_are_independent() -> None:
    rng = np.random.default_rng(4)
    series = rng.standard_normal((4096, 200))
    ratio = blocked_error(series) / (series.std(axis=0, ddof=1) / np.sqrt(4096))
    assert np.median(ratio) == pytest.approx(1.0, abs=0.02)
    assert (ratio < 1.2).mean() > 0.97
