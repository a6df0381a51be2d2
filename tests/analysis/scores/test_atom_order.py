"""A reference may have its atoms in another order than the sequence gives: no number may depend on that."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from analysis.board.maps import peptide_drawings
from analysis.figures.peptide_data import PeptideData, load_peptide
from analysis.scores.convergence import floor
from analysis.scores.foreign import score_file
from analysis.scores.run import score_run
from analysis.scores.yardsticks import stuck, with_ceiling
from prosebench.ensemble import Ensemble
from prosebench.frames.features import distance_atoms, n_tica_features
from prosebench.frames.tica import TicaBasis
from prosebench.peptide import Peptide
from prosebench.peptide.labels import atom_labels
from prosebench.record import cell_folders, read_cell
from prosebench.reference import Reference, peptide_from_text
from tests.analysis.conftest import RunBuilder, fill_run
from tests.molecules.other_order import reordered_pdb

CLOSE = 1e-4
"""Relative: sums over atoms in another order round otherwise in single precision."""


def _permuted_basis(basis: TicaBasis, old: Peptide, new: Peptide, order: NDArray[np.int64]) -> TicaBasis:
    """The TICA basis with its distance features in the order that the new atoms give them."""
    features = np.arange(n_tica_features(old.topology))
    place_of_atom = {int(atom): place for place, atom in enumerate(distance_atoms(old.topology))}
    places = [place_of_atom[int(order[atom])] for atom in distance_atoms(new.topology)]
    number = len(places)
    pairs = np.full((number, number), -1)
    first, second = np.triu_indices(number, k=1)
    pairs[first, second] = pairs[second, first] = np.arange(len(first))
    features[: len(first)] = [pairs[places[i], places[j]] for i, j in zip(first, second, strict=True)]
    return TicaBasis(basis.projection[features], basis.mean[features])


class Permuted:
    """The reference of AA and its run, with the atoms of every frame in another order."""

    def __init__(self, reference: Reference, pool: Ensemble, folder: Path) -> None:
        old = reference.peptide
        pdb = reordered_pdb(old)
        new = peptide_from_text("AA", pdb)
        labels = atom_labels(old)
        order = np.array([labels.index(label) for label in atom_labels(new)])
        assert not np.array_equal(order, np.arange(len(order)))

        def moved(ensemble: Ensemble) -> Ensemble:
            return replace(ensemble, positions_nm=ensemble.positions_nm[:, order])

        self.reference = replace(
            reference,
            pdb=pdb,
            atoms=atom_labels(new),
            ensemble=moved(reference.ensemble),
            tica=_permuted_basis(reference.tica, old, new, order),
        )
        self.folder = folder / "references"
        self.reference.save(self.folder / "AA.npz")
        run = fill_run(RunBuilder(folder / "run"), moved(pool), self.reference)
        self.run = run.directory


@pytest.fixture(scope="module")
def permuted(reference: Reference, pool: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Permuted:
    return Permuted(reference, pool, tmp_path_factory.mktemp("permuted"))


def _equal(found: Any, expected: Any) -> None:
    """Whether two trees of numbers and texts are the same, numbers within CLOSE."""
    if isinstance(expected, dict):
        assert set(found) == set(expected)
        for name in set(expected) - {"hash"}:
            _equal(found[name], expected[name])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            _equal(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=CLOSE, abs=1e-5, nan_ok=True)
    else:
        assert found == expected


def test_every_score_and_ceiling_is_the_same(permuted: Permuted, run_folder: Path, reference_folder: Path):
    tables = []
    for run, folder in ((permuted.run, permuted.folder), (run_folder, reference_folder)):
        table = with_ceiling(score_run(run, [folder]), [folder])
        tables.append(table.drop(columns=["reference", "reference_error", "gap"]))  # gaps are rounding alone
    found, expected = tables
    pd.testing.assert_frame_equal(found, expected, rtol=CLOSE, atol=1e-6)
    assert (expected["method"] == "first-frame").any()


def test_ceiling_and_floor_alone_are_the_same(permuted: Permuted, reference: Reference):
    _equal(stuck(permuted.reference, 3, 50), stuck(reference, 3, 50))
    sides = (floor(one, 100) for one in (permuted.reference, reference))
    _equal(*sides)


def test_a_file_of_frames_scores_the_same(
    permuted: Permuted, reference: Reference, reference_folder: Path, tmp_path: Path
):
    found = []
    for name, one, folder in (
        ("new", permuted.reference, permuted.folder),
        ("old", reference, reference_folder),
    ):
        path = tmp_path / f"{name}.npz"
        one.spare.select(slice(0, 50)).save(path)
        found.append(
            score_file(
                path,
                "AA",
                topology=None,
                n_frames=50,
                seed=0,
                temperature_kelvin=310.0,
                reference_folders=[folder],
            )
        )
    values, expected = ({key: number.value for key, number in one.score.numbers.items()} for one in found)
    _equal(values, expected)


def test_the_data_of_every_figure_and_page_are_the_same(
    permuted: Permuted, run_folder: Path, reference: Reference
):
    def load(run: Path, of: Reference) -> PeptideData:
        folders = {read_cell(folder).id: folder for folder in cell_folders(run)}
        cells = [
            (cell.row, 600, cell.id)
            for cell in map(read_cell, folders.values())
            if cell.row in ("md", "flow_a&b") and cell.peptide == "AA"
        ]
        return load_peptide("AA", of, cells, folders)

    found, expected = load(permuted.run, permuted.reference), load(run_folder, reference)
    assert found.components(found.truth) == pytest.approx(expected.components(expected.truth), abs=1e-4)
    for one, other in zip(found.cells, expected.cells, strict=True):
        assert found.walk(one.frames) == pytest.approx(expected.walk(other.frames), abs=1e-4)
    _equal(peptide_drawings(found, ""), peptide_drawings(expected, ""))
