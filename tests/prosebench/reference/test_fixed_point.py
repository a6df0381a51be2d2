"""Positions of references in 16 bits: kept without loss, and next to nothing is lost on the way there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.wasserstein import energy_w2
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble
from prosebench.frames.features import torus_points
from prosebench.peptide import Peptide
from prosebench.reference import InvalidReferenceError, Reference, find_reference
from prosebench.reference.fixed_point import STEPS_PER_NM, as_integers, as_positions, on_grid, rounded
from prosebench.store.storage import read_arrays, write_arrays


@pytest.fixture(scope="module")
def frames() -> tuple[Peptide, Ensemble]:
    """Frames as dynamics leaves them: those of a kept reference are on the grid, and these are moved off it."""
    reference = Reference.load(find_reference("VF", []))
    kept = reference.scored.positions_nm[:1000]
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, kept.shape) / STEPS_PER_NM
    positions = (kept + noise).astype(np.float32)
    energies = make_target(reference.peptide, TargetSettings()).energy(positions)
    return reference.peptide, Ensemble(positions, energies)


@pytest.fixture(scope="module")
def coarse(frames: tuple[Peptide, Ensemble]) -> Ensemble:
    peptide, ensemble = frames
    return rounded(ensemble, make_target(peptide, TargetSettings()).energy)


def test_rounding_moves_no_coordinate_by_more_than_half_a_step(
    frames: tuple[Peptide, Ensemble], coarse: Ensemble
) -> None:
    original = frames[1].positions_nm.astype(np.float64)
    moved = coarse.positions_nm - (original - original.mean(axis=1, keepdims=True))
    assert 0.4 / STEPS_PER_NM < np.abs(moved).max() < 0.501 / STEPS_PER_NM


def test_rounding_changes_energies_and_scores_by_next_to_nothing(
    frames: tuple[Peptide, Ensemble], coarse: Ensemble
) -> None:
    peptide, ensemble = frames
    change = coarse.energies_kt - ensemble.energies_kt
    assert 0.005 < change.std() < 0.1
    assert abs(change.mean()) < 4 * change.std() / np.sqrt(len(change)) + 0.005
    assert energy_w2(coarse.energies_kt, ensemble.energies_kt) < 0.05
    turned = torus_points(coarse.positions_nm, peptide.topology) - torus_points(
        ensemble.positions_nm, peptide.topology
    )
    assert np.abs(np.remainder(turned + np.pi, 2 * np.pi) - np.pi).max() < 2e-3


def test_whole_steps_are_kept_in_16_bits_without_loss(
    frames: tuple[Peptide, Ensemble], coarse: Ensemble, tmp_path: Path
) -> None:
    kept = Reference.load(find_reference("VF", []))
    places = {"trajectory": kept.trajectory[: len(coarse)], "frame": kept.frame[: len(coarse)]}
    small, fine = (replace(kept, ensemble=one, **places) for one in (coarse, frames[1]))
    small.save(tmp_path / "VF.npz")
    arrays = read_arrays(tmp_path / "VF.npz")
    assert arrays["positions_steps"].dtype == np.int16
    assert "positions_nm" not in arrays
    again = Reference.load(tmp_path / "VF.npz")
    np.testing.assert_array_equal(again.ensemble.positions_nm, coarse.positions_nm)
    assert again.hash == small.hash
    fine.save(tmp_path / "whole.npz")
    assert "positions_nm" in read_arrays(tmp_path / "whole.npz")
    write_arrays(
        tmp_path / "wide.npz", arrays | {"positions_steps": arrays["positions_steps"].astype(np.int32)}
    )
    with pytest.raises(InvalidReferenceError, match="positions_steps are int32, not int16"):
        Reference.load(tmp_path / "wide.npz")


def test_frames_that_reach_too_far_are_kept_as_they_are(
    frames: tuple[Peptide, Ensemble], tmp_path: Path
) -> None:
    """A long peptide must not lose its reference after all the dynamics."""
    stretched = frames[1].positions_nm.copy()
    stretched[7, 0, 0] += 3.0
    ensemble = Ensemble(stretched, frames[1].energies_kt)
    assert rounded(ensemble, lambda positions: np.zeros(len(positions))) is ensemble
    assert not on_grid(stretched)


def test_every_step_is_its_own_position() -> None:
    steps = np.arange(-32767, 32768, dtype=np.int16).reshape(1, -1, 1)
    positions = as_positions(steps)
    np.testing.assert_array_equal(as_integers(positions), steps)
    assert on_grid(positions)
    assert not on_grid(positions + np.float32(1e-5))
    assert not on_grid(np.full((1, 1, 3), np.float32(1.7)))


@pytest.mark.parametrize("value", [1.7, -1.7, np.nan, np.inf])
def test_what_16_bits_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"further than 1\.64 nm"):
        as_integers(np.full((1, 1, 3), value))
