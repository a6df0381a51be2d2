"""Positions of references as 16-bit fixed point: half the bytes, and an error far below what dynamics resolves.

A step of 5e-5 nm moves each coordinate by at most 2.5e-5 nm; a bond's thermal vibration is about 3e-3 nm. Energies
change by a few hundredths of kT, so those that are stored belong to the rounded frames.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from prosebench.ensemble import Ensemble

STEPS_PER_NM = 20_000
"""The number of steps in a nanometre: a step is 5e-5 nm. With 16 bits, coordinates reach 1.64 nm on either
side of the centre, more than an octapeptide needs."""


def rounded(
    ensemble: Ensemble, energies_kt: Callable[[NDArray[np.float32]], NDArray[np.float64]]
) -> Ensemble:
    """The frames moved to their centres and rounded to the grid, with the energies (n,) in kT that they then have.

    Where one is not finite, or reaches beyond 1.64 nm from its centre, all are given back as they are.
    """
    positions = ensemble.positions_nm.astype(np.float64)
    centred = positions - positions.mean(axis=1, keepdims=True)
    if not within_reach(centred):
        return ensemble
    on_grid = as_positions(as_integers(centred))
    return Ensemble(on_grid, energies_kt(on_grid))


def within_reach(positions_nm: NDArray[np.floating]) -> bool:
    """Whether 16 bits hold all of these positions."""
    return bool((np.abs(positions_nm) * STEPS_PER_NM <= np.iinfo(np.int16).max).all())


def as_integers(positions_nm: NDArray[np.floating]) -> NDArray[np.int16]:
    """The positions as whole numbers of steps (n, atoms, 3), rounded; ValueError where one is out of reach."""
    if not within_reach(positions_nm):
        raise ValueError("a position is not finite, or further than 1.64 nm from the centre of its frame")
    return np.rint(positions_nm.astype(np.float64) * STEPS_PER_NM).astype(np.int16)


def as_positions(steps: NDArray[np.int16]) -> NDArray[np.float32]:
    """The positions in nm of whole numbers of steps."""
    return (steps / STEPS_PER_NM).astype(np.float32)


def on_grid(positions_nm: NDArray[np.floating]) -> bool:
    """Whether positions are those of whole steps, so that they can be kept as such without loss."""
    return within_reach(positions_nm) and np.array_equal(
        as_positions(as_integers(positions_nm)), positions_nm
    )
