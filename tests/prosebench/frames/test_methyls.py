"""Like methyl groups under each other's name are found and renamed; mirror images and poor samples are left alone."""

from functools import cache

import numpy as np
import pytest

from prosebench.frames.geometry import chirality_centers, chirality_signs
from prosebench.frames.methyls import exchanged_methyls
from prosebench.peptide import Peptide

peptide_of = cache(Peptide.from_sequence)
BRANCHES = {
    "VAL": (("CG1", "HG11", "HG12", "HG13"), ("CG2", "HG21", "HG22", "HG23")),
    "LEU": (("CD1", "HD11", "HD12", "HD13"), ("CD2", "HD21", "HD22", "HD23")),
}


def shaken(sequence: str, n: int = 50) -> np.ndarray:
    peptide = peptide_of(sequence)
    return peptide.start_nm + np.random.default_rng(0).normal(scale=0.003, size=(n, peptide.n_atoms, 3))


def exchanged(frames: np.ndarray, sequence: str, residue: int) -> np.ndarray:
    """The frames with the two groups of a residue under each other's name."""
    there = peptide_of(sequence).topology.residue(residue)
    index = {atom.name: atom.index for atom in there.atoms}
    one, other = ([index[name] for name in names] for names in BRANCHES[there.name])
    made = frames.copy()
    made[:, one + other] = made[:, other + one]
    return made


@pytest.mark.parametrize(
    ("sequence", "residue", "name"), [("GVG", 1, "2VAL"), ("LA", 0, "1LEU"), ("AL", 1, "2LEU")]
)
def test_the_order_brings_the_names_back(sequence: str, residue: int, name: str) -> None:
    frames = shaken(sequence)
    order, found = exchanged_methyls(exchanged(frames, sequence, residue), peptide_of(sequence))
    assert found == [name]
    np.testing.assert_array_equal(exchanged(frames, sequence, residue)[:, order], frames)


def test_residues_are_judged_one_by_one() -> None:
    frames = shaken("VLV")
    order, found = exchanged_methyls(exchanged(exchanged(frames, "VLV", 0), "VLV", 1), peptide_of("VLV"))
    assert found == ["1VAL", "2LEU"]
    assert sorted(order) == list(range(peptide_of("VLV").n_atoms))
    assert (order != np.arange(len(order))).sum() == 16


@pytest.mark.parametrize("sequence", ["VLV", "GAG"])
def test_right_names_stay(sequence: str) -> None:
    order, found = exchanged_methyls(shaken(sequence), peptide_of(sequence))
    assert found == []
    np.testing.assert_array_equal(order, np.arange(peptide_of(sequence).n_atoms))


def test_mirror_images_are_none_and_hide_none() -> None:
    """Both hands change in a mirror; a group under the wrong name shows in mirror images all the same."""
    frames = shaken("GVG")
    assert exchanged_methyls(-frames, peptide_of("GVG"))[1] == []
    mixed = exchanged(frames, "GVG", 1)
    mixed[::2] *= -1.0
    assert exchanged_methyls(mixed, peptide_of("GVG"))[1] == ["2VAL"]


def test_a_sampler_that_exchanges_some_is_no_program_with_other_names() -> None:
    frames = shaken("GVG", 100)
    some = np.concatenate([exchanged(frames, "GVG", 1)[:90], frames[90:]])
    assert exchanged_methyls(some, peptide_of("GVG"))[1] == []
    more = np.concatenate([exchanged(frames, "GVG", 1)[:91], frames[91:]])
    assert exchanged_methyls(more, peptide_of("GVG"))[1] == ["2VAL"]


def test_exchanging_changes_the_hand_of_one_centre_alone() -> None:
    peptide = peptide_of("VLV")
    centers = chirality_centers(peptide.topology)
    before, after = (
        chirality_signs(frames, centers) for frames in (shaken("VLV"), exchanged(shaken("VLV"), "VLV", 1))
    )
    changed = (before != after).all(axis=0)
    assert [str(peptide.topology.atom(int(i))) for i in centers[changed, 0]] == ["LEU2-CG"]
