"""Averages over the frames of an ensemble, with standard errors that know weights, repeats and correlation in time.

Three things make frames tell less than as many independent ones would. Weights are unequal; frames repeat, as in a file
that was drawn by weights; and frames that follow each other in a trajectory are alike. A mean is linear in what each
frame adds to it, its influence n w (f - mean), whose own mean is 0. The first two are seen by adding up the influences
of equal frames, the third by blocks of neighbours; the larger of the two standard errors counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

Floats = NDArray[np.floating]

_LEVEL = 0.01
"""The level of the test whether blocks are independent of their neighbours: this share of independent blocks
fails it."""
_FEWEST_BLOCKS = 8
"""The smallest number of blocks from which an error is taken. Where even so few blocks depend on each other,
the test is not passed, and the error is too small."""
_COLUMN_NUMBERS = 4_000_000
"""The largest number of influences that are held in memory at once."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean with its standard error, in the unit of what was averaged; each a number, or an array of the same shape.

    effective_frames is how many independent frames without weights would have given the same standard error.
    """

    value: Any
    standard_error: Any
    effective_frames: Any

    def __str__(self) -> str:
        if np.ndim(self.value):
            return (
                "[" + ", ".join(map(_with_error, np.ravel(self.value), np.ravel(self.standard_error))) + "]"
            )
        return _with_error(self.value, self.standard_error)


def _with_error(value: float, error: float) -> str:
    """An error written with two digits, and its value to the same decimal place."""
    if not np.isfinite(error) or error <= 0.0:
        return f"{value:.4g} ± {error:.2g}"
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


@dataclass(frozen=True, eq=False)
class Histogram:
    """How the weight of an ensemble is spread over bins.

    edges (bins + 1,), or a pair of them for a map of two quantities; share (bins) or (bins, bins) of all weight, that
    in no bin included; share_error, its standard error; volume, the length or area of each bin. free_energy_kt is
    -log of the density in kT, 0 in the bin where it is lowest and inf in one without weight; free_energy_error_kt is
    the standard error of its difference from that lowest bin.
    """

    edges: Any
    share: NDArray[np.float64]
    share_error: NDArray[np.float64]
    volume: NDArray[np.float64]
    free_energy_kt: NDArray[np.float64]
    free_energy_error_kt: NDArray[np.float64]

    @property
    def density(self) -> NDArray[np.float64]:
        """Share per unit of the quantity."""
        return self.share / self.volume

    @property
    def density_error(self) -> NDArray[np.float64]:
        """Standard error of the density."""
        return self.share_error / self.volume


@dataclass(frozen=True, eq=False)
class Frames:
    """Weights (n,) that sum to 1, and for each frame the number (n,) of the first one that is equal to it."""

    weights: NDArray[np.float64]
    same_as: NDArray[np.int64]

    def mean(self, values: Floats) -> Estimate:
        """Weighted mean over the first axis of values (n, ...), which are finite where there is weight."""
        table = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
        table = np.where(self.weights[:, None] > 0.0, table, 0.0)
        mean = self.weights @ table
        off = table - mean
        error = self.errors(self.weights[:, None] * off)
        variance = self.weights @ off**2
        with np.errstate(divide="ignore", invalid="ignore"):
            effective = np.where(variance > 0.0, variance / error**2, np.nan)
        shape = np.shape(values)[1:]
        found = [part.reshape(shape) if shape else float(part[0]) for part in (mean, error, effective)]
        return Estimate(*found)

    def histogram(self, values: Floats, bins: Any, limits: Any) -> Histogram:
        """Histogram of values (n,) or (n, 2); bins and limits as `range` of numpy.histogramdd."""
        points = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
        seen = self.weights > 0.0
        of_range = limits if limits is None or np.ndim(limits) > 1 else [limits]
        if np.ndim(bins) == 1 and points.shape[1] == 1:
            bins = [bins]
        share, edges = np.histogramdd(points[seen], bins, of_range, weights=self.weights[seen])
        shape, flat = share.shape, share.ravel()
        place = np.full(len(points), -1)
        place[seen] = _places(points[seen], edges)
        volume = np.diff(edges[0]) if len(edges) == 1 else np.outer(np.diff(edges[0]), np.diff(edges[1]))
        with np.errstate(divide="ignore"):
            energy = -np.log(flat / volume.ravel())
        lowest = int(np.argmin(energy))
        share_error, energy_error = np.zeros(len(flat)), np.full(len(flat), np.nan)
        of_lowest = self.weights * (place == lowest) / (flat[lowest] or 1.0)
        for part in _parts(np.flatnonzero(flat), len(points)):
            inside = self.weights[:, None] * (place[:, None] == part)
            share_error[part] = self.errors(inside - self.weights[:, None] * flat[part])
            energy_error[part] = self.errors(inside / flat[part] - of_lowest[:, None])
        return Histogram(
            edges[0] if len(edges) == 1 else tuple(edges),
            share,
            share_error.reshape(shape),
            volume,
            (energy - energy[lowest] if flat.any() else energy).reshape(shape),
            energy_error.reshape(shape),
        )

    def errors(self, influence: Floats) -> NDArray[np.float64]:
        """Standard errors (k,) of sums over frames whose terms are influence (n, k), each with the mean 0.

        NaN for a single frame. Terms of equal frames are added up first, in which the spread of a file drawn by
        weights is both that of the weighted frames and that of the drawing.
        """
        if len(influence) < 2:
            return np.full(influence.shape[1], np.nan)
        return np.maximum(self._of_distinct(influence), blocked_error(len(influence) * influence))

    def _of_distinct(self, influence: Floats) -> NDArray[np.float64]:
        total = influence
        if (self.same_as != np.arange(len(influence))).any():
            total = np.zeros_like(influence)
            np.add.at(total, self.same_as, influence)
        weight = np.bincount(self.same_as, self.weights)
        # For equal weights this is the n / (n - 1) of an unbiased variance.
        lost = min(float((weight**2).sum()), 1.0 - 1e-12)
        return np.sqrt((total**2).sum(axis=0) / (1.0 - lost))


def _places(points: Floats, edges: Sequence[Floats]) -> NDArray[np.int64]:
    """The number (n,) of the bin of each point (n, 1 or 2), -1 for a point in none; the last bin includes its
    upper edge."""
    place, outside = np.zeros(len(points), dtype=np.int64), np.zeros(len(points), dtype=bool)
    for values, of in zip(points.T, edges, strict=True):
        index = np.searchsorted(of, values, side="right") - 1
        index[values == of[-1]] = len(of) - 2
        outside |= (index < 0) | (index >= len(of) - 1)
        place = place * (len(of) - 1) + index
    return np.where(outside, -1, place)


def _parts(bins: NDArray[np.int64], n_frames: int) -> Iterator[NDArray[np.int64]]:
    """The bins in portions that fit into memory."""
    size = max(1, _COLUMN_NUMBERS // n_frames)
    for first in range(0, len(bins), size):
        yield bins[first : first + size]


def same_as_first(frames_nm: NDArray[Any]) -> NDArray[np.int64]:
    """For each frame (n, atoms, 3) the number of the first one with the very same coordinates."""
    first: dict[int, int] = {}
    return np.array([first.setdefault(hash(frame.tobytes()), i) for i, frame in enumerate(frames_nm)])


def blocked_error(series: Floats) -> NDArray[np.float64]:
    """Standard error (k,) of the mean of each column of a series (n, k) in time, n at least 2.

    Neighbours are averaged in pairs, again and again, until the blocks are independent of each other by a test that
    takes the correlation of neighbours at this and all later levels together (Jonsson, Phys. Rev. E 98 (2018) 043304,
    after Flyvbjerg and Petersen 1989). Correlation that shows only between far frames, as in trajectories that are
    interleaved, is seen too.
    """
    levels = [np.asarray(series, dtype=np.float64)]
    while len(levels[-1]) >= 4:
        even = levels[-1][: len(levels[-1]) // 2 * 2]
        levels.append(0.5 * (even[0::2] + even[1::2]))
    variance = np.stack([level.var(axis=0) for level in levels])
    sizes = np.array([len(level) for level in levels], dtype=np.float64)[:, None]
    tests = np.stack([_neighbours(level) for level in levels])
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.nan_to_num(sizes * (tests / variance) ** 2, nan=0.0, posinf=0.0)
    statistic = terms[::-1].cumsum(axis=0)[::-1]
    allowed = chdtri(np.arange(len(levels), 0, -1.0), _LEVEL)[:, None]
    passed = (statistic < allowed) | (sizes < 2 * _FEWEST_BLOCKS)
    level = passed.argmax(axis=0)
    column = np.arange(variance.shape[1])
    # What is left of the correlation of neighbours, too weak for the test, is taken in.
    spread = variance[level, column] + 2.0 * np.maximum(tests[level, column], 0.0)
    return np.sqrt(spread / (sizes[level, 0] - 1.0))


def _neighbours(level: Floats) -> NDArray[np.float64]:
    """Covariance (k,) of neighbours in a series (n, k), free of what subtracting the mean takes from it."""
    n, off = len(level), level - level.mean(axis=0)
    return (off[:-1] * off[1:]).sum(axis=0) / n + (n - 1) / n**2 * level.var(axis=0)
