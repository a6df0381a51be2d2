"""The score of an ensemble: which frames are taken, what is reported."""

import numpy as np
import pytest

from analysis.metrics.frames import choose, prefix, thin
from analysis.metrics.registry import DISTANCE_NAMES
from analysis.metrics.score import score
from analysis.metrics.weighting import FILTERED
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.reference import Reference, build_reference
from tests.molecules.turned_bond import turned_bond


@pytest.fixture(scope="module")
def peptide() -> Peptide:
    return Peptide.from_sequence("AA")


def _frames(peptide: Peptide, n: int, seed: int) -> Ensemble:
    rng = np.random.default_rng(seed)
    noise = np.zeros((n, peptide.n_atoms, 3))
    for i in range(1, n):
        noise[i] = 0.8 * noise[i - 1] + 0.004 * rng.standard_normal(noise[i].shape)
    return Ensemble((peptide.start_nm + noise).astype(np.float32), rng.gamma(30.0, size=n))


@pytest.fixture(scope="module")
def reference(peptide: Peptide) -> Reference:
    return build_reference(
        peptide,
        [_frames(peptide, 400, 0), _frames(peptide, 400, 1)],
        frame_interval_ps=1.0,
        lag_frames=2,
        n_frames=400,
        seed=0,
        source={},
    )


def _score(ensemble: Ensemble, reference: Reference, n_frames: int = 100) -> dict[str, float]:
    found = score(ensemble, reference, n_frames=n_frames, seed=3)
    return {name: number.value for (name, _), number in found.numbers.items()} | {"frames": found.frames}


def test_the_reference_itself_scores_zero(reference):
    values = _score(reference.scored.select(slice(0, 100)), reference)
    for name in DISTANCE_NAMES:
        assert values[name] == pytest.approx(0.0, abs=1e-6)
    assert values["frames"] == 100
    assert values["non-finite"] == values["mirrored"] == values["chirality-wrong"] == 0.0
    assert "ess" not in values


def test_mirrored_frames_are_mirrored_back(reference):
    frames = reference.scored.select(slice(0, 100))
    turned = Ensemble(
        frames.positions_nm * np.where(np.arange(100) < 30, -1, 1)[:, None, None], frames.energies_kt
    )
    values = _score(turned, reference)
    assert values["mirrored"] == pytest.approx(0.3)
    assert values["chirality-wrong"] == 0.0
    # A mirror image has the energy of its frame.
    for name in DISTANCE_NAMES:
        assert values[name] == pytest.approx(0.0, abs=1e-6)


def test_turned_peptide_bonds_are_counted(reference):
    frames = reference.scored.select(slice(0, 100))
    assert _score(frames, reference)["peptide-bonds-turned"] == 0.0
    positions = frames.positions_nm.copy()
    for number in range(7):
        positions[number] = turned_bond(reference.peptide, positions[number])
    values = _score(Ensemble(positions, frames.energies_kt), reference)
    assert values["peptide-bonds-turned"] == pytest.approx(0.07)
    assert values["chirality-wrong"] == 0.0


def test_one_infinite_energy_is_seen(reference):
    frames = reference.scored.select(slice(0, 100))
    energies = frames.energies_kt.copy()
    energies[17] = np.inf
    values = _score(Ensemble(frames.positions_nm, energies), reference)
    assert values["energy-w2"] == values["energy-w1"] == np.inf
    assert values["non-finite"] == pytest.approx(0.01)
    assert values["torus-w2"] == pytest.approx(0.0, abs=1e-6)


def test_coordinates_that_are_not_finite_are_seen(reference, peptide):
    frames = reference.scored.select(slice(0, 100))
    positions = frames.positions_nm.copy()
    positions[5, peptide.atom_names.index("CA")] = np.nan
    values = _score(Ensemble(positions, frames.energies_kt), reference)
    assert values["torus-w2"] == values["tica-w2"] == np.inf
    assert values["non-finite"] == pytest.approx(0.01)
    assert np.isfinite(values["torus-k-jsd"])
    assert values["torus-k-jsd"] > 0.0


def test_weights_are_filtered_and_resampled(reference, peptide):
    pool = _frames(peptide, 1000, 7)
    log_weights = np.random.default_rng(0).standard_normal(1000)
    log_weights[0], log_weights[1] = 50.0, np.nan
    weighted = Ensemble(pool.positions_nm, pool.energies_kt, log_weights)
    chosen = choose(weighted, FILTERED, 300, seed=1).places
    assert len(chosen) == 300
    assert not {0, 1} & set(chosen)
    np.testing.assert_array_equal(chosen, choose(weighted, FILTERED, 300, seed=1).places)
    assert not np.array_equal(chosen, choose(weighted, FILTERED, 300, seed=2).places)
    values = _score(weighted, reference)
    assert 0.2 < values["ess"] < 0.6
    assert values["frames"] == 100


def test_a_frame_without_energy_is_never_drawn(peptide):
    pool = _frames(peptide, 50, 7)
    energies = np.where(np.arange(50) < 40, np.inf, 0.0)
    chosen = choose(Ensemble(pool.positions_nm, energies, np.zeros(50)), FILTERED, 200, seed=0).places
    assert set(chosen) <= set(range(40, 50))


def test_few_frames_are_scored_and_counted(reference, peptide):
    values = _score(_frames(peptide, 30, 2), reference)
    assert values["frames"] == 30
    assert np.isfinite(values["torus-w2"])
    weighted = _frames(peptide, 30, 2)
    weighted = Ensemble(weighted.positions_nm, weighted.energies_kt, np.zeros(30))
    assert _score(weighted, reference)["frames"] == 30


def test_empty_or_weightless_ensembles_are_errors(reference, peptide):
    pool = _frames(peptide, 20, 2)
    with pytest.raises(ValueError, match="no frames"):
        _score(pool.select(slice(0, 0)), reference)
    with pytest.raises(ValueError, match="log-weights"):
        _score(Ensemble(pool.positions_nm, pool.energies_kt, np.full(20, -np.inf)), reference)


def _timed(evaluations: np.ndarray) -> Ensemble:
    return Ensemble(np.zeros((len(evaluations), 1, 3)), np.zeros(len(evaluations)), None, evaluations)


def test_thinning_by_index_is_even():
    ensemble = Ensemble(np.zeros((1000, 1, 3)), np.zeros(1000))
    np.testing.assert_array_equal(thin(ensemble, 10), np.arange(99, 1000, 100))
    assert len(np.unique(thin(ensemble, 333))) == 333


def test_thinning_of_a_nested_schedule_is_even_in_evaluations():
    dense, sparse = np.arange(10, 1001, 10), np.arange(1100, 10001, 100)
    evaluations = np.concatenate([dense, sparse])
    np.testing.assert_array_equal(evaluations[thin(_timed(evaluations), 100)], np.arange(100, 10001, 100))
    early = prefix(_timed(evaluations), 1000)
    assert len(early) == 100
    np.testing.assert_array_equal(early.evaluations[thin(early, 50)], np.arange(20, 1001, 20))


def test_thinning_takes_from_all_replicas():
    """Thirty replicas side by side, a tenth of the frames: every replica gives the same number, at every
    stretch.
    """
    n_replicas, n_times = 30, 300
    evaluations = np.repeat(np.arange(1, n_times + 1) * n_replicas, n_replicas)
    chosen = thin(_timed(evaluations), n_replicas * n_times // 10)
    assert len(np.unique(chosen)) == 900
    np.testing.assert_array_equal(np.bincount(chosen % n_replicas), np.full(n_replicas, n_times // 10))
    np.testing.assert_array_equal(np.bincount(chosen // n_replicas), np.full(n_times, 3))


@pytest.mark.parametrize("n_replicas", [1, 16])
def test_no_frame_stands_for_what_was_discarded(n_replicas: int) -> None:
    """A fifth of the dynamics is thrown away: the first frames after it count no more often than any other."""
    evaluations = np.repeat(np.arange(101, 501) * n_replicas, n_replicas)
    chosen = thin(_timed(evaluations), 100 * n_replicas)
    np.testing.assert_array_equal(np.unique(chosen), chosen)
    np.testing.assert_array_equal(np.bincount(chosen // (4 * n_replicas)), np.full(100, n_replicas))


def test_thinning_does_not_depend_on_how_replicas_are_stored():
    n_replicas, n_times = 4, 50
    times = np.arange(1, n_times + 1) * n_replicas
    chosen = thin(_timed(np.tile(times, n_replicas)), 100)
    np.testing.assert_array_equal(np.bincount(chosen // n_times), np.full(n_replicas, 25))


def test_a_frame_that_stands_for_a_long_stretch_counts_as_often():
    evaluations = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100])
    chosen = evaluations[thin(_timed(evaluations), 10)]
    assert (chosen == 100).sum() == 5


def test_prefixes_need_evaluations():
    with pytest.raises(ValueError, match="prefixes"):
        prefix(Ensemble(np.zeros((3, 1, 3)), np.zeros(3)), 10)
