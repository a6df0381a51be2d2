"""The native kernel against OpenMM's Reference platform, and what it does at the edges."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray

from prosebench.energy import compiled as library
from prosebench.energy import native
from prosebench.energy.native import NativeEnergy, NativeUnavailable
from prosebench.energy.parameters.terms import (
    EnergyParameters,
    GBParameters,
    UnsupportedForce,
    read_parameters,
)
from prosebench.energy.target import LangevinSettings, PhaseState, Stretch
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import ForceField
from tests.prosebench.energy.frames import md_frames, reference, relative_error
from tests.prosebench.energy.frames import peptide as md_peptide

pytestmark = pytest.mark.skipif(not native.available(), reason=str(native.why_unavailable()))

Floats = NDArray[np.float64]
KT = 2.577
SOLVENT, VACUUM = ForceField(), ForceField(files=("amber14-all.xml",), cutoff_nm=0.5)
GBN, GBN2 = (ForceField(files=("amber14-all.xml", f"implicit/{name}.xml")) for name in ("gbn", "gbn2"))


@cache
def peptide(sequence: str = "AA") -> Peptide:
    return Peptide.from_sequence(sequence)


@cache
def parameters(force_field: ForceField = SOLVENT, sequence: str = "AA") -> EnergyParameters:
    return read_parameters(peptide(sequence).system(force_field))


def noisy_frames(width_nm: float, n: int = 5, sequence: str = "AA") -> Floats:
    """Frames that float holds exactly, so that both precisions get the same ones."""
    start = peptide(sequence).start_nm
    start = start - start[len(start) // 2]
    noise = np.random.default_rng(1).normal(size=(n, *start.shape)) * width_nm
    return (start + noise).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize(("precision", "tolerance"), [("single", 1e-5), ("double", 1e-11)])
@pytest.mark.parametrize("width_nm", [0.003, 0.02, 0.08])
@pytest.mark.parametrize(
    "force_field", [SOLVENT, GBN, GBN2, VACUUM], ids=["solvent", "gbn", "gbn2", "vacuum"]
)
@pytest.mark.parametrize("sequence", ["AA", "HM"])
def test_reference_agrees(
    sequence: str, force_field: ForceField, width_nm: float, precision: str, tolerance: float
) -> None:
    frames = noisy_frames(width_nm, sequence=sequence)
    kernel = NativeEnergy(parameters(force_field, sequence), precision=precision)  # type: ignore[arg-type]
    energies, gradients = kernel.energy_and_gradient(frames)
    expected, expected_gradients = reference(peptide(sequence).system(force_field), frames)
    np.testing.assert_allclose(energies, expected, rtol=tolerance, atol=100 * tolerance)
    assert relative_error(gradients, expected_gradients) < tolerance
    if width_nm == 0.08:
        assert expected.max() > 1e6 * KT
    np.testing.assert_array_equal(kernel.energy(frames), energies)


@pytest.mark.parametrize("cutoff_nm", [0.4, 0.6])
@pytest.mark.parametrize("model", [SOLVENT, GBN2], ids=["solvent", "gbn2"])
def test_cutoff_of_solvent_terms(model: ForceField, cutoff_nm: float) -> None:
    force_field, frames = model.model_copy(update={"cutoff_nm": cutoff_nm}), noisy_frames(0.01)
    energies, gradients = NativeEnergy(parameters(force_field), precision="double").energy_and_gradient(
        frames
    )
    expected, expected_gradients = reference(peptide().system(force_field), frames)
    np.testing.assert_allclose(energies, expected, rtol=1e-11)
    assert relative_error(gradients, expected_gradients) < 1e-11


def test_torsions_with_any_phase_and_angles_near_the_line() -> None:
    system = openmm.System()
    for _ in range(4):
        system.addParticle(12.0)
    torsions, angles = openmm.PeriodicTorsionForce(), openmm.HarmonicAngleForce()
    for periodicity, phase in enumerate((0.3, 2.0, -1.0, 0.0, 3.0, 1.0), start=1):
        torsions.addTorsion(0, 1, 2, 3, periodicity, phase, 4.0 / periodicity)
    angles.addAngle(1, 2, 3, 3.0, 500.0)
    system.addForce(torsions)
    system.addForce(angles)
    frames = np.random.default_rng(0).normal(size=(20, 4, 3)) * 0.2
    axis = frames[:, 2] - frames[:, 1]
    frames[:10, 3] = (
        frames[:10, 2] + axis[:10] + np.array([1e-4, 0, 0])
    )  # bends of some 1e-3 rad from the line
    energies, gradients = NativeEnergy(read_parameters(system), precision="double").energy_and_gradient(
        frames
    )
    expected, expected_gradients = reference(system, frames)
    np.testing.assert_allclose(energies, expected, rtol=1e-7)  # OpenMM takes acos there
    assert relative_error(gradients, expected_gradients) < 1e-6
    rough = NativeEnergy(read_parameters(system)).energy(frames)
    np.testing.assert_allclose(rough, energies, rtol=1e-3, atol=1e-3)


def two_spheres(offset: float, scaled: float) -> EnergyParameters:
    """Two atoms with nothing but solvent terms, large enough to see the Born radii."""
    gb = GBParameters(
        radius=np.full(2, offset + 0.009),
        offset_radius=np.full(2, offset),
        scaled_radius=np.full(2, scaled),
        alpha=np.full(2, 0.8),
        beta=np.zeros(2),
        gamma=np.full(2, 2.909125),
        self_coefficient=np.array([-60.0, -20.0]),
        surface_coefficient=np.full(2, 2.0),
        pair_coefficient=np.array([-40.0]),
        pair_shift=0.0,
        cutoff_nm=np.inf,
    )
    none = read_parameters(openmm.System())
    return replace(
        none,
        n_atoms=2,
        masses_dalton=np.ones(2),
        charges=np.zeros(2),
        pair_atoms=np.array([[0, 1]], dtype=np.int32),
        pair_c12=np.zeros(1),
        pair_c6=np.zeros(1),
        pair_charge=np.zeros(1),
        pair_is_exception=np.zeros(1, dtype=bool),
        gb=gb,
    )


def on_a_line(distances_nm: Floats) -> Floats:
    frames = np.zeros((len(distances_nm), 2, 3))
    frames[:, 1, 0] = distances_nm
    return frames


@pytest.mark.parametrize(
    ("offset", "scaled"), [(0.10, 0.15), (0.12, 0.12), (0.15, 0.10)], ids=["inside", "equal", "beside"]
)
def test_atoms_within_each_others_spheres(offset: float, scaled: float) -> None:
    """All cases of the Born integral, down to r -> 0: the published formula, and its slope by differences."""
    kernel = NativeEnergy(two_spheres(offset, scaled), precision="double")
    r = np.concatenate([np.geomspace(1e-4, 0.02, 12), np.linspace(0.03, 0.5, 40)])
    step = 1e-5 * r
    energies, gradients = kernel.energy_and_gradient(on_a_line(r))
    slopes = (kernel.energy(on_a_line(r + step)) - kernel.energy(on_a_line(r - step))) / (2 * step)
    np.testing.assert_allclose(gradients[:, 1, 0], slopes, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(energies, _two_sphere_energy(offset, scaled, r), rtol=1e-8)
    single = NativeEnergy(two_spheres(offset, scaled))
    rough_energies, rough_gradients = single.energy_and_gradient(on_a_line(r))
    np.testing.assert_allclose(rough_energies, energies, rtol=1e-5)
    np.testing.assert_allclose(rough_gradients, gradients, rtol=2e-3, atol=0.02)


def _two_sphere_energy(o: float, s: float, r: Floats) -> Floats:
    upper, lower = r + s, np.maximum(o, abs(r - s))
    integral = 0.5 * (
        1 / lower
        - 1 / upper
        + 0.25 * (r - s**2 / r) * (1 / upper**2 - 1 / lower**2)
        + 0.5 * np.log(lower / upper) / r
    )
    psi = np.where(upper >= o, integral, 0.0) * o
    born = 1 / (1 / o - np.tanh(0.8 * psi + 2.909125 * psi**3) / (o + 0.009))
    f = np.sqrt(r**2 + born**2 * np.exp(-(r**2) / (4 * born**2)))
    return -80 / born + 4 * ((o + 0.009) / born) ** 6 - 40 / f


def test_an_atom_within_a_sphere_of_negative_radius() -> None:
    """GBn2 gives sulfur one; it descreens what is farther away than its size alone, and nothing within."""
    frames = noisy_frames(0.0, 12, "HM")
    sulfur = next(atom.index for atom in peptide("HM").topology.atoms if atom.element.symbol == "S")
    assert parameters(GBN2, "HM").gb.scaled_radius[sulfur] < 0  # type: ignore[union-attr]
    frames[:, 0] = frames[:, sulfur] + np.outer(np.linspace(0.03, 0.36, 12), [0.6, 0.0, 0.8])
    energies, gradients = NativeEnergy(parameters(GBN2, "HM"), precision="double").energy_and_gradient(frames)
    expected, expected_gradients = reference(peptide("HM").system(GBN2), frames)
    np.testing.assert_allclose(energies, expected, rtol=1e-11)
    assert relative_error(gradients, expected_gradients) < 1e-11


def test_frames_that_are_not_finite_leave_the_others_alone() -> None:
    frames = noisy_frames(0.01, 40)
    kernel = NativeEnergy(parameters())
    energies, gradients = kernel.energy_and_gradient(frames)
    broken = frames.copy()
    broken[3, 5, 1] = np.nan
    broken[7, 0, 2] = np.inf
    broken[8] *= 1e30
    broken[11, 2] = broken[11, 9]  # two atoms in one place
    broken[20] *= 30.0  # beyond the cutoff
    got, got_gradients = kernel.energy_and_gradient(broken)
    bad = np.isin(np.arange(40), [3, 7, 8, 11])
    assert np.isinf(got[bad]).all()
    assert (got > 0)[bad].all()
    assert (got_gradients[bad] == 0).all()
    same = ~bad & (np.arange(40) != 20)
    np.testing.assert_array_equal(got[same], energies[same])
    np.testing.assert_array_equal(got_gradients[same], gradients[same])
    assert np.isfinite(got[20])


def test_results_depend_on_neither_threads_nor_neighbours_nor_type() -> None:
    frames = noisy_frames(0.01, 37)
    one, three = NativeEnergy(parameters()), NativeEnergy(parameters(), threads=3)
    energies, gradients = one.energy_and_gradient(frames)
    for got, got_gradients in (
        three.energy_and_gradient(frames),
        one.energy_and_gradient(frames.astype(np.float32)),
        one.energy_and_gradient(frames[::-1])[0:2],
    ):
        order = slice(None, None, -1) if got[0] != energies[0] else slice(None)
        np.testing.assert_array_equal(got[order], energies)
        np.testing.assert_array_equal(got_gradients[order], gradients)
    np.testing.assert_array_equal(one.energy(frames[17:18]), energies[17:18])
    assert one.energy(frames[:0]).shape == (0,)


SCRIPT = """
import sys, numpy as np
from prosebench.energy.native import NativeEnergy, instruction_set
from prosebench.energy.parameters.terms import read_parameters
from prosebench.peptide import Peptide
import openmm
frames = np.load(sys.argv[1])
with open(sys.argv[2]) as file:
    parameters = read_parameters(openmm.XmlSerializer.deserialize(file.read()))
results = {}
for precision in ("single", "double"):
    results[precision], results[precision + "-gradient"] = NativeEnergy(
        parameters, precision=precision).energy_and_gradient(frames)
np.savez(sys.argv[3], name=instruction_set(), **results)
"""


@pytest.mark.parametrize("name", native.INSTRUCTION_SETS)
def test_every_instruction_set_of_this_cpu_agrees(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(native.ENVIRONMENT_VARIABLE, name)
    if not native.available():
        pytest.skip(f"this CPU has no {name}")
    frames = noisy_frames(0.02, 19)
    np.save(tmp_path / "frames.npy", frames)
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(peptide().system(SOLVENT)))
    files = [str(tmp_path / n) for n in ("frames.npy", "system.xml", "results.npz")]
    subprocess.run([sys.executable, "-c", SCRIPT, *files], check=True)
    expected, expected_gradients = reference(peptide().system(SOLVENT), frames)
    with np.load(files[2]) as results:
        assert results["name"] == name
        for precision, tolerance in (("single", 1e-5), ("double", 1e-11)):
            np.testing.assert_allclose(results[precision], expected, rtol=tolerance)
            assert relative_error(results[f"{precision}-gradient"], expected_gradients) < tolerance


@pytest.mark.parametrize("name", native.INSTRUCTION_SETS)
@pytest.mark.parametrize("sequence", ["AC", "NKEKFFQH", "GYDPETGTWG"])
def test_gradients_of_any_frames_have_one_bar_on_every_instruction_set(
    sequence: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where atoms are nanometres from the origin, and where coordinates have more digits than a float."""
    monkeypatch.setenv(native.ENVIRONMENT_VARIABLE, name)
    if not native.available():
        pytest.skip(f"this CPU has no {name}")
    frames = md_frames(sequence)
    system = md_peptide(sequence).system()
    kernel = NativeEnergy(read_parameters(system))
    for moved in (frames, frames + np.array([3.1, -0.7, 1.9])):
        assert relative_error(kernel.energy_and_gradient(moved)[1], reference(system, moved)[1]) < 5e-6


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("model", [SOLVENT, GBN2, VACUUM], ids=["solvent", "gbn2", "vacuum"])
def test_bits_are_the_same_on_every_instruction_set(
    model: ForceField, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of energies, gradients and dynamics: sound frames, clashes, frames beyond a cutoff, frames that are none."""
    frames = np.concatenate([noisy_frames(width, 7) for width in (0.003, 0.02, 0.08)])
    frames = np.concatenate([frames, frames[:2] * 30.0, frames[:1] * 1e5, frames[:1] * np.nan])
    state = PhaseState(frames[:7], np.zeros_like(frames[:7]))
    found = {}
    for name in native.INSTRUCTION_SETS:
        monkeypatch.setenv(native.ENVIRONMENT_VARIABLE, name)
        if native.available():
            kernel = NativeEnergy(parameters(model), precision=precision)  # type: ignore[arg-type]
            end = kernel.langevin(
                state, Stretch(60, LangevinSettings(friction_per_ps=5.0), 3, 230, np.array([20, 60]))
            )
            parts = (*kernel.energy_and_gradient(frames), end.state.positions_nm, end.state.velocities_nm_ps)
            found[name] = b"".join(part.tobytes() for part in (*parts, end.frames_nm, end.energies_kt))
    if len(found) < 2:
        pytest.skip("this CPU has one instruction set")
    assert len(set(found.values())) == 1, f"bits differ between {', '.join(found)}"


def test_an_instruction_set_the_cpu_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.ENVIRONMENT_VARIABLE, "avx1024")
    with pytest.raises(NativeUnavailable, match=r"avx1024.*plain"):
        NativeEnergy(parameters())
    assert "plain" in str(native.why_unavailable())


@pytest.mark.parametrize("broken", [False, True], ids=["missing", "broken"])
def test_a_missing_library_says_how_to_build_it(
    broken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_kernel.so").write_text("not a library")
    monkeypatch.setattr(library, "library_path", lambda: tmp_path / "_kernel.so" if broken else None)
    library.load_library.cache_clear()
    try:
        assert not native.available()
        reason = native.why_unavailable()
        assert reason is not None
        assert ("does not load" if broken else "setup.py build_ext --inplace") in reason
    finally:
        monkeypatch.undo()
        library.load_library.cache_clear()


def test_wrong_input_is_refused() -> None:
    kernel = NativeEnergy(parameters())
    with pytest.raises(ValueError, match=r"expected \(n, 23, 3\)"):
        kernel.energy(np.zeros((2, 22, 3)))
    with pytest.raises(ValueError, match="precision"):
        NativeEnergy(parameters(), precision="half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threads"):
        NativeEnergy(parameters(), threads=0)
    with pytest.raises(ValueError, match="pair_atoms"):
        NativeEnergy(replace(parameters(), pair_atoms=parameters().pair_atoms[::-1]))
    with pytest.raises(ValueError, match="bond_atoms"):
        NativeEnergy(replace(parameters(), bond_atoms=parameters().bond_atoms + 20))


def test_solvent_models_outside_the_kernel_are_refused() -> None:
    gb = parameters().gb
    assert gb is not None
    with pytest.raises(UnsupportedForce, match="cutoff"):
        NativeEnergy(replace(parameters(), gb=replace(gb, cutoff_nm=1.0)))
    with pytest.raises(UnsupportedForce, match="offset radii"):
        NativeEnergy(replace(parameters(), gb=replace(gb, scaled_radius=gb.scaled_radius * 2)))


def test_a_forked_process_gets_the_same_numbers_and_ends() -> None:
    """Threads do not live on in a fork (as multiprocessing makes them on Linux); the caller's thread does it all."""
    frames = noisy_frames(0.01, 64)
    kernel = NativeEnergy(parameters(), threads=2)
    expected = kernel.energy(frames)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(not np.array_equal(kernel.energy(frames), expected))
            kernel.__del__()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
