"""All parameters of the energy, read from an OpenMM ``System``.

Units are OpenMM's own: nm, kJ/mol, elementary charges, daltons, radians. What cannot be represented exactly
is refused with `UnsupportedForce`, which names the force; nothing is approximated and nothing is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm as mm
from numpy.typing import NDArray

from prosebench.energy.parameters.born import (
    Floats,
    GBParameters,
    Ints,
    NeckParameters,
    UnsupportedForce,
    pair_indices,
    read_gb,
    refuse_if,
)

__all__ = [
    "EnergyParameters",
    "GBParameters",
    "NeckParameters",
    "UnsupportedForce",
    "pair_indices",
    "read_parameters",
]

COULOMB_KJ_MOL_NM = 138.93545764438198
"""1/(4 pi eps0) in kJ/mol nm/e^2 from CODATA 2018, the value in OpenMM's NonbondedForce."""

MAX_PERIODICITY = 6
SINE_NOISE = 1e-9
"""A sine of a phase below this is taken as 0. Parameter files write pi with 12 digits, so that the sine of pi
is not exactly 0; a term so small is 1e-9 of one torsion.
"""


@dataclass(frozen=True)
class EnergyParameters:
    """The energy of one molecule in vacuum or implicit solvent.

    Bonds and angles: k/2 (x - x0)^2. Torsions, merged when on the same four atoms: sum_m cos[m] cos(m phi) +
    sin[m] sin(m phi) for m = 0..6. Pairs are all i < j, i slowest: c12/r^12 - c6/r^6 + charge (1/r + krf r^2
    - crf) for r < cutoff_nm; exceptions (1-4 pairs, excluded pairs with zeros) have no cutoff and no reaction
    field: c12/r^12 - c6/r^6 + charge/r. pair_charge is q_i q_j / (4 pi eps0) in kJ/mol nm. cutoff_nm is inf
    without a cutoff.
    """

    n_atoms: int
    masses_dalton: Floats
    charges: Floats
    bond_atoms: Ints
    bond_length_nm: Floats
    bond_constant: Floats
    angle_atoms: Ints
    angle_radians: Floats
    angle_constant: Floats
    torsion_atoms: Ints
    torsion_cos: Floats
    torsion_sin: Floats
    pair_atoms: Ints
    pair_c12: Floats
    pair_c6: Floats
    pair_charge: Floats
    pair_is_exception: NDArray[np.bool_]
    cutoff_nm: float
    reaction_field_k: float
    reaction_field_c: float
    gb: GBParameters | None = None


def read_parameters(system: mm.System) -> EnergyParameters:
    """Read all parameters of a System with bonds, angles, torsions, NonbondedForce and an OBC or GBn
    CustomGBForce.

    Raises UnsupportedForce for any other force, for constraints, virtual sites, periodic or switched
    interactions.
    """
    n_atoms = system.getNumParticles()
    refuse_if(system.getNumConstraints() > 0, f"{system.getNumConstraints()} constraints")
    refuse_if(any(system.isVirtualSite(i) for i in range(n_atoms)), "virtual sites")
    values: dict[str, Any] = _bonds([]) | _angles([]) | _torsions([]) | _no_pairs(n_atoms)
    seen: set[str] = set()
    for force in system.getForces():
        kind = type(force).__name__
        if kind == "CMMotionRemover":
            continue
        refuse_if(kind not in READERS, kind)
        refuse_if(kind in seen, f"a second {kind}")
        refuse_if(force.usesPeriodicBoundaryConditions(), f"{kind} with periodic boundaries")
        seen.add(kind)
        values |= READERS[kind](force)
    masses = np.array([system.getParticleMass(i)._value for i in range(n_atoms)])
    return EnergyParameters(n_atoms=n_atoms, masses_dalton=masses, **values)


def _rows(rows: list[Any], n_atoms: int) -> tuple[Ints, Floats]:
    """Split rows (atoms..., value, value) into index (k, n_atoms) and value (k, 2) arrays."""
    atoms = np.array([row[:n_atoms] for row in rows], dtype=np.int32).reshape(-1, n_atoms)
    values = np.array([[v._value for v in row[n_atoms:]] for row in rows]).reshape(-1, 2)
    return atoms, values


def _bonds(rows: list[Any]) -> dict[str, Any]:
    atoms, values = _rows(rows, 2)
    return {"bond_atoms": atoms, "bond_length_nm": values[:, 0], "bond_constant": values[:, 1]}


def _angles(rows: list[Any]) -> dict[str, Any]:
    atoms, values = _rows(rows, 3)
    return {"angle_atoms": atoms, "angle_radians": values[:, 0], "angle_constant": values[:, 1]}


def _torsions(rows: list[Any]) -> dict[str, Any]:
    """Merge k (1 + cos(m phi - phase)) over the same four atoms, read in either direction."""
    series: dict[tuple[int, ...], Floats] = {}
    for *atoms, periodicity, phase, constant in rows:
        refuse_if(periodicity > MAX_PERIODICITY, f"PeriodicTorsionForce with periodicity {periodicity}")
        key = tuple(atoms) if atoms[1] < atoms[2] else tuple(reversed(atoms))
        table = series.setdefault(key, np.zeros((2, MAX_PERIODICITY + 1)))
        sine = np.sin(phase._value)
        table[0, 0] += constant._value
        table[0, periodicity] += constant._value * np.cos(phase._value)
        table[1, periodicity] += constant._value * (0.0 if abs(sine) < SINE_NOISE else sine)
    atoms_array = np.array(list(series), dtype=np.int32).reshape(-1, 4)
    tables = np.array(list(series.values())).reshape(-1, 2, MAX_PERIODICITY + 1)
    return {
        "torsion_atoms": atoms_array,
        "torsion_cos": tables[:, 0].copy(),
        "torsion_sin": tables[:, 1].copy(),
    }


def _read_bonds(force: mm.HarmonicBondForce) -> dict[str, Any]:
    return _bonds([force.getBondParameters(k) for k in range(force.getNumBonds())])


def _read_angles(force: mm.HarmonicAngleForce) -> dict[str, Any]:
    return _angles([force.getAngleParameters(k) for k in range(force.getNumAngles())])


def _read_torsions(force: mm.PeriodicTorsionForce) -> dict[str, Any]:
    return _torsions([force.getTorsionParameters(k) for k in range(force.getNumTorsions())])


def _no_pairs(n_atoms: int) -> dict[str, Any]:
    """The pair parameters of a System that has no NonbondedForce."""
    pairs = pair_indices(n_atoms)
    zeros = {name: np.zeros(len(pairs)) for name in ("pair_c12", "pair_c6", "pair_charge")}
    return {
        "charges": np.zeros(n_atoms),
        "pair_atoms": pairs,
        **zeros,
        "pair_is_exception": np.zeros(len(pairs), dtype=bool),
        "cutoff_nm": np.inf,
        "reaction_field_k": 0.0,
        "reaction_field_c": 0.0,
    }


def _read_nonbonded(force: mm.NonbondedForce) -> dict[str, Any]:
    """Lennard-Jones and Coulomb with Lorentz-Berthelot rules; reaction field of Tironi et al., JCP 1995, 102,
    5451.
    """
    method = force.getNonbondedMethod()
    refuse_if(method not in (force.NoCutoff, force.CutoffNonPeriodic), "periodic NonbondedForce")
    cut = method == force.CutoffNonPeriodic
    refuse_if(cut and force.getUseSwitchingFunction(), "NonbondedForce with a switching function")
    offsets = force.getNumParticleParameterOffsets() + force.getNumExceptionParameterOffsets()
    refuse_if(offsets > 0, "NonbondedForce with parameter offsets")
    n_atoms = force.getNumParticles()
    atoms = np.array([[v._value for v in force.getParticleParameters(k)] for k in range(n_atoms)])
    charge, sigma, epsilon = atoms.reshape(-1, 3).T
    pairs = pair_indices(n_atoms)
    i, j = pairs.T
    pair_charge = charge[i] * charge[j]
    pair_sigma = (sigma[i] + sigma[j]) / 2
    pair_epsilon = np.sqrt(epsilon[i] * epsilon[j])
    exception = np.zeros(len(pairs), dtype=bool)
    for k in range(force.getNumExceptions()):
        first, second, *values = force.getExceptionParameters(k)
        low, high = min(first, second), max(first, second)
        row = low * (2 * n_atoms - low - 1) // 2 + high - low - 1
        pair_charge[row], pair_sigma[row], pair_epsilon[row] = (v._value for v in values)
        exception[row] = True
    cutoff = force.getCutoffDistance()._value if cut else np.inf
    dielectric = force.getReactionFieldDielectric()
    sigma6 = pair_sigma**6
    return {
        "charges": charge.copy(),
        "pair_atoms": pairs,
        "pair_c12": 4 * pair_epsilon * sigma6**2,
        "pair_c6": 4 * pair_epsilon * sigma6,
        "pair_charge": COULOMB_KJ_MOL_NM * pair_charge,
        "pair_is_exception": exception,
        "cutoff_nm": cutoff,
        "reaction_field_k": cutoff**-3 * (dielectric - 1) / (2 * dielectric + 1),
        "reaction_field_c": cutoff**-1 * 3 * dielectric / (2 * dielectric + 1),
    }


READERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "HarmonicBondForce": _read_bonds,
    "HarmonicAngleForce": _read_angles,
    "PeriodicTorsionForce": _read_torsions,
    "NonbondedForce": _read_nonbonded,
    "CustomGBForce": read_gb,
}
