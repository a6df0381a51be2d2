"""Generalised Born parameters: the energy that their formula gives by hand is OpenMM's; odd expressions are none."""

import numpy as np
import openmm as mm
import pytest
from openmm import unit

from prosebench.energy.parameters.born import (
    BORN_RADII,
    PAIR_TERMS,
    PLAIN_INTEGRAL,
    GBParameters,
    UnsupportedForce,
    _canonical,
    _match,
    pair_indices,
)
from prosebench.energy.parameters.terms import read_parameters
from tests.prosebench.energy.frames import force_field, md_frames, peptide


def integrals(gb: GBParameters, distances: np.ndarray) -> np.ndarray:
    """I_i (atoms,) of Hawkins, Cramer and Truhlar, with the neck where there is one; distances (atoms, atoms) in nm."""
    n = len(gb.radius)
    total = np.zeros(n)
    for i in range(n):
        for j in range(n):
            r, s, o = distances[i, j], gb.scaled_radius[j], gb.offset_radius[i]
            if i == j or r > gb.cutoff_nm or r + s <= o:
                continue
            low, high = max(o, abs(r - s)), r + s
            total[i] += 0.5 * (
                1 / low
                - 1 / high
                + 0.25 * (r - s**2 / r) * (1 / high**2 - 1 / low**2)
                + 0.5 * np.log(low / high) / r
            )
    if gb.neck is not None:
        for pair, (i, j) in enumerate(pair_indices(n)):
            r = distances[i, j]
            if r < gb.neck.reach[pair] and r <= gb.cutoff_nm:
                for atom, column in ((i, 0), (j, 1)):
                    x = r - gb.neck.distance[pair, column]
                    total[atom] += gb.neck.height[pair, column] / (1 + 100 * x**2 + 3e5 * x**6)
    return total


def energy(gb: GBParameters, frame_nm: np.ndarray) -> float:
    distances = np.linalg.norm(frame_nm[:, None] - frame_nm[None], axis=2)
    psi = integrals(gb, distances) * gb.offset_radius
    born = 1 / (
        1 / gb.offset_radius - np.tanh(gb.alpha * psi - gb.beta * psi**2 + gb.gamma * psi**3) / gb.radius
    )
    single = gb.self_coefficient / born + gb.surface_coefficient * (gb.radius / born) ** 6
    i, j = pair_indices(len(born)).T
    r, product = distances[i, j], born[i] * born[j]
    f = np.sqrt(r**2 + product * np.exp(-(r**2) / (4 * product)))
    pairs = np.where(r <= gb.cutoff_nm, gb.pair_coefficient * (1 / f - gb.pair_shift), 0.0)
    return float(single.sum() + pairs.sum())


@pytest.mark.parametrize("solvent", ["obc1", "obc2", "gbn", "gbn2"])
def test_the_formula_with_these_numbers_is_the_energy_of_openmm(solvent: str) -> None:
    system = peptide("AC").system(force_field(solvent))
    gb = read_parameters(system).gb
    assert gb is not None
    for force in system.getForces():
        force.setForceGroup(int(isinstance(force, mm.CustomGBForce)))
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    for frame in md_frames("AC")[:2]:
        context.setPositions(frame)
        found = context.getState(energy=True, groups={1}).getPotentialEnergy()
        expected = found.value_in_unit(unit.kilojoule_per_mole)
        assert energy(gb, frame) == pytest.approx(expected, rel=1e-6, abs=1e-4)


def test_spaces_order_and_constants_of_an_expression_do_not_matter() -> None:
    text, constants = _canonical(" a*b + c ; c = 1.5; b=d*2 ;a = e; ")
    assert text == "a*b+c;a=e;b=d*2"
    assert constants == {"c": 1.5}
    turned = PLAIN_INTEGRAL.replace(
        ";D=abs(r-sr2);L=max(or1,D);U=r+sr2", "; U = r+sr2; L=max(or1, D);D=abs(r-sr2)"
    )
    assert _match(turned, PLAIN_INTEGRAL) == {}


def test_numbers_are_read_out_of_their_places() -> None:
    written = BORN_RADII[2].replace("{alpha}", "0.8").replace("{beta}", "1e-2").replace("{gamma}", "2.909125")
    assert _match(written + ";offset=0.009", *BORN_RADII) == {
        "alpha": 0.8,
        "beta": 0.01,
        "gamma": 2.909125,
        "offset": 0.009,
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("0.25", "0.26"),
        lambda text: text + ";surprise=3",
        lambda text: text.replace("log(L/U)", "log(U/L)"),
        lambda text: text.replace(";U=r+sr2", ""),
        lambda text: "1+" + text,
    ],
)
def test_an_expression_that_is_only_alike_is_not_taken_for_it(change: "object") -> None:
    assert callable(change)
    assert _match(change(PLAIN_INTEGRAL), PLAIN_INTEGRAL) is None
    assert _match(PAIR_TERMS[1].replace("{coulomb}", "x"), *PAIR_TERMS) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cutoff_nm": 1.0}, "different cutoffs of the non-bonded and the solvent terms"),
        ({"scaled_radius": np.array([0.1, 0.3])}, "offset radii below 0.6 of a scaled radius"),
        ({"offset_radius": np.array([0.1, 0.0])}, "offset radii below 0.6"),
    ],
)
def test_where_the_series_of_the_kernels_does_not_hold_they_are_not_used(
    changes: dict[str, object], said: str
) -> None:
    two = np.full(2, 0.1)
    fine = {
        "radius": two, "offset_radius": two, "scaled_radius": two, "alpha": two, "beta": two, "gamma": two,
        "self_coefficient": two, "surface_coefficient": two, "pair_coefficient": two[:1], "pair_shift": 0.5,
        "cutoff_nm": 2.0,
    }  # fmt: skip
    GBParameters(**fine).check_series(2.0)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedForce, match=said):
        GBParameters(**(fine | changes)).check_series(2.0)  # type: ignore[arg-type]
