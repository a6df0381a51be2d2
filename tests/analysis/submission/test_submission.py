"""Results made elsewhere: sound ones are packed, and each kind of tampering is named."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.board.kept_runs import read_run
from analysis.scores.run import score_run
from analysis.scores.table import COLUMNS, write_scores
from analysis.submission.archive import pack, unpacked
from analysis.submission.cells import check_cells
from analysis.submission.rerun import compare_rerun, gives_equal_bytes
from analysis.submission.submit import RefusedSubmission, submit
from analysis.submission.suite_plan import missing_places
from prosebench.cli import app
from prosebench.energy.meter import Counts, Ledger
from prosebench.energy.openmm import OpenMMEnergy
from prosebench.ensemble import Ensemble
from prosebench.frames.geometry import random_rotations
from prosebench.names import EXTERNAL
from prosebench.peptide import Peptide
from prosebench.record import Cell, cell_folders, read_record
from prosebench.reference import Reference
from prosebench.store.storage import DamagedFile, read_json, write_json
from prosebench.suite import load_suite
from tests.analysis.conftest import RunBuilder, with_evaluations


@pytest.fixture(scope="module")
def sound(pool: Ensemble, reference_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of honest frames, with its scores."""
    builder = RunBuilder(tmp_path_factory.mktemp("submission") / "theirs")
    for seed in (0, 1):
        frames = shaken(pool.select(np.arange(seed * 100, seed * 100 + 120)), seed)
        folder = builder.done(
            builder.cell(row="theirs", seed=seed), with_evaluations(frames, np.arange(1, 121) * 5)
        )
        change_record(folder, lambda record: record["ledger"].update(HONEST))
    write_scores(builder.directory, score_run(builder.directory, [reference_folder]))
    return builder.directory


HONEST = json.loads(
    Ledger(
        sampling=Counts(evaluations=600, gradients=600), preparation=Counts(evaluations=50, gradients=50)
    ).model_dump_json()
)


def shaken(frames: Ensemble, seed: int) -> Ensemble:
    """Frames that are not those of the reference, with the energies that they have."""
    noise = np.random.default_rng(seed).normal(scale=1e-4, size=frames.positions_nm.shape)
    moved = (frames.positions_nm + noise).astype(np.float32)
    return Ensemble(moved, OpenMMEnergy(Peptide.from_sequence("AA"), threads=1).energy(moved))


@pytest.fixture
def theirs(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "theirs"))


def first_cell(directory: Path) -> Path:
    return cell_folders(directory)[0]


def change_record(folder: Path, change: Callable[[dict], None]) -> None:
    content = read_json(folder / "record.json")
    change(content)
    write_json(folder / "record.json", content)


def change_ensemble(folder: Path, change: Callable[[dict], None], *, hidden: bool = True) -> None:
    """Alter the arrays of an ensemble, and its hash in the record where the change is to be hidden."""
    arrays = dict(Ensemble.load(folder / "ensemble.npz").arrays())
    change(arrays)
    digest = Ensemble.from_arrays(arrays).save(folder / "ensemble.npz")
    if hidden:
        change_record(folder, lambda record: record.update(ensemble_sha256=digest))


def reasons(directory: Path, target: Path, reference_folder: Path) -> str:
    with pytest.raises(RefusedSubmission) as refused:
        submit(directory, target, [reference_folder])
    assert not target.exists()
    return "\n".join(refused.value.reasons)


def test_sound_results_are_packed_and_pass_again_from_the_pack(
    theirs: Path, tmp_path: Path, reference_folder: Path
) -> None:
    folder, archive = submit(theirs, tmp_path / "out", [reference_folder])
    assert set(read_run(folder).records) == {read_record(cell).cell_id for cell in cell_folders(theirs)}
    assert pack(theirs, tmp_path / "again.tar", "theirs").read_bytes() == archive.read_bytes()
    with unpacked(archive) as inside:
        second, _ = submit(inside, tmp_path / "second", [reference_folder])
    for path in folder.rglob("*.*"):
        assert (second / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_a_tampered_score_is_caught_and_never_packed(
    theirs: Path, tmp_path: Path, reference_folder: Path
) -> None:
    lines = (theirs / "scores.csv").read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if ",torus-w2," in line)
    fields = lines[place].split(",")
    value = COLUMNS.index("value")
    fields[value] = repr(float(fields[value]) * 0.9)
    lines[place] = ",".join(fields)
    (theirs / "scores.csv").write_text("\n".join(lines) + "\n")
    said = reasons(theirs, tmp_path / "out", reference_folder)
    assert "scores.csv says torus-w2" in said
    assert said.count("scores.csv says") == 1
    (theirs / "scores.csv").unlink()
    for path in (theirs / "scores").iterdir():  # a cache that came along is not looked at
        content = read_json(path)
        for mark in content.get("marks", []):
            for number in mark["numbers"]:
                number[2] = "0.001" if number[0] == "torus-w2" else number[2]
        write_json(path, content)
    folder, _ = submit(theirs, tmp_path / "out", [reference_folder])
    assert read_run(folder).scores.query("metric == 'torus-w2'")["value"].min() > 0.01


TAMPERED_ENSEMBLES: dict[str, tuple[Callable[[dict], None], bool, str]] = {
    "changed after the record": (
        lambda a: a["energies_kt"].__isub__(1.0),
        False,
        "has changed since its record",
    ),
    "lower energies": (
        lambda a: a["energies_kt"].__isub__(1.0),
        True,
        "120 of 120 frames have other energies",
    ),
    "one lower energy": (
        lambda a: a["energies_kt"][7:8].__isub__(1.0),
        True,
        "1 of 120 frames have other energies",
    ),
    "some moved frames": (
        lambda a: a["positions_nm"][::10].__imul__(1.01),
        True,
        "12 of 120 frames have other energies than stored",
    ),
    "cheaper frames": (
        lambda a: a["evaluations"].__iadd__(10),
        True,
        "sampled after up to 610 evaluations, its ledger has 600",
    ),
    "unordered": (lambda a: a.update(evaluations=a["evaluations"][::-1]), True, "not in the order"),
    "fewer frames": (
        lambda a: a.update({name: array[:100] for name, array in a.items()}),
        True,
        "holds 100 frames, its record says 120",
    ),
    "without evaluations": (lambda a: a.pop("evaluations"), True, "do not say when they were sampled"),
}


@pytest.mark.parametrize("name", TAMPERED_ENSEMBLES)
def test_a_tampered_ensemble_is_caught(name: str, theirs: Path, reference_folder: Path) -> None:
    change, hidden, said = TAMPERED_ENSEMBLES[name]
    change_ensemble(first_cell(theirs), change, hidden=hidden)
    found = check_cells(theirs, [reference_folder]).reasons
    assert any(said in reason for reason in found), found
    assert all(reason.startswith(first_cell(theirs).name) for reason in found)


TAMPERED_RECORDS: dict[str, tuple[Callable[[dict], None], str]] = {
    "over the budget": (
        lambda r: r["ledger"]["sampling"].update(evaluations=700, gradients=700),
        "700 evaluations at a budget of 600",
    ),
    "fewer evaluations": (
        lambda r: r["ledger"]["sampling"].update(evaluations=300, gradients=300),
        "sampled after up to 600 evaluations, its ledger has 300",
    ),
    "evaluations alone": (
        lambda r: r["ledger"]["preparation"].update(evaluations=0),
        "preparation in its ledger has 0 evaluations, but 0 energies and 50 gradients",
    ),
    "negative": (lambda r: r["ledger"]["sampling"].update(failures=-1), "ledger.sampling.failures"),
    "another budget": (lambda r: r["cell"].update(budgets=[600, 6000]), "belongs to another cell"),
    "another force field": (lambda r: r.update(force_field_hash="0" * 64), "force_field_hash is not that"),
    "gate": (lambda r: r.update(gate_deviation_kj_mol=3.0), "3 kJ/mol off at the gate"),
    "another schema": (lambda r: r.update(schema_version=9), "schema version 9"),
    "skipped without a reason": (lambda r: r.update(status="skipped"), "skips this cell, but not why"),
    "skipped with frames": (
        lambda r: r.update(status="skipped", reason="too large"),
        "skips this cell, but there are frames in it",
    ),
    "an unknown field": (lambda r: r.update(blessed=True), "is not a record file"),
}


@pytest.mark.parametrize("name", TAMPERED_RECORDS)
def test_a_tampered_record_is_caught(name: str, theirs: Path, reference_folder: Path) -> None:
    change, said = TAMPERED_RECORDS[name]
    change_record(first_cell(theirs), change)
    found = check_cells(theirs, [reference_folder]).reasons
    assert any(said in reason for reason in found), found


@pytest.mark.parametrize("name", ["cell.json", "ensemble.npz", "provenance.json"])
def test_a_file_that_is_missing_is_named(name: str, theirs: Path, reference_folder: Path) -> None:
    (first_cell(theirs) / name).unlink()
    (said,) = check_cells(theirs, [reference_folder]).reasons
    assert said.startswith(f"{first_cell(theirs).name}: {name} is missing")


def test_a_failure_says_why(theirs: Path, reference_folder: Path) -> None:
    folder = first_cell(theirs)
    (folder / "record.json").unlink()
    for content in ({}, [], {"reason": " "}):
        write_json(folder / "failure.json", content)
        assert check_cells(theirs, [reference_folder]).reasons == [
            f"{folder.name}: failure.json gives no reason; run the cell again"
        ]


@pytest.mark.parametrize(
    "name", ["theirs/run.sh", "theirs/cells/one/evil.py", "../cells/one/cell.json", "cell.json"]
)
def test_an_archive_with_another_file_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "some.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("theirs/cells/one/cell.json"))
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(DamagedFile, match="which is no file of a cell"), unpacked(path):
        pass


def moved(frames_nm: np.ndarray) -> np.ndarray:
    """Shifted, turned and mirrored."""
    return -(frames_nm @ random_rotations(np.random.default_rng(0), len(frames_nm))) + 0.1


@pytest.mark.parametrize("change", [lambda frames_nm: frames_nm, moved], ids=["as they are", "moved"])
def test_frames_of_the_reference_are_recognised(
    change: Callable, tmp_path: Path, reference: Reference, reference_folder: Path
) -> None:
    builder = RunBuilder(tmp_path / "run")
    spare = reference.spare.select(slice(0, 60))
    spare = Ensemble(change(spare.positions_nm), spare.energies_kt)
    for row in ("md", "reference-draw"):
        folder = builder.done(builder.cell(row=row), with_evaluations(spare, np.arange(1, 61) * 10))
        change_record(folder, lambda record: record["ledger"].update(HONEST))
    found = check_cells(builder.directory, [reference_folder]).reasons
    assert [reason.split(": ", 1)[1] for reason in found] == ["60 of its frames are frames of the reference"]
    assert "AA-md-" in found[0]


def test_a_shipped_suite_is_run_as_it_is(tmp_path: Path, pool: Ensemble, reference_folder: Path) -> None:
    builder = RunBuilder(tmp_path / "run")
    cell = builder.cell(suite="quickstart", peptide="AA", budgets=(600,), frames=60)
    builder.done(cell, with_evaluations(shaken(pool.select(slice(0, 120)), 5), np.arange(1, 121) * 5))
    found = "\n".join(check_cells(builder.directory, [reference_folder]).reasons)
    assert "suite quickstart has no budgets (600,)" in found
    assert "suite quickstart scores 2000 frames, not 60" in found


def quickstart(tmp_path: Path) -> tuple[RunBuilder, list[Cell]]:
    """All cells that the shipped suite asks of a row, two budgets in each."""
    suite, builder = load_suite("quickstart"), RunBuilder(tmp_path / "run")
    return builder, [
        builder.cell(suite=suite.name, peptide=peptide, budgets=suite.budgets, frames=suite.frames, seed=seed)
        for peptide in suite.peptides
        for seed in suite.seeds
    ]


def test_a_cell_that_was_left_out_is_missed(tmp_path: Path) -> None:
    builder, cells = quickstart(tmp_path)
    for cell in cells:
        builder.skipped(cell, "not this one")
    assert check_cells(builder.directory).reasons == []
    shutil.rmtree(builder.directory / "cells" / cells[3].folder_name)
    (said,) = check_cells(builder.directory).reasons
    assert said.startswith(
        "suite quickstart, row md: 2 of 16 results are missing "
        f"({cells[3].peptide}, 2,000 evaluations, seed 1; {cells[3].peptide}, 200,000 evaluations, seed 1)"
    )
    builder.waiting(cells[3])
    assert check_cells(builder.directory).reasons == [said]
    builder.failed(cells[3], "it blew up")
    assert check_cells(builder.directory).reasons == []


def test_seeds_are_not_picked(tmp_path: Path) -> None:
    builder, cells = quickstart(tmp_path)
    for cell in [*cells, cells[0].model_copy(update={"seed": 17})]:
        builder.skipped(cell, "not this one")
    (said,) = check_cells(builder.directory).reasons
    assert said.endswith("suite quickstart has no seed 17, it has 0, 1")


def test_a_row_of_declared_cost_must_hold_every_peptide(tmp_path: Path) -> None:
    _, cells = quickstart(tmp_path)
    theirs = [
        cell.model_copy(update={"row": "theirs", "method": EXTERNAL, "seed": 5, "budgets": cell.budgets[1:]})
        for cell in cells[::2]
    ]
    assert missing_places(theirs) == []
    assert "row theirs: 1 of 4 results are missing (AA, 200,000" in missing_places(theirs[1:])[0]
    assert missing_places([theirs[0].model_copy(update={"suite": "their-own"})]) == []


def test_nothing_of_an_earlier_submission_stays(theirs: Path, tmp_path: Path, reference_folder: Path) -> None:
    folder, _ = submit(theirs, tmp_path / "out", [reference_folder])
    first = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    write_json(folder / "peptides" / "small-KG.json", {"old": True})
    submit(theirs, tmp_path / "out", [reference_folder])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == first


def test_running_again_tells_a_false_ledger(sound: Path) -> None:
    record = read_record(first_cell(sound))
    assert compare_rerun(record, record) == []
    cheap = Ledger(sampling=record.ledger.sampling, preparation=Counts(evaluations=5, gradients=5))
    said = compare_rerun(record.model_copy(update={"ledger": cheap}), record)
    assert said == ["running it again gives another ensemble or ledger"]
    elsewhere = record.model_copy(update={"ledger": cheap, "target": {"engine": "other"}})
    assert gives_equal_bytes(record, record)
    assert not gives_equal_bytes(elsewhere, record)
    assert compare_rerun(elsewhere, record) == [
        "its ledger has 5 evaluations of preparation, running it again takes 50"
    ]


def test_the_command(theirs: Path, tmp_path: Path, reference_folder: Path) -> None:
    options = ["--out", str(tmp_path / "out"), "--references", str(reference_folder)]
    change_ensemble(first_cell(theirs), lambda arrays: arrays["energies_kt"].__isub__(1.0))
    found = CliRunner().invoke(app, ["submit-results", str(theirs), *options])
    assert isinstance(found.exception, RefusedSubmission)
    assert "1 reason against these results" in str(found.exception)
    assert "the same `prosebench run` makes it again" in str(found.exception)
    with pytest.raises(ValueError, match="no name for a run"):
        submit(theirs, tmp_path / "out", name="../elsewhere")
    with pytest.raises(FileNotFoundError, match="holds no cells"):
        check_cells(tmp_path)
    (tmp_path / "some.tar").write_text("no archive")
    with pytest.raises(DamagedFile, match="neither a run folder nor"), unpacked(tmp_path / "some.tar"):
        pass
