"""The gate lets the right physics through and no other."""

import numpy as np
import pytest
from pydantic import ValidationError

from prosebench.energy import OpenMMEnergy
from prosebench.energy.gate import Gate, GateClosed, make_gate, pass_gate
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import ForceField

PEPTIDE = Peptide.from_sequence("SS")


@pytest.fixture(scope="module")
def gate() -> Gate:
    return make_gate(PEPTIDE, ForceField())


@pytest.mark.parametrize("engine", ["batched", "openmm"])
def test_both_engines_pass(engine: str, gate: Gate) -> None:
    assert pass_gate(gate, make_target(PEPTIDE, TargetSettings(engine=engine))) < 5e-3


@pytest.mark.parametrize(
    "other",
    [
        ForceField(files=("amber14-all.xml", "implicit/obc2.xml")),
        ForceField(cutoff_nm=0.9),
        ForceField(files=("amber14-all.xml",)),
    ],
)
def test_other_physics_is_stopped(other: ForceField, gate: Gate) -> None:
    with pytest.raises(GateClosed, match="Reference platform"):
        pass_gate(gate, OpenMMEnergy(PEPTIDE, force_field=other))


def test_a_machine_that_computes_nothing_finite_is_stopped(gate: Gate) -> None:
    broken = Gate(gate.frames_nm * np.nan, gate.energies_kj_mol)
    with pytest.raises(GateClosed, match="inf kJ/mol"):
        pass_gate(broken, OpenMMEnergy(PEPTIDE))


def test_an_unknown_force_falls_back_to_openmm_and_says_so() -> None:
    settings = TargetSettings(force_field=ForceField(files=("amber14-all.xml", "implicit/hct.xml")))
    assert make_target(PEPTIDE, settings).describe()["engine"] == "openmm"
    assert make_target(PEPTIDE, TargetSettings()).describe()["engine"] == "batched"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"platform": "CUDA"}, 'it goes with engine = "openmm"'),
        ({"precision": "mixed"}, 'has precision "single" or "double"'),
        ({"engine": "torch"}, "batched' or 'openmm'"),
    ],
    ids=str,
)
def test_what_an_engine_would_not_heed_is_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TargetSettings.model_validate(settings)
    assert TargetSettings(engine="openmm", platform="CUDA", precision="mixed").platform == "CUDA"
