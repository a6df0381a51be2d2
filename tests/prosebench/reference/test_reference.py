"""References: made, stored, read again, refused."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from prosebench.energy.openmm import OpenMMEnergy
from prosebench.ensemble import Ensemble
from prosebench.frames.features import tica_features
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import system_hash
from prosebench.reference import (
    InvalidReferenceError,
    MissingReferenceError,
    Reference,
    build_reference,
    find_reference,
)
from prosebench.reference import reference as module
from prosebench.store.storage import read_arrays, text_array, write_arrays


def _trajectory(peptide: Peptide, n: int, seed: int) -> Ensemble:
    """Atoms that wander slowly around the start structure; energies tell frames apart."""
    rng = np.random.default_rng(seed)
    noise = np.zeros((n, peptide.n_atoms, 3))
    for i in range(1, n):
        noise[i] = 0.9 * noise[i - 1] + 0.003 * rng.standard_normal(noise[i].shape)
    return Ensemble((peptide.start_nm + noise).astype(np.float32), 1000.0 * seed + np.arange(n))


@pytest.fixture(scope="module")
def peptide() -> Peptide:
    return Peptide.from_sequence("AA")


@pytest.fixture(scope="module")
def trajectories(peptide: Peptide) -> list[Ensemble]:
    return [_trajectory(peptide, 400, 0), _trajectory(peptide, 300, 1)]


def _build(peptide: Peptide, trajectories: list[Ensemble], **changes: object) -> Reference:
    settings = {
        "frame_interval_ps": 10.0,
        "lag_frames": 3,
        "n_frames": 200,
        "seed": 5,
        "source": {"command": "test"},
    }
    return build_reference(peptide, trajectories, **(settings | changes))


@pytest.fixture(scope="module")
def reference(peptide: Peptide, trajectories: list[Ensemble]) -> Reference:
    return _build(peptide, trajectories)


def test_frames_know_where_they_come_from(reference, trajectories):
    assert len(reference) == 200
    assert set(reference.trajectory) == {0, 1}
    for i in range(len(reference)):
        origin = trajectories[reference.trajectory[i]]
        np.testing.assert_array_equal(
            reference.ensemble.positions_nm[i], origin.positions_nm[reference.frame[i]]
        )
        assert reference.ensemble.energies_kt[i] == origin.energies_kt[reference.frame[i]]
    assert len({*zip(reference.trajectory, reference.frame, strict=True)}) == 200
    assert (np.diff(reference.frame) < 0).any()


def test_halves_are_disjoint_and_make_the_whole(reference):
    """Of whole trajectories, so that both are only about as large as each other."""
    halves = [*reference.scored.energies_kt, *reference.spare.energies_kt]
    assert abs(len(reference.scored) - len(reference.spare)) <= 20
    np.testing.assert_array_equal(np.sort(halves), np.sort(reference.ensemble.energies_kt))


def test_source_tells_how_it_was_made(reference, peptide):
    assert reference.source["command"] == "test"
    assert reference.source["total_ns"] == pytest.approx(7.0)
    assert reference.source["trajectory_frames"] == [400, 300]
    assert reference.source["tica"]["lag_frames"] == 3
    assert reference.source["tica"]["hash"] == reference.tica.hash
    assert reference.force_field_hash == system_hash(peptide.system())
    assert reference.atoms[:2] == ("1ALA-N", "1ALA-H")


def test_gate_energies_are_those_of_the_oracle(reference, peptide):
    assert reference.gate.frames_nm.shape == (16, 23, 3)
    energies = OpenMMEnergy(peptide, 310.0, platform="Reference").energy(reference.gate.frames_nm)
    np.testing.assert_allclose(
        reference.gate.energies_kj_mol, energies * 0.00831446261815324 * 310.0, rtol=1e-12
    )


def test_the_same_input_gives_the_same_bytes(reference, peptide, trajectories, tmp_path):
    again = _build(peptide, trajectories)
    assert again.hash == reference.hash
    assert again.save(tmp_path / "a.npz") == reference.save(tmp_path / "b.npz")
    assert _build(peptide, trajectories, seed=6).hash != reference.hash


def test_what_is_stored_is_read_again(reference, peptide, tmp_path):
    full = reference.with_quality({"effective_frames": 12.5}, {"torus-w2": 0.1})
    full.save(tmp_path / "AA.npz")
    loaded = Reference.load(tmp_path / "AA.npz", peptide)
    assert loaded.hash == full.hash != reference.hash
    assert loaded.convergence == {"effective_frames": 12.5}
    assert loaded.floor == {"torus-w2": 0.1}
    assert loaded.source == reference.source
    features = tica_features(loaded.scored.positions_nm[:3], peptide.topology)
    np.testing.assert_array_equal(loaded.tica.transform(features), reference.tica.transform(features))


def test_a_truncated_file_is_refused(reference, tmp_path):
    path = tmp_path / "AA.npz"
    reference.save(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InvalidReferenceError, match=r"AA\.npz is damaged.*again"):
        Reference.load(path)


def test_files_of_another_kind_or_schema_are_refused(reference, tmp_path):
    path = tmp_path / "AA.npz"
    write_arrays(path, {"positions": np.zeros(3)})
    with pytest.raises(InvalidReferenceError, match="not a reference"):
        Reference.load(path)
    write_arrays(path, {"meta": text_array('{"schema": 99}')})
    with pytest.raises(InvalidReferenceError, match="schema version 99"):
        Reference.load(path)
    reference.save(path)
    arrays = read_arrays(path)
    write_arrays(path, {name: array for name, array in arrays.items() if name != "tica_mean"})
    with pytest.raises(InvalidReferenceError, match="lacks tica_mean"):
        Reference.load(path)
    write_arrays(path, arrays | {"energies_kt": np.zeros(3)})
    with pytest.raises(InvalidReferenceError, match="inconsistent"):
        Reference.load(path)
    write_arrays(path, arrays | {"positions_nm": np.zeros((200, 7, 3), dtype=np.float32)})
    with pytest.raises(InvalidReferenceError, match="names 23 atoms"):
        Reference.load(path)


def test_another_peptide_is_refused(reference, tmp_path):
    reference.save(tmp_path / "AA.npz")
    with pytest.raises(InvalidReferenceError, match="23 against 17, atom 0 is 1ALA-N, not 1GLY-N"):
        Reference.load(tmp_path / "AA.npz", Peptide.from_sequence("GG"))


def test_unusable_trajectories_are_refused(peptide, trajectories):
    with pytest.raises(InvalidReferenceError, match="cannot draw 701"):
        _build(peptide, trajectories, n_frames=701)
    broken = Ensemble(trajectories[0].positions_nm, np.where(np.arange(400) == 7, np.inf, 0.0))
    with pytest.raises(InvalidReferenceError, match="1 of 400"):
        _build(peptide, [broken])


def test_own_references_come_before_bundled_ones(tmp_path, monkeypatch):
    own, bundled = tmp_path / "own", tmp_path / "bundled"
    monkeypatch.setattr(module, "bundled_folder", lambda: bundled)
    for folder in (own, bundled):
        folder.mkdir()
        (folder / "AA.npz").touch()
    assert find_reference("AA", [tmp_path / "none", own]) == own / "AA.npz"
    assert find_reference("AA", []) == bundled / "AA.npz"


def test_each_temperature_has_a_file_of_its_own_and_310_kelvin_stands_in(tmp_path):
    (tmp_path / "AA.npz").touch()
    assert find_reference("AA", [tmp_path], 393.0) == tmp_path / "AA.npz"
    (tmp_path / "AA-393K.npz").touch()
    assert find_reference("AA", [tmp_path], 393.0) == tmp_path / "AA-393K.npz"
    assert find_reference("AA", [tmp_path]) == tmp_path / "AA.npz"


def test_a_missing_reference_names_the_ways_to_get_one(tmp_path):
    with pytest.raises(MissingReferenceError) as error:
        find_reference("WWWW", [Path(tmp_path)])
    message = str(error.value)
    for part in ("WWWW", "come", "prosebench reference --suite", "PROSEBENCH_DATA", "hub"):
        assert part in message


def test_frames_in_time_know_their_correlation() -> None:
    """The frames of a reference are in random order, in which neighbours are strangers."""
    reference = Reference.load(find_reference("ARIP", []))
    ordered = reference.in_time
    assert len(ordered) == len(reference)
    assert ordered.peptide is reference.peptide
    shuffled = reference.ensemble.of(reference.peptide)
    errors = [
        one.mean(mdtraj.compute_phi(one.to_mdtraj())[1][:, 0] > 0).standard_error
        for one in (ordered, shuffled)
    ]
    assert errors[0] > 1.3 * errors[1]
