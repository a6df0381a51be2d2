"""Langevin dynamics of the native kernel: exact where it must be exact, right on average where it is random.

Errors come from independent replicas, so the correlation of a trajectory with itself is in them. Limits are
counted in standard errors; seeds are fixed, so a test that passes once always passes.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from scipy.stats import kstwobign

from prosebench.energy import native
from prosebench.energy.native import NativeEnergy
from prosebench.energy.parameters.terms import EnergyParameters, pair_indices, read_parameters
from prosebench.energy.target import (
    BOLTZMANN_KJ_MOL_K,
    LangevinResult,
    LangevinSettings,
    PhaseState,
    Stretch,
    kt_kj_mol,
)
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import ForceField

pytestmark = pytest.mark.skipif(not native.available(), reason=str(native.why_unavailable()))

Floats = NDArray[np.float64]
KT = kt_kj_mol(310.0)
QUICK = LangevinSettings(friction_per_ps=5.0)
"""High friction: velocities forget within 0.2 ps."""


@cache
def alanine() -> EnergyParameters:
    return read_parameters(Peptide.from_sequence("AA").system(ForceField()))


def at_rest(n_replicas: int) -> PhaseState:
    positions = np.repeat(Peptide.from_sequence("AA").start_nm[None], n_replicas, axis=0)
    return PhaseState(positions, np.zeros_like(positions))


@cache
def warm(n_replicas: int = 256) -> PhaseState:
    """Replicas after 2 ps."""
    return NativeEnergy(alanine()).langevin(at_rest(n_replicas), Stretch(2000, QUICK, 11)).state


def steps(*kept: int) -> NDArray[np.int64]:
    return np.array(kept, dtype=np.int64)


def particles(masses: Floats, bond_constant: float | None = None, length_nm: float = 0.2) -> EnergyParameters:
    """Free particles, or two on a spring."""
    n = len(masses)
    pairs = len(pair_indices(n))
    bonds = 0 if bond_constant is None else 1
    return replace(
        read_parameters(openmm.System()),
        n_atoms=n,
        masses_dalton=masses,
        charges=np.zeros(n),
        bond_atoms=np.array([[0, 1]], dtype=np.int32)[:bonds],
        bond_length_nm=np.array([length_nm])[:bonds],
        bond_constant=np.array([bond_constant or 0.0])[:bonds],
        pair_atoms=pair_indices(n),
        pair_c12=np.zeros(pairs),
        pair_c6=np.zeros(pairs),
        pair_charge=np.zeros(pairs),
        pair_is_exception=np.zeros(pairs, dtype=bool),
    )


def z_score(samples: Floats, expected: float) -> float:
    """Distance of the mean of independent samples from its expectation, in standard errors."""
    return float((samples.mean() - expected) / (samples.std(ddof=1) / np.sqrt(len(samples))))


# ---- What is exact ----


def philox(counter: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Philox4x32-10 of counters (n, 4), written after the paper (Salmon et al., SC'11)."""
    mask, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    words = [counter[:, k] & mask for k in range(4)]
    keys = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        first, second = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        words = [
            (second >> shift) ^ words[1] ^ np.uint64(keys[0]),
            second & mask,
            (first >> shift) ^ words[3] ^ np.uint64(keys[1]),
            first & mask,
        ]
        keys = [(keys[0] + 0x9E3779B9) & 0xFFFFFFFF, (keys[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(words, axis=1)


def expected_normals(n_components: int, n_replicas: int, key: int, step: int) -> Floats:
    blocks = (n_components + 3) // 4
    block, replica = np.meshgrid(np.arange(blocks), np.arange(n_replicas))
    columns = [
        block.ravel(),
        replica.ravel(),
        np.full(block.size, step % 2**32),
        np.full(block.size, step >> 32),
    ]
    u = (philox(np.stack(columns, axis=1).astype(np.uint64), key) >> np.uint64(8)) * 2.0**-24 + 2.0**-25
    radius, angle = np.sqrt(-2 * np.log(u[:, ::2])), 2 * np.pi * u[:, 1::2]
    normals = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2)
    return normals.reshape(n_replicas, -1)[:, :n_components]


def test_philox_gives_the_published_numbers() -> None:
    zeros = np.zeros((1, 4), dtype=np.uint64)
    assert [f"{word:08x}" for word in philox(zeros, 0)[0]] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    ones = zeros + np.uint64(0xFFFFFFFF)
    published = ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]
    assert [f"{word:08x}" for word in philox(ones, 2**64 - 1)[0]] == published


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize(("key", "step"), [(0, 0), (0x123456789ABCDEF0, 7_000_000_123)])
def test_free_particles_show_the_random_numbers(precision: str, key: int, step: int) -> None:
    """One step of a free particle at rest: v = sqrt(1 - a^2) sqrt(kT/m) xi, x moves by dt/2 v."""
    masses, n_replicas = np.array([1.0, 12.0, 16.0]), 50
    places = np.tile(np.eye(3), (n_replicas, 1, 1))
    still = PhaseState(places, np.zeros_like(places))
    kernel = NativeEnergy(particles(masses), precision=precision)  # type: ignore[arg-type]
    state = kernel.langevin(still, Stretch(1, LangevinSettings(), key, step)).state
    decay = np.exp(-0.3 * 0.001)
    normals = state.velocities_nm_ps / np.sqrt((1 - decay**2) * KT / masses[:, None])
    expected = expected_normals(9, n_replicas, key, step).reshape(normals.shape)
    np.testing.assert_allclose(normals, expected, atol=1e-5 if precision == "single" else 1e-12)
    np.testing.assert_allclose(state.positions_nm - places, state.velocities_nm_ps * 0.0005, atol=1e-7)


def test_one_step_is_the_published_scheme() -> None:
    kernel = NativeEnergy(alanine(), precision="double")
    state, masses, dt, decay = warm(), alanine().masses_dalton[:, None], 0.001, np.exp(-0.005)
    moved = kernel.langevin(state, Stretch(1, QUICK, 5, 3, steps(1)))
    xi = expected_normals(69, len(state.positions_nm), 5, 3).reshape(state.positions_nm.shape)
    velocities = state.velocities_nm_ps - dt * kernel.energy_and_gradient(state.positions_nm)[1] / masses
    positions = state.positions_nm + dt / 2 * velocities
    velocities = decay * velocities + np.sqrt((1 - decay**2) * KT / masses) * xi
    np.testing.assert_allclose(moved.state.velocities_nm_ps, velocities, atol=1e-9)
    np.testing.assert_allclose(moved.state.positions_nm, positions + dt / 2 * velocities, atol=1e-12)
    np.testing.assert_allclose(moved.energies_kt[0], kernel.energy(moved.state.positions_nm), rtol=1e-10)


def same(left: LangevinResult, right: LangevinResult) -> None:
    np.testing.assert_array_equal(left.state.positions_nm, right.state.positions_nm)
    np.testing.assert_array_equal(left.state.velocities_nm_ps, right.state.velocities_nm_ps)
    np.testing.assert_array_equal(left.frames_nm, right.frames_nm)
    np.testing.assert_array_equal(left.energies_kt, right.energies_kt)


def test_threads_do_not_matter() -> None:
    one, three = (NativeEnergy(alanine(), threads=n) for n in (1, 3))
    keep = steps(1, 100, 255, 256, 300)
    same(
        one.langevin(warm(), Stretch(300, QUICK, 3, 0, keep)),
        three.langevin(warm(), Stretch(300, QUICK, 3, 0, keep)),
    )


@pytest.mark.parametrize("precision", ["single", "double"])
def test_stretches_do_not_matter(precision: str) -> None:
    """400 steps at once or in stretches of 100: the same bits, across a step where replicas are centred."""
    kernel = NativeEnergy(alanine(), precision=precision)  # type: ignore[arg-type]
    state = PhaseState(warm().positions_nm[:20], warm().velocities_nm_ps[:20])
    whole = kernel.langevin(state, Stretch(400, QUICK, 3, 1000, steps(*range(50, 401, 50))))
    for k in range(4):
        part = kernel.langevin(state, Stretch(100, QUICK, 3, 1000 + 100 * k, steps(50, 100)))
        np.testing.assert_array_equal(part.frames_nm, whole.frames_nm[2 * k : 2 * k + 2])
        np.testing.assert_array_equal(part.energies_kt, whole.energies_kt[2 * k : 2 * k + 2])
        state = part.state
    np.testing.assert_array_equal(state.positions_nm, whole.state.positions_nm)
    np.testing.assert_array_equal(state.velocities_nm_ps, whole.state.velocities_nm_ps)


def test_groups_of_replicas_do_not_matter() -> None:
    """A replica's fate does not depend on its lane, on its neighbours, or on who fails beside it."""
    kernel = NativeEnergy(alanine())
    state = PhaseState(warm().positions_nm[:40].copy(), warm().velocities_nm_ps[:40])
    state.positions_nm[33, 1] = state.positions_nm[33, 4]
    state.positions_nm[34] *= 20.0
    whole = kernel.langevin(state, Stretch(200, QUICK, 3, 0, steps(7, 200)))
    for first, last in ((0, 13), (13, 30), (35, 40)):
        group = PhaseState(state.positions_nm[first:last], state.velocities_nm_ps[first:last])
        part = kernel.langevin(group, Stretch(200, QUICK, 3, 0, steps(7, 200), first_replica=first))
        np.testing.assert_array_equal(part.frames_nm, whole.frames_nm[:, first:last])
        np.testing.assert_array_equal(part.energies_kt, whole.energies_kt[:, first:last])
    assert whole.failed[33]
    assert np.isinf(whole.energies_kt[:, 33]).all()
    assert np.isnan(whole.frames_nm[:, 33]).all()
    assert np.isnan(whole.state.positions_nm[33]).all()
    healthy = np.delete(np.arange(40), [33, 34])
    assert not whole.failed[healthy].any()
    assert np.isfinite(whole.energies_kt[:, healthy]).all()


def test_kept_energies_are_those_of_the_kept_frames() -> None:
    kernel = NativeEnergy(alanine(), threads=2)
    result = kernel.langevin(warm(), Stretch(60, QUICK, 3, 230, steps(1, 25, 26, 27, 60)), scale=1 / KT)
    for frames, energies in zip(result.frames_nm, result.energies_kt, strict=True):
        np.testing.assert_array_equal(kernel.energy(frames, scale=1 / KT), energies)
    np.testing.assert_array_equal(result.frames_nm[-1], result.state.positions_nm.astype(np.float32))


def test_replicas_stay_near_the_origin() -> None:
    centres = (
        NativeEnergy(alanine())
        .langevin(warm(), Stretch(256, QUICK, 3, 0, steps(255, 256)))
        .frames_nm.mean(axis=2)
    )
    assert abs(centres[0]).max() > 1e-3
    assert abs(centres[1]).max() < 1e-6


def test_wrong_input_is_refused() -> None:
    kernel = NativeEnergy(alanine())
    for keep in (steps(0), steps(11), steps(3, 3), steps(4, 2)):
        with pytest.raises(ValueError, match="keep_steps"):
            kernel.langevin(warm(), Stretch(10, QUICK, 0, 0, keep))
    with pytest.raises(ValueError, match="temperatures_kelvin"):
        kernel.langevin(warm(), Stretch(10, QUICK, 0, 0, temperatures_kelvin=np.full(3, 300.0)))
    with pytest.raises(ValueError, match="expected"):
        kernel.langevin(PhaseState(np.zeros((2, 5, 3)), np.zeros((2, 5, 3))), Stretch(10, QUICK, 0))


# ---- What is right on average ----


def kinetic_temperatures(n_stretches: int = 150, temperatures_kelvin: Floats | None = None) -> Floats:
    """Temperature of every atom (replicas, atoms), averaged over stretches of 0.1 ps.

    Nothing removes the motion of the centre, so every atom has its three degrees of freedom; here the
    velocities after a step have the exact distribution for a harmonic force.
    """
    kernel, state = NativeEnergy(alanine()), warm()
    masses = alanine().masses_dalton
    sums = np.zeros(state.positions_nm.shape[:2])
    first = 0 if temperatures_kelvin is None else -20  # 2 ps to reach other temperatures
    for k in range(first, n_stretches):
        state = kernel.langevin(
            state, Stretch(100, QUICK, 17, 100_000 + 100 * k, temperatures_kelvin=temperatures_kelvin)
        ).state
        if k >= 0:
            sums += masses * (state.velocities_nm_ps**2).sum(axis=2)
    return sums / (3 * BOLTZMANN_KJ_MOL_K * n_stretches)


def test_temperature_and_equipartition() -> None:
    temperatures = kinetic_temperatures()
    of_replica = temperatures.mean(axis=1)
    assert of_replica.std() / np.sqrt(len(of_replica)) < 0.5  # the test can see half a kelvin
    assert abs(z_score(of_replica, 310.0)) < 4
    of_atom = np.array([z_score(temperatures[:, atom], 310.0) for atom in range(23)])
    assert abs(of_atom).max() < 4.5
    assert abs(of_atom).mean() < 1.5


def test_every_replica_has_its_own_temperature() -> None:
    baths = np.where(np.arange(256) % 3 == 0, 450.0, 250.0)
    of_replica = kinetic_temperatures(30, baths).mean(axis=1)
    for bath in (250.0, 450.0):
        assert abs(z_score(of_replica[baths == bath], bath)) < 4


def test_a_spring_has_its_moments() -> None:
    """The density of the distance r is r^2 exp(-k (r - r0)^2 / 2 kT)."""
    constant, length, n_replicas = 4000.0, 0.12, 2048
    kernel = NativeEnergy(particles(np.array([12.0, 1.0]), constant, length))
    positions = np.zeros((n_replicas, 2, 3))
    positions[:, 1, 0] = length
    settings = LangevinSettings(friction_per_ps=20.0)
    keep = steps(*range(1000, 5001, 50))
    result = kernel.langevin(
        PhaseState(positions, np.zeros_like(positions)), Stretch(5000, settings, 23, 0, keep)
    )
    r = np.linalg.norm(result.frames_nm[:, :, 1] - result.frames_nm[:, :, 0], axis=2).astype(float)
    grid = np.linspace(1e-6, 0.5, 200_001)
    density = grid**2 * np.exp(-constant * (grid - length) ** 2 / (2 * KT))
    density /= density.sum()
    mean = (grid * density).sum()
    variance = ((grid - mean) ** 2 * density).sum()
    assert abs(z_score(r.mean(axis=0), mean)) < 4
    assert abs(z_score(((r - mean) ** 2).mean(axis=0), variance)) < 4
    assert abs(r.mean() / mean - 1) < 2e-3
    energies = result.energies_kt.mean(axis=0)  # kJ/mol
    expected = (constant / 2 * (grid - length) ** 2 * density).sum()
    assert abs(z_score(energies, expected)) < 4


def openmm_energies(n_replicas: int, n_warm: int, n_kept: int, interval: int) -> Floats:
    """Energies (kept, replicas) in kJ/mol of OpenMM's own integrator, from the start structure at rest."""
    system = Peptide.from_sequence("AA").system(ForceField())
    integrator = openmm.LangevinMiddleIntegrator(310.0, QUICK.friction_per_ps, 0.001)
    integrator.setRandomNumberSeed(3)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system, integrator, platform, {"Threads": "1"})
    energies = np.empty((n_kept, n_replicas))
    for replica in range(n_replicas):
        context.setPositions(at_rest(1).positions_nm[0])
        context.setVelocities(np.zeros((23, 3)))
        integrator.step(n_warm)
        for k in range(n_kept):
            integrator.step(interval)
            energies[k, replica] = context.getState(energy=True).getPotentialEnergy()._value
    return energies


def effective_size(samples: Floats) -> float:
    """Independent samples that trajectories (samples, replicas) are worth, by the spread of replica means."""
    return float(samples.var() / samples.mean(axis=0).var(ddof=1) * samples.shape[1])


def test_energies_are_distributed_as_in_openmm() -> None:
    n_warm, n_kept, interval = 500, 25, 20
    theirs = openmm_energies(24, n_warm, n_kept, interval)
    keep = n_warm + interval * np.arange(1, n_kept + 1)
    ours = (
        NativeEnergy(alanine()).langevin(at_rest(512), Stretch(int(keep[-1]), QUICK, 31, 0, keep)).energies_kt
    )
    difference = ours.mean() - theirs.mean()
    errors = [x.mean(axis=0).std(ddof=1) / np.sqrt(x.shape[1]) for x in (ours, theirs)]
    assert abs(difference) < 4 * np.hypot(*errors)
    assert np.hypot(*errors) < 0.05 * 34.5 * KT  # the test can see 10 % in the temperature of half the 3N
    pooled = np.sort(np.concatenate([ours.ravel(), theirs.ravel()]))
    ranks = [np.searchsorted(np.sort(x.ravel()), pooled, side="right") / x.size for x in (ours, theirs)]
    sizes = [effective_size(x) for x in (ours, theirs)]
    assert min(sizes) > 50
    distance = abs(ranks[0] - ranks[1]).max() * np.sqrt(sizes[0] * sizes[1] / sum(sizes))
    assert kstwobign.sf(distance) > 1e-4


def test_replicas_and_steps_are_uncorrelated() -> None:
    masses = alanine().masses_dalton[:, None]
    kernel, state, velocities = NativeEnergy(alanine()), warm(64), []
    for k in range(40):
        state = kernel.langevin(
            state, Stretch(500, LangevinSettings(friction_per_ps=20.0), 41, 500 * k)
        ).state
        velocities.append((state.velocities_nm_ps * np.sqrt(masses / KT)).reshape(64, -1))
    rows = np.stack(velocities, axis=1).reshape(64, -1)  # 64 replicas x (40 x 69) unit normals
    n = rows.shape[1]
    between = (rows @ rows.T / n)[np.triu_indices(64, 1)] * np.sqrt(n)
    assert abs(between).max() < 5
    assert abs((between**2).mean() - 1) < 4 * np.sqrt(2 / len(between))
    along = np.array([(velocities[k] * velocities[k + 1]).sum() for k in range(39)]) / np.sqrt(64 * 69)
    assert abs(z_score(along, 0.0)) < 4
