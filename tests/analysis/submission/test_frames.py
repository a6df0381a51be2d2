"""Frames that are copies, energies that are not theirs: found however a frame was turned, and nothing sound is."""

import numpy as np
import pytest

from analysis.submission import frames as checks
from analysis.submission.frames import check_frames, check_repeats, copied, movement, repeats
from prosebench.energy.analytic import HarmonicTarget
from prosebench.ensemble import Ensemble
from prosebench.frames.geometry import random_rotations
from prosebench.reference import Reference, bundled_folder
from tests.prosebench.test_record import RECORD

CENTRE = np.random.default_rng(0).normal(scale=0.2, size=(9, 3))
TARGET = HarmonicTarget(CENTRE)


def drawn(n: int, seed: int = 0) -> Ensemble:
    frames = TARGET.draw(n, np.random.default_rng(seed)).astype(np.float32)
    return Ensemble(frames, TARGET.energy(frames))


def moved(ensemble: Ensemble, seed: int = 1) -> Ensemble:
    """Shifted, turned and mirrored."""
    rng = np.random.default_rng(seed)
    turned = ensemble.positions_nm @ random_rotations(rng, len(ensemble)) + rng.normal(
        size=(len(ensemble), 1, 3)
    )
    return Ensemble(-turned, ensemble.energies_kt)


def told(ensemble: Ensemble, **changes: object) -> list[str]:
    record = RECORD.model_copy(update={"frames": len(ensemble)} | changes)
    return list(check_frames(ensemble, record, TARGET))


def test_honest_frames_pass() -> None:
    assert told(drawn(50)) == []


def test_another_number_of_atoms_or_frames_is_said() -> None:
    fewer = Ensemble(drawn(3).positions_nm[:, :8], np.zeros(3))
    assert told(fewer) == ["its frames have 8 atoms, AA has 9"]
    assert told(drawn(3), frames=4) == ["its ensemble holds 3 frames, its record says 4"]


@pytest.mark.parametrize(("off", "right"), [(0.04, True), (-0.04, True), (0.2, False), (-0.2, False)])
def test_energies_are_held_to_what_two_engines_differ_by(off: float, right: bool) -> None:
    ensemble = drawn(20)
    energies = ensemble.energies_kt.copy()
    energies[3] += off
    said = told(Ensemble(ensemble.positions_nm, energies))
    assert (said == []) == right
    if not right:
        assert said == ["1 of 20 frames have other energies than stored, by up to 0.2 kT"]


def test_a_frame_cannot_be_called_off() -> None:
    ensemble = drawn(20)
    energies = ensemble.energies_kt.copy()
    energies[[2, 5]] = np.inf
    lowest = ensemble.energies_kt[[2, 5]].min()
    assert told(Ensemble(ensemble.positions_nm, energies)) == [
        f"2 of its frames are said to have no finite energy, but have: the lowest {lowest:.6g} kT"
    ]
    broken = ensemble.positions_nm.copy()
    broken[[2, 5]] = np.nan
    assert told(Ensemble(broken, energies)) == []


def test_a_finite_energy_of_a_frame_that_has_none_is_found() -> None:
    ensemble = drawn(20)
    broken = ensemble.positions_nm.copy()
    broken[4] = np.nan
    (said,) = told(Ensemble(broken, ensemble.energies_kt))
    assert said.startswith("1 of 20 frames have other energies than stored")


def test_of_many_frames_some_are_computed_and_all_of_a_wrong_kind_may_be_among_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "MOST_FRAMES", 10)
    ensemble = drawn(200)
    (said,) = told(Ensemble(ensemble.positions_nm, ensemble.energies_kt + 1.0))
    assert said.startswith("10 of 10 frames have other energies")
    # Frames that were called off are looked at apart, however few they are.
    energies = ensemble.energies_kt.copy()
    energies[7] = np.inf
    (said,) = told(Ensemble(ensemble.positions_nm, energies))
    assert said.startswith("1 of its frames are said to have no finite energy")


def test_a_clash_may_differ_by_what_rounding_does_and_no_more() -> None:
    """A well of 1e9 kT/nm^2: the last digit of a coordinate is worth many kT."""
    stiff = HarmonicTarget(CENTRE, constant_kj_mol_nm2=1e9)
    exact = CENTRE + 0.01
    frames = exact[None].astype(np.float32)
    of_exact, of_stored = stiff.energy(exact[None])[0], stiff.energy(frames)[0]
    record = RECORD.model_copy(update={"frames": 1})
    assert abs(of_exact - of_stored) > checks.ENERGY_TOLERANCE_KT
    assert list(check_frames(Ensemble(frames, [of_exact]), record, stiff)) == []
    assert list(check_frames(Ensemble(frames, [1.01 * of_stored]), record, stiff)) != []


def test_repeats_are_seen_through_every_motion() -> None:
    some = drawn(30)
    both = Ensemble(
        np.concatenate([some.positions_nm, moved(some).positions_nm]), np.concatenate([some.energies_kt] * 2)
    )
    frames, distinct = repeats(both)
    assert frames == 60
    # Rounding may part a few pairs; it never makes one of two.
    assert 30 <= distinct <= 40
    assert repeats(drawn(1000)) == (1000, 1000)


def test_frames_that_are_not_finite_are_no_repeats_of_each_other() -> None:
    positions = drawn(5).positions_nm.copy()
    positions[[1, 3]] = np.nan
    assert repeats(Ensemble(positions, np.zeros(5))) == (3, 3)


@pytest.mark.parametrize(
    ("times", "never", "right"), [(1, True, True), (2, True, False), (10, False, True), (11, False, False)]
)
def test_repeats_are_judged_by_what_a_method_does(times: int, never: bool, right: bool) -> None:
    some = drawn(40)
    again = some.select(np.repeat(np.arange(40), times))
    said = list(check_repeats(again, never=never))
    assert (said == []) == right
    if said:
        assert f"{40 * times:,} frames are 40 different ones" in said[0]


def test_copies_of_the_reference_are_counted_and_neighbours_are_not() -> None:
    reference = Reference.load(bundled_folder() / "AA.npz")
    some = reference.ensemble.select(slice(0, 20))
    assert copied(some, reference) == 20
    assert copied(moved(some), reference) == 20
    noise = np.random.default_rng(0).normal(scale=1e-3, size=some.positions_nm.shape)
    assert copied(Ensemble(some.positions_nm + noise, some.energies_kt), reference) == 0
    broken = some.positions_nm.copy()
    broken[:5] = np.inf
    assert copied(Ensemble(broken, some.energies_kt), reference) == 15


def test_movement_is_that_of_distances_between_atoms() -> None:
    """A molecule that grows by 1 % a frame, whose distances are 1 nm: 0.01 nm; one that only turns and drifts: none."""
    one = np.zeros((2, 3))
    one[1, 0] = 1.0
    growing = np.array([one * 1.01**i for i in range(3)])
    assert movement(Ensemble(growing, np.zeros(3))) == pytest.approx(0.01005, rel=1e-3)
    still = Ensemble(np.repeat(drawn(1).positions_nm, 10, axis=0), np.zeros(10))
    assert movement(moved(still)) < 1e-6
    assert movement(drawn(1)) == 0.0
