"""Estimates with intervals: the mean over peptides of the mean over seeds, and how well it is known."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

CONFIDENCE = 0.95
N_RESAMPLES = 2000
_BOOTSTRAP_SEED = 20250825


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, and on how many peptides and seeds it stands.

    low and high are None where nothing varies (one value), or where a value is not a number. n_seeds is the
    smallest number of seeds of any peptide.
    """

    value: float
    low: float | None
    high: float | None
    n_peptides: int
    n_seeds: int

    def overlaps(self, other: "Estimate") -> bool:
        """Whether the two intervals touch; an estimate without an interval is a point."""
        (low, high), (other_low, other_high) = self.ends, other.ends
        return low <= other_high and other_low <= high

    @property
    def ends(self) -> tuple[float, float]:
        """The interval, or the value twice."""
        if self.low is None or self.high is None:
            return self.value, self.value
        return self.low, self.high


def estimate(values: pd.DataFrame) -> Estimate:
    """Mean over peptides of the mean over seeds, from columns peptide, seed, value.

    The interval is that of a hierarchical percentile bootstrap: peptides are drawn with replacement, then
    seeds of each drawn peptide. One peptide leaves the spread over its seeds, one seed that over peptides.
    The random stream is fixed. Infinite values make the estimate (and, where they are drawn often enough, an
    end) infinite; NaN makes it NaN. From very few peptides and seeds a percentile bootstrap is too narrow.
    Raises ValueError for no values.
    """
    if values.empty:
        raise ValueError("there are no values to estimate anything from")
    ordered = values.sort_values(["peptide", "seed"])
    groups = [group["value"].to_numpy(float) for _, group in ordered.groupby("peptide")]
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and shown as such
        value = float(np.mean([group.mean() for group in groups]))
        means = _resampled_means(groups)
    low, high = _percentile_interval(means)
    if np.isnan(value) or (len(groups) == 1 and len(groups[0]) == 1):
        return Estimate(value, None, None, len(groups), min(map(len, groups)))
    return Estimate(value, low, high, len(groups), min(map(len, groups)))


def _resampled_means(groups: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Means (N_RESAMPLES,) of bootstrap samples drawn from the values of each peptide."""
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    counts = np.array([len(group) for group in groups])
    padded = np.zeros((len(groups), counts.max()))
    for row, group in zip(padded, groups, strict=True):
        row[: len(group)] = group
    peptides = rng.integers(len(groups), size=(N_RESAMPLES, len(groups)))[..., None]
    seeds = (rng.random((N_RESAMPLES, len(groups), counts.max())) * counts[peptides]).astype(int)
    drawn = np.arange(counts.max()) < counts[peptides]
    totals = np.where(drawn, padded[peptides, seeds], 0.0).sum(axis=-1)
    return (totals / counts[peptides[..., 0]]).mean(axis=-1)


def _percentile_interval(means: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], method="inverted_cdf")
    return float(low), float(high)
