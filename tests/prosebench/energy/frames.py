"""Frames on which engines are compared, and what OpenMM's Reference platform says about them."""

from functools import cache

import numpy as np
import openmm as mm
from numpy.typing import NDArray

from prosebench.peptide import Peptide
from prosebench.peptide.force_field import ForceField

Floats = NDArray[np.float64]

SEQUENCES = ("AC", "DEFG", "HIKLMN", "PQRSTVWY", "GYDPETGTWG")
"""2 to 10 residues; together they hold all 20 amino acids."""


@cache
def peptide(sequence: str) -> Peptide:
    """A peptide, built once per test run."""
    return Peptide.from_sequence(sequence)


def force_field(solvent: str) -> ForceField:
    """amber14 with one of OpenMM's implicit solvents, for example obc1."""
    return ForceField(files=("amber14-all.xml", f"implicit/{solvent}.xml"))


@cache
def md_frames(sequence: str, n: int = 5) -> Floats:
    """Frames (n, atoms, 3) of a 310 K trajectory from the start structure, 0.1 ps apart, single precision
    numbers.
    """
    target = peptide(sequence)
    integrator = mm.LangevinMiddleIntegrator(310.0, 1.0, 0.001)
    integrator.setRandomNumberSeed(7)
    platform = mm.Platform.getPlatformByName("CPU")
    context = mm.Context(target.system(), integrator, platform, {"Threads": "1"})
    context.setPositions(target.start_nm)
    context.setVelocitiesToTemperature(310.0, 7)
    frames = []
    for _ in range(n):
        integrator.step(100)
        frames.append(context.getState(positions=True).getPositions(asNumpy=True)._value)
    return np.array(frames, dtype=np.float32).astype(np.float64)


def stretched_frames(sequence: str) -> Floats:
    """MD frames pulled apart along x, so that many pairs are beyond the 2 nm cutoff and some frames are
    within.
    """
    frames = md_frames(sequence)
    scale = np.ones((len(frames), 1, 3))
    scale[1:, 0, 0] = (2.0, 3.0, 5.0, 8.0)[: len(frames) - 1]
    return frames * scale


def clashing_frames(sequence: str) -> Floats:
    """MD frames with the last atom put next to the first, at distances down to deep inside its sphere.

    At 0.09 nm the energy is of the order of 1e6 kT.
    """
    frames = md_frames(sequence).copy()
    for frame, distance in zip(frames, (0.09, 0.05, 0.03, 0.02, 0.008), strict=True):
        frame[-1] = frame[0] + distance * np.array([0.6, 0.0, 0.8])
    return frames


def shaken_frames(sequence: str, n: int = 5, scale_nm: float = 0.02) -> Floats:
    """Start structures with Gaussian noise on every coordinate: high energies in every term."""
    start = peptide(sequence).start_nm
    return start + np.random.default_rng(3).normal(scale=scale_nm, size=(n, *start.shape))


def reference(system: mm.System, frames_nm: Floats) -> tuple[Floats, Floats]:
    """Energies (n,) in kJ/mol and gradients (n, atoms, 3) in kJ/mol/nm on OpenMM's Reference platform."""
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    energies, gradients = [], []
    for frame in frames_nm:
        context.setPositions(frame)
        state = context.getState(energy=True, forces=True)
        energies.append(state.getPotentialEnergy()._value)
        gradients.append(-state.getForces(asNumpy=True)._value)
    return np.array(energies), np.array(gradients)


def relative_error(gradients: Floats, expected: Floats) -> float:
    """Largest |g - g0| / |g0| over frames (n, atoms, 3)."""
    size = np.linalg.norm(expected, axis=(1, 2))
    return float((np.linalg.norm(gradients - expected, axis=(1, 2)) / size).max())
