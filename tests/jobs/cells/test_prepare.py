"""What cells of a peptide share is made once, and whoever comes later reads the very same numbers."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from jobs.cells import prepare as shared
from jobs.cells.prepare import force_field_hash, peptide_of, prepare, start_hash
from prosebench.energy.gate import make_gate, pass_gate
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import ForceField
from tests.prosebench.test_record import CELL

SETTINGS = TargetSettings()
OTHER = TargetSettings(force_field=ForceField(files=("amber14-all.xml", "implicit/obc2.xml")))
built = cache(Peptide.from_sequence)


def ensemble(peptide: Peptide, order: np.ndarray | None = None) -> Ensemble:
    frames = np.repeat(np.array(peptide.start_nm)[None], 3, axis=0)
    return Ensemble(frames if order is None else frames[:, order], np.zeros(3))


def test_the_first_to_come_decides_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, gate = prepare(tmp_path, "GG", SETTINGS, None)
    (path,) = tmp_path.rglob("*.npz")
    content = path.read_bytes()

    def made_again(*_: object) -> None:
        raise AssertionError("nothing is made a second time")

    monkeypatch.setattr(shared, "make_gate", made_again)
    second, again = prepare(tmp_path, "GG", SETTINGS, None)
    assert path.read_bytes() == content
    assert start_hash(first) == start_hash(second)
    np.testing.assert_array_equal(again.frames_nm, gate.frames_nm)
    assert pass_gate(again, make_target(second, SETTINGS)) < 0.1


def test_another_force_field_has_a_file_of_its_own(tmp_path: Path) -> None:
    prepare(tmp_path, "GG", SETTINGS, None)
    prepare(tmp_path, "GG", OTHER, None)
    assert len(list((tmp_path / "peptides").glob("GG-*.npz"))) == 2
    # Temperature and engine are of no account to a start structure.
    prepare(tmp_path, "GG", TargetSettings(temperature_kelvin=400.0, engine="openmm"), None)
    assert len(list((tmp_path / "peptides").glob("GG-*.npz"))) == 2
    assert force_field_hash(built("GG"), SETTINGS) != force_field_hash(built("GG"), OTHER)


def test_the_start_structure_is_that_of_the_file(tmp_path: Path) -> None:
    prepared, _ = prepare(tmp_path, "GG", SETTINGS, None)
    moved = np.array(prepared.start_nm)
    moved[0, 0] = np.nextafter(moved[0, 0], 1.0)
    assert start_hash(prepared.with_start(moved)) != start_hash(prepared)
    assert start_hash(prepared.with_start(np.array(prepared.start_nm))) == start_hash(prepared)


def test_without_the_run_folder_frames_in_the_usual_order_are_known(tmp_path: Path) -> None:
    cell = CELL.model_copy(update={"peptide": "GG"})
    found = peptide_of(tmp_path, cell, ensemble(built("GG")))
    assert found.atom_names == built("GG").atom_names
    with pytest.raises(ValueError, match=r"GG-.*npz is not there, and the atoms .* have not the usual order"):
        peptide_of(tmp_path, cell, ensemble(built("GG"), np.arange(17)[::-1]))
    with pytest.raises(ValueError, match="other atoms"):
        peptide_of(tmp_path, cell, Ensemble(np.zeros((2, 5, 3)), np.zeros(2)))


def test_a_gate_is_of_its_force_field(tmp_path: Path) -> None:
    _, gate = prepare(tmp_path, "GG", SETTINGS, None)
    assert (
        np.abs(make_gate(built("GG"), OTHER.force_field).energies_kj_mol - gate.energies_kj_mol).max() > 1.0
    )
