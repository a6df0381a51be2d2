"""All numbers of a System are read, and what cannot be read is refused by name."""

from collections.abc import Callable

import numpy as np
import openmm as mm
import pytest
from openmm import app

from prosebench.energy.parameters.terms import UnsupportedForce, pair_indices, read_parameters
from tests.prosebench.energy.frames import force_field, peptide

CUTOFF_NM = 2.0


def system(solvent: str = "obc1") -> mm.System:
    return peptide("AC").system(force_field(solvent))


def force_of(a_system: mm.System, kind: type) -> mm.Force:
    return next(force for force in a_system.getForces() if isinstance(force, kind))


def test_sizes_and_constants() -> None:
    parameters = read_parameters(system())
    n = parameters.n_atoms
    assert n == peptide("AC").n_atoms == len(parameters.masses_dalton)
    assert len(parameters.pair_atoms) == n * (n - 1) // 2
    assert len(parameters.bond_atoms) == n - 1
    assert parameters.cutoff_nm == CUTOFF_NM
    assert (parameters.reaction_field_k, parameters.reaction_field_c) == (0.0, 1 / CUTOFF_NM)
    assert parameters.charges.sum() == pytest.approx(0.0, abs=1e-6)


def test_solvent_constants() -> None:
    gb = read_parameters(system()).gb
    assert gb is not None
    assert set(gb.alpha) == {0.8}
    assert set(gb.beta) == {0.0}
    assert set(gb.gamma) == {2.909125}
    assert (gb.pair_shift, gb.cutoff_nm) == (1 / CUTOFF_NM, CUTOFF_NM)
    assert gb.neck is None
    assert gb.radius - gb.offset_radius == pytest.approx(0.009)
    strength = 138.935485 * (1 - 1 / 78.5)
    charges = read_parameters(system()).charges
    assert gb.self_coefficient == pytest.approx(-0.5 * strength * charges**2)
    assert gb.pair_coefficient[0] == pytest.approx(-strength * charges[0] * charges[1])
    assert gb.surface_coefficient == pytest.approx(28.3919551 * (gb.radius + 0.14) ** 2)


@pytest.mark.parametrize(("solvent", "has_neck"), [("obc2", False), ("gbn", True), ("gbn2", True)])
def test_other_solvents_are_recognised(solvent: str, has_neck: bool) -> None:
    gb = read_parameters(system(solvent)).gb
    assert gb is not None
    assert (gb.neck is not None) == has_neck


def test_pairs_are_listed_row_by_row() -> None:
    assert pair_indices(4).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]


def test_exceptions_replace_their_pairs() -> None:
    force = mm.NonbondedForce()
    for charge in (1.0, 2.0, 3.0):
        force.addParticle(charge, 0.3, 0.5)
    force.addException(2, 0, 0.25, 0.2, 0.4)
    force.addException(0, 1, 0.0, 1.0, 0.0)
    a_system = molecule(3)
    a_system.addForce(force)
    parameters = read_parameters(a_system)
    assert parameters.pair_is_exception.tolist() == [True, True, False]
    assert parameters.pair_c6 == pytest.approx([0.0, 4 * 0.4 * 0.2**6, 4 * 0.5 * 0.3**6])
    assert parameters.pair_c12[1] == pytest.approx(4 * 0.4 * 0.2**12)
    assert parameters.pair_charge / 138.93545764438198 == pytest.approx([0.0, 0.25, 6.0])
    assert parameters.cutoff_nm == np.inf
    assert parameters.reaction_field_c == 0.0


def test_torsions_on_the_same_atoms_are_merged() -> None:
    force = mm.PeriodicTorsionForce()
    force.addTorsion(0, 1, 2, 3, 1, 0.0, 2.0)
    force.addTorsion(3, 2, 1, 0, 3, 3.14159265359, 0.5)
    force.addTorsion(0, 1, 2, 3, 2, np.pi / 2, 0.25)
    a_system = molecule(4)
    a_system.addForce(force)
    parameters = read_parameters(a_system)
    assert parameters.torsion_atoms.tolist() == [[0, 1, 2, 3]]
    assert parameters.torsion_cos == pytest.approx(np.array([[2.75, 2.0, 0.0, -0.5, 0, 0, 0]]), abs=1e-12)
    assert parameters.torsion_sin.tolist() == [[0, 0, 0.25, 0, 0, 0, 0]]


def molecule(n_atoms: int) -> mm.System:
    a_system = mm.System()
    for _ in range(n_atoms):
        a_system.addParticle(12.0)
    return a_system


def with_constraint(a_system: mm.System) -> None:
    a_system.addConstraint(0, 1, 0.1)


def with_virtual_site(a_system: mm.System) -> None:
    a_system.setParticleMass(0, 0.0)
    a_system.setVirtualSite(0, mm.TwoParticleAverageSite(1, 2, 0.5, 0.5))


def with_barostat(a_system: mm.System) -> None:
    a_system.addForce(mm.MonteCarloBarostat(1.0, 300.0))


def with_restraint(a_system: mm.System) -> None:
    a_system.addForce(mm.CustomExternalForce("x^2"))


def with_second_bonds(a_system: mm.System) -> None:
    a_system.addForce(mm.HarmonicBondForce())


def with_obc_force(a_system: mm.System) -> None:
    a_system.addForce(mm.GBSAOBCForce())


def with_periodic_cutoff(a_system: mm.System) -> None:
    force_of(a_system, mm.NonbondedForce).setNonbondedMethod(mm.NonbondedForce.CutoffPeriodic)


def with_switch(a_system: mm.System) -> None:
    force_of(a_system, mm.NonbondedForce).setUseSwitchingFunction(True)


def with_high_periodicity(a_system: mm.System) -> None:
    force_of(a_system, mm.PeriodicTorsionForce).addTorsion(0, 1, 2, 3, 7, 0.0, 1.0)


def with_charge_offset(a_system: mm.System) -> None:
    force = force_of(a_system, mm.NonbondedForce)
    force.addGlobalParameter("lambda", 0.5)
    force.addParticleParameterOffset("lambda", 0, 1.0, 0.0, 0.0)


def with_third_term(a_system: mm.System) -> None:
    force_of(a_system, mm.CustomGBForce).addEnergyTerm("0.5*B", mm.CustomGBForce.SingleParticle)


def with_repeated_term(a_system: mm.System) -> None:
    force = force_of(a_system, mm.CustomGBForce)
    expression, kind = force.getEnergyTermParameters(0)
    force.addEnergyTerm(expression, kind)


def with_shadowed_name(a_system: mm.System) -> None:
    force = force_of(a_system, mm.CustomGBForce)
    expression, kind = force.getEnergyTermParameters(0)
    force.setEnergyTermParameters(0, f"{expression}; charge=1", kind)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (with_constraint, "1 constraints"),
        (with_virtual_site, "virtual sites"),
        (with_barostat, "MonteCarloBarostat"),
        (with_restraint, "CustomExternalForce"),
        (with_second_bonds, "a second HarmonicBondForce"),
        (with_obc_force, "GBSAOBCForce"),
        (with_periodic_cutoff, "NonbondedForce with periodic boundaries"),
        (with_switch, "switching function"),
        (with_high_periodicity, "periodicity 7"),
        (with_charge_offset, "parameter offsets"),
        (with_third_term, r"CustomGBForce with expression '0\.5\*B'"),
        (with_repeated_term, "repeated term"),
        (with_shadowed_name, "CustomGBForce with expression"),
    ],
)
def test_unsupported_is_refused_by_name(change: Callable[[mm.System], None], name: str) -> None:
    a_system = system()
    change(a_system)
    with pytest.raises(UnsupportedForce, match=name):
        read_parameters(a_system)


def test_hct_solvent_is_refused() -> None:
    with pytest.raises(UnsupportedForce, match=r"1/\(1/or-I\)"):
        read_parameters(system("hct"))


def test_salt_is_refused() -> None:
    topology = peptide("AC").openmm_topology
    files = app.ForceField("amber14-all.xml", "implicit/obc1.xml")
    with pytest.raises(UnsupportedForce, match="kappa"):
        read_parameters(files.createSystem(topology, implicitSolventKappa=1.0))


def test_motion_remover_is_ignored() -> None:
    a_system = system()
    a_system.addForce(mm.CMMotionRemover())
    assert read_parameters(a_system).n_atoms == a_system.getNumParticles()
