"""Errors of moments hold for correlated and for weighted frames; what is off by too much is said with its size."""

import numpy as np
import pytest

from prosebench.check.case import ContractBroken
from prosebench.check.moments import N_BATCHES, SEEN_SIGMA, Moment, _batch_mean, _moments_of, _require_near
from prosebench.energy.analytic import HarmonicTarget
from prosebench.ensemble import Ensemble


def chains(n_chains: int, n: int, correlation: float) -> np.ndarray:
    """Autoregressive chains (n_chains, n) of unit variance."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(n_chains, n)) * np.sqrt(1.0 - correlation**2)
    made = np.empty_like(noise)
    made[:, 0] = rng.normal(size=n_chains)
    for i in range(1, n):
        made[:, i] = correlation * made[:, i - 1] + noise[:, i]
    return made


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_errors_are_as_large_as_what_means_scatter_by(correlation: float) -> None:
    found = [_batch_mean(chain, None) for chain in chains(300, 5000, correlation)]
    means, errors = np.array(found).T
    # The correlation time is (1 + c) / (1 - c) frames.
    expected = np.sqrt((1 + correlation) / (1 - correlation) / 5000)
    assert means.std() == pytest.approx(expected, rel=0.15)
    assert np.sqrt((errors**2).mean()) == pytest.approx(expected, rel=0.1)


def test_weights_that_are_equal_are_none_and_unequal_ones_count() -> None:
    values = chains(1, 1000, 0.0)[0]
    assert _batch_mean(values, np.full(1000, 7.0)) == pytest.approx(_batch_mean(values, None))
    halves = np.where(np.arange(1000) % 2, np.log(3.0), 0.0)
    mean, error = _batch_mean(values, halves)
    assert mean == pytest.approx((values[::2].sum() + 3 * values[1::2].sum()) / 2000)
    assert 1.0 < error / _batch_mean(values, None)[1] < 1.5


def test_frames_of_no_weight_may_be_anything() -> None:
    values, weights = chains(1, 1000, 0.0)[0], np.zeros(1000)
    weights[::10] = -np.inf
    wild = values.copy()
    wild[::10] = np.nan
    assert np.isfinite(_batch_mean(wild, weights)).all()
    assert _batch_mean(wild, weights) == pytest.approx(
        _batch_mean(np.where(np.isnan(wild), 0.0, wild), weights)
    )


def test_four_standard_errors_are_the_limit() -> None:
    _require_near("energy", Moment(1.39, 0.1, 1.0, 1.0))
    with pytest.raises(
        ContractBroken, match=r"^energy is 1.41 \+- 0.1, but 1 is right: 4.1 standard errors off; why$"
    ):
        _require_near("energy", Moment(1.41, 0.1, 1.0, 1.0), "; why")
    # Without any spread nothing but the right number is near.
    with pytest.raises(ContractBroken, match="inf standard errors off"):
        _require_near("energy", Moment(1.0, 0.0, 1.0, 1.0))


def test_what_would_have_been_seen_is_in_units_of_the_quantity() -> None:
    assert Moment(0.0, 0.02, 0.0, 2.0).seen == pytest.approx(SEEN_SIGMA * 0.01)


@pytest.mark.parametrize("target", [HarmonicTarget(np.zeros((4, 3))), HarmonicTarget.free_wells(4, 0.02)])
def test_exact_draws_have_the_right_moments_and_hot_ones_do_not(target: HarmonicTarget) -> None:
    draws = target.draw(20_000, np.random.default_rng(1))
    moments = _moments_of(target, Ensemble(draws, target.energy(draws.astype(np.float32))))
    assert list(moments) == ["mean energy (kT)", "mean position (nm)", "variance (nm^2)"]
    for name, one in moments.items():
        _require_near(name, one)
        assert one.seen < 0.1
    hot = 1.02 * draws
    wrong = _moments_of(target, Ensemble(hot, target.energy(hot.astype(np.float32))))
    for name in ("mean energy (kT)", "variance (nm^2)"):
        with pytest.raises(ContractBroken):
            _require_near(name, wrong[name])
    assert len(draws) > N_BATCHES
