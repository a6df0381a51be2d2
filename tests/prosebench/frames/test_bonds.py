"""Bonds tell a wrong unit, a wrong order and a molecule that a box has cut; and the molecule is made whole again."""

from functools import cache

import numpy as np
import pytest

from prosebench.frames.bonds import (
    COVALENT_RADII_NM,
    LONGEST,
    bond_fault,
    bond_lengths,
    bonded_pairs,
    make_whole,
    torn,
    usual_lengths_nm,
)
from prosebench.peptide import Peptide

peptide_of = cache(Peptide.from_sequence)


def shaken(sequence: str, n: int = 20, spread_nm: float = 0.003) -> np.ndarray:
    peptide = peptide_of(sequence)
    noise = np.random.default_rng(0).normal(scale=spread_nm, size=(n, peptide.n_atoms, 3))
    return (peptide.start_nm + noise).astype(np.float32)


@pytest.mark.parametrize("sequence", ["GG", "WPM", "CHY"])
def test_bonds_of_peptides_have_the_length_of_bonds(sequence: str) -> None:
    peptide = peptide_of(sequence)
    relative = bond_lengths(peptide.start_nm[None], peptide.topology)[0] / usual_lengths_nm(peptide.topology)
    assert relative.min() > 0.85
    assert relative.max() < 1.07
    assert len(relative) == len(bonded_pairs(peptide.topology)) >= peptide.n_atoms - 1
    assert bond_fault(shaken(sequence), peptide.topology) is None


def test_lengths_of_two_atoms_by_hand() -> None:
    topology = peptide_of("GG").topology
    frames = np.zeros((1, topology.n_atoms, 3))
    one, other = bonded_pairs(topology)[0]
    frames[0, other] = [0.3, 0.0, 0.4]
    assert bond_lengths(frames, topology)[0, 0] == pytest.approx(0.5)
    elements = [topology.atom(int(i)).element.symbol for i in (one, other)]
    assert usual_lengths_nm(topology)[0] == pytest.approx(sum(COVALENT_RADII_NM[one] for one in elements))


@pytest.mark.parametrize(
    ("factor", "hint"), [(10.0, "look like ångström: divide by 10"), (0.1, "too short by a factor of 10")]
)
def test_a_wrong_unit_is_recognised(factor: float, hint: str) -> None:
    peptide = peptide_of("GG")
    said = bond_fault(factor * shaken("GG"), peptide.topology)
    assert said is not None
    assert hint in said
    n = len(bonded_pairs(peptide.topology))
    assert f"({n} of {n} bonds are wrong" in said


def test_atoms_in_another_order_are_named_without_a_word_on_units() -> None:
    peptide = peptide_of("WPM")
    frames = shaken("WPM")
    found = bond_fault(frames[:, ::-1], peptide.topology)
    assert found is not None
    assert found.startswith("the bond between 1TRP")
    assert "ångström" not in found


def test_frames_that_are_not_finite_do_not_count() -> None:
    peptide = peptide_of("GG")
    frames = shaken("GG")
    frames[1:] = np.nan
    assert bond_fault(frames, peptide.topology) is None
    frames[0] *= 10.0
    assert bond_fault(frames, peptide.topology) is not None
    assert bond_fault(frames[1:], peptide.topology) is None
    assert bond_fault(frames[:0], peptide.topology) is None


def test_a_few_bad_frames_of_many_are_no_fault_of_the_file() -> None:
    frames = shaken("GG", 21)
    frames[:10] *= 10.0
    assert bond_fault(frames, peptide_of("GG").topology) is None
    frames[10] *= 10.0
    assert bond_fault(frames, peptide_of("GG").topology) is not None


def cut_by_a_box(frames: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Each atom in the box, as programs write it."""
    inside = np.linalg.solve(cell.T, frames.reshape(-1, 3).astype(float).T).T
    return ((inside - np.floor(inside)) @ cell).reshape(frames.shape).astype(np.float32)


CUBE = 2.5 * np.eye(3)
SKEWED = np.array([[2.4, 0.0, 0.0], [0.6, 2.3, 0.0], [-0.5, 0.7, 2.2]])


@pytest.mark.parametrize("cell", [CUBE, SKEWED], ids=["cube", "skewed"])
def test_a_cut_molecule_is_seen_and_made_whole(cell: np.ndarray) -> None:
    peptide = peptide_of("WPM")
    # Moved on from frame to frame, so that the box cuts it at many places.
    whole = shaken("WPM", 30) + np.linspace(0.0, 5.0, 30, dtype=np.float32)[:, None, None]
    cut = cut_by_a_box(whole, cell)
    is_cut = ~np.isclose(np.ptp(cut, axis=1), np.ptp(whole, axis=1), atol=1e-4).all(axis=1)
    assert is_cut.sum() > 5
    np.testing.assert_array_equal(torn(cut, peptide.topology), is_cut)
    again = make_whole(cut, np.repeat(cell[None], 30, axis=0), peptide.topology)
    assert again.dtype == cut.dtype
    assert not torn(again, peptide.topology).any()
    np.testing.assert_array_equal(again[:, 0], cut[:, 0])
    np.testing.assert_allclose(again - again[:, :1], whole - whole[:, :1], atol=1e-5)


def test_whole_molecules_and_poor_samples_are_not_called_cut() -> None:
    peptide = peptide_of("GG")
    frames = shaken("GG")
    assert not torn(frames, peptide.topology).any()
    # All bonds long, as of atoms in any order; and one long bond beside one that is merely wrong.
    assert not torn(20.0 * frames, peptide.topology).any()
    one, other = bonded_pairs(peptide.topology)[-1]
    cut = frames.copy()
    cut[:, other] += np.float32(1.0)
    assert torn(cut, peptide.topology).all()
    ends = [i for i in range(peptide.n_atoms) if (bonded_pairs(peptide.topology) == i).sum() == 1]
    hydrogen = next(i for i in ends if i not in (one, other))
    near = next(int(a + b) - hydrogen for a, b in bonded_pairs(peptide.topology) if hydrogen in (a, b))
    poor = cut.copy()
    poor[:, hydrogen] += LONGEST * (poor[:, hydrogen] - poor[:, near])
    assert not torn(poor, peptide.topology).any()
