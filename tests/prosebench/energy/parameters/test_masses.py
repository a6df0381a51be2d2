import numpy as np
import pytest

from prosebench.energy import warp
from prosebench.energy.batched import BatchedEnergy
from prosebench.energy.dynamics import maxwell_velocities
from prosebench.energy.openmm import OpenMMEnergy
from prosebench.energy.parameters.masses import masses_dalton, repartitioned
from prosebench.energy.target import LangevinSettings, PhaseState, Stretch
from prosebench.peptide import Peptide

PEPTIDE = Peptide.from_sequence("AA")


def test_mass_moves_along_bonds_and_none_is_lost() -> None:
    light, heavy = masses_dalton(PEPTIDE), masses_dalton(PEPTIDE, 3.0)
    is_hydrogen = np.array([atom.element.symbol == "H" for atom in PEPTIDE.topology.atoms])
    assert heavy.sum() == pytest.approx(light.sum())
    assert (heavy[is_hydrogen] == 3.0).all()
    methyl = next(atom.index for atom in PEPTIDE.topology.atoms if atom.name == "CB")
    assert heavy[methyl] == pytest.approx(12.011 - 3 * (3.0 - 1.008), abs=1e-2)


def test_a_heavy_atom_keeps_more_than_its_hydrogens() -> None:
    with pytest.raises(ValueError, match="give 3 or less"):
        repartitioned(np.array([12.0, 1.0, 1.0, 1.0]), np.array([[0, 1], [2, 0], [0, 3]]), 4.0)


needs_warp = pytest.mark.skipif(
    warp.why_unavailable("cpu") is not None, reason=str(warp.why_unavailable("cpu"))
)


@pytest.mark.parametrize("engine", ["native", pytest.param("warp", marks=needs_warp), "openmm"])
def test_every_engine_moves_atoms_by_the_masses_asked_for(engine: str) -> None:
    """One step without friction from rest moves each atom by dt^2 F / m."""
    target = (
        OpenMMEnergy(PEPTIDE, platform="Reference")
        if engine == "openmm"
        else BatchedEnergy(PEPTIDE, path=engine, precision="single" if engine == "warp" else "double")
    )
    start = PhaseState(PEPTIDE.start_nm[None], np.zeros((1, PEPTIDE.n_atoms, 3)))
    moved = {}
    for mass in (None, 3.0):
        settings = LangevinSettings(friction_per_ps=0.0, time_step_fs=0.1, hydrogen_mass_dalton=mass)
        end = target.langevin(start, Stretch(1, settings, 1)).state
        moved[mass] = end.velocities_nm_ps[0] * masses_dalton(PEPTIDE, mass)[:, None]
    # Masses of the force field differ from those of the elements in the fourth digit.
    np.testing.assert_allclose(moved[None], moved[3.0], rtol=1e-3, atol=1e-6)


def test_velocities_have_the_temperature_with_any_masses() -> None:
    rng = np.random.default_rng(0)
    velocities = maxwell_velocities(PEPTIDE, np.full(4000, 310.0), rng, 3.0)
    kinetic = 0.5 * (masses_dalton(PEPTIDE, 3.0)[:, None] * velocities**2).mean(axis=(0, 2))
    np.testing.assert_allclose(kinetic, 0.5 * 0.0083144626 * 310.0, rtol=0.05)
