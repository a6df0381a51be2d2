"""What every method that runs dynamics needs: where to start, and when to keep a frame."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from prosebench.energy.masses import masses_dalton
from prosebench.energy.meter import Meter
from prosebench.energy.target import BOLTZMANN_KJ_MOL_K
from prosebench.peptide import Peptide

_LINE_SEARCH = 20
"""Evaluations of one line search at most."""


def maxwell_velocities(
    peptide: Peptide,
    temperatures_kelvin: NDArray[np.float64],
    rng: np.random.Generator,
    hydrogen_mass_dalton: float | None = None,
) -> NDArray[np.float64]:
    """Velocities (replicas, atoms, 3) in nm/ps from the Maxwell-Boltzmann distribution, one replica a temperature."""
    masses = masses_dalton(peptide, hydrogen_mass_dalton)
    spread = np.sqrt(BOLTZMANN_KJ_MOL_K * temperatures_kelvin[:, None, None] / masses[:, None])
    return spread * rng.standard_normal((len(temperatures_kelvin), peptide.n_atoms, 3))


def evenly_spaced(budget: int, frames: int) -> NDArray[np.int64]:
    """At most `frames` step numbers, evenly spaced up to and with `budget`."""
    number = min(frames, budget)
    return np.arange(1, number + 1, dtype=np.int64) * budget // number


def minimisation_limit(max_steps: int) -> int:
    """The most evaluations that `minimised` takes: two a step, and the line search that passes this number."""
    return 2 * max_steps + _LINE_SEARCH if max_steps else 0


def minimised(meter: Meter, start_nm: NDArray[np.float64], max_steps: int) -> NDArray[np.float64]:
    """Positions (atoms, 3) after at most max_steps of L-BFGS; every evaluation goes through the meter."""

    def energy_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        energies, gradients = meter.energy_and_gradient(flat.reshape(1, -1, 3))
        return float(energies[0]), gradients[0].ravel()

    if max_steps == 0:
        return start_nm.copy()
    options = {"maxiter": max_steps, "maxfun": 2 * max_steps, "maxls": _LINE_SEARCH}
    found = minimize(energy_and_gradient, start_nm.ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(start_nm.shape)
