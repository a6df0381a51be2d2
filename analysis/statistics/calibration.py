"""Are the intervals and tests what they say? Samplers whose true score is known, scored many times over.

A synthetic sampler of a peptide draws energies from a normal distribution that is off the true one by a bias and a
width of its own; its energy-w2 against a finite reference is skewed over peptides as real scores are. `coverage` is
the share of intervals that hold the true mean, `distance_coverage` that of intervals of distances, which tables
average geometrically and cut at the floor's, `ratio_coverage` that of intervals of the ratio of two methods, one of
them with tails so heavy that its scores spread over decades, and `false_alarms` the share of samplers that are declared
worse than others that are just as good.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.metrics.registry import BY_NAME
from analysis.statistics.comparisons import LEVEL, holm, paired_test
from analysis.statistics.estimates import (
    CONFIDENCE,
    mean_interval,
    metric_estimate,
    seed_interval,
    student_interval,
)
from prosebench.names import PUBLISHED_KELVIN

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Floats]
"""A function that draws scores (peptides, seeds) of a synthetic sampler."""

SIZES = ((3, 2), (4, 2), (6, 2), (10, 2), (30, 3))
"""The pairs of numbers that are tried: how many peptides, and how many seeds of each."""

ACCEPTED = (0.92, 0.98)
N_FRAMES = 100
_SEED_SPREAD = 0.15


@dataclass(frozen=True)
class Rate:
    """How often something happened in a number of trials."""

    what: str
    how: str
    peptides: int
    seeds: int
    rate: float
    nominal: float
    trials: int

    @property
    def error(self) -> float:
        """Standard error of the rate."""
        return math.sqrt(max(self.rate * (1.0 - self.rate), 1.0 / self.trials) / self.trials)


def normal_scores(rng: np.random.Generator, peptides: int, seeds: int) -> Floats:
    """Scores with mean 1 and a normal spread of 0.3 over peptides, of 15 % over seeds."""
    return _with_seeds(rng, rng.normal(1.0, 0.3, (peptides, 1)), seeds)


def skewed_scores(rng: np.random.Generator, peptides: int, seeds: int) -> Floats:
    """Scores with mean 1 and a log-normal spread over peptides (0.5 in the logarithm), of 15 % over seeds."""
    return _with_seeds(rng, np.exp(rng.normal(-0.125, 0.5, (peptides, 1))), seeds)


def sampler_scores(rng: np.random.Generator, peptides: int, seeds: int, *, perfect: bool = False) -> Floats:
    """energy-w2 of N_FRAMES energies against as many of a reference, which a peptide's seeds share."""
    return _against_references(rng, peptides, seeds, perfect=perfect)[0]


def _against_references(
    rng: np.random.Generator, peptides: int, seeds: int, *, perfect: bool
) -> tuple[Floats, Floats]:
    """Scores of a sampler, and the sorted energies (peptides, 1, N_FRAMES) that they are against."""
    bias = np.zeros((peptides, 1, 1)) if perfect else np.exp(rng.normal(-1.0, 0.5, (peptides, 1, 1)))
    width = np.ones((1, 1, 1)) if perfect else np.exp(rng.normal(0.0, 0.2, (peptides, 1, 1)))
    reference = np.sort(rng.standard_normal((peptides, 1, N_FRAMES)))
    samples = bias + width * rng.standard_normal((peptides, seeds, N_FRAMES))
    return _sorted_w2(samples, reference), reference


def _sorted_w2(samples: Floats, reference: Floats) -> Floats:
    """energy-w2 (peptides, seeds) of energies (peptides, seeds, n) against as many that are sorted."""
    return np.sqrt(np.mean((np.sort(samples) - reference) ** 2, axis=-1))


def floored_scores(
    rng: np.random.Generator, peptides: int, seeds: int, *, perfect: bool
) -> tuple[Floats, Floats]:
    """What `sampler_scores` draws, and as many scores of the floor against the same references."""
    scores, reference = _against_references(rng, peptides, seeds, perfect=perfect)
    return scores, _sorted_w2(rng.standard_normal((peptides, seeds, N_FRAMES)), reference)


def heavy_scores(rng: np.random.Generator, peptides: int, seeds: int) -> Floats:
    """Scores over decades: their logarithms are Student's t of 3 degrees of freedom over peptides, times 1.5."""
    over_peptides = np.exp(1.5 * rng.standard_t(3, (peptides, 1)))
    return over_peptides * np.exp(_SEED_SPREAD * rng.standard_normal((peptides, seeds)))


def perfect_scores(rng: np.random.Generator, peptides: int, seeds: int) -> Floats:
    """energy-w2 of a sampler of the true distribution."""
    return sampler_scores(rng, peptides, seeds, perfect=True)


def _with_seeds(rng: np.random.Generator, peptides: Floats, seeds: int) -> Floats:
    return peptides * (1.0 + _SEED_SPREAD * rng.standard_normal((len(peptides), seeds)))


SAMPLERS: Mapping[str, Draw] = {
    "normal over peptides": normal_scores,
    "log-normal over peptides": skewed_scores,
}

DISTANCE = BY_NAME["energy-w2"]
"""The distance that is tested in place of all those that are averaged geometrically."""

DISTANCES: Mapping[str, bool] = {
    f"{DISTANCE.heading} of biased samplers": False,
    f"{DISTANCE.heading} of perfect samplers": True,
}
"""The names of the samplers whose DISTANCE is estimated, each with whether it is perfect."""


RATIOS: Mapping[str, tuple[Draw, Draw]] = {
    "ratio, heavy-tailed": (heavy_scores, skewed_scores),
    "ratio to perfect sampler": (sampler_scores, perfect_scores),
}
"""The pairs of methods whose ratio is estimated, by name."""


MISSED_FACTOR = 5.0
"""The factor by which a score is larger on a peptide of which a method misses a state."""


def mixture_scores(rng: np.random.Generator, peptides: int, seeds: int, *, share: float) -> Floats:
    """Scores that spread around 1 by 0.3 in the logarithm over peptides; on a share of the peptides they are
    MISSED_FACTOR times larger."""
    missed = np.where(rng.random((peptides, 1)) < share, MISSED_FACTOR, 1.0)
    return _with_seeds(rng, missed * np.exp(rng.normal(0.0, 0.3, (peptides, 1))), seeds)


MIXTURES: Mapping[str, float] = {"20 % miss a state": 0.2, "5 % miss a state": 0.05}
"""The shares of the peptides of which a method misses a state, by name."""

MEANS = ("mean", "geometric mean")


def mixture_coverage(name: str, mean: str, peptides: int, seeds: int, *, trials: int) -> Rate:
    """Share of trials in which the interval of a mean, arithmetic or geometric, holds that of all peptides.

    Few peptides often hold none of those that miss a state, and then no interval can know of them.
    """
    share, is_geometric = MIXTURES[name], mean == "geometric mean"
    rng = np.random.default_rng([peptides, seeds, 5])
    usual = np.exp(0.5 * 0.3**2)
    truth = share * math.log(MISSED_FACTOR) if is_geometric else usual * (1.0 + share * (MISSED_FACTOR - 1.0))
    hits = 0
    for _ in range(trials):
        scores = mixture_scores(rng, peptides, seeds, share=share)
        if is_geometric:
            low, high = student_interval(np.log(np.maximum(scores, 1e-9)).mean(axis=1))
        else:
            low, high = mean_interval(scores.mean(axis=1))
        hits += low <= truth <= high
    return Rate(name, f"interval of the {mean}", peptides, seeds, hits / trials, CONFIDENCE, trials)


def perfect_rows(rng: np.random.Generator, peptides: int, rows: int, seeds: int) -> Floats:
    """Scores (peptides, rows, seeds) of perfect samplers, against one reference a peptide."""
    return perfect_scores(rng, peptides, rows * seeds).reshape(peptides, rows, seeds)


def heavy_rows(rng: np.random.Generator, peptides: int, rows: int, seeds: int) -> Floats:
    """Scores (peptides, rows, seeds) of methods that are equally good on average and spread over decades."""
    return heavy_scores(rng, peptides * rows, seeds).reshape(peptides, rows, seeds)


EQUALS: Mapping[str, Callable[[np.random.Generator, int, int, int], Floats]] = {
    "perfect": perfect_rows,
    "heavy-tailed": heavy_rows,
}
"""Sets of methods of which none is better than the others, by name."""


def calibrate(trials: int = 1000) -> list[Rate]:
    """Coverage of the intervals of SAMPLERS, DISTANCES and RATIOS at each of SIZES, and false alarms of EQUALS."""
    rates = [coverage(name, *size, trials=trials) for name in SAMPLERS for size in SIZES]
    rates += [distance_coverage(name, *size, trials=trials) for name in DISTANCES for size in SIZES]
    rates += [ratio_coverage(name, *size, trials=trials) for name in RATIOS for size in SIZES]
    rates += [
        mixture_coverage(name, mean, *size, trials=trials)
        for name in MIXTURES
        for mean in MEANS
        for size in SIZES
    ]
    rates += [false_alarms(*size, trials=trials, kind=kind) for kind in EQUALS for size in SIZES]
    return [*rates, reference_coverage(trials=trials)]


def coverage(
    name: str,
    peptides: int,
    seeds: int,
    *,
    trials: int,
    interval: Callable[[Floats], tuple[float, float]] = mean_interval,
    how: str = "interval of the tables",
) -> Rate:
    """Share of trials in which the interval of the mean over peptides holds the true mean, which is 1."""
    rng = np.random.default_rng([peptides, seeds, 1])
    draw = SAMPLERS[name]
    hits = 0
    for _ in range(trials):
        low, high = interval(draw(rng, peptides, seeds).mean(axis=1))
        hits += low <= 1.0 <= high
    return Rate(name, how, peptides, seeds, hits / trials, CONFIDENCE, trials)


def distance_coverage(name: str, peptides: int, seeds: int, *, trials: int) -> Rate:
    """Share of trials in which a table's interval of DISTANCE for one of DISTANCES holds the true geometric mean."""
    rng = np.random.default_rng([peptides, seeds, 1])
    truth = true_geometric_mean(name)
    hits = 0
    for _ in range(trials):
        drawn = floored_scores(rng, peptides, seeds, perfect=DISTANCES[name])
        scores, floor = (_lines(values) for values in drawn)
        low, high = metric_estimate(scores, DISTANCE, floor).ends
        hits += low <= truth <= high
    return Rate(name, "interval of the tables", peptides, seeds, hits / trials, CONFIDENCE, trials)


def _lines(scores: Floats) -> pd.DataFrame:
    """Scores (peptides, seeds) as lines of the long table, all at one budget and temperature."""
    peptides, seeds = scores.shape
    return pd.DataFrame(
        {
            "peptide": np.repeat(np.arange(peptides), seeds),
            "seed": np.tile(np.arange(seeds), peptides),
            "value": scores.ravel(),
            "reference_error": np.nan,
            "budget": N_FRAMES,
            "temperature_kelvin": PUBLISHED_KELVIN,
        }
    )


def ratio_coverage(name: str, peptides: int, seeds: int, *, trials: int) -> Rate:
    """Share of trials in which the interval of a comparison holds the true ratio of two methods of RATIOS."""
    rng = np.random.default_rng([peptides, seeds, 4])
    truth, draws = true_log_ratio(name), RATIOS[name]
    hits = 0
    for _ in range(trials):
        row, other = (np.log(draw(rng, peptides, seeds)).mean(axis=1) for draw in draws)
        low, high = student_interval(row - other)
        hits += low <= truth <= high
    return Rate(name, "interval of a ratio", peptides, seeds, hits / trials, CONFIDENCE, trials)


def false_alarms(peptides: int, seeds: int, *, trials: int, rows: int = 2, kind: str = "perfect") -> Rate:
    """Share of trials in which one of several methods of EQUALS is declared worse than the best of them.

    As in the tables of distances: ranked and tested by logarithms, corrected for all pairs.
    """
    rng = np.random.default_rng([peptides, seeds, 2])
    alarms = 0
    for _ in range(trials):
        means = np.log(EQUALS[kind](rng, peptides, rows, seeds)).mean(axis=-1)
        best = int(means.mean(axis=0).argmin())
        pairs = [(i, j) for i in range(rows) for j in range(i)]
        p_values = holm(paired_test(means[:, i] - means[:, j], len(pairs))[1] for i, j in pairs)
        alarms += any(p < LEVEL for pair, p in zip(pairs, p_values, strict=True) if best in pair)
    what = f"{kind} samplers declared worse"
    return Rate(what, f"{rows} {kind} samplers", peptides, seeds, alarms / trials, LEVEL, trials)


def reference_coverage(
    *, trials: int, seeds: int = 3, n_reference: int = 400, correlation: float = 0.8
) -> Rate:
    """Coverage for one peptide, whose reference is one correlated trajectory and moves all seeds alike.

    Its error comes from `analysis.metrics.reference_error`; the truth is the mean over references and seeds.
    """
    from analysis.metrics.reference_error import blocks_of, energy_error

    def draw(rng: np.random.Generator) -> tuple[Floats, float]:
        reference = correlated(rng, n_reference, correlation)
        inefficiency = (1.0 + correlation) / (1.0 - correlation)
        blocks = blocks_of(np.zeros(n_reference, dtype=int), np.arange(n_reference), inefficiency)
        samples = 0.8 + 1.2 * rng.standard_normal((seeds, n_reference))
        values = np.sqrt(np.mean((np.sort(samples) - np.sort(reference)) ** 2, axis=-1))
        error = energy_error(samples[0], reference, blocks, n_reference / inefficiency, power=2)
        return values, error

    rng = np.random.default_rng(3)
    truth = float(np.mean([draw(rng)[0].mean() for _ in range(4000)]))
    hits = 0
    for _ in range(trials):
        values, error = draw(rng)
        ends = seed_interval(values, error)
        hits += ends is not None and ends[0] <= truth <= ends[1]
    return Rate(
        "one peptide with its reference",
        "interval of the tables",
        1,
        seeds,
        hits / trials,
        CONFIDENCE,
        trials,
    )


def correlated(rng: np.random.Generator, n: int, correlation: float) -> Floats:
    """A stationary trajectory (n,) of unit variance whose neighbours have this correlation."""
    values = np.empty(n)
    values[0] = rng.standard_normal()
    noise = math.sqrt(1.0 - correlation**2) * rng.standard_normal(n)
    for i in range(1, n):
        values[i] = correlation * values[i - 1] + noise[i]
    return values


@cache
def true_geometric_mean(name: str) -> float:
    """Geometric mean of the scores of very many peptides by one of DISTANCES."""
    rng = np.random.default_rng(0)
    drawn = (sampler_scores(rng, 2000, 1, perfect=DISTANCES[name]) for _ in range(50))
    return float(np.exp(np.mean([np.log(scores).mean() for scores in drawn])))


@cache
def true_log_ratio(name: str) -> float:
    """Mean over very many peptides of the logarithm of the ratio of two methods of RATIOS."""
    rng = np.random.default_rng(0)
    row, other = (np.log(draw(rng, 50_000, 2)).mean() for draw in RATIOS[name])
    return float(row - other)


def percentile_interval(means: Floats) -> tuple[float, float]:
    """The interval of the percentile bootstrap over peptides, for comparison."""
    rng = np.random.default_rng(0)
    drawn = means[rng.integers(len(means), size=(500, len(means)))].mean(axis=1)
    low, high = np.quantile(drawn, [LEVEL / 2.0, 1.0 - LEVEL / 2.0])
    return float(low), float(high)


WAYS: Mapping[str, Callable[[Floats], tuple[float, float]]] = {
    "interval of the tables": mean_interval,
    "Student's t": student_interval,
    "percentile bootstrap": percentile_interval,
}
