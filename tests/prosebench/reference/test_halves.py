"""Which frames of a reference are scored against, and which are spare: no trajectory gives frames to both."""

from dataclasses import replace

import numpy as np

from prosebench.reference import Reference, bundled_folder

REFERENCE = Reference.load(bundled_folder() / "SS.npz")


def test_halves_are_of_different_trajectories_and_as_large() -> None:
    scored, spare = REFERENCE.halves
    assert not set(REFERENCE.trajectory[scored]) & set(REFERENCE.trajectory[spare])
    assert sorted([*scored, *spare]) == list(range(len(REFERENCE)))
    assert abs(len(scored) - len(spare)) <= np.bincount(REFERENCE.trajectory).max()
    assert len(REFERENCE.scored) == len(scored)
    np.testing.assert_array_equal(REFERENCE.spare.energies_kt, REFERENCE.ensemble.energies_kt[spare])


def test_one_trajectory_and_a_stated_number_are_cut_in_their_random_order() -> None:
    alone = replace(REFERENCE, trajectory=np.zeros_like(REFERENCE.trajectory))
    assert [len(half) for half in alone.halves] == [4000, 4000]
    stated = replace(REFERENCE, n_scored=7000)
    assert stated.halves[0].tolist() == list(range(7000))
    assert len(replace(REFERENCE, n_scored=len(REFERENCE)).spare) == 0
