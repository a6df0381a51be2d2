"""Records, whoever wrote them, hold numbers that can be; what cannot is refused in one line that says where it is."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.board.kept_runs import read_run
from prosebench.energy.meter import Counts, Ledger
from prosebench.energy.settings import TargetSettings
from prosebench.ensemble import FARTHEST_NM, LARGEST_NUMBER, Ensemble, tidied, value_faults
from prosebench.record import Cell, Provenance, Record, read_cell, read_provenance, read_record, write_record
from prosebench.store.storage import DamagedFile, write_arrays, write_bytes

CELL = Cell(
    suite="small",
    peptide="AA",
    row="md",
    method="md",
    settings={"friction_per_ps": 0.3},
    budgets=(10, 100),
    frames=10,
    seed=0,
    target=TargetSettings(),
)
RECORD = Record(
    cell_id=CELL.id,
    cell=CELL,
    status="done",
    ledger=Ledger(sampling=Counts(evaluations=100, gradients=100)),
    frames=10,
    ensemble_sha256="0" * 64,
    force_field_hash="1" * 64,
    start_hash="2" * 64,
    target={"engine": "openmm"},
    gate_deviation_kj_mol=0.0,
    versions={"prosebench": "0.1.0"},
)
PROVENANCE = Provenance(
    host="node",
    device="cpu",
    commit="abc",
    started="now",
    finished="then",
    sittings=1,
    seconds={"sampling": 1.0},
)
Read = Callable[[Path], Any]
FILES: dict[str, tuple[Any, Read]] = {
    "cell.json": (CELL, read_cell),
    "record.json": (RECORD, read_record),
    "provenance.json": (PROVENANCE, read_provenance),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / CELL.folder_name
    made.mkdir()
    for name, (model, _) in FILES.items():
        write_bytes(made / name, model.model_dump_json().encode())
    return made


CANNOT_BE = [
    ("provenance.json", "seconds.sampling", "NaN"),
    ("provenance.json", "seconds.sampling", "Infinity"),
    ("provenance.json", "seconds.sampling", "1e400"),
    ("provenance.json", "seconds.sampling", "-1.0"),
    ("provenance.json", "threads", "-3"),
    ("provenance.json", "ranks", "1e30"),
    ("provenance.json", "ranks", "0"),
    ("provenance.json", "sittings", "-1"),
    ("provenance.json", "host", '"a\\nb"'),
    ("provenance.json", "host", '"\\u001b[2J"'),
    ("provenance.json", "host", json.dumps("x" * 10**5)),
    ("cell.json", "seed", "-1"),
    ("cell.json", "seed", "1e30"),
    ("cell.json", "frames", "0"),
    ("cell.json", "frames", "-5"),
    ("cell.json", "frames", "1" + "0" * 18),
    ("cell.json", "budgets", "[]"),
    ("cell.json", "budgets", "[100, 100]"),
    ("cell.json", "budgets", "[100, 10]"),
    ("cell.json", "budgets", "[1e30]"),
    ("cell.json", "budgets", "[1e400]"),
    ("cell.json", "budgets", "[0]"),
    ("cell.json", "budgets", "[" + "9" * 5000 + "]"),
    ("cell.json", "target.temperature_kelvin", "1e400"),
    ("cell.json", "target.temperature_kelvin", "Infinity"),
    ("cell.json", "suite", '"../elsewhere"'),
    ("cell.json", "row", '"a/b"'),
    ("cell.json", "row", '""'),
    ("cell.json", "peptide", '"A/A"'),
    ("cell.json", "settings.friction_per_ps", "1e999"),
    ("cell.json", "settings.friction_per_ps", "[" * 30 + "]" * 30),
    ("cell.json", "settings.friction_per_ps", "[" * 10**5 + "]" * 10**5),
    ("record.json", "ledger.sampling.evaluations", "1e400"),
    ("record.json", "ledger.sampling.failures", "-1"),
    ("record.json", "ledger.preparation.gradients", "1e30"),
    ("record.json", "frames", "-5"),
    ("record.json", "gate_deviation_kj_mol", "NaN"),
    ("record.json", "gate_deviation_kj_mol", "-1.0"),
    ("record.json", "force_field_hash", '"beef"'),
    ("record.json", "reason", '"one\\ntwo"'),
    ("record.json", "diagnostics", '{"ess": [Infinity]}'),
    ("record.json", "diagnostics", '{"ess": [1e400]}'),
    ("record.json", "target", '{"engine": null}'),
]


@pytest.mark.parametrize(("name", "field", "value"), CANNOT_BE)
def test_what_cannot_be_is_refused_in_one_line(folder: Path, name: str, field: str, value: str) -> None:
    model, read = FILES[name]
    content = json.loads(model.model_dump_json())
    *parents, last = field.split(".")
    place = content
    for parent in parents:
        place = place[parent]
    place[last] = "@"
    (folder / name).write_text(json.dumps(content).replace('"@"', value))
    with pytest.raises(DamagedFile) as refused:
        read(folder)
    said = str(refused.value)
    assert said.startswith(str(folder / name))
    assert len(said.splitlines()) == 1
    assert len(said) < 500 + len(str(folder))


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_regular_file_is_not_read(folder: Path, name: str) -> None:
    _, read = FILES[name]
    for make in (
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.mkdir(),
    ):
        path = folder / name
        path.unlink() if not path.is_dir() else path.rmdir()
        make(path)
        with pytest.raises(DamagedFile, match="is not a regular file"):
            read(folder)


def test_a_file_without_end_is_not_read(folder: Path) -> None:
    with (folder / "record.json").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(DamagedFile, match="at most"):
        read_record(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"gate_deviation_kj_mol": float("nan")},
        {"frames": -1},
        {"diagnostics": {"ess": [float("inf")]}},
        {"reason": "one\ntwo"},
        {
            "ledger": Ledger.model_construct(
                sampling=Counts.model_construct(evaluations=-1), preparation=Counts()
            )
        },
    ],
    ids=str,
)
def test_what_is_written_is_held_to_the_same(folder: Path, changes: dict[str, Any]) -> None:
    before = (folder / "record.json").read_bytes()
    with pytest.raises(ValueError, match="validation error for"):
        write_record(
            folder, RECORD.model_copy(update=changes), PROVENANCE.model_copy(update={"host": "other"})
        )
    assert (folder / "record.json").read_bytes() == before
    assert read_provenance(folder).host == "node"


def test_kept_runs_can_be_read() -> None:
    run = read_run(Path(__file__).parents[2] / "results" / "runs" / "quickstart")
    assert all(kept.provenance for kept in run.records.values())


# What a stranger's ensemble may hold, and what of it is wrong.
ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "NaN weights": ({"log_weights": np.array([0.0, np.nan])}, "1 of its log-weights"),
    "infinite weights": ({"log_weights": np.array([0.0, np.inf])}, "1 of its log-weights"),
    "NaN energies": ({"energies_kt": np.array([np.nan, 0.0])}, "1 of its energies"),
    "energies of -inf": ({"energies_kt": np.array([-np.inf, 0.0])}, "1 of its energies"),
    "energies whose square overflows": ({"energies_kt": np.array([1e200, 0.0])}, "1 of its energies"),
    "positions of 1e38": (
        {"positions_nm": np.full((2, 3, 3), 1e38)},
        "2 of its frames have coordinates beyond",
    ),
    "complex positions": ({"positions_nm": np.zeros((2, 3, 3), complex)}, "holds complex128"),
    "structured positions": ({"positions_nm": np.zeros((2, 3, 3), [("x", "f4")])}, "and not real numbers"),
    "texts": ({"energies_kt": np.array(["a", "b"])}, "and not real numbers"),
    "fractions of evaluations": ({"evaluations": np.array([0.5, 1.5])}, "and not whole numbers"),
    "another name": ({"weights": np.zeros(2)}, "unknown arrays weights; known: positions_nm"),
    "another shape": ({"positions_nm": np.zeros((2, 9))}, "needs (frames, atoms, 3)"),
    "another number": ({"energies_kt": np.zeros(3)}, "2 frames need (2,)"),
    "no numbers": ({"energies_kt": np.array(1.0)}, "2 frames need (2,)"),
}


def arrays(**changes: Any) -> dict[str, Any]:
    return {"positions_nm": np.zeros((2, 3, 3), np.float32), "energies_kt": np.zeros(2)} | changes


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_cannot_be_are_refused(tmp_path: Path, name: str) -> None:
    changes, said = ARRAYS[name]
    digest = write_arrays(tmp_path / "ensemble.npz", arrays(**changes))
    with pytest.raises(DamagedFile) as refused:
        RECORD.model_copy(update={"ensemble_sha256": digest}).load_ensemble(tmp_path)
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_small_file_of_endless_zeros_is_not_unpacked(tmp_path: Path) -> None:
    write_arrays(tmp_path / "e.npz", arrays(positions_nm=np.zeros((10**5, 3, 3), np.float32)), compress=True)
    assert (tmp_path / "e.npz").stat().st_size < 10**5
    with pytest.raises(DamagedFile, match="bytes; at most 1,000,000 are read"):
        Ensemble.load(tmp_path / "e.npz", most_bytes=10**6)


def test_a_tidied_ensemble_has_no_faults() -> None:
    odd = [0.0, np.nan, np.inf, -np.inf, 2 * LARGEST_NUMBER, -2 * LARGEST_NUMBER, 1.0, 2.0]
    frames = np.zeros((8, 3, 3), np.float32)
    frames[6, 1, 1], frames[7, 2, 2] = 2 * FARTHEST_NM, np.nan
    messy = Ensemble(frames, np.array(odd), np.array(odd[::-1]))
    assert list(value_faults(messy))
    tidy = tidied(messy)
    assert not list(value_faults(tidy))
    np.testing.assert_array_equal(tidy.energies_kt, [0.0, *[np.inf] * 6, 2.0])
    np.testing.assert_array_equal(np.isfinite(tidy.log_weights), [1, 1, 0, 0, 0, 0, 0, 1])
    assert np.isnan(tidy.positions_nm[6, 1, 1])
    there = tidied(Ensemble(frames, np.zeros(8), np.zeros(8)))
    np.testing.assert_array_equal(np.isfinite(there.log_weights), np.arange(8) != 6)
    np.testing.assert_array_equal(np.isfinite(there.energies_kt), np.arange(8) != 6)
    # What can be stays as it is, to the bit.
    clean = tidy.select([0, 7])
    assert tidied(clean).arrays().keys() == clean.arrays().keys()
    np.testing.assert_array_equal(tidied(clean).positions_nm, clean.positions_nm)
