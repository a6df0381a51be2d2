"""The engine for GPUs, run on the CPU: one thread and a whole warp agree; compiled for GPUs, nothing spills."""

import sys
from pathlib import Path

import numpy as np
import pytest

from baselines.parallel_tempering import ParallelTempering
from prosebench.energy import warp
from prosebench.energy.batched import BatchedEnergy
from prosebench.energy.meter import Meter
from prosebench.energy.native import NativeEnergy
from prosebench.energy.parameters.terms import read_parameters
from prosebench.energy.target import LangevinSettings, PhaseState, Stretch, kt_kj_mol
from prosebench.energy.warp import WarpUnavailable, make_warp_energy
from prosebench.method import Run
from prosebench.peptide.force_field import ForceField
from tests.prosebench.energy import frames as fr
from tests.prosebench.energy.cubin import needs

needs_warp = pytest.mark.skipif(
    warp.why_unavailable("cpu") is not None, reason=str(warp.why_unavailable("cpu"))
)
MODELS = {
    "obc1": fr.force_field("obc1"),
    "gbn2": fr.force_field("gbn2"),
    "vacuum": ForceField(files=("amber14-all.xml",), cutoff_nm=0.5),
}
"""With a cutoff that matters in vacuum."""


@pytest.fixture
def a_warp_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks have 32 threads on the CPU too: fibers, which change over at every barrier."""
    import warp as wp

    monkeypatch.setattr(wp.config, "enable_cpu_blocks", True)


@needs_warp
@pytest.mark.parametrize("model", MODELS)
def test_a_warp_of_threads_does_what_one_thread_does(model: str, a_warp_of_threads: None) -> None:
    """Against the native kernel, which has one frame a lane: energies, gradients, and where dynamics ends."""
    parameters = read_parameters(fr.peptide("DEFG").system(MODELS[model]))
    frames = fr.md_frames("DEFG")
    engine, other = make_warp_energy(parameters, "cpu"), NativeEnergy(parameters)
    energies, gradients = engine.energy_and_gradient(frames)
    expected, slopes = other.energy_and_gradient(frames)
    np.testing.assert_allclose(energies, expected, atol=1e-3)
    assert fr.relative_error(gradients, slopes) < 5e-6
    np.testing.assert_array_equal(engine.energy(frames), energies)
    np.testing.assert_array_equal(engine.energy(frames[3:]), energies[3:])
    state = PhaseState(frames, np.zeros_like(frames))
    ends = [
        one.langevin(state, Stretch(10, LangevinSettings(friction_per_ps=5.0), 5, 250, np.array([4, 10])))
        for one in (engine, other)
    ]
    np.testing.assert_allclose(*(end.state.positions_nm for end in ends), atol=5e-7)
    np.testing.assert_allclose(*(end.energies_kt for end in ends), atol=2e-3)


@needs_warp
def test_energies_of_dynamics_are_distributed_as_the_native_kernels() -> None:
    """After 300 steps trajectories have parted; means and spreads of energies, and the temperature, have not."""
    peptide, kelvin = fr.peptide("AC"), 310.0
    start = np.repeat(peptide.start_nm[None], 48, axis=0)
    state, settings = PhaseState(start, np.zeros_like(start)), LangevinSettings(kelvin, friction_per_ps=50.0)
    warped, native = (
        BatchedEnergy(peptide, kelvin, path=path).langevin(
            state, Stretch(300, settings, key, 0, np.array([300]))
        )
        for path, key in (("warp", 1), ("native", 2))
    )
    error = np.sqrt((warped.energies_kt.var() + native.energies_kt.var()) / 48)
    assert abs(warped.energies_kt.mean() - native.energies_kt.mean()) < 4 * error
    assert 0.5 < warped.energies_kt.std() / native.energies_kt.std() < 2.0
    masses = read_parameters(peptide.system()).masses_dalton[:, None]
    kinetic = (0.5 * masses * warped.state.velocities_nm_ps**2).sum(axis=(1, 2)) / kt_kj_mol(kelvin)
    mean = 1.5 * peptide.n_atoms
    assert abs(kinetic.mean() - mean) < 4 * np.sqrt(mean / 48)


@needs_warp
def test_parallel_tempering_is_that_of_the_native_kernel() -> None:
    """Rounds of dynamics and exchange, with the same exchanges, on either engine."""
    method = ParallelTempering(
        ParallelTempering.Settings(levels=3, ladders=2, exchange_steps=20, minimise_steps=0)
    )
    ends = []
    for path in ("warp", "native"):
        target = BatchedEnergy(fr.peptide("AC"), path=path)
        run = Run("cell", fr.peptide("AC"), Meter(target, 6 * 60), (6 * 60,), 6)
        ends.append(method.chunk(run, 0, {}))
    assert ends[0].diagnostics == ends[1].diagnostics
    np.testing.assert_allclose(*(end.carry["positions_nm"] for end in ends), atol=1e-5)


@needs_warp
@pytest.mark.parametrize("architecture", [80, 89, 90, 100])
def test_compiled_for_a_gpu_nothing_spills(architecture: int, tmp_path: Path) -> None:
    """A100, L40S, H100, B200: registers for 24 warps a multiprocessor, the state of a tetrapeptide in shared memory."""
    import warp as wp

    from prosebench.energy.warp.engine import THREADS_A_BLOCK
    from prosebench.energy.warp.kernels import make_kernels
    from prosebench.energy.warp.replica import FLOATS_AN_ATOM

    for kernel in make_kernels(96):
        kernel.module.options["block_dim"] = THREADS_A_BLOCK
        (path,) = wp.compile_aot_module(kernel.module, arch=architecture, module_dir=tmp_path, use_ptx=False)
        found = needs(Path(path))
        print(f"sm_{architecture} {kernel.key}: {found}")
        assert found.stack_bytes == 0
        assert found.registers <= 65536 // (24 * THREADS_A_BLOCK)
        assert 0 <= found.shared_bytes - 96 * 4 * FLOATS_AN_ATOM <= 2048


def test_without_warp_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "warp", None)
    with pytest.raises(WarpUnavailable, match=r"pip install 'prosebench\[gpu\]'"):
        BatchedEnergy(fr.peptide("AC"), device="cuda")
