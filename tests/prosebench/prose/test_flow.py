import numpy as np
import pytest
import torch

from prosebench.flows.flow import CHUNK_FRAMES
from prosebench.frames.importance import com_energy_adjustment, ess
from prosebench.peptide import Peptide
from prosebench.prose import Prose
from prosebench.prose.flow import centre_log_density
from prosebench.prose.network import Network
from prosebench.prose.weights import save_weights

from .conftest import tiny_config, tiny_network

PEPTIDE = Peptide.from_sequence("GG")


class Harmonic:
    """A target that is a Gaussian of the centred positions."""

    n_atoms, temperature_kelvin = PEPTIDE.n_atoms, 310.0

    def __init__(self, spread_nm):
        self.spread_nm = spread_nm

    def energy(self, frames_nm):
        centred = frames_nm - frames_nm.mean(axis=1, keepdims=True)
        return 0.5 * (centred.astype(np.float64) ** 2).sum(axis=(1, 2)) / self.spread_nm**2

    def mean_square_nm2(self):
        return self.spread_nm**2 * 3 * (self.n_atoms - 1)


@pytest.fixture(scope="module")
def prose():
    return Prose(tiny_network(dtype=torch.float32), device="cpu")


@pytest.fixture(scope="module")
def identity():
    """A flow whose density is known: independent normals in units of 0.35 nm."""
    return Prose(Network(tiny_config(blocks=1, layers_per_block=1)), device="cpu")


def rng(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def test_density_of_the_identity(identity):
    frames = 0.35 * np.random.default_rng(0).standard_normal((5, PEPTIDE.n_atoms, 3))
    expected = -0.5 * ((frames / 0.35) ** 2 + np.log(2 * np.pi * 0.35**2)).sum(axis=(1, 2))
    np.testing.assert_allclose(identity.log_prob("GG", frames), expected, rtol=1e-6)


def test_density_of_proposals_is_that_of_the_flow(prose):
    proposals = prose.propose(PEPTIDE, 20, rng(), mirror=False)
    as_drawn = proposals.frames_nm + proposals.centres_nm[:, None]
    np.testing.assert_allclose(prose.log_prob(PEPTIDE, as_drawn), proposals.log_q_full, rtol=1e-5, atol=1e-3)
    for com in ("gaussian", "published"):
        ours = prose.log_prob(PEPTIDE, as_drawn, com=com)
        np.testing.assert_allclose(ours, proposals.log_q(com), rtol=1e-5, atol=1e-2)


def test_proposals_are_centred(prose):
    proposals = prose.propose("GG", 10, rng())
    assert proposals.frames_nm.dtype == np.float32
    assert np.abs(proposals.frames_nm.mean(axis=1)).max() < 1e-6
    assert (np.linalg.norm(proposals.centres_nm, axis=1) > 0).all()


def test_draws_do_not_depend_on_batches(prose):
    whole = prose.propose(PEPTIDE, 20, rng(), batch=20)
    parts = prose.propose(PEPTIDE, 20, rng(), batch=3)
    np.testing.assert_allclose(parts.frames_nm, whole.frames_nm, atol=1e-5)
    np.testing.assert_allclose(parts.log_q_full, whole.log_q_full, atol=1e-3)


def test_a_smaller_sample_is_the_beginning_of_a_larger(identity):
    few = identity.sample("GG", 5, target=Harmonic(0.3))
    many = identity.sample("GG", CHUNK_FRAMES + 5, target=Harmonic(0.3))
    np.testing.assert_allclose(few.positions_nm, many.positions_nm[:5], atol=1e-6)
    assert not np.allclose(many.positions_nm[:5], many.positions_nm[CHUNK_FRAMES:])
    assert many.evaluations.tolist() == list(range(1, CHUNK_FRAMES + 6))


def test_seeds_differ(identity):
    first, second = (identity.sample("GG", 4, seed=seed, target=Harmonic(0.3)) for seed in (0, 1))
    assert not np.allclose(first.positions_nm, second.positions_nm)


@pytest.mark.parametrize("com", ["gaussian", "published"])
def test_weights_are_unbiased_with_either_centre_density(identity, com):
    target = Harmonic(0.33)
    ensemble = identity.sample("GG", 20_000, target=target, com=com)
    weights = np.exp(ensemble.log_weights - ensemble.log_weights.max())
    weights /= weights.sum()
    squares = (ensemble.positions_nm.astype(np.float64) ** 2).sum(axis=(1, 2))
    error = np.sqrt((weights**2 * (squares - target.mean_square_nm2()) ** 2).sum())
    assert error < 0.05 * target.mean_square_nm2()
    assert abs((weights * squares).sum() - target.mean_square_nm2()) < 4 * error
    unweighted = squares.mean() - target.mean_square_nm2()
    assert unweighted > 4 * error


def test_gaussian_centre_gives_the_higher_ess(identity):
    energies = {}
    proposals = identity.propose(PEPTIDE, 5000, rng())
    energy = Harmonic(0.35).energy(proposals.frames_nm)
    energies = {com: ess(proposals.log_weights(energy, com)) for com in ("gaussian", "published")}
    assert energies["gaussian"] == pytest.approx(1.0, abs=1e-3)  # flow and target agree but for the centre
    assert energies["published"] == pytest.approx(0.6, abs=0.05)  # (E c^2)^2 / E c^4 for three dimensions


def test_published_centre_density_is_the_published_term():
    frames = np.random.default_rng(0).standard_normal((6, 12, 3))
    ours = centre_log_density(frames.mean(axis=1), 12, "published", 1.0)
    np.testing.assert_allclose(ours, com_energy_adjustment(frames), rtol=1e-12)
    with pytest.raises(ValueError, match="unknown centre-of-mass density"):
        centre_log_density(frames.mean(axis=1), 12, "mass", 1.0)


def test_temperature_scales_the_latent_and_its_density(identity):
    cold, hot = (identity.propose("GG", 200, rng(), temperature_kelvin=t) for t in (310.0, 620.0))
    np.testing.assert_allclose(hot.centres_nm, np.sqrt(2) * cold.centres_nm, atol=1e-6)
    shift = 1.5 * PEPTIDE.n_atoms * np.log(2)
    np.testing.assert_allclose(hot.log_q_full, cold.log_q_full - shift, rtol=1e-6)


def test_wrong_chirality_is_mirrored(identity):
    peptide = Peptide.from_sequence("GA")
    proposals = identity.propose(peptide, 200, rng())
    assert 0.3 < proposals.mirrored.mean() < 0.7
    assert not proposals.still_wrong.any()  # one centre: a mirror puts it right
    plain = identity.propose(peptide, 200, rng(), mirror=False)
    np.testing.assert_array_equal(
        proposals.frames_nm[proposals.mirrored], -plain.frames_nm[proposals.mirrored]
    )
    np.testing.assert_array_equal(proposals.log_q_full, plain.log_q_full)


def test_frames_that_are_not_finite_have_no_weight(identity):
    proposals = identity.propose(PEPTIDE, 3, rng())
    assert proposals.log_weights(np.array([1.0, np.inf, np.nan])).tolist()[1:] == [-np.inf, -np.inf]


def test_wrong_shapes_are_refused(prose):
    with pytest.raises(ValueError, match=r"shape \(2, 5, 3\); GG needs \(n, 17, 3\)"):
        prose.log_prob("GG", np.zeros((2, 5, 3)))


def test_no_frames_are_refused(identity):
    with pytest.raises(ValueError, match="0 frames were asked for"):
        identity.sample("GG", 0, target=Harmonic(0.3))


@pytest.mark.parametrize("kelvin", [0.0, -5.0, np.nan, np.inf])
def test_temperatures_that_cannot_be_are_refused(identity, kelvin):
    with pytest.raises(ValueError, match="is not between 200 and 100000 kelvin"):
        identity.sample("GG", 2, temperature_kelvin=kelvin)
    with pytest.raises(ValueError, match=r"the temperature is .* K; give one above 0"):
        identity.propose("GG", 2, rng(), temperature_kelvin=kelvin)


def test_negative_seeds_and_absent_devices_are_refused(identity):
    with pytest.raises(ValueError, match="the seed is -1; give 0 or"):
        identity.sample("GG", 2, seed=-1)
    with pytest.raises(ValueError, match="there is no device 'abacus' here"):
        Prose(identity.network, device="abacus")


def test_what_a_flow_does_not_know_is_said(identity):
    knows = Prose(identity.network, {"notes": {"residues": "GK"}}, device="cpu")
    assert knows.unknown(PEPTIDE) is None
    assert knows.unknown(Peptide.from_sequence("GSA")) == "has never seen S, A; it knows GK"
    long = Peptide.from_sequence("G" * 9)
    assert identity.unknown(long) == "was made for peptides of up to 8 residues"
    assert identity.unknown(long, any_length=True) is None


def test_each_chunk_can_be_watched(identity):
    seen = []
    ensemble = identity.sample(
        "GG", CHUNK_FRAMES + 5, target=Harmonic(0.3), watch=lambda *chunk: seen.append(chunk)
    )
    assert [len(energies) for _, energies in seen] == [CHUNK_FRAMES, 5]
    weights = np.concatenate([proposals.log_weights(energies) for proposals, energies in seen])
    np.testing.assert_array_equal(weights, ensemble.log_weights)


def test_three_lines(tmp_path, prose):
    save_weights(tmp_path / "mine.npz", prose.network, {"seed": 1})
    loaded = Prose.from_pretrained(tmp_path / "mine.npz", device="cpu")
    ensemble = loaded.sample("GG", 8, temperature_kelvin=350)
    assert ensemble.positions_nm.shape == (8, 17, 3)
    assert np.isfinite(ensemble.energies_kt).any()
    assert ensemble.log_weights.shape == (8,)
    assert loaded.source["notes"] == {"seed": 1}
