from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from prosebench.ensemble import Ensemble
from prosebench.frames.files import MOST_WRITABLE_NM, check_writable, files_of, write_frames
from prosebench.frames.importance import normalise, pareto_smooth
from prosebench.peptide import Peptide
from prosebench.store.storage import file_sha256

PEPTIDE = Peptide.from_sequence("GG")


def ensemble(n: int = 6) -> Ensemble:
    frames = PEPTIDE.start_nm + 0.01 * np.random.default_rng(0).standard_normal((n, PEPTIDE.n_atoms, 3))
    return Ensemble(frames, np.arange(float(n)), -np.arange(float(n)), peptide=PEPTIDE)


@pytest.mark.parametrize("suffix", [".xtc", ".dcd", ".pdb"])
def test_frames_come_back(suffix: str, tmp_path: Path) -> None:
    frames = ensemble()
    frames.positions_nm[2] = np.nan
    frames.positions_nm[3, 0] = 2 * MOST_WRITABLE_NM
    path = tmp_path / "new" / f"x{suffix}"
    with pytest.warns(UserWarning, match="without their weights"):
        assert frames.save(path) == file_sha256(path)
    written = files_of(path)
    loaded = mdtraj.load(str(written[0]), top=str(written[-1]))
    assert [atom.name for atom in loaded.topology.atoms] == PEPTIDE.atom_names
    np.testing.assert_allclose(loaded.xyz, np.delete(frames.positions_nm, [2, 3], axis=0), atol=1e-3)
    assert [path.suffix for path in written] == ([suffix, ".pdb"] if suffix != ".pdb" else [".pdb"])


def test_an_npz_file_holds_everything(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    ensemble().save(path)
    assert Ensemble.load(path).log_weights.tolist() == ensemble().log_weights.tolist()


def test_frames_are_drawn_by_weight() -> None:
    drawn = ensemble().resampled(10_000, weighting="filtered")
    assert drawn.log_weights is None
    # the largest weight is filtered out; of the rest, e^-1 : e^-2 : ...
    shares = np.bincount(drawn.energies_kt.astype(int), minlength=6) / 10_000
    expected = np.append(0.0, np.exp(-np.arange(5.0)) / np.exp(-np.arange(5.0)).sum())
    np.testing.assert_allclose(shares, expected, atol=0.02)
    with pytest.raises(ValueError, match="has no weights"):
        drawn.resampled(1)


def test_smoothed_weights_leave_no_frame_out() -> None:
    rng = np.random.default_rng(1)
    weighted = ensemble(400)
    weighted = Ensemble(weighted.positions_nm, weighted.energies_kt, rng.pareto(1.5, 400))
    drawn = weighted.resampled(20_000)
    shares = np.bincount(drawn.energies_kt.astype(int), minlength=400) / 20_000
    expected = normalise(pareto_smooth(weighted.log_weights)[0])
    error = np.sqrt(expected * (1.0 - expected) / 20_000)
    assert (np.abs(shares - expected) < 5 * error + 1e-4).all()
    heaviest = weighted.log_weights.argmax()
    assert shares[heaviest] > 0
    filtered = weighted.resampled(20_000, weighting="filtered")
    assert heaviest not in filtered.energies_kt.astype(int)


def test_what_cannot_be_written_is_said_before(tmp_path: Path) -> None:
    for name in ("x.trr", "x", "x.XTC"):
        with pytest.raises(ValueError, match=rf"cannot write {name}: .*\.xtc, \.dcd, \.pdb, \.npz"):
            check_writable(Path(name))
    (tmp_path / "x.pdb").write_text("")
    for name in ("x.pdb", "x.xtc", "x.dcd"):
        with pytest.raises(ValueError, match=r"x\.pdb is there already: give another name"):
            check_writable(tmp_path / name)
    with pytest.raises(ValueError, match=r"the folder .*x\.pdb cannot be made"):
        check_writable(tmp_path / "x.pdb" / "y.npz")


def test_a_fault_that_is_not_the_disks_is_said_as_it_is(tmp_path: Path) -> None:
    nameless: Any = None
    with pytest.raises(AttributeError):
        write_frames(tmp_path / "x.pdb", ensemble().positions_nm, nameless)
    assert not list(tmp_path.iterdir())


def test_frames_that_no_format_holds_are_refused(tmp_path: Path) -> None:
    nothing = Ensemble(np.full((2, PEPTIDE.n_atoms, 3), np.nan), np.full(2, np.inf), peptide=PEPTIDE)
    with pytest.raises(ValueError, match="none of 2 frames can be written"):
        nothing.save(tmp_path / "x.xtc")
    nothing.save(tmp_path / "x.npz")
    assert len(Ensemble.load(tmp_path / "x.npz")) == 2
