"""Hydrogens of 3 dalton with steps of 2 fs sample what hydrogens of their own mass do with steps of 1 fs."""

import numpy as np
import pytest

from prosebench.energy.batched import BatchedEnergy
from prosebench.energy.dynamics import maxwell_velocities
from prosebench.energy.target import LangevinSettings, PhaseState, Stretch
from prosebench.frames.features import torus_points
from prosebench.peptide import Peptide

REPLICAS, WARM_UP_PS, SAMPLED_PS = 64, 8, 12
LIMIT_SIGMA = 4.0


def sample(peptide: Peptide, hydrogen_mass: float | None, time_step_fs: float, seed: int):
    """Energies (times, replicas) in kT and frames (times, replicas, atoms, 3) after a warm-up, one a picosecond."""
    target = BatchedEnergy(peptide)
    settings = LangevinSettings(310.0, 5.0, time_step_fs, hydrogen_mass)
    rng = np.random.default_rng(seed)
    velocities = maxwell_velocities(peptide, np.full(REPLICAS, 310.0), rng, hydrogen_mass)
    state = PhaseState(np.repeat(peptide.start_nm[None], REPLICAS, axis=0), velocities)
    steps_per_ps = round(1000 / time_step_fs)
    state = target.langevin(state, Stretch(WARM_UP_PS * steps_per_ps, settings, seed)).state
    keep = np.arange(1, SAMPLED_PS + 1, dtype=np.int64) * steps_per_ps
    result = target.langevin(state, Stretch(int(keep[-1]), settings, seed + 1, 0, keep))
    return result.energies_kt, result.frames_nm


def sigma(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Difference of the means of (times, replicas, ...) in standard errors; replicas are independent."""
    means = [part.mean(axis=0) for part in (one, other)]
    error = np.sqrt(sum(mean.var(axis=0, ddof=1) / len(mean) for mean in means))
    return (means[0].mean(axis=0) - means[1].mean(axis=0)) / np.maximum(error, 1e-12)


@pytest.mark.parametrize("sequence", ["AA", "ARIP"])
def test_energies_bonds_angles_and_torsions_do_not_know_the_masses(sequence: str) -> None:
    peptide = Peptide.from_sequence(sequence)
    light, heavy = sample(peptide, None, 1.0, 11), sample(peptide, 3.0, 2.0, 22)
    assert abs(sigma(light[0], heavy[0])) < LIMIT_SIGMA
    assert abs(sigma((light[0] - light[0].mean()) ** 2, (heavy[0] - heavy[0].mean()) ** 2)) < LIMIT_SIGMA
    worst = 0.0
    for observe in (lengths_and_angles, backbone):
        found = [observe(peptide, frames).reshape(SAMPLED_PS, REPLICAS, -1) for _, frames in (light, heavy)]
        worst = max(worst, np.abs(sigma(*found)).max(), np.abs(sigma(*(value**2 for value in found))).max())
    # The largest of some hundred numbers.
    assert worst < 5.0


def lengths_and_angles(peptide: Peptide, frames: np.ndarray) -> np.ndarray:
    """All bond lengths in nm and cosines of angles (frames, values)."""
    flat = frames.reshape(-1, peptide.n_atoms, 3).astype(np.float64)
    bonds = np.array([[a.index, b.index] for a, b in peptide.topology.bonds])
    vectors = flat[:, bonds[:, 1]] - flat[:, bonds[:, 0]]
    lengths = np.linalg.norm(vectors, axis=-1)
    joined = [(i, j) for i in range(len(bonds)) for j in range(i) if set(bonds[i]) & set(bonds[j])]
    one, other = np.array(joined).T
    cosines = (
        np.einsum("nbd,nbd->nb", vectors[:, one], vectors[:, other]) / lengths[:, one] / lengths[:, other]
    )
    return np.concatenate([lengths, cosines], axis=1)


def backbone(peptide: Peptide, frames: np.ndarray) -> np.ndarray:
    """Histograms of the backbone torsions in six bins each, as indicators (frames, values)."""
    flat = frames.reshape(-1, peptide.n_atoms, 3)
    angles = torus_points(flat, peptide.topology)
    bins = np.floor((angles + np.pi) / (2 * np.pi) * 6).clip(0, 5)
    return (bins[..., None] == np.arange(6)).astype(np.float64).reshape(len(flat), -1)
