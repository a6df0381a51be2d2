"""What stands below a table of scores: what its numbers are, and what a reader must know of rows and references."""

import pandas as pd

from analysis.metrics.weighting import FILTERED, SMOOTHED
from analysis.scores.statuses import SCORED
from analysis.scores.table import LARGEST_SPREAD, unconverged
from analysis.tables.annealing import annealing_lines
from analysis.tables.digits import number_range
from analysis.tables.waiting import waiting_lines
from prosebench.frames.importance import PUBLISHED_FILTER_FRACTION, RELIABLE_PARETO_K
from prosebench.names import CEILING, EXTERNAL, FLOOR, name_at


def footer(scores: pd.DataFrame, *, single: bool) -> tuple[str, ...]:
    """Sentences below a table of scores; single: of one peptide a group."""
    scored = scores[scores["status"].isin(SCORED)]
    if scored.empty:
        return ("Nothing has been scored yet.", *waiting_lines(scores))
    return (
        f"Frames scored: {number_range(scored['frames'].tolist())} of each cell, against the scored half of the "
        "reference.",
        _values_line(single=single),
        *_few_lines(scored, single=single),
        _floor_line(scored),
        *_ceiling_lines(scored),
        "Bold: the best of its budget and all that a paired test over peptides (for one peptide: over seeds) "
        "does not tell from it at the 5 % level, corrected (Holm) for all pairs of rows; none where it tells none from "
        "the best. Distances (W2) are averaged, ranked and tested by their logarithms, ESS and JSD as they are. Only "
        "rows on the most peptides and frames compete.",
        *_weight_lines(scored),
        *_doubt_lines(scored),
        *annealing_lines(scored),
        *_declared_lines(scored),
        *([] if single else ["Peptides: scored / in the suite; of a suite of one's own, in the run."]),
        "Energy evaluations: sampling + preparation. Wall time is that of one cell; at a budget below a "
        "run's last one, the share of its sampling time pro rata of evaluations.",
        f"References: {_references(scored)}.",
        *waiting_lines(scores),
        *(f"Not readable: {reason}" for reason in scores.loc[scores["row"] == "", "reason"]),
    )


def _values_line(*, single: bool) -> str:
    of = "seeds and the error of the reference" if single else "peptides, which holds that over seeds"
    mean = "mean over seeds" if single else "mean over peptides of the mean over seeds"
    return (
        f"Values: {mean}, of distances (W2) the geometric mean, with the 95 % interval from the spread over {of}. "
        "No interval reaches below the lower end of the floor's on the same peptides, or beyond what can be."
    )


FEW_PEPTIDES = 10
"""A footer warns of means over fewer peptides than this."""


def _few_lines(scored: pd.DataFrame, *, single: bool) -> list[str]:
    """A warning where an interval rests on a few peptides only, with their number in each group of rows."""
    numbers = scored.groupby(["suite", "length"])["peptide"].nunique()
    few = sorted({int(number) for number in numbers if number < FEW_PEPTIDES})
    if single or not few:
        return []
    return [
        f"Few peptides: {' or '.join(map(str, few))}. An interval knows nothing of peptides that are not here: where a "
        "method misses a state on one peptide in five or fewer, intervals of so few peptides hold its true mean less "
        "often than they say (`prosebench bench calibration` measures how often)."
    ]


def _floor_line(scored: pd.DataFrame) -> str:
    if (scored["method"] == FLOOR).any():
        apart = scored["reference_spread"].notna().any()  # known where halves are of different trajectories
        return (
            "Floor (reference-draw): frames drawn from the half of the reference that is not scored against"
            f"{', of other trajectories' if apart else ''}. "
            "Distances between finite samples do not reach zero; a perfect sampler scores the floor, not 0."
        )
    return "Distances between finite samples have a floor above zero, which no row of this table shows."


def _ceiling_lines(scored: pd.DataFrame) -> list[str]:
    if not (scored["method"] == CEILING).any():
        return []
    return [
        "Ceiling (first-frame): one frame of the reference's other half over and over; a sampler that never "
        "leaves its first equilibrated frame scores it."
    ]


_BOTH_WEIGHTINGS = (
    "Weighted rows: frames are drawn by all of their weights, the tail of which is smoothed by a Pareto distribution; "
    "this is what competes. Behind each stands the same row, filtered."
)


def _weight_lines(scored: pd.DataFrame) -> list[str]:
    """From which frames weighted rows are scored, what ESS is, and where weights are not to be trusted."""
    if not scored["weighting"].isin([SMOOTHED, FILTERED]).any():
        return []
    both = (scored["weighting"] == SMOOTHED).any()
    lines = [
        *([_BOTH_WEIGHTINGS] if both else []),
        f"Filtered: the highest {100 * PUBLISHED_FILTER_FRACTION:g} % of the weights are removed as in the published "
        "protocol, which moves the mean of what is weighted.",
        "ESS: Kish's, as a share of the weights by which frames are drawn; ≤ where one weight is all, so that it is "
        "the least it can be. The density of the centre of mass is the Gaussian one unless a row has com = published: "
        "ESS is then not that of the published term, which the paper used.",
    ]
    return [*lines, *_tail_lines(scored), *_missed_lines(scored)]


def _tail_lines(scored: pd.DataFrame) -> list[str]:
    """Which rows have weights with too heavy a tail, and what k-hat does not see."""
    tails = scored[(scored["metric"] == "k-hat") & scored["value"].notna()]
    rows = _rows_in_cells(tails, tails["value"] >= RELIABLE_PARETO_K)
    blind = (
        "A k-hat below that says nothing of states that no proposal has reached: see the mass seen and the share "
        "missed, where they were measured."
    )
    if not rows:
        return [blind]
    return [
        f"Heavy tails: k-hat, the Pareto shape of all weights, is {RELIABLE_PARETO_K} or more for {rows}. "
        "There, estimates rest on a few proposals, and one more draw can change ESS and distances a lot.",
        blind,
    ]


LEAST_MASS_SEEN = 0.9
MOST_MISSED = 0.1
"""The limits of what weights may overlook. Rows are named whose weights see less than LEAST_MASS_SEEN of the
target's mass, or miss more than MOST_MISSED of the reference's frames; both are shares.

Less is noise. Weights with a tail of Pareto shape k have a share n^(k - 1) of their mass above the heaviest of n
proposals: at k = 0.7, the heaviest tail that is called reliable, that is 6 % for 10,000 proposals. And a share of 10 %
of the frames of a reference with 145 independent ones, the fewest that a bundled reference has, is known to 2.5 %.
"""


def _missed_lines(scored: pd.DataFrame) -> list[str]:
    """Which rows have weights that miss much of the target, seen by frames of the reference."""
    measured = scored[scored["metric"].isin(["mass-seen", "weight-missed"]) & scored["value"].notna()]
    sees_little = (measured["metric"] == "mass-seen") & (measured["value"] < LEAST_MASS_SEEN)
    misses_much = (measured["metric"] == "weight-missed") & (measured["value"] > MOST_MISSED)
    rows = _rows_in_cells(measured, sees_little | misses_much)
    if not rows:
        return []
    return [
        f"Missed mass: the weights see less than {100 * LEAST_MASS_SEEN:g} % of the target's mass, or more than "
        f"{100 * MOST_MISSED:g} % of the reference's frames weigh more than any proposal, for {rows}. There, averages "
        "over the weights lack a part of the target, and no interval tells of it."
    ]


def _rows_in_cells(lines: pd.DataFrame, marked: pd.Series) -> str:
    """Rows with the number of their cells that have a marked line, of all that have a line: "a in 2 of 3 cells"."""
    cell = ["row", "suite", "peptide", "temperature_kelvin", "budget", "seed"]
    counts = marked.groupby([lines[name] for name in cell]).any().groupby("row").agg(["sum", "size"])
    return ", ".join(f"{row} in {some} of {of} cells" for row, some, of in counts.itertuples() if some)


def _doubt_lines(scored: pd.DataFrame) -> list[str]:
    names = unconverged(scored)
    if not names:
        return []
    return [
        f"Not converged: the references of {', '.join(names)}. Halves of different trajectories are more than "
        f"{LARGEST_SPREAD:g} times as far apart, in T-W2 or TICA-W2, as random draws: scores against them are in doubt."
    ]


def _declared_lines(scored: pd.DataFrame) -> list[str]:
    if not (scored["method"] == EXTERNAL).any():
        return []
    return [
        "Declared: frames that were made elsewhere, their costs as their makers declare them. Nobody has metered these "
        "rows: they are never bold, and take the bold from no metered row."
    ]


def _references(scored: pd.DataFrame) -> str:
    order = ["length", "peptide", "temperature_kelvin", "reference"]
    found = scored.drop_duplicates(order[1:]).sort_values(order)
    columns = (found[name].tolist() for name in order[1:])
    return ", ".join(
        f"{name_at(peptide, kelvin)} {digest[:8]}" for peptide, kelvin, digest in zip(*columns, strict=True)
    )
