import openmm
import pytest
from openmm import unit
from pydantic import ValidationError

from prosebench.peptide import Peptide
from prosebench.peptide.force_field import ForceField, system_hash


@pytest.fixture(scope="module")
def peptide():
    return Peptide.from_sequence("AG")


def test_system_is_the_published_one(peptide):
    system = ForceField().create_system(peptide.openmm_topology)
    forces = {force.getName(): force for force in system.getForces()}
    assert "CMMotionRemover" not in forces
    assert system.getNumConstraints() == 0
    assert forces["CustomGBForce"].getCutoffDistance() == 2.0 * unit.nanometer
    assert forces["NonbondedForce"].getNonbondedMethod() == openmm.NonbondedForce.CutoffNonPeriodic
    assert forces["NonbondedForce"].getCutoffDistance() == 2.0 * unit.nanometer


def test_hash_tells_parameters_apart_and_not_versions(peptide):
    first, second = peptide.system(), peptide.system()
    assert system_hash(first) == system_hash(second)
    assert system_hash(first) != system_hash(peptide.system(ForceField(cutoff_nm=1.5)))
    assert system_hash(first) != system_hash(Peptide.from_sequence("GA").system())


def test_settings_are_checked():
    with pytest.raises(ValidationError):
        ForceField(cutoff_nm=0.0)
    with pytest.raises(ValidationError):
        ForceField(cut_off=1.0)


def test_unknown_file_is_named(peptide):
    with pytest.raises(ValueError, match=r"no-such\.xml"):
        ForceField(files=("no-such.xml",)).create_system(peptide.openmm_topology)
