"""Scores of files of other programs are those of the right frames, or there are none."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest
from typer.testing import CliRunner

from prosebench.cli import app
from prosebench.energy.target import kt_kj_mol
from prosebench.reference import Reference, bundled_folder

N = 400


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.load(bundled_folder() / "VF.npz")


def said(path: Path, *more: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["score", str(path), "--peptide", "VF", "--frames", str(N), *more])
    error = "" if found.exception is None or isinstance(found.exception, SystemExit) else str(found.exception)
    return found.exit_code, found.output + error


def value(text: str, metric: str) -> float:
    (line,) = (line for line in text.splitlines() if line.split()[:1] == [metric])
    return float(line.split()[1])


@pytest.fixture(scope="module")
def right(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> float:
    path = tmp_path_factory.mktemp("right") / "vf.npz"
    spare = reference.spare
    np.savez(path, positions_nm=spare.positions_nm[:N], energies_kt=spare.energies_kt[:N])
    code, text = said(path)
    assert code == 0, text
    return value(text, "torus-w2")


def test_methyl_groups_under_the_others_name_do_not_change_scores(
    reference: Reference, right: float, tmp_path: Path
) -> None:
    names, order = reference.peptide.atom_names, np.arange(reference.peptide.n_atoms)
    for one in ("CG1", "HG11", "HG12", "HG13"):
        i, j = names.index(one), names.index(f"{one[:2]}2{one[3:]}")
        order[[i, j]] = j, i
    np.savez(tmp_path / "vf.npz", positions_nm=reference.spare.positions_nm[:N, order])
    code, text = said(tmp_path / "vf.npz")
    assert code == 0, text
    assert value(text, "torus-w2") == pytest.approx(right, rel=1e-5)
    assert value(text, "mirrored") == 0.0
    assert "methyl groups of 1VAL" in text


def test_frames_cut_by_a_box_score_as_whole_ones(reference: Reference, right: float, tmp_path: Path) -> None:
    box, frames = 2.5, reference.spare.positions_nm[:N]
    moved = frames + np.random.default_rng(0).uniform(0, box, size=(N, 1, 3)).astype(np.float32)
    trajectory = mdtraj.Trajectory(moved % box, reference.peptide.topology)
    trajectory.unitcell_vectors = np.tile(box * np.eye(3, dtype=np.float32), (N, 1, 1))
    trajectory.save(str(tmp_path / "vf.dcd"))
    trajectory[0].save(str(tmp_path / "vf.pdb"))
    code, text = said(tmp_path / "vf.dcd", "--topology", str(tmp_path / "vf.pdb"))
    assert code == 0, text
    assert value(text, "torus-w2") == pytest.approx(right, rel=1e-3)
    assert "made whole" in text
    np.savez(tmp_path / "vf.npz", positions_nm=moved % box)
    code, text = said(tmp_path / "vf.npz")
    assert code
    assert "as by a periodic box" in text


@pytest.mark.parametrize(
    ("factor", "shift", "likely"),
    [(kt_kj_mol(310.0), 0.0, "kJ/mol"), (kt_kj_mol(310.0) / 4.184, 0.0, "kcal/mol"), (1.0, 30.0, "")],
)
def test_energies_in_other_units_are_refused(
    factor: float, shift: float, likely: str, reference: Reference, tmp_path: Path
) -> None:
    spare = reference.spare
    energies = factor * spare.energies_kt[:N] + shift
    np.savez(tmp_path / "vf.npz", positions_nm=spare.positions_nm[:N], energies_kt=energies)
    code, text = said(tmp_path / "vf.npz")
    assert code
    assert "are not those of the published force field in kT at 310 K" in text.replace("\n", " ")
    assert (f"look like {likely}" in text) == bool(likely)


def test_energies_that_are_not_given_are_computed(reference: Reference, tmp_path: Path) -> None:
    np.savez(tmp_path / "vf.npz", positions_nm=reference.spare.positions_nm[:N])
    code, text = said(tmp_path / "vf.npz")
    assert code == 0, text
    assert value(text, "energy-w2") < 2.0
