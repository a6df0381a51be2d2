"""Stored energies are those of their frames: what rounding explains passes, and nothing else, not even in one frame."""

from typing import cast

import numpy as np
import pytest

from analysis.submission.frames import ENERGY_TOLERANCE, ENERGY_TOLERANCE_KT, check_frames
from prosebench.energy.target import Target
from prosebench.ensemble import Ensemble
from tests.prosebench.test_record import RECORD

RADIUS_NM = 0.1


class Wall:
    """Two atoms that repel each other with (RADIUS_NM / r)^12 kT, in double precision; not finite above 1e30."""

    n_atoms = 2

    def energy_and_gradient(self, frames_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        apart = frames_nm[:, 0].astype(np.float64) - frames_nm[:, 1]
        distances = np.linalg.norm(apart, axis=1)
        energies = (RADIUS_NM / distances) ** 12
        pull = -12.0 * (energies / distances**2)[:, None] * apart
        return np.where(energies > 1e30, np.inf, energies), np.stack([pull, -pull], axis=1)


def stored(distances_nm: np.ndarray) -> Ensemble:
    """Frames with atoms so far apart (n,), rounded to single precision after their energies were found."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(len(distances_nm), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    first = rng.uniform(1.0, 3.0, size=directions.shape)
    frames_nm = np.stack([first, first + distances_nm[:, None] * directions], axis=1)
    return Ensemble(frames_nm.astype(np.float32), Wall().energy_and_gradient(frames_nm)[0])


def faults(ensemble: Ensemble) -> str:
    record = RECORD.model_copy(update={"frames": len(ensemble)})
    return " ".join(check_frames(ensemble, record, cast(Target, Wall())))


def test_what_rounding_does_to_the_energies_of_clashes_is_no_fault() -> None:
    clashes = stored(np.geomspace(1e-3, 0.2, 500))
    found, _ = Wall().energy_and_gradient(clashes.positions_nm)
    off = np.abs(found - clashes.energies_kt) > ENERGY_TOLERANCE_KT + ENERGY_TOLERANCE * found
    assert off.mean() > 0.1  # many times more than a thousandth of the frames
    assert faults(clashes) == ""


@pytest.mark.parametrize("number", [1, 120, 2000])
def test_one_energy_that_rounding_does_not_explain_is_a_fault(number: int) -> None:
    """However many frames stand beside it, and whether it is a little too low or far."""
    frames = stored(np.full(number, 0.09))
    assert faults(frames) == ""
    for change in (-0.1, -50.0):
        energies = frames.energies_kt.copy()
        energies[number // 2] += change
        said = faults(Ensemble(frames.positions_nm, energies))
        assert f"1 of {number:,} frames have other energies than stored" in said


def test_a_clash_that_is_said_to_have_a_low_energy_is_a_fault() -> None:
    clash = stored(np.array([0.001]))
    assert clash.energies_kt[0] > 1e20
    assert "1 of 1 frames have other energies" in faults(Ensemble(clash.positions_nm, np.array([10.0])))


def test_engines_need_not_agree_on_where_single_precision_ends() -> None:
    beyond = stored(np.array([1e-4]))
    assert np.isinf(Wall().energy_and_gradient(beyond.positions_nm)[0]).all()
    assert faults(Ensemble(beyond.positions_nm, np.array([1e36]))) == ""
    assert "other energies than stored" in faults(Ensemble(beyond.positions_nm, np.array([1e6])))
