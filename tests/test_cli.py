"""The commands a user types, on the bundled references."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from prosebench import transport
from prosebench.check import doctor
from prosebench.energy.native import ENVIRONMENT_VARIABLE
from prosebench.ensemble import Ensemble
from prosebench.frames.features import tica_features
from prosebench.frames.tica import fit_tica
from prosebench.peptide import Peptide
from prosebench.reference import Reference, bundled_folder
from prosebench.store.places import PUBLISHED_WEIGHTS
from prosebench.suite import load_suite

VECTORS = Path(__file__).parent / "conformance"
FRAMES = 400


def prosebench(*arguments: str, code: int = 0, cwd: Path | None = None) -> str:
    """Run a command; returns what it prints, on either stream."""
    done = subprocess.run(
        [sys.executable, "-m", "prosebench.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        check=False,
        env=os.environ | {"COLUMNS": "160", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def spare() -> Ensemble:
    """Frames that score like a perfect sampler."""
    return Reference.load(bundled_folder() / "AA.npz").spare.select(slice(0, FRAMES))


def test_every_quickstart_peptide_has_a_bundled_reference_of_its_own_physics() -> None:
    suite = load_suite("quickstart")
    for sequence in suite.peptides:
        peptide = Peptide.from_sequence(sequence)
        reference = Reference.load(bundled_folder() / f"{sequence}.npz", peptide)
        assert len(reference.scored) >= suite.frames
        # Scored and spare are split by trajectory, and only about as large as each other.
        assert len(reference.spare) >= 1.9 * suite.frames, "the floor needs a choice of frames"
        assert reference.convergence["effective_frames"] >= 4000
        assert set(reference.floor) >= {"energy-w2", "torus-w2", "tica-w2"}
    assert sum(path.stat().st_size for path in bundled_folder().iterdir()) < 12e6


def test_lists_name_what_is_there() -> None:
    assert "tetrapeptides-30" in prosebench("list", "suites")
    assert "reference-draw" in prosebench("list", "methods")
    assert "GYDPETGTWG" in prosebench("list", "peptides")


@pytest.mark.parametrize("suffix", ["npz", "xtc", "dcd", "pdb", "h5"])
def test_scores_of_files_made_elsewhere(suffix: str, spare: Ensemble, tmp_path: Path) -> None:
    peptide = Peptide.from_sequence("AA")
    path = tmp_path / f"sample.{suffix}"
    more = []
    if suffix == "npz":
        spare.save(path)
    else:
        # Another order of atoms than ours, as another program may write it.
        order = np.random.default_rng(0).permutation(peptide.n_atoms)
        order = order[np.argsort([peptide.topology.atom(int(i)).residue.index for i in order], kind="stable")]
        trajectory = mdtraj.Trajectory(spare.positions_nm, peptide.topology).atom_slice(order)
        trajectory.save(str(path))
        trajectory[0].save(str(tmp_path / "top.pdb"))
        more = ["--topology", str(tmp_path / "top.pdb")] if suffix in ("xtc", "dcd") else []
    said = prosebench("score", str(path), "--peptide", "AA", "--frames", str(FRAMES), *more)
    values = {
        name: float(value)
        for name, value in re.findall(r"^([a-z0-9-]+) +([-\d.e]+|inf)(?: +[\d.e-]+)? *$", said, re.MULTILINE)
    }
    assert 0 < values["torus-w2"] < 0.5
    assert values["chirality-wrong"] == 0
    # PDB files round positions to 1e-4 nm, which costs bonds some tenths of kT.
    assert values["energy-w1"] < (1.5 if suffix in ("pdb", "xtc") else 1.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score", "nothing.xtc", "--peptide", "AA"], "no file nothing.xtc"),
        (["score", "nothing.xtc"], "name it with --peptide"),
        (["score", "nothing.npz", "--peptide", "WW"], "Three ways to get one"),
        (["score", "."], "holds no cells"),
        (["report", "nothing"], "holds no cells"),
    ],
)
def test_wrong_files_are_named(arguments: list[str], said: str, tmp_path: Path) -> None:
    assert said in prosebench(*arguments, code=2, cwd=tmp_path)


def test_a_trajectory_of_another_peptide_is_refused(tmp_path: Path) -> None:
    other = Peptide.from_sequence("SS")
    mdtraj.Trajectory(other.start_nm[None], other.topology).save(str(tmp_path / "ss.pdb"))
    said = prosebench("score", str(tmp_path / "ss.pdb"), "--peptide", "AA", code=2)
    assert "is not of the whole peptide AA: it lacks 1ALA-N" in said


def test_doctor_knows_this_machine_and_the_published_functions() -> None:
    said = prosebench("doctor")
    for what in (
        "openmm",
        "OpenMM platforms",
        "native energy kernel",
        "native exact transport",
        "SLURM",
        "MPI",
        "hub",
    ):
        assert what in said
    said = prosebench("doctor", "--vectors", str(VECTORS))
    assert "pass  metrics_ARIP.npz" in said
    assert "pass  atom_orders.json" in said
    assert "FAIL" not in said


@pytest.mark.parametrize("name", PUBLISHED_WEIGHTS)
def test_doctor_sees_published_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROSEBENCH_DATA", str(tmp_path))
    assert "weights none; 0 files verified" in doctor._published_data().found
    file = tmp_path / PUBLISHED_WEIGHTS[name].place
    file.parent.mkdir()
    file.touch()
    assert f"weights {name}; 0 files verified" in doctor._published_data().found


def test_doctor_says_why_transport_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._exact_transport().state == ("ok" if transport.available() else "absent")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "abacus")
    found = doctor._exact_transport()
    assert found.state == "absent"
    assert "this CPU has" in found.found
    assert "POT's network simplex is used" in found.found


def test_doctor_sees_a_wrong_function(tmp_path: Path) -> None:
    table = json.loads((VECTORS / "atom_orders.json").read_text())
    table["AA"]["atom_type"][3] += 1
    (tmp_path / "atom_orders.json").write_text(json.dumps(table))
    said = prosebench("doctor", "--vectors", str(tmp_path), code=1)
    assert "FAIL  atom_type (AA)" in said


def test_a_suite_from_run_to_report(tmp_path: Path) -> None:
    arguments = [
        "run",
        "--suite",
        "quickstart",
        "--peptides",
        "AA,SS",
        "--methods",
        "md,reference-draw",
        "--budgets",
        "500,2000",
        "--dir",
        "run",
    ]
    said = prosebench(*arguments, "--set", "md.warm_up_ps=1", cwd=tmp_path)
    assert "8/8 cells ended" in said
    report = tmp_path / "run" / "report"
    table = (report / "table.md").read_text()
    assert "md" in table
    assert "reference-draw" in table
    for kind in ("energy", "ramachandran", "tica"):
        assert (report / "figures" / f"AA-{kind}.png").stat().st_size > 10_000
        assert (report / "figures" / f"SS-{kind}.pdf").exists()
    before = (report / "table.csv").read_bytes()
    prosebench("report", "run", cwd=tmp_path)
    assert (report / "table.csv").read_bytes() == before
    assert "done" in prosebench("status", "run", cwd=tmp_path)
    cell = next((tmp_path / "run" / "cells").glob("AA-md-*")).name
    assert '"gate_deviation_kj_mol"' in prosebench("show", cell, "--dir", "run", cwd=tmp_path)


def _published_copy(folder: Path) -> Peptide:
    """A copy of the published layout with the atoms of each residue in reverse, as another program may leave them."""
    peptide = Peptide.from_sequence("AA")
    order = [atom.index for residue in peptide.topology.residues for atom in reversed(list(residue.atoms))]
    (folder / "pdbs" / "test").mkdir(parents=True)
    pdb = folder / "pdbs" / "test" / "AA.pdb"
    mdtraj.Trajectory(peptide.start_nm[None], peptide.topology).atom_slice(order).save(str(pdb))
    turned = Peptide.from_pdb(pdb)
    bundled = Reference.load(bundled_folder() / "AA.npz")
    features = tica_features(bundled.scored.positions_nm[:, order], turned.topology)
    basis = fit_tica([features], 1, koopman_reweighting=False)
    path = folder / "trajectories_subsampled" / "test" / "2AA" / "AA_subsampled.npz"
    path.parent.mkdir(parents=True)
    np.savez(
        path,
        positions=bundled.scored.positions_nm[:600, order],
        tica_projection=basis.projection,
        tica_mean=basis.mean,
        tica_dim=2,
    )
    return turned


def test_published_data_in_another_atom_order_from_file_to_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = _published_copy(tmp_path / "data")
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\npeptides = ["AA"]\nbudgets = [400]\nframes = 400\n[methods.md]\nwarm_up_ps = 0.5\n'
        "[methods.reference-draw]\n"
    )
    monkeypatch.setenv("PROSEBENCH_DATA", str(tmp_path / "data"))
    said = prosebench("run", "--suite", "mine.toml", "--dir", "run", cwd=tmp_path)
    assert "AA: 600 published frames in references/AA.npz" in said
    assert Reference.load(tmp_path / "references" / "AA.npz").source["kind"] == "published"
    (record,) = (path for path in (tmp_path / "run" / "cells").glob("AA-md-*"))
    frames = Ensemble.load(record / "ensemble.npz").positions_nm
    bond = np.linalg.norm(
        frames[:, turned.atom_names.index("CA")] - frames[:, turned.atom_names.index("C")], axis=1
    )
    assert abs(bond.mean() - 0.152) < 0.005, "frames are in the order of the published file"
    table = (tmp_path / "run" / "report" / "table.md").read_text()
    assert "1 of 1 cells skipped (all frames of this reference are scored against)" in table


def test_check_runs_the_contract() -> None:
    said = prosebench("check", "reference-draw")
    assert "holds to the contract" in said
