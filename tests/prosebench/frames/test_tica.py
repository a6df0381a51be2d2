"""TICA on processes whose slow direction is known."""

import numpy as np
import pytest

from prosebench.frames.tica import TicaBasis, TicaError, fit_tica, tica_fault

MIXING = np.array([[1.0, 0.3, -0.2], [0.5, 2.0, 0.1], [-0.4, 0.2, 1.0]])
COEFFICIENTS = np.array([0.99, 0.9, 0.3])


def _ar_process(n: int, seed: int, start: float = 0.0) -> np.ndarray:
    """Mixture of three independent AR(1) processes with correlation times 100, 10 and 1."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, 3)) * np.sqrt(1.0 - COEFFICIENTS**2)
    hidden = np.empty((n, 3))
    state = np.full(3, start)
    for i in range(n):
        state = COEFFICIENTS * state + noise[i]
        hidden[i] = state
    return hidden @ MIXING


@pytest.mark.parametrize("koopman_reweighting", [True, False])
def test_the_slow_directions_are_found_in_order(koopman_reweighting):
    pieces = [_ar_process(20_000, seed) for seed in range(3)]
    basis = fit_tica(pieces, 5, koopman_reweighting=koopman_reweighting)
    hidden = pieces[0] @ np.linalg.inv(MIXING)
    components = basis.transform(pieces[0])
    for i in range(2):
        assert abs(np.corrcoef(components[:, i], hidden[:, i])[0, 1]) > 0.99
    # Kinetic map: a component's standard deviation is its autocorrelation at the lag.
    np.testing.assert_allclose(components.std(axis=0), COEFFICIENTS[:2] ** 5, rtol=0.1)


def test_koopman_reweighting_corrects_the_mean_of_trajectories_that_start_out_of_equilibrium():
    pieces = [_ar_process(300, seed, start=3.0) for seed in range(100)]
    plain = fit_tica(pieces, 5, koopman_reweighting=False)
    reweighted = fit_tica(pieces, 5, koopman_reweighting=True)
    plain_mean, reweighted_mean = (basis.mean @ np.linalg.inv(MIXING) for basis in (plain, reweighted))
    assert plain_mean[0] > 0.7
    assert abs(reweighted_mean[0]) < 0.5 * plain_mean[0]


def test_a_refit_gives_the_same_basis():
    pieces = [_ar_process(2_000, seed) for seed in range(2)]
    assert fit_tica(pieces, 5).hash == fit_tica(pieces, 5).hash


def test_signs_do_not_depend_on_the_data():
    pieces = [_ar_process(20_000, 0)]
    for basis in (fit_tica(pieces, 5), fit_tica([-piece for piece in pieces], 5)):
        largest = basis.projection[np.abs(basis.projection).argmax(axis=0), [0, 1]]
        assert (largest > 0).all()


def test_pairs_do_not_span_trajectories():
    one, two = _ar_process(5_000, 0), _ar_process(5_000, 1)
    apart = fit_tica([one, two], 50, koopman_reweighting=False)
    swapped = fit_tica([two, one], 50, koopman_reweighting=False)
    np.testing.assert_allclose(apart.projection, swapped.projection, rtol=1e-6)


def test_too_little_data_is_an_error_that_says_what_to_do():
    with pytest.raises(TicaError, match="lag"):
        fit_tica([np.zeros((10, 3))], 10)
    with pytest.raises(TicaError, match="Sample longer"):
        fit_tica([np.ones((50, 3))], 5)


def test_fewer_pairs_than_features_determine_nothing():
    rng = np.random.default_rng(0)
    pieces = [rng.standard_normal((9, 21)) for _ in range(2)]
    with pytest.raises(
        TicaError, match=r"21 features needs more pairs .* have 16 pairs at a lag of 1 frames"
    ):
        fit_tica(pieces, 1, koopman_reweighting=False)
    assert tica_fault([9, 9], 1, 16) is not None
    assert tica_fault([9, 9], 1, 15) is None


def test_basis_is_checked():
    with pytest.raises(ValueError, match="shape"):
        TicaBasis(np.zeros((4, 2)), np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        TicaBasis(np.full((3, 2), np.nan), np.zeros(3))
    with pytest.raises(ValueError, match="features"):
        TicaBasis(np.zeros((3, 2)), np.zeros(3)).transform(np.zeros((5, 4)))


def test_hash_tells_bases_apart():
    basis = TicaBasis(np.eye(3)[:, :2], np.zeros(3))
    assert basis.hash == TicaBasis(np.eye(3)[:, :2], np.zeros(3)).hash
    assert basis.hash != TicaBasis(np.eye(3)[:, :2], np.full(3, 1e-12)).hash


def test_components_count_from_the_mean_of_the_data():
    basis = TicaBasis(np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(
        basis.transform(np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 3.0]])), [[0, 0], [1, 0]]
    )
    pieces = [_ar_process(5_000, seed) + 7.0 for seed in range(2)]
    found = fit_tica(pieces, 5, koopman_reweighting=False)
    np.testing.assert_allclose(
        found.mean, np.mean([piece.mean(axis=0) for piece in pieces], axis=0), atol=0.05
    )
    assert np.abs(found.transform(np.concatenate(pieces)).mean(axis=0)).max() < 0.02
