"""Forged costs, copies, and files that would crash or hang the checks: each is refused in one line, or shown."""

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.board.review import CellReview, Review, review_text
from analysis.scores.run import score_run
from analysis.submission.archive import unpacked
from analysis.submission.cells import check_cells
from analysis.submission.frames import MOST_REPEATS, movement, repeats
from analysis.submission.rerun import compare_rerun
from analysis.tables.main import main_table
from prosebench.energy.meter import Counts, Ledger
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble
from prosebench.frames.geometry import random_rotations
from prosebench.inspection import Inspection
from prosebench.names import EXTERNAL
from prosebench.names import FLOOR as CONTROL
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import ForceField
from prosebench.record import Cell, cell_folders, read_record
from prosebench.reference import Reference
from prosebench.store.storage import DamagedFile, read_json, write_json
from tests.analysis.conftest import RunBuilder, with_evaluations

FRAMES = 40


@pytest.fixture(scope="module")
def honest(pool: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cell of frames that are not those of the reference, in an own suite."""
    noise = np.random.default_rng(7).normal(scale=1e-4, size=pool.positions_nm[:FRAMES].shape)
    moved = (pool.positions_nm[:FRAMES] + noise).astype(np.float32)
    energies = make_target(Peptide.from_sequence("AA"), TargetSettings()).energy(moved)
    builder = RunBuilder(tmp_path_factory.mktemp("strangers") / "run")
    cell = builder.cell(row="theirs", budgets=(400,), frames=FRAMES)
    folder = builder.done(cell, with_evaluations(Ensemble(moved, energies), np.arange(1, FRAMES + 1) * 10))
    spent = Ledger(
        sampling=Counts(evaluations=400, energies=400), preparation=Counts(evaluations=5, energies=5)
    )
    change_record(folder, lambda record: record.update(ledger=spent.model_dump()))
    return builder.directory


@pytest.fixture
def theirs(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "run"))


def only_cell(directory: Path) -> Path:
    (folder,) = cell_folders(directory)
    return folder


def change_record(folder: Path, change: Callable[[dict], Any]) -> None:
    content = read_json(folder / "record.json")
    change(content)
    write_json(folder / "record.json", content)


def change_frames(folder: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    """Alter the arrays of an ensemble, and whatever its record says of them."""
    arrays = dict(Ensemble.load(folder / "ensemble.npz").arrays())
    change(arrays)
    made = Ensemble.from_arrays(arrays)
    digest = made.save(folder / "ensemble.npz")
    change_record(folder, lambda record: record.update(ensemble_sha256=digest, frames=len(made)))


def repeat(arrays: dict[str, np.ndarray], times: int, distinct: int, *, turned: bool = False) -> None:
    """The first frames, each several times over."""
    for name, array in arrays.items():
        arrays[name] = np.repeat(array[:distinct], times, axis=0)
    arrays["evaluations"] = np.arange(1, times * distinct + 1) * 400 // (times * distinct)
    if turned:
        turns = random_rotations(np.random.default_rng(0), times * distinct)
        arrays["positions_nm"] = (arrays["positions_nm"] @ turns + 0.2).astype(np.float32)


FORGED: dict[str, tuple[Callable[[dict[str, np.ndarray]], Any], str]] = {
    "frames that nothing paid for": (
        lambda a: a.update(evaluations=np.sort(np.minimum(a["evaluations"], 20))),
        "it has 40 frames after 20 evaluations; a frame takes one at least",
    ),
    "all at the beginning": (lambda a: a["evaluations"].fill(0), "40 frames after 0 evaluations"),
    "under the mark": (
        lambda a: a.update(evaluations=np.arange(FRAMES)),
        "it has 1 frames after 0 evaluations",
    ),
    "an outlier called infinite": (
        lambda a: a["energies_kt"].__setitem__(np.argmax(a["energies_kt"]), np.inf),
        "1 of its frames are said to have no finite energy, but have: the lowest",
    ),
    "one frame many times": (lambda a: repeat(a, 200, 1), "its 200 frames are 1 different ones"),
    "a few frames often": (
        lambda a: repeat(a, 20, 10),
        "its 200 frames are 10 different ones, each 20.0 times",
    ),
    "turned and shifted": (lambda a: repeat(a, 20, 10, turned=True), "are 10 different ones"),
    "no frames": (lambda a: a.update({name: array[:0] for name, array in a.items()}), "it has no frames"),
    "frames that are nowhere": (lambda a: a["positions_nm"].fill(1e30), "coordinates beyond"),
    "NaN energies": (lambda a: a["energies_kt"].fill(np.nan), "40 of its energies cannot be"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_frames_are_refused(name: str, theirs: Path, reference_folder: Path) -> None:
    change, said = FORGED[name]
    change_frames(only_cell(theirs), change)
    found = check_cells(theirs, [reference_folder]).reasons
    assert any(said in reason for reason in found), found
    assert all(
        reason.startswith(only_cell(theirs).name) and len(reason.splitlines()) == 1 for reason in found
    )


def test_honest_frames_are_accepted_and_seen(theirs: Path, reference_folder: Path) -> None:
    checked = check_cells(theirs, [reference_folder])
    assert checked.reasons == []
    (seen,) = checked.review.cells.values()
    assert (seen.frames, seen.distinct, seen.weights) == (FRAMES, FRAMES, "none")


def test_repeats_that_resampling_explains_are_counted_and_shown(theirs: Path, reference_folder: Path) -> None:
    folder = only_cell(theirs)
    change_frames(folder, lambda arrays: repeat(arrays, 4, FRAMES // 2))
    change_record(folder, lambda record: record.update(frames=2 * FRAMES))
    checked = check_cells(theirs, [reference_folder])
    assert checked.reasons == []
    (seen,) = checked.reviews.values()
    assert (seen.frames, seen.distinct) == (2 * FRAMES, FRAMES // 2)
    assert "75.0% of the frames repeat another" in review_text([seen])
    found = check_cells(
        theirs, [reference_folder], inspect=lambda *asked: Inspection(may_repeat=False)
    ).reasons
    assert "its method repeats none" in found[0]


def test_multinomial_resampling_of_a_tenth_is_not_refused() -> None:
    # The bound is there for this: weights of which a tenth count, drawn from once.
    rng, n = np.random.default_rng(0), 2000
    frames = rng.normal(size=(n // 10, 6, 3)).astype(np.float32)[rng.integers(n // 10, size=n)]
    number, distinct = repeats(Ensemble(frames, np.zeros(n)))
    assert number == n
    assert 0.99 * n / 10 < distinct <= n / 10
    assert number <= (MOST_REPEATS + 0.1) * distinct


@pytest.mark.parametrize("row", ["super-sampler", "md", CONTROL])
def test_the_control_is_shown_as_what_it_is(
    row: str, tmp_path: Path, reference: Reference, reference_folder: Path
) -> None:
    builder = RunBuilder(tmp_path / "run")
    spare = reference.spare.select(slice(0, 60))
    for name, method in ((row, CONTROL), ("theirs", "theirs")):
        cell = builder.cell(row=name, method=method, settings={})
        builder.done(cell, with_evaluations(spare, np.arange(1, 61)))
    scores = score_run(builder.directory, [reference_folder])
    assert set(scores["row"]) == {CONTROL, "theirs"}
    rows = {one.row: one for one in main_table(scores).rows}
    assert rows[CONTROL].floor
    assert not rows["theirs"].floor


def test_two_rows_of_the_control_are_one(
    tmp_path: Path, reference: Reference, reference_folder: Path
) -> None:
    builder = RunBuilder(tmp_path / "run")
    spare = with_evaluations(reference.spare.select(slice(0, 60)), np.arange(1, 61))
    for row in ("super-sampler", CONTROL):
        builder.done(builder.cell(row=row, method=CONTROL, settings={}, budgets=(60,)), spare)
    scores = score_run(builder.directory, [reference_folder])
    assert set(scores["row"]) == {CONTROL}
    assert not scores.duplicated(["row", "peptide", "budget", "seed", "metric"]).any()


def test_rows_of_a_shipped_suite_run_their_own_method(tmp_path: Path) -> None:
    builder = RunBuilder(tmp_path / "run")
    cell = builder.cell(suite="quickstart", peptide="AA", row="md", method="prose-snis", frames=2000)
    builder.skipped(cell, "not this one")
    found = "\n".join(check_cells(builder.directory).reasons)
    assert "row md of suite quickstart is of method md, not prose-snis" in found


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def elsewhere(path: Path) -> None:
    """A sound file, out of the folder."""
    moved = path.parents[3] / f"moved-{path.name}"
    shutil.move(path.parent / f"was-{path.name}", moved)
    path.symlink_to(moved)


@pytest.mark.parametrize("name", ["cell.json", "record.json", "provenance.json", "ensemble.npz"])
@pytest.mark.parametrize(
    "make", [link_to("/dev/zero"), os.mkfifo, elsewhere, Path.mkdir], ids=["device", "pipe", "link", "folder"]
)
def test_only_files_of_the_folder_are_read(name: str, make: Callable[[Path], Any], theirs: Path) -> None:
    path = only_cell(theirs) / name
    path.rename(path.with_name(f"was-{name}"))
    make(path)
    (said,) = check_cells(theirs).reasons
    assert said.startswith(f"{only_cell(theirs).name}: {name} is ")
    assert said.endswith("send the files themselves")


def test_a_cell_that_is_a_link_is_refused(theirs: Path) -> None:
    folder = only_cell(theirs)
    folder.rename(theirs / folder.name)
    folder.symlink_to(theirs / folder.name)
    (said,) = check_cells(theirs).reasons
    assert "is a link; send the files themselves" in said


BROKEN: dict[str, tuple[str, str]] = {
    "no budgets": ("[]", "budgets"),
    "endless budgets": ("[1e30]", "budgets"),
    "deep": ("[" * 10**5 + "]" * 10**5, "nested too deeply"),
    "digits": ("[" + "9" * 10**4 + "]", "not a JSON file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_cell_that_is_broken_is_one_line(name: str, theirs: Path) -> None:
    folder = only_cell(theirs)
    content = read_json(folder / "cell.json") | {"budgets": "@"}
    (folder / "cell.json").write_text(json.dumps(content).replace('"@"', BROKEN[name][0]))
    (said,) = check_cells(theirs).reasons
    assert BROKEN[name][1] in said
    assert len(said.splitlines()) == 1


def test_an_ensemble_that_is_larger_than_its_frames_is_not_read(theirs: Path) -> None:
    with (only_cell(theirs) / "ensemble.npz").open("r+b") as file:
        file.truncate(2**40)
    (said,) = check_cells(theirs).reasons
    assert "40 frames need" in said


@pytest.mark.parametrize("name", ["their.xml", "/dev/zero", "../amber14-all.xml"])
def test_a_force_field_of_their_own_is_never_loaded(name: str, theirs: Path, tmp_path: Path) -> None:
    # A force field may hold a program, which OpenMM runs.
    marker = tmp_path / "ran"
    (tmp_path / "their.xml").write_text(
        f"<ForceField><Script>open({str(marker)!r}, 'w').close()</Script></ForceField>"
    )
    folder = only_cell(theirs)
    cell = read_record(folder).cell
    files = (str(tmp_path / name) if name == "their.xml" else name,)
    evil = cell.model_copy(update={"target": TargetSettings(force_field=ForceField(files=files))})
    evil = Cell.model_validate(evil.model_dump())
    write_json(folder / "cell.json", evil.model_dump(mode="json"))
    change_record(folder, lambda one: one.update(cell=evil.model_dump(mode="json"), cell_id=evil.id))
    folder.rename(folder.with_name(evil.folder_name))
    (said,) = check_cells(theirs).reasons
    assert "does not come with OpenMM" in said
    assert not marker.exists()


def test_an_unforeseen_error_of_a_check_is_one_line(theirs: Path) -> None:
    def fails(*asked: object) -> Inspection:
        raise RecursionError("too\ndeep")

    (said,) = check_cells(theirs, inspect=fails).reasons
    assert said == f"{only_cell(theirs).name}: it could not be checked (RecursionError: too deep)"


def archive_of(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            archive.addfile(member)
    return path


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]
)
def test_a_member_that_is_no_file_is_refused(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("run/cells/one/cell.json")
    member.type, member.linkname = kind, "/etc/passwd"
    with (
        pytest.raises(DamagedFile, match="which is no file of a cell"),
        unpacked(archive_of(tmp_path / "some.tar", member)),
    ):
        pass


def test_an_archive_without_end_is_not_unpacked(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "some.tar", tarfile.TarInfo("run/cells/one/cell.json"))
    content = bytearray(path.read_bytes())
    member = tarfile.TarInfo("run/cells/one/cell.json")
    member.size = 2**45
    content[:512] = member.tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(content)
    with pytest.raises(DamagedFile), unpacked(path):
        pass


def test_frames_of_another_spacing_are_seen_when_run_again(theirs: Path, pool: Ensemble) -> None:
    record = read_record(only_cell(theirs))
    elsewhere_record = record.model_copy(update={"target": {"engine": "other"}})
    ours = pool.select(slice(0, 120))
    alike, spaced = pool.select(slice(200, 320)), pool.select(np.arange(120) * 5)
    assert movement(spaced) > 1.3 * movement(ours)
    assert compare_rerun(elsewhere_record, record, (alike, ours)) == []
    (said,) = compare_rerun(elsewhere_record, record, (spaced, ours))
    assert "from one of its frames to the next" in said
    (said,) = compare_rerun(elsewhere_record, record, (ours.select(slice(0, 100)), ours))
    assert "it has 100 frames, running it again gives 120" in said


def seen(**changes: Any) -> CellReview:
    return CellReview(**({"ensemble_sha256": "a", "frames": 10, "distinct": 10, "weights": "none"} | changes))


def test_what_was_run_again_stays_known() -> None:
    earlier = Review(cells={"1": seen(rerun="the same bytes"), "2": seen(rerun="the same bytes")})
    now = Review(cells={"1": seen(), "2": seen(ensemble_sha256="b"), "3": seen(rerun="the same costs")})
    assert {name: one.rerun for name, one in now.keeping(earlier).cells.items()} == {
        "1": "the same bytes",
        "2": "",
        "3": "the same costs",
    }


def test_a_review_in_words() -> None:
    assert review_text([]) == ""
    said = review_text(
        [seen(rerun="the same bytes"), seen(weights="as declared"), seen(weights="recomputed")]
    )
    assert said == (
        "of 3 reviewed cells, run again at review: 1 gave the same bytes; weights as declared in 1; "
        "weights recomputed in 1"
    )
    assert "run again at review: none" in review_text([seen()])


def test_declared_ensembles_may_cost_no_evaluations(theirs: Path, reference_folder: Path) -> None:
    folder = only_cell(theirs)
    cell = read_record(folder).cell.model_copy(update={"method": EXTERNAL})
    write_json(folder / "cell.json", cell.model_dump(mode="json"))
    change_record(
        folder,
        lambda one: one.update(
            cell=cell.model_dump(mode="json"), cell_id=cell.id, ledger=Ledger().model_dump(mode="json")
        ),
    )
    folder = folder.rename(folder.with_name(cell.folder_name))
    change_frames(folder, lambda arrays: arrays["evaluations"].fill(0))
    assert check_cells(theirs, [reference_folder]).reasons == []
