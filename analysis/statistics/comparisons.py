"""Two rows of a benchmark side by side: paired by peptide, at equal cost.

Distances are compared by their logarithms. They are positive and spread over decades, between peptides and between
methods: a mean of differences hangs on the largest one, and its error is as large, so that a method that is thousands
of times worse on every peptide would pass for equal. Effective sample sizes and divergences lie between 0 and 1, may be
0, and are compared by their differences.

A comparison of unequal budgets, frames or peptides is refused unless it is asked for, and then marked. Where
several comparisons are made at once, their p-values are corrected by Holm (Scand. J. Statist. 1979, 6, 65).
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, stats

from analysis.metrics.registry import BY_NAME
from analysis.statistics.estimates import (
    CONFIDENCE,
    Estimate,
    estimate,
    mean_interval,
    student_interval,
    student_quantile,
)
from analysis.statistics.estimates import exponential as _exp

LEVEL = 1.0 - CONFIDENCE
POWER = 0.8
"""The probability with which a test finds the effect that is called detectable."""

INEQUALITIES = ("budget", "frames", "peptides")
"""The conditions in which two rows may differ if this is asked for."""

Interval = Callable[[NDArray[np.float64]], tuple[float, float]]

WELCH = "Welch t"
TOLERATED_FRAMES = 0.01
"""The relative difference up to which two numbers of scored frames count as equal. A filter of weights takes
a few."""


class UnequalComparison(ValueError):
    """Two rows were not measured under the same conditions; the message says in what they differ."""


@dataclass(frozen=True)
class Comparison:
    """One row against another in one metric.

    effect: with its 95 % interval, row minus other, mean over peptides (for one peptide over seeds); of metrics on a
    logarithmic scale row divided by other, geometric mean. wins and losses: peptides on which the row has the smaller
    and the larger value. test: "signed-rank", "paired t" or "Welch t". p: two-sided; p_corrected: for n_comparisons
    made together. marks: inequalities that were allowed. detectable: the ratio, or difference, that a test of as many
    peptides, as spread, tells from none POWER of the time; None for one peptide, or where it cannot be known.
    """

    metric: str
    row: str
    other: str
    effect: Estimate
    wins: int
    losses: int
    test: str
    p: float
    p_corrected: float
    n_comparisons: int = 1
    marks: tuple[str, ...] = ()
    detectable: float | None = None

    @property
    def pair(self) -> str:
        """The two rows with the sign of what the effect is: a difference or a ratio."""
        return f"{self.row} {'/' if self.is_ratio else '−'} {self.other}"

    @property
    def is_ratio(self) -> bool:
        """Whether the effect is a ratio; else it is a difference."""
        return is_logarithmic(self.metric)

    @property
    def tested(self) -> bool:
        """Whether there was a spread to test with: for one peptide that takes two seeds of each row."""
        return self.test != WELCH or self.effect.low is not None

    @property
    def distinguishable(self) -> bool:
        """Whether the two rows differ at the 5 % level, all comparisons made together considered."""
        return self.p_corrected < LEVEL


def compare(
    row: pd.DataFrame, other: pd.DataFrame, *, allow: Collection[str] = (), n_comparisons: int = 1
) -> Comparison:
    """Compare two rows of the long table of scores, each restricted to one metric and one budget.

    allow names INEQUALITIES to pass over. The test is Wilcoxon's signed-rank test on the differences of the peptides
    (on a logarithmic scale: of their logarithms), or Student's where so few could not reach LEVEL among
    n_comparisons; for a single peptide Welch's over seeds, given its reference. Under equal samplers the
    differences are symmetric about 0, which is all the first one needs. Raises UnequalComparison.
    """
    marks = _inequalities(row, other, allow)
    metric = str(row["metric"].iloc[0])
    row, other = (_comparable(side, metric) for side in (row, other))
    values, others = (peptide_means(side) for side in (row, other))
    shared = values.index.intersection(others.index).sort_values()
    if shared.empty:
        raise UnequalComparison("the two rows have no peptide in common")
    with np.errstate(invalid="ignore"):
        differences = np.nan_to_num(
            values[shared].to_numpy(float) - others[shared].to_numpy(float),
            nan=0.0,
            posinf=math.inf,
            neginf=-math.inf,
        )
    if len(shared) > 1:
        interval = student_interval if is_logarithmic(metric) else mean_interval
        effect = _paired(differences, row, other, interval)
        test, p = paired_test(differences, n_comparisons)
    else:
        sides = [side[side["peptide"] == shared[0]] for side in (row, other)]
        of_row, of_other = (side["value"].to_numpy(float) for side in sides)
        effect, p = _welch(of_row, of_other, _shared_error(sides))
        test = WELCH
    return Comparison(
        metric=metric,
        row=str(row["row"].iloc[0]),
        other=str(other["row"].iloc[0]),
        effect=_as_ratio(effect) if is_logarithmic(metric) else effect,
        wins=int((differences < 0).sum()),
        losses=int((differences > 0).sum()),
        test=test,
        p=p,
        p_corrected=p,
        marks=marks,
        detectable=_detectable(differences, metric, n_comparisons),
    )


def compare_rows(
    lines: pd.DataFrame, rows: Sequence[str], *, against: str | None = None, allow: Collection[str] = ()
) -> tuple[list[Comparison], list[str]]:
    """All pairs of rows in one metric and group, or each against one; corrected together.

    Returns the comparisons and, of pairs that were refused, why.
    """
    pairs = [(row, against) for row in rows if row != against] if against else list(combinations(rows, 2))
    sides = {row: lines[lines["row"] == row] for row in rows}
    made, refused = [], []
    for row, other in pairs:
        if sides[row].empty or sides[other].empty:
            continue
        try:
            made.append(compare(sides[row], sides[other], allow=allow, n_comparisons=len(pairs)))
        except UnequalComparison as error:
            refused.append(f"{row} and {other} are not compared: {error}")
    corrected = holm([one.p for one in made])
    return [
        replace(one, p_corrected=p, n_comparisons=len(made)) for one, p in zip(made, corrected, strict=True)
    ], refused


def level(lines: pd.DataFrame) -> float:
    """The number by which a row is ranked in one metric: the mean over peptides and seeds of what is
    compared."""
    return float(peptide_means(_comparable(lines, str(lines["metric"].iloc[0]))).mean())


def peptide_means(lines: pd.DataFrame) -> pd.Series:
    """The mean over seeds, for each peptide."""
    return lines.groupby("peptide")["value"].mean()


def _comparable(lines: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The lines with logarithms instead of distances: that of 0 is minus infinity."""
    if not is_logarithmic(metric):
        return lines
    values = lines["value"].to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        made = lines.assign(value=np.log(values))
        # The error of a logarithm is that of its value, relative to it.
        return made.assign(reference_error=reference_errors(lines) / values)


def is_logarithmic(metric: str) -> bool:
    """Whether the metric of this name is compared by ratios."""
    return metric in BY_NAME and BY_NAME[metric].scale == "log"


def _as_ratio(difference: Estimate) -> Estimate:
    """The ratio that a difference of logarithms stands for."""
    ends = [None if end is None else _exp(end) for end in (difference.low, difference.high)]
    return replace(difference, value=_exp(difference.value), low=ends[0], high=ends[1])


def holm(p_values: Iterable[float]) -> list[float]:
    """P-values corrected by Holm's step-down, in the order given."""
    values = np.asarray(list(p_values), dtype=float)
    order = np.argsort(values, kind="stable")
    stepped = np.minimum(np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values)))), 1.0)
    corrected = np.empty_like(values)
    corrected[order] = stepped
    return [float(value) for value in corrected]


def check_allowed(allow: Collection[str]) -> None:
    """Raise ValueError for what is not one of INEQUALITIES."""
    unknown = sorted(set(allow) - set(INEQUALITIES))
    if unknown:
        raise ValueError(f"cannot allow unequal {', '.join(unknown)}; known: {', '.join(INEQUALITIES)}")


def equal_frames(one: float, other: float) -> bool:
    """Whether two numbers of scored frames count as equal."""
    return abs(one - other) <= math.ceil(TOLERATED_FRAMES * max(one, other))


def _inequalities(row: pd.DataFrame, other: pd.DataFrame, allow: Collection[str]) -> tuple[str, ...]:
    """What differs between two rows, in words. Raises UnequalComparison for what is not allowed."""
    check_allowed(allow)
    found: dict[str, str] = {}
    budgets = [sorted(side["budget"].unique().tolist()) for side in (row, other)]
    if budgets[0] != budgets[1]:
        found["budget"] = " against ".join("/".join(f"{b:,}" for b in of) for of in budgets) + " evaluations"
    peptides = [set(side["peptide"]) for side in (row, other)]
    if peptides[0] != peptides[1]:
        shared = len(peptides[0] & peptides[1])
        found["peptides"] = f"{len(peptides[0])} against {len(peptides[1])} peptides, {shared} in common"
    frames = [side.groupby("peptide")["frames"].median() for side in (row, other)]
    shared_peptides = frames[0].index.intersection(frames[1].index)
    pairs = [(frames[0][name], frames[1][name]) for name in shared_peptides]
    differing = [pair for pair in pairs if not equal_frames(*pair)]
    if differing:
        found["frames"] = " against ".join(f"{number:,.0f}" for number in differing[0]) + " frames"
    references = [side.groupby("peptide")["reference"].first() for side in (row, other)]
    if any(references[0][name] != references[1][name] for name in shared_peptides):
        raise UnequalComparison("they were scored against different references")
    refused = [text for kind, text in found.items() if kind not in allow]
    if refused:
        raise UnequalComparison("; ".join(refused))
    return tuple(found.values())


def _paired(
    differences: NDArray[np.float64], row: pd.DataFrame, other: pd.DataFrame, interval: Interval
) -> Estimate:
    seeds = min(int(side.groupby("peptide")["seed"].nunique().min()) for side in (row, other))
    value = float(differences.mean()) if np.isfinite(differences).all() else _infinite_mean(differences)
    if not math.isfinite(value):
        return Estimate(value, None, None, len(differences), seeds)
    return Estimate(value, *interval(differences), len(differences), seeds)


def _infinite_mean(differences: NDArray[np.float64]) -> float:
    with np.errstate(invalid="ignore"):
        return float(differences.mean())


def paired_test(differences: NDArray[np.float64], n_comparisons: int = 1) -> tuple[str, float]:
    """Name and two-sided p-value of the test of differences (peptides,) against 0; see `compare`."""
    smallest_p = 2.0 ** (1 - len(differences))
    if smallest_p * max(n_comparisons, 1) <= LEVEL or not np.isfinite(differences).all():
        if not differences.any():
            return "signed-rank", 1.0
        return "signed-rank", float(stats.wilcoxon(differences).pvalue)
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    if not error > 0.0:
        return "paired t", 0.0 if differences.any() else 1.0
    t = abs(float(differences.mean())) / error
    return "paired t", float(2.0 * stats.t.sf(t, len(differences) - 1))


def _shared_error(sides: Sequence[pd.DataFrame]) -> float:
    """Standard error that the reference adds to the difference of two rows on one peptide.

    Taken as if it moved them independently; one reference moves both, in part alike, so that this is no less than true.
    """
    squares = (reference_errors(side) ** 2 for side in sides)
    return math.sqrt(sum(float(np.nanmean(square)) for square in squares if np.isfinite(square).any()))


def reference_errors(lines: pd.DataFrame) -> NDArray[np.float64]:
    """The column reference_error (lines,), NaN where there is none."""
    return lines["reference_error"].to_numpy(float)


def _detectable(differences: NDArray[np.float64], metric: str, n_comparisons: int) -> float | None:
    """See `Comparison.detectable`: by the power of Student's paired test at LEVEL / n_comparisons."""
    n = len(differences)
    if n < 2 or not np.isfinite(differences).all():
        return None
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    critical = float(stats.t.ppf(1.0 - LEVEL / max(n_comparisons, 1) / 2.0, n - 1))

    def power(shift: float) -> float:
        return float(stats.nct.sf(critical, n - 1, shift)) - POWER

    shift = float(optimize.brentq(power, 0.0, 10.0 * critical + 20.0))
    return _exp(shift * error) if is_logarithmic(metric) else shift * error


def _welch(
    values: NDArray[np.float64], others: NDArray[np.float64], reference_error: float = 0.0
) -> tuple[Estimate, float]:
    """Difference of two means over seeds with its interval and p-value; p is 1 where it cannot be known.

    reference_error: standard error of the difference that the finite reference adds, of as many degrees of freedom as
    one likes.
    """
    with np.errstate(invalid="ignore"):
        difference = float(values.mean() - others.mean())
    n_seeds = min(len(values), len(others))
    unknown = Estimate(difference, None, None, 1, n_seeds), 1.0
    if n_seeds < 2 or not math.isfinite(difference):
        return unknown
    parts = [float(side.var(ddof=1)) / len(side) for side in (values, others)]
    variance = sum(parts) + reference_error**2
    if not variance > 0.0:
        return Estimate(difference, difference, difference, 1, n_seeds), 0.0 if difference else 1.0
    counts = (len(values), len(others))
    of_seeds = sum(part**2 / (n - 1) for part, n in zip(parts, counts, strict=True))
    freedom = variance**2 / of_seeds if of_seeds else math.inf
    half = student_quantile(freedom) * math.sqrt(variance)
    p = float(2.0 * stats.t.sf(abs(difference) / math.sqrt(variance), min(freedom, 1e6)))
    return Estimate(difference, difference - half, difference + half, 1, n_seeds), p


def excess(lines: pd.DataFrame, floor: pd.DataFrame) -> Estimate | None:
    """Excess of a row over the floor, paired by peptide; None where the two cannot be compared.

    lines, floor: both of one metric and budget; the floor's frames must be as many.
    """
    try:
        _inequalities(lines, floor, ("budget", "peptides"))
    except UnequalComparison:
        return None
    of_floor = peptide_means(floor)
    shared = lines[lines["peptide"].isin(of_floor.index)]
    if shared["peptide"].nunique() < lines["peptide"].nunique():
        return None
    return estimate(shared.assign(value=shared["value"] - shared["peptide"].map(of_floor)))


def ratio_to_floor(lines: pd.DataFrame, floor: pd.DataFrame) -> Estimate | None:
    """Geometric mean of a row's distances in units of the floor's; None where `excess` is.

    Where distances spread over decades this tells a row from the floor when the interval of their excess cannot.
    """
    if excess(lines, floor) is None:
        return None
    on_floor = floor[floor["peptide"].isin(lines["peptide"])]
    return compare(lines, on_floor, allow=("budget",)).effect
