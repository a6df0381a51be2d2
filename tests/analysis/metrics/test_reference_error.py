import numpy as np
import pytest

from analysis.metrics.jsd import kmeans_jsd
from analysis.metrics.reference_error import blocks_of, energy_error, jsd_error, mean_error, plane_error
from analysis.statistics.calibration import correlated
from analysis.wasserstein import energy_w1, energy_w2, euclidean_w2, torus_w2


def test_blocks_stay_within_a_trajectory():
    blocks = blocks_of(np.repeat([0, 1], 20), np.tile(np.arange(20), 2), 2.5)
    assert blocks.tolist() == [0] * 10 + [1] * 10 + [2] * 10 + [3] * 10
    assert len(set(blocks_of(np.zeros(5), np.arange(5), 1.0))) == 5


def test_the_error_of_a_mean_of_correlated_frames_is_that_of_its_effective_number():
    rng = np.random.default_rng(0)
    correlation, n = 0.9, 4000
    inefficiency = (1 + correlation) / (1 - correlation)
    means, errors = [], []
    for _ in range(150):
        values = correlated(rng, n, correlation)
        means.append(values.mean())
        blocks = blocks_of(np.zeros(n), np.arange(n), inefficiency)
        errors.append(mean_error(values, blocks, n / inefficiency))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.15)
    # Taken as independent the frames would promise four times too much.
    assert mean_error(values, np.arange(n), n) < 0.3 * np.std(means)


def resampled(metric, sample: np.ndarray, reference: np.ndarray, n: int = 150) -> float:
    """Spread of a metric over bootstrap samples of independent reference frames."""
    rng = np.random.default_rng(5)
    return float(
        np.std(
            [metric(sample, reference[rng.integers(len(reference), size=len(reference))]) for _ in range(n)]
        )
    )


def test_energy_errors_are_those_of_a_bootstrap():
    rng = np.random.default_rng(1)
    sample, reference = rng.normal(0.8, 1.3, 600), rng.normal(size=500)
    for power, metric in ((1, energy_w1), (2, energy_w2)):
        found = energy_error(sample, reference, np.arange(500), 500, power=power)
        assert found == pytest.approx(resampled(metric, sample, reference), rel=0.15)
    assert np.isnan(energy_error(np.array([np.inf]), reference, np.arange(500), 500, power=2))


@pytest.mark.parametrize(("metric", "period"), [(euclidean_w2, None), (torus_w2, 2 * np.pi)])
def test_plane_errors_are_those_of_a_bootstrap(metric, period: float | None):
    rng = np.random.default_rng(2)
    sample, reference = rng.normal(1.0, 0.7, (300, 2)), rng.normal(0.0, 0.5, (300, 2))
    value = metric(sample, reference)
    found = plane_error(sample, reference, np.arange(300), 300, value, period=period)
    assert found == pytest.approx(resampled(metric, sample, reference, 60), rel=0.25)
    assert np.isnan(plane_error(sample, reference, np.arange(300), 300, np.inf))


def test_jsd_errors_are_those_of_a_bootstrap():
    rng = np.random.default_rng(3)
    reference = np.concatenate([rng.normal(-3, 0.1, (200, 2)), rng.normal(3, 0.1, (200, 2))])
    sample = np.concatenate([rng.normal(-3, 0.1, (40, 2)), rng.normal(3, 0.1, (360, 2))])
    found = jsd_error(sample, reference, np.arange(400), 400, n_states=2)

    def two_states(one: np.ndarray, other: np.ndarray) -> float:
        return kmeans_jsd(other, one, 2)

    assert found == pytest.approx(resampled(two_states, sample, reference, 60), rel=0.25)


def test_fewer_effective_frames_never_make_a_smaller_error():
    values = np.random.default_rng(4).normal(size=1000)
    few, many = (mean_error(values, np.arange(1000), number) for number in (10, 1000))
    assert few == pytest.approx(values.std() / np.sqrt(10))
    assert few > many
