"""The gate lets the right physics through and no other."""

import numpy as np
import pytest
from pydantic import ValidationError

from prosebench.energy import OpenMMEnergy, warp
from prosebench.energy import compiled as library
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


def test_without_a_compiler_openmm_computes_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "library_path", lambda: None)
    library.load_library.cache_clear()
    try:
        for precision, platform in ((None, "CPU"), ("single", "CPU"), ("double", "Reference")):
            described = make_target(PEPTIDE, TargetSettings(precision=precision)).describe()
            assert (described["engine"], described["platform"]) == ("openmm", platform)
    finally:
        monkeypatch.undo()
        library.load_library.cache_clear()


@pytest.mark.skipif(warp.why_unavailable() is None, reason="there is a GPU here")
def test_who_asks_for_a_gpu_gets_no_cpu() -> None:
    with pytest.raises(warp.WarpUnavailable, match=r"prosebench\[gpu\]|target.device=cpu"):
        make_target(PEPTIDE, TargetSettings(device="cuda"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"platform": "CUDA"}, 'it goes with engine = "openmm"'),
        ({"precision": "mixed"}, 'has precision "single" or "double"'),
        ({"engine": "jax"}, "batched' or 'openmm'"),
        ({"device": "cuda", "engine": "openmm"}, 'give platform = "CUDA"'),
        ({"device": "cuda", "precision": "double"}, 'has precision "single"'),
        ({"device": "gpu"}, "'cpu' or 'cuda'"),
    ],
    ids=str,
)
def test_what_an_engine_would_not_heed_is_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TargetSettings.model_validate(settings)
    assert TargetSettings(engine="openmm", platform="CUDA", precision="mixed").platform == "CUDA"
