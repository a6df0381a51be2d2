"""OpenMM's OpenCL platform, for GPUs of any maker: the gate, gradients, and a cell from plan to record.

`make test-opencl` installs PoCL, an OpenCL driver for CPUs, and asks for these tests; then they do not pass unless the
platform is there. Otherwise they run where it is.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.worker import Desk, run_cell
from prosebench.energy import OpenMMEnergy
from prosebench.energy.gate import ABSOLUTE_TOLERANCE_KJ_MOL, GateClosed, make_gate, pass_gate
from prosebench.energy.openmm import platforms
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.energy.target import kt_kj_mol
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import ForceField
from prosebench.record import read_provenance, read_record
from prosebench.store.storage import read_json
from prosebench.suite import load_suite

ASKED = "PROSEBENCH_TEST_OPENCL"
pytestmark = pytest.mark.skipif(
    ASKED not in os.environ and "OpenCL" not in platforms(),
    reason="OpenMM finds no OpenCL driver here; `make test-opencl` installs one",
)
PEPTIDE = Peptide.from_sequence("AC")
SUITE = """
name = "opencl"
peptides = ["AC"]
budgets = [600]
frames = 20
[target]
engine = "openmm"
platform = "OpenCL"
precision = "{precision}"
[methods.md]
warm_up_ps = 0.2
minimise_steps = 5
chunk_steps = 200
"""


@pytest.mark.parametrize("precision", ["single", "mixed", "double"])
def test_the_gate_is_passed(precision: str) -> None:
    settings = TargetSettings.model_validate(
        {"engine": "openmm", "platform": "OpenCL", "precision": precision}
    )
    target = make_target(PEPTIDE, settings)
    found = target.describe()
    assert (found["platform"], found["precision"]) == ("OpenCL", precision)
    deviation = pass_gate(make_gate(PEPTIDE, ForceField()), target)
    print(f"{found['device']}, {precision}: {deviation:.1e} kJ/mol from Reference")
    # Measured: a tenth of what the gate allows in single precision, a fiftieth otherwise.
    assert deviation < ABSOLUTE_TOLERANCE_KJ_MOL / 5


def test_other_physics_is_stopped() -> None:
    other = OpenMMEnergy(PEPTIDE, force_field=ForceField(cutoff_nm=0.9), platform="OpenCL")
    with pytest.raises(GateClosed, match="Reference platform"):
        pass_gate(make_gate(PEPTIDE, ForceField()), other)


def test_gradients_are_those_of_reference() -> None:
    shake = np.random.default_rng(0).normal(scale=0.005, size=(3, PEPTIDE.n_atoms, 3))
    frames = PEPTIDE.start_nm + shake
    one, other = (
        OpenMMEnergy(PEPTIDE, platform=platform).energy_and_gradient(frames)[1]
        for platform in ("OpenCL", "Reference")
    )
    assert np.abs(one - other).max() < 1e-4 * np.abs(other).max()


def test_a_cell_of_molecular_dynamics(tmp_path: Path) -> None:
    """It passes the gate, names its device, and leaves frames whose energies are those of Reference."""
    suite = tmp_path / "opencl.toml"
    suite.write_text(SUITE.format(precision="mixed"))
    desk = Desk(tmp_path / "run", "session")
    folder = lay_out(plan_cells(load_suite(str(suite))), desk.directory)[0]
    assert run_cell(folder, desk) == "done", read_json(folder / "failure.json")
    record = read_record(folder)
    assert record.target["platform"] == "OpenCL"
    assert read_provenance(folder).device.startswith("OpenCL: ")
    assert record.gate_deviation_kj_mol < ABSOLUTE_TOLERANCE_KJ_MOL
    assert record.ledger.sampling.evaluations == 600
    ensemble = Ensemble.load(folder / "ensemble.npz")
    again = OpenMMEnergy(PEPTIDE, platform="Reference").energy(ensemble.positions_nm)
    assert len(np.unique(ensemble.energies_kt)) == len(ensemble) == record.frames > 10
    np.testing.assert_allclose(
        ensemble.energies_kt, again, atol=2 * ABSOLUTE_TOLERANCE_KJ_MOL / kt_kj_mol(310.0)
    )
