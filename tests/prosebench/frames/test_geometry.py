from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prosebench.frames.geometry import (
    chirality_centers,
    chirality_signs,
    fix_chirality,
    random_rotations,
    remove_center,
)
from prosebench.peptide import Peptide

CONFORMANCE = Path(__file__).parents[2] / "conformance"


def test_center_is_the_plain_mean():
    frames = np.random.default_rng(0).normal(size=(5, 7, 3)) + 3.0
    centered = remove_center(frames)
    np.testing.assert_allclose(centered.mean(axis=1), 0.0, atol=1e-14)
    np.testing.assert_allclose(np.diff(centered, axis=1), np.diff(frames, axis=1))


@given(st.integers(0, 2**32))
@settings(max_examples=30)
def test_rotations_are_rotations(seed):
    rotation = random_rotations(np.random.default_rng(seed), 1)[0]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-13)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_rotations_are_uniform():
    """The trace of a uniform rotation has mean 0 and variance 1; images of an axis are uniform."""
    rng = np.random.default_rng(1)
    rotations = random_rotations(rng, 4000)
    trace = np.trace(rotations, axis1=1, axis2=2)
    assert abs(trace.mean()) < 4 / np.sqrt(4000)
    assert abs(trace.var() - 1) < 4 * np.sqrt(2 / 4000)
    assert np.abs(rotations.mean(axis=0)).max() < 5 / np.sqrt(3 * 4000)
    assert np.abs((rotations**2).mean(axis=0) - 1 / 3).max() < 5 * np.sqrt(4 / 45 / 4000)


@pytest.mark.parametrize("sequence", ["AA", "ARIP"])
def test_published_chirality_flags(sequence):
    with np.load(CONFORMANCE / f"metrics_{sequence}.npz") as vectors:
        mirrored, original = vectors["sample_positions_mirrored"], vectors["sample_positions"]
        reference, expected = vectors["reference_positions"][0], vectors["chirality_changed"]
    peptide = Peptide.from_sequence(sequence)
    for start in (reference, peptide.start_nm):
        fixed, changed, still_wrong = fix_chirality(mirrored, peptide.topology, start)
        np.testing.assert_array_equal(changed, expected)
        np.testing.assert_array_equal(fixed, original)
        assert not still_wrong.any()
        assert fixed.dtype == mirrored.dtype


def test_centers_of_all_residues():
    topology = Peptide.from_sequence("ACDEFGHIKLMNPQRSTVWY").topology
    centers = chirality_centers(topology)
    alpha = {str(topology.atom(i)) for i in centers[:, 0] if topology.atom(i).name == "CA"}
    others = {str(topology.atom(i)) for i in centers[:, 0] if topology.atom(i).name != "CA"}
    assert len(alpha) == 19  # all but GLY
    assert others == {"ILE8-CB", "LEU10-CG", "THR17-CB", "VAL18-CB"}


def test_one_wrong_center_of_several_stays_wrong():
    peptide = Peptide.from_sequence("AGA")
    start = peptide.start_nm
    broken = start.copy()
    ca, ha, cb = (peptide.topology.select(f"resid 0 and name {name}")[0] for name in ("CA", "HA", "CB"))
    broken[[ha, cb]] = broken[[cb, ha]]
    assert (chirality_signs(broken, chirality_centers(peptide.topology)) == [-1, 1]).all()
    frames = np.stack([start, -start, broken]).astype(np.float32)
    fixed, changed, still_wrong = fix_chirality(frames, peptide.topology, start)
    assert changed.tolist() == [False, True, True]
    assert still_wrong.tolist() == [False, False, True]
    np.testing.assert_array_equal(fixed, np.stack([start, start, -broken]).astype(np.float32))
    assert ca in chirality_centers(peptide.topology)[:, 0]


def test_peptide_without_centers_and_frames_that_are_not_finite():
    glycines = Peptide.from_sequence("GG")
    frames = glycines.start_nm[None]
    fixed, changed, still_wrong = fix_chirality(frames, glycines.topology, glycines.start_nm)
    assert not changed.any()
    assert not still_wrong.any()
    np.testing.assert_array_equal(fixed, frames)
    alanines = Peptide.from_sequence("AA")
    _, changed, still_wrong = fix_chirality(
        np.full((1, alanines.n_atoms, 3), np.nan), alanines.topology, alanines.start_nm
    )
    assert changed.all()
    assert still_wrong.all()


def test_signs_do_not_depend_on_the_order_of_atoms_or_on_rotation():
    peptide = Peptide.from_sequence("TIVL")
    centers = chirality_centers(peptide.topology)
    rotation = random_rotations(np.random.default_rng(3), 1)[0]
    frames = np.stack([peptide.start_nm, peptide.start_nm @ rotation.T + 1.0])
    signs = chirality_signs(frames, centers)
    np.testing.assert_array_equal(signs[0], signs[1])
    np.testing.assert_array_equal(chirality_signs(-frames, centers), -signs)
