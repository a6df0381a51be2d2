"""Estimates with intervals: the mean over peptides of the mean over seeds, and how well it is known.

Peptides are taken as drawn from all peptides of their length, seeds as drawn for each of them. The means over
seeds of the peptides are then independent, and their spread holds all there is: peptides, seeds, and the
reference, of which each peptide has its own. A single peptide leaves the spread over its seeds and the error of
its reference, which must be given.

A percentile bootstrap over peptides and seeds covers the truth 84 % of the time for 4 peptides of 2 seeds, not
95 %. Student's interval is exact for normal means, and too short on its long side for the skewed ones that
distances make; Hall's transformation corrects it for skewness. The interval here reaches as far as either does;
`analysis.statistics.calibration` measures what it covers.

The mean of scores that spread over decades is ruled by the largest, which few peptides may not hold: of log-normal
scores the interval covers 94 % for 4 peptides where the logarithm spreads by 0.5, 90 % by 1, and 69 % by 2. Distances
are therefore averaged geometrically here, on the same scale on which `analysis.statistics.comparisons` tests them; the
paper prints arithmetic means, and so do the tables in its layout.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.metrics.metric import UNBOUNDED, Distance, Metric, Scale

CONFIDENCE = 0.95
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, and on how many peptides and seeds it stands.

    low and high are None where nothing varies (one value), or where a value is not finite. n_seeds is the
    smallest number of seeds of any peptide.
    """

    value: float
    low: float | None
    high: float | None
    n_peptides: int
    n_seeds: int

    @property
    def ends(self) -> tuple[float, float]:
        """The interval, or the value twice."""
        if self.low is None or self.high is None:
            return self.value, self.value
        return self.low, self.high


def estimate(
    values: pd.DataFrame, *, bounds: tuple[float, float] = UNBOUNDED, scale: Scale = "linear"
) -> Estimate:
    """Mean over peptides of the mean over seeds, from columns peptide, seed, value; on scale "log" geometric means.

    Interval: `mean_interval` of the peptides' means, on scale "log" `student_interval` of the means of logarithms; of a
    single peptide `seed_interval`, with the column reference_error where there is one. It is cut to bounds, between
    which the truth must lie. An infinite value makes the estimate infinite, NaN makes it NaN, on scale "log" 0 makes it
    0, all without an interval. Raises ValueError for no values.
    """
    if values.empty:
        raise ValueError("there are no values to estimate anything from")
    groups = peptide_groups(values)
    logarithmic = scale == "log"
    with np.errstate(invalid="ignore", divide="ignore"):  # inf - inf is NaN, and shown as such
        shown = [np.log(group) for group in groups] if logarithmic else groups
        means = np.array([group.mean() for group in shown])
        centre = float(means.mean())
    n_seeds = min(map(len, groups))
    value = exponential(centre) if logarithmic else centre
    ends = None
    if math.isfinite(centre) and len(groups) > 1:
        ends = (student_interval if logarithmic else mean_interval)(means)
    elif math.isfinite(centre):
        error = _reference_error(values)
        ends = seed_interval(shown[0], error / value if logarithmic else error)
    if ends is None:
        return Estimate(value, None, None, len(groups), n_seeds)
    if logarithmic:
        ends = (exponential(ends[0]), exponential(ends[1]))
    low, high = (float(min(max(end, bounds[0]), bounds[1])) for end in ends)
    return Estimate(value, min(low, value), max(high, value), len(groups), n_seeds)


def metric_estimate(lines: pd.DataFrame, metric: Metric, floor: pd.DataFrame) -> Estimate:
    """The estimate that stands in a table, in its unit: the interval is cut to what can be, and at `floor_end`.

    lines, floor: of the metric; no floor for a row that is not bounded by it.
    """
    low, high = metric.bounds
    bounds = max(low, floor_end(floor, lines, metric)), high
    scaled = lines.assign(value=lines["value"] * metric.factor)
    return estimate(scaled, bounds=bounds, scale=metric.scale)


_PLACE = ["peptide", "temperature_kelvin", "budget"]
"""The columns that name a place. A row and the floor must both be scored at a place for the floor to bound
the row there."""


def floor_end(floor: pd.DataFrame, lines: pd.DataFrame, metric: Metric) -> float:
    """Lower end of the interval of the floor on the peptides of a row's lines, in the unit of the tables.

    No sampler's true distance lies below the floor's true one, which is known within its interval alone: an interval
    that was cut at the floor's value would miss the truth of a perfect sampler half of the time. floor, lines: of the
    metric. Minus infinity where nothing is known: for what is no distance, where the floor was not run everywhere the
    row was, and where it has no interval.
    """
    if not isinstance(metric, Distance) or floor.empty:
        return -math.inf
    asked = pd.MultiIndex.from_frame(lines[_PLACE]).unique()
    places = pd.MultiIndex.from_frame(floor[_PLACE])
    if not asked.isin(places).all():
        return -math.inf
    low = estimate(floor[places.isin(asked)], scale=metric.scale).low
    return -math.inf if low is None else low * metric.factor


def exponential(value: float) -> float:
    """Exponential that is infinite where it is too large for a double."""
    with np.errstate(over="ignore"):
        return float(np.exp(value))


def peptide_groups(values: pd.DataFrame) -> list[Floats]:
    """The values of each peptide, peptides and seeds in order."""
    ordered = values.sort_values(["peptide", "seed"], kind="stable")
    return [group["value"].to_numpy(float) for _, group in ordered.groupby("peptide")]


def mean_interval(means: Floats) -> tuple[float, float]:
    """95 % interval of the mean of a population from two or more independent draws.

    The hull of two: Student's, and the one in which t is first freed of its skewness by the cubic of Hall (J. R.
    Statist. Soc. B 1992, 54, 221), g(t) = t + a t^2 + a^2 t^3 / 3 + s / (6 sqrt(n)) with a = s / (3 sqrt(n)) and
    s the sample skewness. Draws that are all equal give a point.
    """
    n, mean = len(means), float(means.mean())
    error = float(means.std(ddof=1)) / math.sqrt(n)
    if not error > 1e-12 * abs(mean):
        return mean, mean
    quantile = student_quantile(n - 1)
    skewness = float(stats.skew(means))
    corrected = [_hall_inverse(side * quantile, skewness, n) for side in (1.0, -1.0)]
    low = mean - error * max(quantile, corrected[0])
    high = mean + error * max(quantile, -corrected[1])
    return low, high


def student_interval(means: Floats) -> tuple[float, float]:
    """95 % interval by Student alone, of two or more independent draws without skewness: of log-ratios."""
    half = student_quantile(len(means) - 1) * float(means.std(ddof=1)) / math.sqrt(len(means))
    return float(means.mean()) - half, float(means.mean()) + half


def _hall_inverse(x: float, skewness: float, n: int) -> float:
    """The value t at which Hall's cubic is x."""
    a = skewness / (3.0 * math.sqrt(n))
    if abs(a) < 1e-9:
        return x
    return float((np.cbrt(1.0 + 3.0 * a * (x - skewness / (6.0 * math.sqrt(n)))) - 1.0) / a)


def seed_interval(values: Floats, reference_error: float = 0.0) -> tuple[float, float] | None:
    """95 % interval of one peptide's expected score from its seeds (n,); None for a single seed.

    To the error of the mean over seeds comes reference_error, the standard error that the finite reference adds
    to every seed alike; degrees of freedom by Welch and Satterthwaite, those of the reference taken as many.
    """
    n, mean = len(values), float(values.mean())
    if n < 2:
        return None
    of_seeds = float(values.var(ddof=1)) / n
    variance = of_seeds + reference_error**2
    if variance <= (1e-12 * mean) ** 2:
        return mean, mean
    freedom = (n - 1) * (variance / of_seeds) ** 2 if of_seeds else math.inf
    half = student_quantile(freedom) * math.sqrt(variance)
    return mean - half, mean + half


def student_quantile(freedom: float) -> float:
    """Quantile of Student's t that leaves half of 1 - CONFIDENCE above it."""
    return float(stats.t.ppf((1.0 + CONFIDENCE) / 2.0, min(freedom, 1e6)))


def _reference_error(values: pd.DataFrame) -> float:
    """Root mean square over seeds of the error of the reference; 0 where it is not known."""
    errors = values["reference_error"].to_numpy(float)
    known = errors[np.isfinite(errors)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else 0.0
