"""What frames say for themselves: their energies, and whether they are copies of each other or of the reference."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from prosebench.energy.target import Target
from prosebench.ensemble import Ensemble
from prosebench.record import Record
from prosebench.reference import Reference

MOST_FRAMES = 4_000
"""The number of frames whose energies are computed again. They are drawn at random from ensembles that have
more."""

ENERGY_TOLERANCE_KT = 0.05
ENERGY_TOLERANCE = 1e-4
"""The relative deviation that is allowed between a frame's energies by two engines; ENERGY_TOLERANCE_KT is
the absolute one. What rounding adds is in `_rounding_kt`."""

SURELY_FINITE_KT = 1e20
"""An energy in kT below this is finite with any engine. Far above it, the range of single precision ends."""

SHAPE_PAIRS = 24
SAME_SHAPE_NM = 1e-4
"""Two frames are one and the same if their vectors of the distances between SHAPE_PAIRS pairs of atoms differ
by less than this, in nm."""

EQUAL_SHAPE_NM = 1e-5
"""Frames of one ensemble are repeats if their distances round to the same multiples of this, in nm. A step of
a sampler moves them farther."""

MOST_REPEATS = 10.0
"""The number of times that a frame may occur in an ensemble, on average. Resampling repeats frames so often
if a tenth of them carries the weight."""

UNEXPECTED_REPEATS = 0.01
"""The share of repeats that is allowed in an ensemble of a method that never repeats a frame, such as a
trajectory kept every few steps."""


def check_frames(ensemble: Ensemble, record: Record, target: Target) -> Iterator[str]:
    """What in an ensemble contradicts its record, its peptide, or the energy function."""
    n_atoms = ensemble.positions_nm.shape[1]
    if n_atoms != target.n_atoms:
        yield f"its frames have {n_atoms} atoms, {record.cell.peptide} has {target.n_atoms}"
        return
    if len(ensemble) != record.frames:
        yield f"its ensemble holds {len(ensemble):,} frames, its record says {record.frames:,}"
    yield from _check_energies(ensemble, target)


def _check_energies(ensemble: Ensemble, target: Target) -> Iterator[str]:
    """Energies that are not those of their frames, and frames that were called off though they have an energy."""
    called_off = ~np.isfinite(ensemble.energies_kt)
    chosen = np.concatenate([_some(np.flatnonzero(called_off)), _some(np.flatnonzero(~called_off))])
    stored, frames_nm = ensemble.energies_kt[chosen], ensemble.positions_nm[chosen]
    found, gradients = target.energy_and_gradient(frames_nm)
    with np.errstate(invalid="ignore"):
        gaps = np.abs(stored - found)
        allowed = ENERGY_TOLERANCE_KT + ENERGY_TOLERANCE * np.abs(found) + _rounding_kt(frames_nm, gradients)
        # Beyond what is surely finite, engines need not agree on what is.
        fits = np.where(np.isfinite(found), gaps <= allowed, stored >= SURELY_FINITE_KT)
    dropped = ~np.isfinite(stored) & (np.abs(found) < SURELY_FINITE_KT)
    if dropped.any():
        yield (
            f"{dropped.sum():,} of its frames are said to have no finite energy, but have: "
            f"the lowest {found[dropped].min():.6g} kT"
        )
    kept = np.isfinite(stored)
    deviating, checked = int((~fits & kept).sum()), int(kept.sum())
    if deviating:
        finite = gaps[kept & np.isfinite(gaps)]
        worst = float(finite.max()) if len(finite) else math.nan
        yield f"{deviating:,} of {checked:,} frames have other energies than stored, by up to {worst:.3g} kT"


def _rounding_kt(frames_nm: NDArray[np.float32], gradients: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much energies (n,) in kT may change if all coordinates (n, atoms, 3) in nm change in their last
    digit.

    Frames are stored in single precision, and the energy of a clash feels that; no other frame may deviate for it.
    gradients (n, atoms, 3) in kT/nm; 0 for a frame where one is not finite.
    """
    last_digits = np.spacing(np.abs(frames_nm, dtype=np.float32)).astype(np.float64)
    change = (np.abs(gradients) * last_digits).sum(axis=(1, 2))
    return np.where(np.isfinite(change), change, 0.0)


def _some(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most MOST_FRAMES of these indices, ascending. Which ones they are must not be known beforehand."""
    if len(places) <= MOST_FRAMES:
        return places
    return np.sort(np.random.default_rng().choice(places, MOST_FRAMES, replace=False))


def repeats(ensemble: Ensemble) -> tuple[int, int]:
    """Number of frames with finite coordinates, and how many different ones they are.

    A frame that was shifted, turned or mirrored is the same one.
    """
    shapes = _shape(ensemble.positions_nm)
    shapes = shapes[(shapes < _NOWHERE_NM).all(axis=1)]
    steps = np.round(shapes / EQUAL_SHAPE_NM).astype(np.uint64)
    factors = np.random.default_rng(0).integers(1, 2**63, SHAPE_PAIRS, dtype=np.uint64) * np.uint64(
        2
    ) + np.uint64(1)
    with np.errstate(over="ignore"):
        keys = (steps * factors[: steps.shape[1]]).sum(axis=1, dtype=np.uint64)
    return len(keys), len(np.unique(keys))


def check_repeats(ensemble: Ensemble, *, never: bool) -> Iterator[str]:
    """Frames that stand there more often than resampling, or rejected moves, explain; `never` where none may."""
    frames, distinct = repeats(ensemble)
    if never and frames - distinct > UNEXPECTED_REPEATS * frames:
        yield f"its {frames:,} frames are {distinct:,} different ones; its method repeats none"
    elif frames > MOST_REPEATS * distinct:
        yield (
            f"its {frames:,} frames are {distinct:,} different ones, each {frames / distinct:.1f} times: more than "
            f"resampling explains ({MOST_REPEATS:g} times); keep frames farther apart, or send each once, weighted"
        )


def copied(ensemble: Ensemble, reference: Reference) -> int:
    """Number of frames that are frames of the reference, shifted, turned or mirrored as they may be."""
    known, asked = (_shape(one.positions_nm) for one in (reference.ensemble, ensemble))
    asked = asked[(asked < _NOWHERE_NM).all(axis=1)]
    apart, _ = KDTree(known).query(asked, distance_upper_bound=SAME_SHAPE_NM)
    return int(np.isfinite(apart).sum())


def movement(ensemble: Ensemble) -> float:
    """Median over successive frames of how far, in nm, distances between atoms change from one to the next."""
    shapes = _shape(ensemble.positions_nm)
    shapes = shapes[(shapes < _NOWHERE_NM).all(axis=1)]
    steps = np.sqrt((np.diff(shapes, axis=0) ** 2).mean(axis=1))
    return float(np.median(steps)) if len(steps) else 0.0


_NOWHERE_NM = 1e7


def _shape(frames_nm: NDArray[np.float32]) -> NDArray[np.float64]:
    """Distances (n, SHAPE_PAIRS) in nm between pairs of atoms, the same pairs in every frame.

    Where one is not finite, it is _NOWHERE_NM, which no distance reaches.
    """
    atoms = frames_nm.shape[1]
    first, second = np.triu_indices(atoms, 1)
    chosen = np.random.default_rng(0).permutation(len(first))[:SHAPE_PAIRS]
    with np.errstate(invalid="ignore", over="ignore"):
        apart = frames_nm[:, first[chosen]].astype(np.float64) - frames_nm[:, second[chosen]]
        distances = np.sqrt((apart**2).sum(axis=2))
    return np.where(np.isfinite(distances), distances, _NOWHERE_NM)
