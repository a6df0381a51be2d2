"""Features against mdtraj and against stored numbers of the published implementation."""

import mdtraj
import numpy as np
import pytest

from prosebench.frames.features import (
    dihedral_indices,
    n_tica_features,
    tica_features,
    torsion_features,
    torsions,
    torus_points,
)
from prosebench.peptide import Peptide


def _frames(peptide: Peptide, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((n, peptide.n_atoms, 3))
    # A chain of any shape will do: each atom near a line, so that no angle is undefined.
    return (0.1 * np.arange(peptide.n_atoms)[:, None] + 0.2 * steps).astype(np.float32)


@pytest.mark.parametrize(
    ("sequence", "n_features"), [("AA", 34), ("ARIP", 369), ("RLMM", 483), ("DGVAHALS", 903)]
)
def test_number_of_tica_features_is_the_published_one(sequence, n_features):
    peptide = Peptide.from_sequence(sequence)
    assert n_tica_features(peptide.topology) == n_features
    assert tica_features(_frames(peptide, 2), peptide.topology).shape == (2, n_features)


def test_angles_are_mdtrajs():
    peptide = Peptide.from_sequence("GPH")
    frames = _frames(peptide, 5)
    trajectory = mdtraj.Trajectory(frames, peptide.topology)
    expected = [f(trajectory) for f in (mdtraj.compute_phi, mdtraj.compute_psi, mdtraj.compute_omega)]
    for quadruples, angles, (indices, values) in zip(
        dihedral_indices(peptide.topology), torsions(frames, peptide.topology), expected, strict=True
    ):
        np.testing.assert_array_equal(quadruples, indices)
        np.testing.assert_array_equal(angles, values)
        assert angles.shape == (5, 2)


def test_torus_points_are_all_phi_then_all_psi():
    peptide = Peptide.from_sequence("AGA")
    frames = _frames(peptide, 3)
    phi, psi, _ = torsions(frames, peptide.topology)
    np.testing.assert_array_equal(torus_points(frames, peptide.topology), np.hstack([phi, psi]))


def test_torsion_features_follow_the_published_order():
    peptide = Peptide.from_sequence("AGA")
    frames = _frames(peptide, 3)
    phi, psi, omega = torsions(frames, peptide.topology)
    expected = np.hstack([np.sin(phi), np.cos(phi), np.sin(psi), np.cos(psi), np.sin(omega), np.cos(omega)])
    np.testing.assert_array_equal(torsion_features(frames, peptide.topology), expected)


def test_tica_features_do_not_change_when_a_frame_is_moved():
    peptide = Peptide.from_sequence("CM")
    frames = _frames(peptide, 2)
    rotation = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
    moved = frames @ rotation.T + np.float32(0.5)
    np.testing.assert_allclose(
        tica_features(moved, peptide.topology), tica_features(frames, peptide.topology), atol=1e-4
    )


def test_blocks_do_not_show():
    peptide = Peptide.from_sequence("AA")
    frames = _frames(peptide, 1100)
    whole = tica_features(frames, peptide.topology)
    np.testing.assert_array_equal(whole[1050:], tica_features(frames[1050:], peptide.topology))


def test_frames_of_other_atoms_are_refused():
    with pytest.raises(ValueError, match="needs"):
        torus_points(np.zeros((2, 5, 3)), Peptide.from_sequence("AA").topology)
