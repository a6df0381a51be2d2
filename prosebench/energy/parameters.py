"""Every number of the energy, read out of an OpenMM ``System``.

Units are OpenMM's own: nm, kJ/mol, elementary charges, daltons, radians. What cannot be represented exactly is
refused with `UnsupportedForce`, which names the force; nothing is approximated and nothing is left out.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import openmm as mm
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

COULOMB_KJ_MOL_NM = 138.93545764438198
"""1/(4 pi eps0) in kJ/mol nm/e^2 from CODATA 2018, the value in OpenMM's NonbondedForce."""

MAX_PERIODICITY = 6
SINE_NOISE = 1e-9
"""Tables write pi with 12 digits; a sine below this is that rounding and is taken as 0 (1e-9 of one torsion)."""


class UnsupportedForce(ValueError):
    """The System holds something that the batched energy does not compute; the message names it."""


@dataclass(frozen=True)
class NeckParameters:
    """Neck correction of the Born integral (GBn, GBn2; Mongan et al., JCTC 2007, 3, 156), one row per pair.

    For r < reach: I_i += height[0] / (1 + 100 x^2 + 3e5 x^6), x = r - distance[0] in nm; I_j the same with column 1.
    height (p, 2) in 1/nm includes the scale of the model; distance (p, 2) and reach (p,) are in nm.
    """

    height: Floats
    distance: Floats
    reach: Floats


@dataclass(frozen=True)
class GBParameters:
    """Generalised Born solvent (OBC family, Onufriev, Bashford and Case, Proteins 2004, 55, 383), surface term included.

    Born radius: 1/B_i = 1/o_i - tanh(alpha psi - beta psi^2 + gamma psi^3) / radius_i with psi = I_i o_i, where o_i is
    offset_radius and I_i sums over all atoms j within cutoff_nm the integral with j's scaled_radius, exclusions included.
    Energy: sum_i self_coefficient_i / B_i + surface_coefficient_i (radius_i / B_i)^6
    + sum_pairs pair_coefficient (1/f - pair_shift) within cutoff_nm, f^2 = r^2 + B_i B_j exp(-r^2 / (4 B_i B_j)).
    Per atom (n,); pair_coefficient (p,) in the order of pair_atoms; pair_shift in 1/nm is 0 without a cutoff.
    """

    radius: Floats
    offset_radius: Floats
    scaled_radius: Floats
    alpha: Floats
    beta: Floats
    gamma: Floats
    self_coefficient: Floats
    surface_coefficient: Floats
    pair_coefficient: Floats
    pair_shift: float
    cutoff_nm: float
    neck: NeckParameters | None = None


@dataclass(frozen=True)
class EnergyParameters:
    """The energy of one molecule in vacuum or implicit solvent.

    Bonds and angles: k/2 (x - x0)^2. Torsions, merged when on the same four atoms: sum_m cos[m] cos(m phi) + sin[m] sin(m phi)
    for m = 0..6. Pairs are all i < j, i slowest: c12/r^12 - c6/r^6 + charge (1/r + krf r^2 - crf) for r < cutoff_nm;
    exceptions (1-4 pairs, excluded pairs with zeros) have no cutoff and no reaction field: c12/r^12 - c6/r^6 + charge/r.
    pair_charge is q_i q_j / (4 pi eps0) in kJ/mol nm. cutoff_nm is inf without a cutoff.
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
    """Read all parameters of a System with bonds, angles, torsions, NonbondedForce and an OBC or GBn CustomGBForce.

    Raises UnsupportedForce for any other force, for constraints, virtual sites, periodic or switched interactions.
    """
    n_atoms = system.getNumParticles()
    _refuse_if(system.getNumConstraints() > 0, f"{system.getNumConstraints()} constraints")
    _refuse_if(any(system.isVirtualSite(i) for i in range(n_atoms)), "virtual sites")
    values: dict[str, Any] = _bonds([]) | _angles([]) | _torsions([]) | _no_pairs(n_atoms)
    seen: set[str] = set()
    for force in system.getForces():
        kind = type(force).__name__
        if kind == "CMMotionRemover":
            continue
        _refuse_if(kind not in READERS, kind)
        _refuse_if(kind in seen, f"a second {kind}")
        _refuse_if(force.usesPeriodicBoundaryConditions(), f"{kind} with periodic boundaries")
        seen.add(kind)
        values |= READERS[kind](force)
    masses = np.array([system.getParticleMass(i)._value for i in range(n_atoms)])
    return EnergyParameters(n_atoms=n_atoms, masses_dalton=masses, **values)


def pair_indices(n_atoms: int) -> Ints:
    """All pairs i < j, (n (n - 1) / 2, 2), i slowest."""
    return np.stack(np.triu_indices(n_atoms, 1), axis=1).astype(np.int32)


def _refuse_if(condition: bool, what: str) -> None:
    if condition:
        raise UnsupportedForce(f"the batched energy does not support {what}; use OpenMMEnergy")


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
        _refuse_if(periodicity > MAX_PERIODICITY, f"PeriodicTorsionForce with periodicity {periodicity}")
        key = tuple(atoms) if atoms[1] < atoms[2] else tuple(reversed(atoms))
        table = series.setdefault(key, np.zeros((2, MAX_PERIODICITY + 1)))
        sine = np.sin(phase._value)
        table[0, 0] += constant._value
        table[0, periodicity] += constant._value * np.cos(phase._value)
        table[1, periodicity] += constant._value * (0.0 if abs(sine) < SINE_NOISE else sine)
    atoms_array = np.array(list(series), dtype=np.int32).reshape(-1, 4)
    tables = np.array(list(series.values())).reshape(-1, 2, MAX_PERIODICITY + 1)
    return {"torsion_atoms": atoms_array, "torsion_cos": tables[:, 0].copy(), "torsion_sin": tables[:, 1].copy()}


def _read_bonds(force: mm.HarmonicBondForce) -> dict[str, Any]:
    return _bonds([force.getBondParameters(k) for k in range(force.getNumBonds())])


def _read_angles(force: mm.HarmonicAngleForce) -> dict[str, Any]:
    return _angles([force.getAngleParameters(k) for k in range(force.getNumAngles())])


def _read_torsions(force: mm.PeriodicTorsionForce) -> dict[str, Any]:
    return _torsions([force.getTorsionParameters(k) for k in range(force.getNumTorsions())])


def _no_pairs(n_atoms: int) -> dict[str, Any]:
    """Pair values of a System without a NonbondedForce."""
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
    """Lennard-Jones and Coulomb with Lorentz-Berthelot rules; reaction field of Tironi et al., JCP 1995, 102, 5451."""
    method = force.getNonbondedMethod()
    _refuse_if(method not in (force.NoCutoff, force.CutoffNonPeriodic), "periodic NonbondedForce")
    cut = method == force.CutoffNonPeriodic
    _refuse_if(cut and force.getUseSwitchingFunction(), "NonbondedForce with a switching function")
    offsets = force.getNumParticleParameterOffsets() + force.getNumExceptionParameterOffsets()
    _refuse_if(offsets > 0, "NonbondedForce with parameter offsets")
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


# The expressions of openmm.app's implicit/obc1.xml, obc2.xml, gbn.xml and gbn2.xml. {name} stands for a number.
DESCREENING = "select(step(r+sr2-or1),0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/(U^2)-1/(L^2))+0.5*log(L/U)/r),0)"
PLAIN_INTEGRAL = f"{DESCREENING};D=abs(r-sr2);L=max(or1,D);U=r+sr2"
NECK_INTEGRAL = (
    "Ivdw+neckScale*Ineck;D=abs(r-sr2);Ineck=step(radius1+radius2+neckCut-r)*getm0(radindex1,radindex2)"
    "/(1+100*(r-getd0(radindex1,radindex2))^2+0.3*1000000*(r-getd0(radindex1,radindex2))^6);"
    f"Ivdw={DESCREENING};L=max(or1,D);U=r+sr2;radius1=or1+offset;radius2=or2+offset"
)
BORN_RADII = tuple(
    f"1/(1/or-tanh({polynomial})/radius);psi=I*or;radius=or+offset"
    for polynomial in (
        "{alpha}*psi+{gamma}*psi^3",
        "psi-{beta}*psi^2+{gamma}*psi^3",
        "{alpha}*psi-{beta}*psi^2+{gamma}*psi^3",
        "alpha*psi-beta*psi^2+gamma*psi^3",
    )
)
SELF_TERM = "-0.5*{coulomb}*(1/soluteDielectric-1/solventDielectric)*charge^2/B"
SURFACE_TERM = "{tension}*(radius+{probe})^2*(radius/B)^6;radius=or+offset"
PAIR_TERMS = tuple(
    f"-{{coulomb}}*(1/soluteDielectric-1/solventDielectric)*charge1*charge2{inverse};f=sqrt(r^2+B1*B2*exp(-r^2/(4*B1*B2)))"
    for inverse in ("*(1/f-{shift})", "/f")
)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    number = r"(?P<{}>\d+\.?\d*(?:e[+-]?\d+)?)"
    return re.compile("".join(number.format(p) if k % 2 else re.escape(p) for k, p in enumerate(parts)))


def _canonical(expression: str) -> tuple[str, dict[str, float]]:
    """Strip spaces, take numeric definitions out as constants, sort the other definitions."""
    main, *definitions = re.sub(r"\s", "", expression).strip(";").split(";")
    constants: dict[str, float] = {}
    symbolic = []
    for definition in definitions:
        name, _, value = definition.partition("=")
        try:
            constants[name] = float(value)
        except ValueError:
            symbolic.append(definition)
    return ";".join([main, *sorted(symbolic)]), constants


def _match(expression: str, *templates: str) -> dict[str, float] | None:
    """Numbers of the first template that the expression fits, or None."""
    text, constants = _canonical(expression)
    for template in templates:
        found = _pattern(template).fullmatch(text)
        if found:
            return constants | {name: float(number) for name, number in found.groupdict().items()}
    return None


def _require(expression: str, *templates: str) -> dict[str, float]:
    numbers = _match(expression, *templates)
    if numbers is None:
        raise UnsupportedForce(f"the batched energy does not support CustomGBForce with expression {expression!r}")
    return numbers


def _gb_columns(force: mm.CustomGBForce) -> dict[str, Floats]:
    """Per-particle parameters (n,) by name, and global parameters broadcast to the same shape."""
    n_atoms = force.getNumParticles()
    table = np.array([force.getParticleParameters(k) for k in range(n_atoms)]).reshape(n_atoms, -1)
    names = [force.getPerParticleParameterName(k) for k in range(force.getNumPerParticleParameters())]
    columns = {name: table[:, k].copy() for k, name in enumerate(names)}
    for k in range(force.getNumGlobalParameters()):
        value = force.getGlobalParameterDefaultValue(k)
        columns[force.getGlobalParameterName(k)] = np.full(n_atoms, value)
    return columns


def _read_gb(force: mm.CustomGBForce) -> dict[str, Any]:
    method = force.getNonbondedMethod()
    _refuse_if(method not in (force.NoCutoff, force.CutoffNonPeriodic), "periodic CustomGBForce")
    _refuse_if(force.getNumComputedValues() != 2, "CustomGBForce with other values than I and B")
    (_, integral, integral_type), (_, born, born_type) = (force.getComputedValueParameters(k) for k in range(2))
    pair_type, single_type = force.ParticlePairNoExclusions, force.SingleParticle
    _refuse_if((integral_type, born_type) != (pair_type, single_type), "CustomGBForce with computed values on exclusions")
    columns = _gb_columns(force)
    n_atoms = force.getNumParticles()
    integral_numbers = _require(integral, PLAIN_INTEGRAL, NECK_INTEGRAL)
    born_columns = columns | _broadcast(_require(born, *BORN_RADII), n_atoms)
    radius = columns["or"] + born_columns["offset"]
    values: dict[str, Any] = {
        "radius": radius,
        "offset_radius": columns["or"],
        "scaled_radius": columns["sr"],
        "alpha": born_columns.get("alpha", np.ones(n_atoms)),
        "beta": born_columns.get("beta", np.zeros(n_atoms)),
        "gamma": born_columns["gamma"],
        "surface_coefficient": np.zeros(n_atoms),
        "cutoff_nm": np.inf if method == force.NoCutoff else force.getCutoffDistance()._value,
    }
    if "neckScale" in integral_numbers:
        values["neck"] = _read_neck(force, integral_numbers, columns)
    for k in range(force.getNumEnergyTerms()):
        term = _energy_term(*force.getEnergyTermParameters(k), columns, pair_type, single_type)
        _refuse_if(bool(term.keys() & (values.keys() - {"surface_coefficient"})), "CustomGBForce with a repeated term")
        values |= term
    _refuse_if(not {"self_coefficient", "pair_coefficient"} <= values.keys(), "CustomGBForce without its solvation terms")
    return {"gb": GBParameters(**values)}


def _broadcast(numbers: dict[str, float], n_atoms: int) -> dict[str, Floats]:
    return {name: np.full(n_atoms, value) for name, value in numbers.items()}


def _energy_term(
    expression: str, kind: int, columns: dict[str, Floats], pair_type: int, single_type: int
) -> dict[str, Any]:
    """Coefficients of one energy term, from its expression and the per-particle parameters."""
    numbers = _require(expression, SELF_TERM, SURFACE_TERM, *PAIR_TERMS)
    expected = pair_type if "charge1" in expression else single_type
    _refuse_if(kind != expected, f"CustomGBForce with expression {expression!r} of type {kind}")
    charge = columns["charge"]
    named = columns | _broadcast(numbers, len(charge))
    if "tension" in numbers:
        radius = named["or"] + named["offset"]
        return {"surface_coefficient": named["tension"] * (radius + named["probe"]) ** 2}
    strength = named["coulomb"] * (1 / named["soluteDielectric"] - 1 / named["solventDielectric"])
    if kind == single_type:
        return {"self_coefficient": -0.5 * strength * charge**2}
    i, j = pair_indices(len(charge)).T
    return {"pair_coefficient": -strength[i] * charge[i] * charge[j], "pair_shift": numbers.get("shift", 0.0)}


def _read_neck(
    force: mm.CustomGBForce, numbers: dict[str, float], columns: dict[str, Floats]
) -> NeckParameters:
    """Neck height and position by pair, from the tables getm0 and getd0 (x fastest, not symmetric)."""
    tables = {}
    for k in range(force.getNumTabulatedFunctions()):
        size, _, values = force.getTabulatedFunction(k).getFunctionParameters()
        tables[force.getTabulatedFunctionName(k)] = np.array(values).reshape(-1, size)
    pairs = pair_indices(len(columns["or"]))
    index = np.round(columns["radindex"]).astype(int)[pairs]
    forth_and_back = np.stack([index, index[:, ::-1]], axis=2)
    table_rows, table_columns = forth_and_back[:, 1], forth_and_back[:, 0]
    radius = columns["or"] + numbers["offset"]
    return NeckParameters(
        height=numbers["neckScale"] * tables["getm0"][table_rows, table_columns],
        distance=tables["getd0"][table_rows, table_columns],
        reach=radius[pairs].sum(axis=1) + numbers["neckCut"],
    )


READERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "HarmonicBondForce": _read_bonds,
    "HarmonicAngleForce": _read_angles,
    "PeriodicTorsionForce": _read_torsions,
    "NonbondedForce": _read_nonbonded,
    "CustomGBForce": _read_gb,
}
