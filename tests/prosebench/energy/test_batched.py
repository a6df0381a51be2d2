"""BatchedEnergy on all of its paths: agreement with OpenMM's Reference platform, symmetries, dynamics."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from prosebench.energy import native, warp
from prosebench.energy.batched import BatchedEnergy
from prosebench.energy.parameters.terms import UnsupportedForce, read_parameters
from prosebench.energy.target import LangevinSettings, PhaseState, Stretch, Target, kt_kj_mol
from prosebench.energy.warp import WarpUnavailable
from tests.prosebench.energy import frames as fr
from tests.prosebench.energy.random_numbers import philox, standard_normals

KT = kt_kj_mol(310.0)
NOTHING = np.array([], dtype=np.int64)
needs_native = pytest.mark.skipif(not native.available(), reason=str(native.why_unavailable()))


def warp_on(device: str) -> pytest.MarkDecorator:
    """Skips where there is no Warp with such a device."""
    reason = warp.why_unavailable(device)
    return pytest.mark.skipif(reason is not None, reason=str(reason))


PATHS = [
    pytest.param({"path": "native"}, marks=needs_native, id="native"),
    pytest.param({"path": "warp"}, marks=warp_on("cpu"), id="warp"),
    pytest.param({"device": "cuda"}, marks=warp_on("cuda"), id="gpu"),
]
all_paths = pytest.mark.parametrize("path", PATHS)


@all_paths
@pytest.mark.parametrize("sequence", fr.SEQUENCES)
def test_md_frames_in_single_precision(path: dict[str, str], sequence: str) -> None:
    frames = fr.md_frames(sequence)
    energies, gradients = BatchedEnergy(fr.peptide(sequence), **path).energy_and_gradient(frames)
    expected, expected_gradients = fr.reference(fr.peptide(sequence).system(), frames)
    assert np.abs(energies * KT - expected).max() < 2e-3
    assert fr.relative_error(gradients * KT, expected_gradients) < 6e-6


@needs_native
@all_paths
def test_the_largest_peptide_in_single_precision(path: dict[str, str]) -> None:
    """233 atoms with large charges, as warm as they are sampled, against the double precision checked below."""
    peptide = fr.peptide("RKRKRKRKRK")
    rough, exact = BatchedEnergy(peptide, **path), BatchedEnergy(peptide, precision="double")
    frames = np.repeat(peptide.start_nm[None], 16, axis=0)
    warm = BatchedEnergy(peptide).langevin(
        PhaseState(frames, np.zeros_like(frames)),
        Stretch(300, LangevinSettings(friction_per_ps=20.0), 1, 0, np.array([300])),
    )
    frames = warm.frames_nm[0].astype(np.float64)
    assert np.abs(rough.energy(frames) - exact.energy(frames)).max() * KT < 2e-3


@needs_native
@pytest.mark.parametrize("sequence", fr.SEQUENCES)
@pytest.mark.parametrize("kind", [fr.md_frames, fr.stretched_frames, fr.clashing_frames, fr.shaken_frames])
def test_any_frames_in_double_precision(sequence: str, kind: Callable[[str], fr.Floats]) -> None:
    frames = kind(sequence)
    target = BatchedEnergy(fr.peptide(sequence), precision="double")
    energies, gradients = target.energy_and_gradient(frames)
    expected, expected_gradients = fr.reference(fr.peptide(sequence).system(), frames)
    np.testing.assert_allclose(energies * KT, expected, rtol=1e-6, atol=1e-6)
    assert fr.relative_error(gradients * KT, expected_gradients) < 1e-6
    np.testing.assert_allclose(target.energy(frames), energies, rtol=1e-12, atol=1e-9)


@all_paths
@pytest.mark.parametrize("kind", [fr.stretched_frames, fr.clashing_frames, fr.shaken_frames])
def test_any_frames_in_single_precision(path: dict[str, str], kind: Callable[[str], fr.Floats]) -> None:
    frames = kind("DEFG").astype(np.float32).astype(np.float64)
    energies, gradients = BatchedEnergy(fr.peptide("DEFG"), **path).energy_and_gradient(frames)
    expected, expected_gradients = fr.reference(fr.peptide("DEFG").system(), frames)
    np.testing.assert_allclose(energies * KT, expected, rtol=1e-4, atol=5e-3)
    assert fr.relative_error(gradients * KT, expected_gradients) < 1e-4


def test_clashing_frames_reach_a_million_kt() -> None:
    expected, _ = fr.reference(fr.peptide("DEFG").system(), fr.clashing_frames("DEFG"))
    assert expected.max() > 1e6 * KT


@needs_native
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_rotation_translation_and_order_of_frames(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = BatchedEnergy(fr.peptide("AC"), precision="double")
    frames = fr.md_frames("AC")
    energies, gradients = target.energy_and_gradient(frames)
    turn = Rotation.random(random_state=seed).as_matrix()
    order = rng.permutation(np.repeat(np.arange(len(frames)), rng.integers(1, 9)))
    moved = frames[order] @ turn.T + rng.uniform(-5, 5, size=3)
    moved_energies, moved_gradients = target.energy_and_gradient(moved)
    np.testing.assert_allclose(moved_energies, energies[order], rtol=1e-9)
    np.testing.assert_allclose(moved_gradients, gradients[order] @ turn.T, atol=1e-5)
    assert np.abs(gradients.sum(axis=1)).max() < 1e-8


@all_paths
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_frames_leave_their_neighbours_alone(path: dict[str, str], bad: float) -> None:
    target = BatchedEnergy(fr.peptide("AC"), **path)
    frames = np.concatenate([fr.md_frames("AC")] * 4)
    clean = target.energy_and_gradient(frames)
    broken = frames.copy()
    broken[3, 5, 1] = bad
    broken[7, 2] = broken[7, 11]
    energies, gradients = target.energy_and_gradient(broken)
    fine = np.ones(len(frames), dtype=bool)
    fine[[3, 7]] = False
    assert (energies[[3, 7]] == np.inf).all()
    assert (gradients[[3, 7]] == 0).all()
    np.testing.assert_array_equal(energies[fine], clean[0][fine])
    np.testing.assert_array_equal(gradients[fine], clean[1][fine])
    np.testing.assert_array_equal(target.energy(broken)[[3, 7]], np.inf)


@all_paths
def test_empty_batches_and_wrong_shapes(path: dict[str, str]) -> None:
    target = BatchedEnergy(fr.peptide("AC"), **path)
    energies, gradients = target.energy_and_gradient(np.empty((0, target.n_atoms, 3)))
    assert energies.shape == (0,)
    assert gradients.shape == (0, target.n_atoms, 3)
    with pytest.raises(ValueError, match="shape"):
        target.energy(np.zeros((2, target.n_atoms + 1, 3)))


@all_paths
def test_temperature_scales_energies(path: dict[str, str]) -> None:
    frames = fr.md_frames("AC")
    cold, hot = (BatchedEnergy(fr.peptide("AC"), t, **path).energy(frames) for t in (310.0, 620.0))
    np.testing.assert_allclose(cold, 2 * hot, rtol=1e-12)


@all_paths
def test_describe_names_the_path(path: dict[str, str]) -> None:
    target = BatchedEnergy(fr.peptide("AC"), **path)
    assert isinstance(target, Target)
    described = target.describe()
    expected = ("batched", path.get("path", "warp"), "single")
    assert (described["engine"], described["path"], described["precision"]) == expected
    assert described.get("device", "cpu") == path.get("device", "cpu")


@all_paths
@pytest.mark.parametrize("solvent", ["obc2", "gbn", "gbn2"])
@pytest.mark.parametrize("kind", [fr.md_frames, fr.stretched_frames, fr.shaken_frames])
def test_every_path_computes_every_known_solvent(
    path: dict[str, str], solvent: str, kind: Callable[[str], fr.Floats]
) -> None:
    target = BatchedEnergy(fr.peptide("AC"), force_field=fr.force_field(solvent), **path)
    frames = kind("AC").astype(np.float32).astype(np.float64)
    expected, slopes = fr.reference(fr.peptide("AC").system(fr.force_field(solvent)), frames)
    energies, gradients = target.energy_and_gradient(frames)
    np.testing.assert_allclose(energies * KT, expected, rtol=1e-5, atol=2e-3)
    assert fr.relative_error(gradients * KT, slopes) < 2e-5


def test_refusals() -> None:
    with pytest.raises(UnsupportedForce, match="CustomGBForce"):
        BatchedEnergy(fr.peptide("AC"), force_field=fr.force_field("hct"))
    with pytest.raises(ValueError, match="unknown choice 'half'; known: single, double"):
        BatchedEnergy(fr.peptide("AC"), precision="half")
    with pytest.raises(ValueError, match="known: auto, native, warp"):
        BatchedEnergy(fr.peptide("AC"), path="fortran")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="path='warp'"):
        BatchedEnergy(fr.peptide("AC"), path="native", device="cuda")
    with pytest.raises(ValueError, match="path 'native' has 'double'"):
        BatchedEnergy(fr.peptide("AC"), path="warp", precision="double")


@pytest.mark.skipif(warp.why_unavailable() is None, reason="there is a GPU here")
def test_without_a_gpu_the_remedy_is_named() -> None:
    with pytest.raises(WarpUnavailable, match=r"prosebench\[gpu\]|target.device=cpu"):
        BatchedEnergy(fr.peptide("AC"), device="cuda")


def start(n_replicas: int) -> PhaseState:
    positions = np.repeat(fr.md_frames("AC")[:1], n_replicas, axis=0)
    return PhaseState(positions, np.zeros_like(positions))


@all_paths
def test_langevin_in_stretches_is_the_same_run(path: dict[str, str]) -> None:
    target = BatchedEnergy(fr.peptide("AC"), **path)
    whole = target.langevin(start(3), Stretch(12, LangevinSettings(), 99, 250, np.array([5, 12])))
    first = target.langevin(start(3), Stretch(5, LangevinSettings(), 99, 250, np.array([5])))
    second = target.langevin(first.state, Stretch(7, LangevinSettings(), 99, 255, np.array([7])))
    np.testing.assert_allclose(second.state.positions_nm, whole.state.positions_nm, atol=1e-12)
    np.testing.assert_allclose(
        np.concatenate((first.energies_kt, second.energies_kt)), whole.energies_kt, rtol=1e-9
    )
    np.testing.assert_allclose(whole.frames_nm[1], whole.state.positions_nm, atol=1e-6)
    np.testing.assert_allclose(whole.energies_kt, [target.energy(f) for f in whole.frames_nm], atol=5e-3)
    assert not whole.failed.any()


@all_paths
def test_langevin_follows_the_scheme(path: dict[str, str]) -> None:
    check_scheme(BatchedEnergy(fr.peptide("AC"), **path), 2e-7, 1e-4)


@needs_native
def test_langevin_in_double_precision_follows_the_scheme() -> None:
    check_scheme(BatchedEnergy(fr.peptide("AC"), precision="double"), 1e-9, 1e-6)


def check_scheme(target: BatchedEnergy, position_nm: float, velocity_nm_ps: float) -> None:
    """Three steps in numpy, with numbers of another implementation of the generator, end in the same place."""
    langevin = LangevinSettings(temperature_kelvin=400.0, friction_per_ps=2.0, time_step_fs=0.5)
    key, first_step, first_replica = 0xFEDCBA9876543210, 2**33, 7
    result = target.langevin(start(2), Stretch(3, langevin, key, first_step, first_replica=first_replica))
    mass = read_parameters(fr.peptide("AC").system()).masses_dalton[:, None]
    x, v = start(2).positions_nm, start(2).velocities_nm_ps
    dt, a = 0.0005, np.exp(-2.0 * 0.0005)
    for step in range(first_step, first_step + 3):
        v = v - dt / mass * target.energy_and_gradient(x)[1] * KT
        x = x + dt / 2 * v
        xi = standard_normals(key, step, x.shape, first_replica)
        v = a * v + np.sqrt((1 - a**2) * kt_kj_mol(400.0) / mass) * xi
        x = x + dt / 2 * v
    np.testing.assert_allclose(result.state.positions_nm, x, atol=position_nm)
    np.testing.assert_allclose(result.state.velocities_nm_ps, v, atol=velocity_nm_ps)


@all_paths
def test_a_failing_replica_is_reported(path: dict[str, str]) -> None:
    target = BatchedEnergy(fr.peptide("AC"), **path)
    state = start(3)
    state.positions_nm[1, 4] = np.nan
    result = target.langevin(state, Stretch(4, LangevinSettings(), 1, 0, np.array([2, 4])))
    assert result.failed.tolist() == [False, True, False]
    assert np.isnan(result.frames_nm[:, 1]).all()
    assert (result.energies_kt[:, 1] == np.inf).all()
    assert np.isfinite(result.frames_nm[:, [0, 2]]).all()


@all_paths
def test_replicas_may_have_their_own_temperatures(path: dict[str, str]) -> None:
    target = BatchedEnergy(fr.peptide("AC"), **path)
    temperatures = np.array([1.0, 310.0])
    result = target.langevin(start(2), Stretch(1, LangevinSettings(), 5, 0, temperatures_kelvin=temperatures))
    alone = target.langevin(start(2), Stretch(1, LangevinSettings(temperature_kelvin=1.0), 5))
    np.testing.assert_allclose(result.state.velocities_nm_ps[0], alone.state.velocities_nm_ps[0], atol=1e-7)
    assert np.abs(result.state.velocities_nm_ps[1] - alone.state.velocities_nm_ps[1]).max() > 1e-3


@pytest.mark.parametrize("keep", [[0], [3, 2], [5]])
@all_paths
def test_wrong_keep_steps_are_refused(path: dict[str, str], keep: list[int]) -> None:
    target = BatchedEnergy(fr.peptide("AC"), **path)
    with pytest.raises(ValueError, match="keep_steps"):
        target.langevin(start(1), Stretch(4, LangevinSettings(), 1, 0, np.array(keep)))


def test_random_numbers_arephilox() -> None:
    """Known answers of the Random123 distribution (Salmon et al., SC'11)."""
    zeros = [np.zeros(1, dtype=np.uint64)] * 4
    assert [int(w[0]) for w in philox(zeros, 0)] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = [np.full(1, 0xFFFFFFFF, dtype=np.uint64)] * 4
    assert [int(w[0]) for w in philox(ones, 2**64 - 1)] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def test_random_numbers_are_standard_normal() -> None:
    numbers = standard_normals(7, 0, (400, 33, 3)).ravel()
    n = numbers.size
    assert abs(numbers.mean()) < 4 / np.sqrt(n)
    assert abs((numbers**2).mean() - 1) < 4 * np.sqrt(2 / n)
    assert abs((numbers**4).mean() - 3) < 4 * np.sqrt(96 / n)
