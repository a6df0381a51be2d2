"""Cells are identified by the content of the files that their settings name, not by where these lie."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jobs.cells.plan import lay_out, plan_cells, set_skips_aside
from jobs.cells.worker import Desk, run_cell
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.record import Cell, read_cell, read_record
from prosebench.reference import Reference, bundled_folder
from prosebench.suite import load_suite

SUITE = """
name = "{name}"
peptides = ["AA"]
budgets = [300]
[methods.md-replicas]
starts = "{starts}"
"""


def cell_from(starts: Path) -> Cell:
    path = starts.parent / "small.toml"
    path.write_text(SUITE.format(name="small", starts=starts))
    (cell,) = plan_cells(load_suite(str(path)))
    return cell


def write_starts(path: Path, n: int) -> Path:
    path.parent.mkdir()
    start_nm = Peptide.from_sequence("AA").start_nm
    Ensemble(np.repeat(start_nm[None], n, axis=0), np.zeros(n)).save(path)
    return path


def test_the_same_starts_in_another_folder_are_the_same_cell(tmp_path: Path) -> None:
    here = cell_from(write_starts(tmp_path / "here" / "starts.npz", 3))
    there = cell_from(write_starts(tmp_path / "there" / "same-frames.npz", 3))
    other = cell_from(write_starts(tmp_path / "other" / "starts.npz", 4))
    assert here.settings["starts"] != there.settings["starts"]
    assert here.id == there.id
    assert other.id != here.id


def test_an_unfinished_cell_finds_its_file_where_it_lies_now(tmp_path: Path) -> None:
    before = write_starts(tmp_path / "before" / "starts.npz", 3)
    (folder,) = lay_out([cell_from(before)], tmp_path / "run")
    (tmp_path / "after").mkdir()
    after = Path(shutil.move(before, tmp_path / "after" / "starts.npz"))
    moved = cell_from(after)
    assert lay_out([moved], tmp_path / "run") == [folder]
    assert read_cell(folder) == moved


@pytest.mark.parametrize("nested", [False, True], ids=["flow", "proposal of annealing"])
def test_weights_count_by_content_where_a_path_names_them(nested: bool, tmp_path: Path) -> None:
    cell = cell_from(write_starts(tmp_path / "here" / "starts.npz", 3))

    def identity(weights: str, sha256: str) -> str:
        settings = {"weights": weights, "weights_sha256": sha256}
        return cell.model_copy(
            update={"settings": {"proposal_settings": settings} if nested else settings}
        ).id

    assert identity("a/mine.npz", "1f") == identity("/b/yours.npz", "1f")
    assert identity("a/mine.npz", "1f") != identity("a/mine.npz", "2e")
    assert identity("prose-mini", "1f") != identity("prose-maxi", "1f")
    assert identity("prose-up-to-8aa", "") != identity("prose-up-to-4aa", "")


def test_one_trajectory_stays_on_the_cpu_where_the_suite_names_a_gpu(tmp_path: Path) -> None:
    """And the cells of a suite without a word of devices are what they were before there was a choice."""
    text = 'name = "few"\npeptides = ["AA"]\nbudgets = [300]\n[methods.md]\n[methods.md-replicas]\n'
    cells = {}
    for device in ("", "cpu", "cuda"):
        path = tmp_path / f"few{device}.toml"
        path.write_text(text + (f'[target]\ndevice = "{device}"\n' if device else ""))
        cells[device] = {cell.row: cell for cell in plan_cells(load_suite(str(path)))}
    assert cells["cuda"]["md"] == cells["cpu"]["md"] == cells[""]["md"]
    assert cells["cuda"]["md-replicas"].target.device == "cuda"
    assert cells["cuda"]["md-replicas"].id != cells["cpu"]["md-replicas"].id == cells[""]["md-replicas"].id
    assert "device" not in cells["cpu"]["md"].model_dump(mode="json")["target"]
    assert (
        Cell.model_validate(cells["cuda"]["md-replicas"].model_dump(mode="json"))
        == cells["cuda"]["md-replicas"]
    )


def test_a_control_that_was_skipped_is_planned_again_when_its_reference_changes(tmp_path: Path) -> None:
    suite = tmp_path / "small.toml"
    suite.write_text(
        'name = "small"\npeptides = ["AA"]\nbudgets = [30]\nframes = 30\n[methods.reference-draw]\n'
    )
    cells, own, directory = plan_cells(load_suite(str(suite))), tmp_path / "own", tmp_path / "run"
    whole = Reference.load(bundled_folder() / "AA.npz")
    replace(whole, n_scored=len(whole)).save(own / "AA.npz")
    (folder,) = lay_out(cells, directory)
    assert run_cell(folder, Desk(directory, "first", reference_folders=(own,))) == "done"
    assert read_record(folder).status == "skipped"
    set_skips_aside(cells, directory, [own])
    assert read_record(folder).status == "skipped", "the reference is still the same"
    shutil.copy(bundled_folder() / "AA.npz", own / "AA.npz")
    set_skips_aside(cells, directory, [own])
    assert run_cell(folder, Desk(directory, "second", reference_folders=(own,))) == "done"
    assert read_record(folder).status == "done"
    os.utime(own / "AA.npz")
    set_skips_aside(cells, directory, [own])
    assert read_record(folder).status == "done", "what was done stays"
