"""Readers of the published data, on files of the same format made here."""

import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from openmm import app, unit

from prosebench.energy.openmm import OpenMMEnergy
from prosebench.frames.features import n_tica_features
from prosebench.peptide import Peptide
from prosebench.reference import InvalidReferenceError, MissingReferenceError, Reference
from prosebench.reference.published import read_published

N_FRAMES = 40


@pytest.fixture(scope="module")
def peptide() -> Peptide:
    return Peptide.from_sequence("AA")


def _write_pdb(path: Path, peptide: Peptide) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        app.PDBFile.writeFile(peptide.openmm_topology, peptide.start_nm * unit.nanometer, file)


def _write_arrays(folder: Path, peptide: Peptide, n_features: int | None = None, **changes: object) -> Path:
    length = n_features or n_tica_features(peptide.topology)
    noise = 0.002 * np.random.default_rng(0).standard_normal((N_FRAMES, peptide.n_atoms, 3))
    arrays = {
        "positions": (peptide.start_nm + noise).astype(np.float32),
        "tica_projection": np.random.default_rng(1).standard_normal((length, length)),
        "tica_mean": np.zeros(length),
        "tica_dim": np.array(2),
    }
    name = f"{len(peptide.sequence)}AA/{peptide.sequence}_subsampled.npz"
    path = folder / "trajectories_subsampled" / "test" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **(arrays | changes))
    return path


@pytest.fixture
def copy(tmp_path: Path, peptide: Peptide) -> Path:
    """A local copy with packed PDB files."""
    _write_arrays(tmp_path, peptide)
    _write_pdb(tmp_path / "AA.pdb", peptide)
    (tmp_path / "pdb_tarfiles").mkdir()
    with tarfile.open(tmp_path / "pdb_tarfiles" / "test.tar", "w") as archive:
        archive.add(tmp_path / "AA.pdb", "test/AA.pdb")
    (tmp_path / "AA.pdb").unlink()
    return tmp_path


def test_packed_copy_is_read(copy, peptide):
    published = read_published("AA", folder=copy)
    assert published.positions_nm.shape == (N_FRAMES, 23, 3)
    assert published.tica.projection.shape == (34, 2)
    assert published.peptide.sequence == "AA"
    assert published.source["split"] == "test"
    assert len(published.source["sha256"]) == 64


@pytest.mark.parametrize("place", ["pdbs/test", "pdb_tarfiles/test"])
def test_unpacked_copy_is_found_by_the_environment(copy, peptide, place, monkeypatch):
    (copy / "pdb_tarfiles" / "test.tar").unlink()
    _write_pdb(copy / place / "AA.pdb", peptide)
    monkeypatch.setenv("PROSEBENCH_DATA", str(copy))
    assert read_published("AA").peptide.atom_names == peptide.atom_names


def test_a_reference_is_made_with_the_energies_of_a_target(copy, tmp_path, peptide):
    published = read_published("AA", folder=copy)
    target = OpenMMEnergy(published.peptide)
    reference = published.to_reference(target.energy)
    assert len(reference.scored) == N_FRAMES, "as published, every frame is scored against"
    assert len(reference.spare) == 0
    np.testing.assert_allclose(reference.ensemble.energies_kt, target.energy(published.positions_nm))
    reference.save(tmp_path / "AA.npz")
    loaded = Reference.load(tmp_path / "AA.npz", published.peptide)
    assert loaded.hash == reference.hash
    assert loaded.peptide.atom_names == published.peptide.atom_names
    with pytest.raises(InvalidReferenceError, match="40 of 40"):
        published.to_reference(lambda frames: np.full(len(frames), np.inf))


def test_the_old_tica_basis_is_refused_and_explained(copy, peptide):
    _write_arrays(copy, peptide, n_features=28)
    with pytest.raises(InvalidReferenceError, match=r"28 features; AA has 34.*2025-12-15.*again"):
        read_published("AA", folder=copy)


def test_damaged_and_foreign_files_are_refused(copy, peptide):
    path = _write_arrays(copy, peptide, positions=np.zeros((4, 22, 3)))
    with pytest.raises(InvalidReferenceError, match="shape"):
        read_published("AA", folder=copy)
    np.savez(path, positions=np.zeros((4, 23, 3)))
    with pytest.raises(InvalidReferenceError, match="lacks tica_projection"):
        read_published("AA", folder=copy)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InvalidReferenceError, match="damaged"):
        read_published("AA", folder=copy)


def test_missing_parts_of_a_copy_are_named(copy, tmp_path):
    with pytest.raises(MissingReferenceError, match=r"has no frames of RLMM.*Three ways"):
        read_published("RLMM", folder=copy)
    with pytest.raises(MissingReferenceError, match="not a folder"):
        read_published("AA", folder=tmp_path / "nowhere")
    (copy / "pdb_tarfiles" / "test.tar").unlink()
    with pytest.raises(MissingReferenceError, match="lacks the PDB files"):
        read_published("AA", folder=copy)


def test_without_the_hub_the_error_is_quick_and_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("PROSEBENCH_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(MissingReferenceError) as error:
        read_published("AA", cache=tmp_path)
    assert time.monotonic() - start < 5.0
    for part in ("cannot be reached", "Three ways", "PROSEBENCH_DATA", "prosebench reference"):
        assert part in str(error.value)


def test_what_the_hub_gave_before_is_read_without_it(copy, tmp_path_factory, monkeypatch):
    monkeypatch.delenv("PROSEBENCH_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    cache = tmp_path_factory.mktemp("hub")
    repository = cache / "datasets--transferable-samplers--many-peptides-md"
    commit = "0123456789012345678901234567890123456789"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    copy.rename(repository / "snapshots" / commit)
    published = read_published("AA", cache=cache)
    assert published.source["commit"] == commit
    assert read_published("AA", cache=cache, revision=commit).source["commit"] == commit
