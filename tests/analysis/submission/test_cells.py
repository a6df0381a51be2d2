"""What a cell of a stranger does otherwise than its suite, files that are none of its own, and what is said of it."""

import os
from pathlib import Path

import pytest

from analysis.submission.cells import _check_files, _check_force_field, _check_plan, _load, _said, check_cells
from analysis.submission.suite_plan import shipped_suite
from prosebench.energy.settings import TargetSettings
from prosebench.names import EXTERNAL
from prosebench.peptide.force_field import ForceField
from prosebench.record import Cell, Record
from prosebench.store.storage import DamagedFile
from tests.prosebench.test_record import CELL, RECORD

QUICK = shipped_suite("quickstart")
assert QUICK is not None


def of_suite(**changes: object) -> Record:
    """A record of a cell that is as the suite has it, but for the changes."""
    assert QUICK is not None
    fields = {
        "suite": "quickstart",
        "peptide": QUICK.peptides[0],
        "row": "md",
        "method": "md",
        "settings": {},
        "budgets": QUICK.row_budgets("md"),
        "frames": QUICK.frames,
        "seed": QUICK.seeds[0],
        "target": QUICK.targets[0],
    }
    return RECORD.model_copy(update={"cell": Cell.model_validate(fields | changes)})


def told(**changes: object) -> list[str]:
    return list(_check_plan(of_suite(**changes)))


def test_a_cell_as_its_suite_has_it_passes() -> None:
    assert told() == []
    # Another row is the sender's own business.
    assert told(row="theirs", method="their-method") == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peptide": "WWWW"}, "suite quickstart has no peptide WWWW; give your suite another name"),
        ({"budgets": (77,)}, "suite quickstart has no budgets (77,), it has "),
        ({"method": "md-replicas"}, "row md of suite quickstart is of method md, not md-replicas"),
        ({"seed": 99}, "suite quickstart has no seed 99, it has "),
        ({"frames": 7}, "suite quickstart scores "),
        ({"target": TargetSettings(temperature_kelvin=400.0)}, "suite quickstart is at 310 K"),
        (
            {
                "target": TargetSettings(
                    force_field=ForceField(files=("amber14-all.xml", "implicit/obc2.xml"))
                )
            },
            "suite quickstart has another force field",
        ),
    ],
)
def test_what_differs_from_the_suite_is_said(changes: dict[str, object], said: str) -> None:
    (found,) = told(**changes)
    assert found.startswith(said)


def test_a_suite_of_one_s_own_and_declared_rows_have_seeds_of_their_own() -> None:
    assert told(suite="my-own", peptide="WWWW", frames=7) == []
    assert told(method=EXTERNAL, seed=99) == []
    # Which peptides and how many frames are not theirs to say.
    assert len(told(method=EXTERNAL, frames=7)) == 1


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../forcefield.py", "amber14/../../forcefield.py", "mine.xml", "implicit", ""]
)
def test_force_fields_come_with_openmm_or_are_not_opened(name: str) -> None:
    with pytest.raises(DamagedFile, match="does not come with OpenMM"):
        _check_force_field(ForceField.model_construct(files=("amber14-all.xml", name)))
    _check_force_field(ForceField())


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_files_are_files_of_their_own(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / CELL.folder_name
    folder.mkdir()
    (folder / "cell.json").write_text("{}")
    _check_files(folder)
    path = folder / "record.json"
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(DamagedFile, match="send the files themselves") as refused:
        _check_files(folder)
    assert ("a link" in str(refused.value)) == (kind == "link")


def test_the_folder_itself_may_be_no_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "there", target_is_directory=True)
    with pytest.raises(DamagedFile, match="here is a link"):
        _check_files(tmp_path / "here")


def test_frames_that_need_more_room_than_their_number_are_not_opened(tmp_path: Path) -> None:
    with (tmp_path / "ensemble.npz").open("wb") as file:
        file.truncate(2**20)
    with pytest.raises(DamagedFile, match=r"ensemble\.npz has 1,048,576 bytes; 10 frames need 6,160 at most"):
        _load(tmp_path, RECORD, 23)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            FileNotFoundError(2, "no", "/a/ensemble.npz"),
            "ensemble.npz is missing; send the cell's folder whole",
        ),
        (DamagedFile("two\nlines"), "two lines"),
        (ValueError("bad \x1b[2J"), "bad [2J"),
        (ZeroDivisionError("odd"), "it could not be checked (ZeroDivisionError: odd)"),
        (RecursionError(), "it could not be checked (RecursionError: )"),
    ],
)
def test_whatever_goes_wrong_is_a_line(error: Exception, said: str) -> None:
    found = _said(error)
    assert found.startswith(said)
    assert found.isprintable()


def test_a_folder_without_cells_is_none_and_one_without_an_end_is_not_accepted(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no cells"):
        check_cells(tmp_path)
    folder = tmp_path / "cells" / CELL.folder_name
    folder.mkdir(parents=True)
    (folder / "cell.json").write_text(CELL.model_dump_json())
    seen: list[tuple[str, int, int]] = []
    assert check_cells(tmp_path, progress=lambda *n: seen.append(n)).reasons == ["no cell has finished"]
    assert seen == [("cells", 1, 1)]
    (folder / "failure.json").write_text('{"reason": " "}')
    (said,) = check_cells(tmp_path).reasons
    assert said.endswith(": failure.json gives no reason; run the cell again")
