"""Generalised Born parameters out of an OpenMM ``CustomGBForce``, recognised by its expressions."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import openmm as mm
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

SMALLEST_RADIUS_RATIO = 0.6
"""The smallest allowed ratio of any offset radius to any scaled radius. The kernels' series of the Born
integral need it; Amber's radii have 0.67."""


class UnsupportedForce(ValueError):
    """The System holds something that the batched energy does not compute; the message names it."""


@dataclass(frozen=True)
class NeckParameters:
    """Neck correction of the Born integral (GBn, GBn2; Mongan et al., JCTC 2007, 3, 156), one row per pair.

    For r < reach: I_i += height[0] / (1 + 100 x^2 + 3e5 x^6), x = r - distance[0] in nm; I_j the same with
    column 1. height (p, 2) in 1/nm includes the scale of the model; distance (p, 2) and reach (p,) are in nm.
    """

    height: Floats
    distance: Floats
    reach: Floats


@dataclass(frozen=True)
class GBParameters:
    """Generalised Born solvent (OBC family, Onufriev, Bashford and Case, Proteins 2004, 55, 383), surface
    term included.

    Born radius: 1/B_i = 1/o_i - tanh(alpha psi - beta psi^2 + gamma psi^3) / radius_i with psi = I_i o_i,
    where o_i is offset_radius and I_i sums over all atoms j within cutoff_nm the integral with j's
    scaled_radius, exclusions included. Energy: sum_i self_coefficient_i / B_i + surface_coefficient_i
    (radius_i / B_i)^6 + sum_pairs pair_coefficient (1/f - pair_shift) within cutoff_nm, f^2 = r^2 + B_i B_j
    exp(-r^2 / (4 B_i B_j)). Per atom (n,); pair_coefficient (p,) in the order of pair_atoms; pair_shift in
    1/nm is 0 without a cutoff.
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

    def check_series(self, cutoff_nm: float) -> None:
        """Raise UnsupportedForce where the kernels' series of the Born integral, or their one cutoff, do not hold.

        cutoff_nm is that of the non-bonded terms.
        """
        refuse_if(self.cutoff_nm != cutoff_nm, "different cutoffs of the non-bonded and the solvent terms")
        allowed = 0 < self.offset_radius.min() >= SMALLEST_RADIUS_RATIO * np.abs(self.scaled_radius).max()
        refuse_if(not allowed, f"offset radii below {SMALLEST_RADIUS_RATIO} of a scaled radius")


def pair_indices(n_atoms: int) -> Ints:
    """All pairs i < j, (n (n - 1) / 2, 2), i slowest."""
    return np.stack(np.triu_indices(n_atoms, 1), axis=1).astype(np.int32)


def refuse_if(condition: bool, what: str) -> None:
    """Raise UnsupportedForce naming what, if condition."""
    if condition:
        raise UnsupportedForce(f"the batched energy does not support {what}; use OpenMMEnergy")


# The expressions of OpenMM's implicit/obc1.xml, obc2.xml, gbn.xml and gbn2.xml; {name} stands for a number.
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
CONSTANTS = {"solventDielectric", "soluteDielectric", "kappa", "offset", "cutoff", "neckScale", "neckCut"}
"""Names that may be set to a number within an expression."""


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
    if not constants.keys() <= CONSTANTS:
        return None
    for template in templates:
        found = _pattern(template).fullmatch(text)
        if found:
            return constants | {name: float(number) for name, number in found.groupdict().items()}
    return None


def _require(expression: str, *templates: str) -> dict[str, float]:
    numbers = _match(expression, *templates)
    if numbers is None:
        raise UnsupportedForce(
            f"the batched energy does not support CustomGBForce with expression {expression!r}"
        )
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


def read_gb(force: mm.CustomGBForce) -> dict[str, Any]:
    """{"gb": GBParameters} of a force made by implicit/obc1.xml, obc2.xml, gbn.xml or gbn2.xml, recognised by
    its expressions. Raises UnsupportedForce with the expression for any other.
    """
    method = force.getNonbondedMethod()
    refuse_if(method not in (force.NoCutoff, force.CutoffNonPeriodic), "periodic CustomGBForce")
    refuse_if(force.getNumComputedValues() != 2, "CustomGBForce with other values than I and B")
    (_, integral, integral_type), (_, born, born_type) = (
        force.getComputedValueParameters(k) for k in range(2)
    )
    pair_type, single_type = force.ParticlePairNoExclusions, force.SingleParticle
    refuse_if(
        (integral_type, born_type) != (pair_type, single_type),
        "CustomGBForce with computed values on exclusions",
    )
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
    types = {"pair": pair_type, "single": single_type}
    for k in range(force.getNumEnergyTerms()):
        expression, kind = force.getEnergyTermParameters(k)
        term = _energy_term(expression, kind, columns, types)
        refuse_if(
            bool(term.keys() & (values.keys() - {"surface_coefficient"})),
            "CustomGBForce with a repeated term",
        )
        values |= term
    refuse_if(
        not {"self_coefficient", "pair_coefficient"} <= values.keys(),
        "CustomGBForce without its solvation terms",
    )
    return {"gb": GBParameters(**values)}


def _broadcast(numbers: dict[str, float], n_atoms: int) -> dict[str, Floats]:
    return {name: np.full(n_atoms, value) for name, value in numbers.items()}


def _energy_term(
    expression: str, kind: int, columns: dict[str, Floats], types: dict[str, int]
) -> dict[str, Any]:
    """Coefficients of one energy term, from its expression and the per-particle parameters."""
    numbers = _require(expression, SELF_TERM, SURFACE_TERM, *PAIR_TERMS)
    expected = types["pair" if "charge1" in expression else "single"]
    refuse_if(kind != expected, f"CustomGBForce with expression {expression!r} of type {kind}")
    charge = columns["charge"]
    named = columns | _broadcast(numbers, len(charge))
    if "tension" in numbers:
        radius = named["or"] + named["offset"]
        return {"surface_coefficient": named["tension"] * (radius + named["probe"]) ** 2}
    strength = named["coulomb"] * (1 / named["soluteDielectric"] - 1 / named["solventDielectric"])
    if kind == types["single"]:
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
