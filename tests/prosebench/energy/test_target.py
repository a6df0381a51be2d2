"""What every engine is asked with is checked in one place: frames, steps to keep, temperatures of baths."""

from dataclasses import replace

import numpy as np
import pytest

from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.target import (
    LangevinSettings,
    Stretch,
    Target,
    check_frames,
    kt_kj_mol,
)


def stretch(keep: object, n_steps: int = 10) -> Stretch:
    return Stretch(n_steps, LangevinSettings(300.0), 0, keep_steps=np.array(keep))


def test_the_thermal_energy_at_the_published_temperature() -> None:
    assert kt_kj_mol(310.0) == pytest.approx(2.5774834)


def test_frames_become_double_precision_whatever_they_were() -> None:
    frames = check_frames(np.zeros((2, 4, 3), np.float32), 4)
    assert frames.dtype == np.float64
    assert check_frames(np.zeros((0, 4, 3)), 4).shape == (0, 4, 3)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4), (2, 5, 3), (1, 2, 4, 3), (12,)])
def test_another_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"frames_nm has shape .*; this target needs \(frames, 4, 3\)"):
        check_frames(np.zeros(shape), 4)


@pytest.mark.parametrize("keep", [[], [1], [10], [1, 2, 10]])
def test_steps_that_ascend_within_the_stretch_are_kept(keep: list[int]) -> None:
    assert stretch(keep).steps_to_keep().tolist() == keep


@pytest.mark.parametrize("keep", [[0], [11], [3, 3], [5, 4], [-1, 2], [[1, 2]]])
def test_steps_out_of_order_or_reach_are_refused(keep: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending numbers from 1 to n_steps = 10"):
        stretch(keep).steps_to_keep()


def test_no_stretch_goes_backwards() -> None:
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        stretch([], -1).steps_to_keep()
    assert stretch([], 0).steps_to_keep().size == 0


def test_every_replica_has_a_bath() -> None:
    assert stretch([]).temperatures_of(3).tolist() == [300.0] * 3
    exchanged = replace(stretch([]), temperatures_kelvin=np.array([0.0, 310.0]))
    assert exchanged.temperatures_of(2).tolist() == [0.0, 310.0]
    for wrong in ([300.0], [300.0, -1.0], [300.0, np.nan], [[300.0, 300.0]]):
        with pytest.raises(ValueError, match="must be 2 numbers of at least 0"):
            replace(exchanged, temperatures_kelvin=np.array(wrong)).temperatures_of(2)


def test_what_has_all_the_calls_is_a_target() -> None:
    assert isinstance(HarmonicTarget(np.zeros((1, 3))), Target)
    assert not isinstance(object(), Target)
