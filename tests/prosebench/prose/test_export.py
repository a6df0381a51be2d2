from pathlib import Path

import mdtraj
import numpy as np
import pytest

from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.prose.export import check_format, drawn_by_weight, write_frames

PEPTIDE = Peptide.from_sequence("GG")


def ensemble(n: int = 6) -> Ensemble:
    frames = PEPTIDE.start_nm + 0.01 * np.random.default_rng(0).standard_normal((n, PEPTIDE.n_atoms, 3))
    return Ensemble(frames, np.arange(float(n)), -np.arange(float(n)))


@pytest.mark.parametrize("suffix", [".xtc", ".dcd", ".pdb"])
def test_frames_come_back(suffix: str, tmp_path: Path) -> None:
    frames = ensemble()
    frames.positions_nm[2] = np.nan
    written = write_frames(tmp_path / "new" / f"x{suffix}", PEPTIDE, frames)
    loaded = mdtraj.load(str(written[0]), top=str(written[-1]))
    assert [atom.name for atom in loaded.topology.atoms] == PEPTIDE.atom_names
    np.testing.assert_allclose(loaded.xyz, np.delete(frames.positions_nm, 2, axis=0), atol=1e-3)
    assert [path.suffix for path in written] == ([suffix, ".pdb"] if suffix != ".pdb" else [".pdb"])


def test_an_npz_file_holds_everything(tmp_path: Path) -> None:
    (path,) = write_frames(tmp_path / "x.npz", PEPTIDE, ensemble())
    assert Ensemble.load(path).log_weights.tolist() == ensemble().log_weights.tolist()


def test_frames_are_drawn_by_weight() -> None:
    drawn = drawn_by_weight(ensemble(), 10_000, seed=0)
    assert drawn.log_weights is None
    # the largest weight is filtered out; of the rest, e^-1 : e^-2 : ...
    shares = np.bincount(drawn.energies_kt.astype(int), minlength=6) / 10_000
    expected = np.append(0.0, np.exp(-np.arange(5.0)) / np.exp(-np.arange(5.0)).sum())
    np.testing.assert_allclose(shares, expected, atol=0.02)
    with pytest.raises(ValueError, match="has no weights"):
        drawn_by_weight(drawn, 1, seed=0)


def test_unknown_formats_are_named() -> None:
    with pytest.raises(ValueError, match=r"cannot write x\.trr: .*\.xtc, \.dcd, \.pdb, \.npz"):
        check_format(Path("x.trr"))
