"""The torch energy against OpenMM's Reference platform, autograd and finite differences."""

import numpy as np
import openmm as mm
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from openmm import app

from prosebench.energy import torch_energy
from prosebench.energy.parameters import read_parameters
from prosebench.energy.torch_energy import TorchEnergy
from prosebench.energy.torch_pairs import PairRing
from tests.prosebench.energy import frames as fr

DOUBLE = 1e-11


def evaluate(
    system: mm.System, frames: fr.Floats, dtype: torch.dtype = torch.float64
) -> tuple[fr.Floats, fr.Floats]:
    energy = TorchEnergy(read_parameters(system), dtype)
    energies, gradients = energy.energy_and_gradient(torch.as_tensor(frames))
    return energies.numpy(), gradients.numpy()


def agrees(system: mm.System, frames: fr.Floats) -> None:
    energies, gradients = evaluate(system, frames)
    expected, expected_gradients = fr.reference(system, frames)
    np.testing.assert_allclose(energies, expected, rtol=DOUBLE, atol=1e-8)
    assert fr.relative_error(gradients, expected_gradients) < DOUBLE


@pytest.mark.parametrize("solvent", ["obc1", "obc2", "gbn", "gbn2"])
@pytest.mark.parametrize("sequence", ["DEFG", "AC"])
@pytest.mark.parametrize("kind", [fr.md_frames, fr.stretched_frames, fr.clashing_frames, fr.shaken_frames])
def test_every_solvent_to_rounding(solvent: str, sequence: str, kind) -> None:
    agrees(fr.peptide(sequence).system(fr.force_field(solvent)), kind(sequence))


def test_single_precision_on_md_frames() -> None:
    system, frames = fr.peptide("PQRSTVWY").system(), fr.md_frames("PQRSTVWY")
    energies, gradients = evaluate(system, frames, torch.float32)
    expected, expected_gradients = fr.reference(system, frames)
    assert np.abs(energies - expected).max() < 2e-3
    assert fr.relative_error(gradients, expected_gradients) < 5e-6


@pytest.mark.parametrize("dielectric", [1.0, 78.5])
@pytest.mark.parametrize("cutoff", [True, False])
def test_vacuum_with_and_without_reaction_field(dielectric: float, cutoff: bool) -> None:
    method = app.CutoffNonPeriodic if cutoff else app.NoCutoff
    topology = fr.peptide("DEFG").openmm_topology
    system = app.ForceField("amber14-all.xml").createSystem(
        topology, nonbondedMethod=method, nonbondedCutoff=1.0
    )
    force = next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    force.setReactionFieldDielectric(dielectric)
    agrees(system, fr.stretched_frames("DEFG"))


@pytest.mark.parametrize("surface", ["ACE", None])
def test_solvent_without_cutoff_or_surface_term(surface: str | None) -> None:
    files = app.ForceField("amber14-all.xml", "implicit/obc1.xml")
    system = files.createSystem(fr.peptide("DEFG").openmm_topology, sasaMethod=surface)
    agrees(system, fr.stretched_frames("DEFG"))


def test_different_cutoffs_of_pairs_and_solvent() -> None:
    system = fr.peptide("DEFG").system()
    next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce)).setCutoffDistance(0.8)
    agrees(system, fr.stretched_frames("DEFG"))


@pytest.mark.parametrize("angle", [np.pi - 1e-2, np.pi - 1e-4, np.pi])
def test_near_linear_angles(angle: float) -> None:
    system = mm.System()
    force = mm.HarmonicAngleForce()
    force.addAngle(0, 1, 2, 1.9, 400.0)
    for _ in range(3):
        system.addParticle(1.0)
    system.addForce(force)
    frame = 0.1 * np.array([[1.0, 0, 0], [0, 0, 0], [np.cos(angle), np.sin(angle), 0]])
    energies, gradients = evaluate(system, frame[None], torch.float32)
    assert energies == pytest.approx([200.0 * (angle - 1.9) ** 2], rel=1e-6)
    assert np.isfinite(gradients).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_gradient_is_the_derivative(seed: int) -> None:
    rng = np.random.default_rng(seed)
    energy = TorchEnergy(read_parameters(fr.peptide("AC").system(fr.force_field("gbn2"))), torch.float64)
    frame = fr.shaken_frames("AC")[0] + rng.normal(scale=0.02, size=fr.shaken_frames("AC")[0].shape)
    direction = rng.normal(size=frame.shape)
    direction /= np.linalg.norm(direction)
    step = 1e-5
    steps = step * np.array([1.0, -1.0, 2.0, -2.0])[:, None, None] * direction
    e1, e2, e3, e4 = energy.energy(torch.as_tensor(frame + steps)).numpy()
    difference = (8 * (e1 - e2) - (e3 - e4)) / (12 * step)
    _, gradient = energy.energy_and_gradient(torch.as_tensor(frame[None]))
    scale = np.linalg.norm(gradient.numpy())
    assert abs((gradient.numpy()[0] * direction).sum() - difference) < 1e-6 * scale


@pytest.mark.parametrize("n_atoms", [1, 2, 3, 4, 5, 8])
def test_ring_meets_every_pair_once(n_atoms: int) -> None:
    ring = PairRing(n_atoms, torch.device("cpu"))
    n_pairs = n_atoms * (n_atoms - 1) // 2
    weights = np.zeros(n_pairs)
    if ring.rows:
        np.add.at(
            weights, ring.pair, ring.table(np.ones(n_pairs), torch.float64, weighted=True)[..., 0].numpy()
        )
    assert weights.tolist() == [1.0] * n_pairs
    x = torch.arange(n_atoms * 2.0).reshape(n_atoms, 2)
    buffer, body = ring.room(ring.partner(x))
    body.copy_(x[None].expand_as(body))
    brute = [
        sum((x[(k - d) % n_atoms] for d in range(1, ring.rows + 1)), torch.zeros(2)) for k in range(n_atoms)
    ]
    assert torch.equal(ring.sum_second(buffer), torch.stack(brute))
    assert torch.equal(ring.partner(x), x[torch.as_tensor(ring.second)])


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = read_parameters(fr.peptide("AC").system())
    frames = torch.as_tensor(np.concatenate([fr.md_frames("AC")] * 8))
    whole = TorchEnergy(parameters).energy_and_gradient(frames)
    monkeypatch.setitem(torch_energy.PAIR_ELEMENTS, "cpu", 1)
    monkeypatch.setitem(torch_energy.BONDED_FRAMES, "cpu", 24)
    parts = TorchEnergy(parameters).energy_and_gradient(frames)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_cpu() -> None:
    parameters, frames = read_parameters(fr.peptide("DEFG").system()), torch.as_tensor(fr.md_frames("DEFG"))
    there = TorchEnergy(parameters, device="cuda").energy_and_gradient(frames)
    here = TorchEnergy(parameters, torch.float64).energy_and_gradient(frames)
    for a, b in zip(there, here, strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-5, atol=2e-3)
