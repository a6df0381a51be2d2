"""Frames of other programs become records of declared cost, and anything doubtful about them is refused in words."""

import json
import re
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.board.leaderboard import board_files
from analysis.scores.run import score_run
from analysis.tables.main import main_table
from jobs.making.imported import ENERGIES_COMPUTED, DeclarationError, import_ensembles
from prosebench.cli import app
from prosebench.energy.openmm import OpenMMEnergy
from prosebench.names import EXTERNAL
from prosebench.record import read_provenance, read_record
from prosebench.reference import Reference, bundled_folder
from prosebench.suite import Suite, narrow

FRAMES, SCORED = 40, 20
DECLARED = {
    "method": "Emulator",
    "peptide": "AA",
    "energy_evaluations": 0,
    "seconds": 12.5,
    "hardware": "one A100",
    "temperature_kelvin": 310.0,
    "force_field": "none",
    "citation": "A. Author, 2025",
}
SUITE = Suite(name="small", peptides=("AA", "SS"), budgets=(50, 500), frames=SCORED, methods={"md": {}})


@pytest.fixture(scope="module")
def trajectory() -> mdtraj.Trajectory:
    reference = Reference.load(bundled_folder() / "AA.npz")
    return mdtraj.Trajectory(reference.spare.positions_nm[:FRAMES], reference.peptide.topology)


def declared(frames: Path, **changes: object) -> Path:
    frames.with_suffix(".json").write_text(json.dumps(DECLARED | changes))
    return frames


@pytest.fixture
def archive(trajectory: mdtraj.Trajectory, tmp_path: Path) -> Path:
    np.savez(tmp_path / "aa.npz", positions_nm=trajectory.xyz)
    return declared(tmp_path / "aa.npz")


def test_a_record_of_declared_cost(archive: Path, trajectory: mdtraj.Trajectory, tmp_path: Path) -> None:
    declared(archive, energy_evaluations=100)
    (one,) = import_ensembles([archive], SUITE, tmp_path / "run", [])
    record = read_record(one.folder)
    assert (record.cell.row, record.cell.method, record.cell.budgets) == ("Emulator", EXTERNAL, (500,))
    assert record.cell.settings == {"force_field": "none", "citation": "A. Author, 2025"}
    assert record.ledger.sampling.evaluations == 100
    assert record.ledger.preparation.evaluations == 0
    assert record.diagnostics == {ENERGIES_COMPUTED: [FRAMES]}
    assert (one.frames, one.non_finite) == (FRAMES, 0)
    provenance = read_provenance(one.folder)
    assert (provenance.device, provenance.seconds) == ("one A100", {"sampling": 12.5})
    ensemble = record.load_ensemble(one.folder)
    right = OpenMMEnergy(Reference.load(bundled_folder() / "AA.npz").peptide).energy(trajectory.xyz)
    np.testing.assert_allclose(ensemble.energies_kt, right, atol=0.02)


def test_rows_stand_at_every_budget_that_covers_them_and_are_marked(archive: Path, tmp_path: Path) -> None:
    import_ensembles([archive], SUITE, tmp_path / "run", [])
    scores = score_run(tmp_path / "run")
    assert set(scores["row"]) == {"Emulator (declared)"}
    assert set(scores["budget"]) == {50, 500}
    assert set(scores["status"]) == {"done"}
    assert set(scores["frames"]) == {SCORED}
    value = scores.set_index(["budget", "metric"])["value"]
    assert value[500, "sampling-evaluations"] == 0
    assert value[500, "sampling-seconds"] == 12.5
    assert value[500, "torus-w2"] < 2.0
    assert all("declared by its makers, not metered" in row.note for row in main_table(scores).rows)


def test_a_trajectory_in_another_order_of_atoms(trajectory: mdtraj.Trajectory, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(trajectory.n_atoms)
    order = order[np.argsort([trajectory.topology.atom(i).residue.index for i in order], kind="stable")]
    mixed = mdtraj.Topology()
    chain = mixed.add_chain()
    residues = [mixed.add_residue(residue.name, chain) for residue in trajectory.topology.residues]
    for atom in (trajectory.topology.atom(i) for i in order):
        mixed.add_atom(atom.name, atom.element, residues[atom.residue.index])
    shuffled = mdtraj.Trajectory(trajectory.xyz[:, order], mixed)
    shuffled.save(str(tmp_path / "aa.dcd"))
    shuffled[0].save(str(tmp_path / "aa.pdb"))
    path = declared(tmp_path / "aa.dcd", topology="aa.pdb")
    (one,) = import_ensembles([path], SUITE, tmp_path / "run", [])
    found = read_record(one.folder).load_ensemble(one.folder)
    np.testing.assert_allclose(found.positions_nm, trajectory.xyz, atol=1e-5)


def test_the_same_frames_may_come_again_and_others_may_not(archive: Path, tmp_path: Path) -> None:
    (first,) = import_ensembles([archive], SUITE, tmp_path / "run", [])
    before = (first.folder / "record.json").read_bytes()
    import_ensembles([archive], SUITE, tmp_path / "run", [])
    assert (first.folder / "record.json").read_bytes() == before
    np.savez(archive, positions_nm=np.load(archive)["positions_nm"][::-1])
    with pytest.raises(DeclarationError, match=r"holds other frames than .* declare another seed"):
        import_ensembles([archive], SUITE, tmp_path / "run", [])
    declared(archive, seed=1)
    assert import_ensembles([archive], SUITE, tmp_path / "run", [])[0].folder != first.folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"citation": ""}, "citation: .*at least 1 character"),
        ({"second": 1.0}, "unknown key 'second'; known keys: method, peptide"),
        ({"method": "my method"}, "method: String should match"),
        ({"method": "md"}, "has a row md already"),
        ({"peptide": "KG"}, "is of KG; suite small has AA SS"),
        ({"peptide": "SS"}, r"positions_nm of .* has shape \(40, 23, 3\); SS needs"),
        ({"temperature_kelvin": 393.0}, "is at 393 K; suite small is at 310 K"),
        (
            {"energy_evaluations": 501},
            "501 energy evaluations, more than the largest budget of suite small, 500",
        ),
    ],
)
def test_what_does_not_fit_is_named(archive: Path, tmp_path: Path, changes: dict, said: str) -> None:
    declared(archive, **changes)
    with pytest.raises(ValueError, match=said):
        import_ensembles([archive], SUITE, tmp_path / "run", [])
    assert not (tmp_path / "run" / "cells").exists()


def test_other_units_are_recognised(archive: Path, tmp_path: Path) -> None:
    np.savez(archive, positions_nm=10 * np.load(archive)["positions_nm"])
    with pytest.raises(ValueError, match="look like ångström: divide by 10"):
        import_ensembles([archive], SUITE, tmp_path / "run", [])


def test_missing_declarations_and_doubles_are_named(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"two files are Emulator of AA with seed 0"):
        import_ensembles([archive, archive], SUITE, tmp_path / "run", [])
    archive.with_suffix(".json").unlink()
    with pytest.raises(
        DeclarationError, match=r"there is no aa\.toml beside .*: it must say method, peptide"
    ):
        import_ensembles([archive], SUITE, tmp_path / "run", [])
    archive.with_suffix(".toml").write_text("method : 1")
    with pytest.raises(DeclarationError, match="is not TOML"):
        import_ensembles([archive], SUITE, tmp_path / "run", [])


def test_a_suite_of_several_temperatures_takes_each(archive: Path, tmp_path: Path) -> None:
    declared(archive, temperature_kelvin=393)
    (one,) = import_ensembles([archive], narrow(SUITE, temperatures=[310, 393]), tmp_path / "run", [])
    assert read_record(one.folder).cell.target.temperature_kelvin == 393.0


def test_the_command(archive: Path, tmp_path: Path) -> None:
    suite = tmp_path / "small.toml"
    suite.write_text('name = "small"\npeptides = ["AA"]\nbudgets = [50, 500]\nframes = 20\n[methods.md]\n')
    line = ["import", str(archive), "--suite", str(suite), "--dir", str(tmp_path / "run")]
    said = CliRunner().invoke(app, line)
    assert said.exit_code == 0, said.output
    assert "Emulator, AA, seed 0: 40 frames, median energy -1" in said.output
    assert "0 evaluations and 12.5 s declared; scored at 50, 500" in said.output


def test_declared_costs_never_pass_as_metered(tmp_path: Path) -> None:
    reference = Reference.load(bundled_folder() / "AA.npz")
    # Shaken: frames of the reference themselves, shifted or not, would be recognised and refused.
    frames = reference.spare.positions_nm[:SCORED]
    frames = frames + np.random.default_rng(0).normal(scale=1e-3, size=frames.shape)
    np.savez(tmp_path / "aa.npz", positions_nm=frames)
    import_ensembles([declared(tmp_path / "aa.npz")], SUITE, tmp_path / "run", [])
    found = CliRunner().invoke(
        app, ["submit-results", str(tmp_path / "run"), "--out", str(tmp_path / "sent"), "--rerun", "1"]
    )
    assert found.exit_code == 0, found.output
    assert "1 of its records are ensembles made elsewhere" in found.output
    assert "run again" not in found.output.replace("cannot be run again", "")
    (tmp_path / "sent" / "run.tar").rename(tmp_path / "run.tar")
    files = board_files(tmp_path / "sent")
    page, method = (files[name].decode() for name in ("index.html", "methods/Emulator--declared.html"))
    assert page.count('class="tag declared"') == 3
    assert "Emulator (declared)" in page
    assert "nothing was metered" in method
    assert re.search(r"at each of their budgets: \d+ done", method)
    assert "Installed as" not in method
    (row, *_) = (one for one in json.loads(files["leaderboard.json"])["rows"] if one["method"] == EXTERNAL)
    assert row["kind"] == "declared"
    assert "not metered" in row["note"]


def test_strained_frames_are_pointed_out(trajectory: mdtraj.Trajectory, tmp_path: Path) -> None:
    strained = trajectory.xyz + np.random.default_rng(0).normal(scale=0.02, size=trajectory.xyz.shape)
    np.savez(tmp_path / "aa.npz", positions_nm=strained)
    (one,) = import_ensembles([declared(tmp_path / "aa.npz")], SUITE, tmp_path / "run", [])
    assert re.search(r"the median energy, \S+ kT, is \S+ kT above a minimum of AA", one.notes[0])
    np.savez(tmp_path / "aa.npz", positions_nm=trajectory.xyz)
    declared(tmp_path / "aa.npz", seed=1)
    assert import_ensembles([tmp_path / "aa.npz"], SUITE, tmp_path / "run", [])[0].notes == ()
