"""What every method that runs dynamics needs: velocities to start with, and when to keep a frame."""

import numpy as np
from numpy.typing import NDArray

from prosebench.energy.parameters.masses import masses_dalton
from prosebench.energy.target import BOLTZMANN_KJ_MOL_K
from prosebench.peptide import Peptide


def maxwell_velocities(
    peptide: Peptide,
    temperatures_kelvin: NDArray[np.float64],
    rng: np.random.Generator,
    hydrogen_mass_dalton: float | None = None,
) -> NDArray[np.float64]:
    """Velocities (replicas, atoms, 3) in nm/ps from the Maxwell-Boltzmann distribution; each replica has its
    own temperature."""
    masses = masses_dalton(peptide, hydrogen_mass_dalton)
    spread = np.sqrt(BOLTZMANN_KJ_MOL_K * temperatures_kelvin[:, None, None] / masses[:, None])
    return spread * rng.standard_normal((len(temperatures_kelvin), peptide.n_atoms, 3))


def evenly_spaced(budget: int, frames: int) -> NDArray[np.int64]:
    """At most `frames` step numbers between 1 and `budget`, evenly spaced; the last one is `budget`."""
    number = min(frames, budget)
    return np.arange(1, number + 1, dtype=np.int64) * budget // number
