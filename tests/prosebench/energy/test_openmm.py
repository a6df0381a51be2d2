"""OpenMM as the oracle: units, platforms, non-finite frames, and dynamics that depend on their key alone."""

import numpy as np
import pytest

from prosebench.energy import OpenMMEnergy
from prosebench.energy.openmm import platforms
from prosebench.energy.target import LangevinSettings, PhaseState, Stretch, kt_kj_mol
from prosebench.peptide import Peptide

PEPTIDE = Peptide.from_sequence("AA")
NOTHING = np.array([], dtype=np.int64)


@pytest.fixture(scope="module")
def oracle() -> OpenMMEnergy:
    return OpenMMEnergy(PEPTIDE, platform="Reference")


def shaken(n: int) -> np.ndarray:
    return PEPTIDE.start_nm + np.random.default_rng(0).normal(scale=0.003, size=(n, PEPTIDE.n_atoms, 3))


def test_energies_are_in_units_of_kt(oracle: OpenMMEnergy) -> None:
    warm = OpenMMEnergy(PEPTIDE, 620.0, platform="Reference")
    np.testing.assert_allclose(warm.energy(shaken(3)), oracle.energy(shaken(3)) / 2, rtol=1e-12)
    assert kt_kj_mol(310.0) == pytest.approx(2.577, abs=1e-3)


def test_the_gradient_is_that_of_the_energy(oracle: OpenMMEnergy) -> None:
    frame, step = shaken(1), 1e-5
    _, gradient = oracle.energy_and_gradient(frame)
    for atom, axis in ((0, 0), (7, 1), (22, 2)):
        moved = np.repeat(frame, 2, axis=0)
        moved[:, atom, axis] += [step, -step]
        above, below = oracle.energy(moved)
        assert gradient[0, atom, axis] == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-3)


@pytest.mark.parametrize("platform", [name for name in platforms() if name != "Reference"])
def test_platforms_agree(platform: str, oracle: OpenMMEnergy) -> None:
    other = OpenMMEnergy(PEPTIDE, platform=platform)
    np.testing.assert_allclose(other.energy(shaken(4)), oracle.energy(shaken(4)), atol=2e-3)
    assert other.describe()["platform"] == platform


def test_a_bad_frame_is_infinite_and_harms_no_other(oracle: OpenMMEnergy) -> None:
    frames = shaken(4)
    frames[1, 3, 0] = np.nan
    frames[2] = 0.0
    energies, gradients = oracle.energy_and_gradient(frames)
    np.testing.assert_array_equal(np.isinf(energies), [False, True, True, False])
    assert (gradients[1:3] == 0).all()
    np.testing.assert_array_equal(energies[[0, 3]], oracle.energy(frames[[0, 3]]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"platform": "Abacus"}, "no platform 'Abacus'.*it has .*Reference"),
        ({"platform": "Reference", "precision": "single"}, "computes in double precision, not in 'single'"),
    ],
)
def test_what_openmm_does_not_have_is_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OpenMMEnergy(PEPTIDE, **options)


def test_frames_of_another_shape_are_refused(oracle: OpenMMEnergy) -> None:
    with pytest.raises(ValueError, match=r"needs \(frames, 23, 3\)"):
        oracle.energy(np.zeros((2, 22, 3)))


def test_dynamics_depend_on_key_replica_and_step_alone() -> None:
    target = OpenMMEnergy(PEPTIDE)
    start = np.repeat(PEPTIDE.start_nm[None], 2, axis=0)
    state = PhaseState(start, np.zeros_like(start))
    keep = np.array([3, 10], dtype=np.int64)
    one, again, other = (
        target.langevin(state, Stretch(10, LangevinSettings(), key, 0, keep)) for key in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.frames_nm, again.frames_nm)
    assert one.frames_nm.shape == (2, 2, PEPTIDE.n_atoms, 3)
    assert not np.array_equal(one.frames_nm, other.frames_nm)
    assert not np.array_equal(one.frames_nm[:, 0], one.frames_nm[:, 1])
    np.testing.assert_allclose(target.energy(one.frames_nm[1]), one.energies_kt[1], atol=2e-3)


def test_a_blow_up_is_told_and_harms_no_other_replica() -> None:
    target = OpenMMEnergy(PEPTIDE)
    positions = np.repeat(PEPTIDE.start_nm[None], 2, axis=0)
    velocities = np.zeros_like(positions)
    positions[0] = 0.0
    result = target.langevin(
        PhaseState(positions, velocities), Stretch(20, LangevinSettings(), 1, 0, np.array([20]))
    )
    np.testing.assert_array_equal(result.failed, [True, False])
    assert np.isinf(result.energies_kt[0, 0])
    assert np.isfinite(result.energies_kt[0, 1])


@pytest.mark.parametrize("platform", ["CPU", "Reference"])
def test_a_blow_up_is_told_where_no_frame_is_kept(platform: str) -> None:
    start = PEPTIDE.start_nm[None]
    hasty = LangevinSettings(time_step_fs=20.0)
    target = OpenMMEnergy(PEPTIDE, platform=platform)
    result = target.langevin(PhaseState(start, np.zeros_like(start)), Stretch(50, hasty, 1))
    assert result.failed.all()
    assert np.isnan(result.state.positions_nm).all()
    with pytest.raises(ValueError, match="keep_steps must be ascending"):
        target.langevin(PhaseState(start, np.zeros_like(start)), Stretch(5, hasty, 1, 0, np.array([3, 2])))
