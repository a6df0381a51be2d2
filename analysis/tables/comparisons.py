"""Tables of paired comparisons and of excess over the floor, as data, Markdown and CSV."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis.metrics.metric import Metric
from analysis.metrics.registry import BY_NAME, TABLE_METRICS, WASSERSTEIN
from analysis.scores.rows import row_order
from analysis.scores.table import scored_lines, under
from analysis.statistics.comparisons import Comparison, compare_rows, excess, ratio_to_floor
from analysis.statistics.estimates import Estimate
from analysis.tables.grid import markdown_lines
from analysis.tables.text import ratio_texts, texts
from prosebench.names import CEILING, EXTERNAL, FLOOR

NOTE = (
    "First row against second, on the peptides both have, with its 95 % interval. Distances (W2) spread over decades: "
    "they are compared by their logarithms, and shown is the ratio first / second, the geometric mean over peptides, 1 "
    "for equal rows. ESS and JSD lie between 0 and 1 and may be 0: shown is the difference first − second, the mean "
    "over peptides, 0 for equal rows. Wins: peptides on which the first is better. p: Wilcoxon's signed-rank test over "
    "peptides; Student's paired test where so few peptides cannot reach 5 % by ranks; Welch's over seeds for one "
    "peptide; of distances all of them on logarithms. Corrected by Holm for all comparisons of one metric at one "
    "budget, those with a row of declared cost apart. Would be told: the true ratio (×) or difference (±) that a test "
    "of as many peptides, with the spread that they have, tells from none in four of five cases; where it is large, a "
    "pair that is not told apart may still differ. Bold: the two differ."
)
DECLARED = "declared costs"
"""The mark of a comparison in which the costs of a row were declared and not metered."""


Place = tuple[str, int, float, int]
"""What rows must share to be compared: suite, length, temperature in kelvin, and budget."""


@dataclass(frozen=True)
class Group:
    """What was compared together: one suite, length, temperature, budget and metric."""

    suite: str
    length: int
    temperature_kelvin: float
    budget: int
    metric: Metric
    comparisons: tuple[Comparison, ...]
    refused: tuple[str, ...]

    @property
    def place(self) -> Place:
        """The place at which the rows were compared."""
        return self.suite, self.length, self.temperature_kelvin, self.budget


def comparison_groups(
    scores: pd.DataFrame, *, against: str | None = None, allow: Collection[str] = ()
) -> list[Group]:
    """All pairs of rows (or each against one) in every metric that has a better side, at every equal budget.

    Metered rows are corrected for the number of their own pairs alone: rows of declared cost, of which anybody can add
    any number, take nothing from them. Those are compared with each metered row, and marked.
    """
    scored = under(scored_lines(scores))
    scored = scored[~scored["method"].isin([FLOOR, CEILING])]
    methods = dict(zip(scored["row"], scored["method"], strict=True))
    found = []
    for place, group in groups_of(scored):
        rows = row_order(group["row"], methods)
        for metric in TABLE_METRICS:
            lines = group[group["metric"] == metric.name]
            if not metric.better or lines["row"].nunique() < 2:
                continue
            made, refused = _compared(lines, rows, methods, against=against, allow=allow)
            found.append(Group(*place, metric, tuple(made), tuple(refused)))
    return found


def _compared(
    lines: pd.DataFrame,
    rows: Sequence[str],
    methods: Mapping[str, str],
    *,
    against: str | None,
    allow: Collection[str],
) -> tuple[list[Comparison], list[str]]:
    """Comparisons of metered rows, then of each row of declared cost with those; and of refused ones, why."""
    metered = [row for row in rows if methods[row] != EXTERNAL]
    declared = [row for row in rows if methods[row] == EXTERNAL]
    families: list[tuple[list[str], str | None]]
    if against:
        families = [(metered, against), (declared, against)]
    else:
        families = [(metered, None), *((metered, one) for one in declared)]
    made, refused = [], []
    for family, other in families:
        chosen = family if other is None or other in family else [*family, other]
        found, why = compare_rows(lines, chosen, against=other, allow=allow)
        made += [_marked(one, methods) for one in found]
        refused += why
    return made, refused


def _marked(one: Comparison, methods: Mapping[str, str]) -> Comparison:
    """The comparison with its mark where a side was not metered."""
    unmetered = EXTERNAL in (methods[one.row], methods[one.other])
    return replace(one, marks=(*one.marks, DECLARED)) if unmetered else one


def groups_of(scores: pd.DataFrame) -> Iterator[tuple[Place, pd.DataFrame]]:
    """What may be compared, with its lines."""
    for _, group in scores.groupby(["suite", "length", "temperature_kelvin", "budget"], sort=True):
        first = group.iloc[0]
        kelvin = float(first["temperature_kelvin"])
        yield (str(first["suite"]), int(first["length"]), kelvin, int(first["budget"])), group


def titles(places: Iterable[Place]) -> dict[Place, str]:
    """A name for each place: its budget, before it suite, length and temperature where they vary."""
    known = list(places)
    suites, lengths, kelvins = (len({place[i] for place in known}) > 1 for i in range(3))
    return {
        place: ", ".join(
            [place[0]] * suites
            + [f"{place[1]} residues"] * lengths
            + [f"{place[2]:g} K"] * kelvins
            + [f"{place[3]:,}"]
        )
        for place in known
    }


def markdown(groups: list[Group]) -> str:
    """All comparisons in Markdown, with why pairs were refused; empty for none."""
    if not groups:
        return ""
    names = titles(group.place for group in groups)
    headings = [
        "evaluations", "metric", "rows", "ratio or difference", "wins", "p, corrected (for)", "test",
        "would be told", "",
    ]  # fmt: skip
    rows = []
    for group in groups:
        for one in group.comparisons:
            value, interval = effect_texts(one)
            better, of = group.metric.wins(one.wins, one.losses), one.wins + one.losses
            shown = f"**{value}** {interval}" if one.distinguishable else f"{value} {interval}"
            cells = [
                names[group.place], group.metric.heading, one.pair,
                shown.strip(), f"{better} of {of}", f"{one.p_corrected:.2g} ({one.n_comparisons})", one.test,
                detectable_text(one), "; ".join(one.marks),
            ]  # fmt: skip
            rows.append(cells)
    lines = markdown_lines(headings, "rllrrrlrl", rows)
    refused = dict.fromkeys(f"{names[group.place]}: {text}" for group in groups for text in group.refused)
    return "\n".join([*lines, "", NOTE, *(f"\nRefused at {text}." for text in refused), ""])


def effect_texts(one: Comparison) -> tuple[str, str]:
    """Ratio or difference of two rows, and its interval, as texts."""
    return (ratio_texts if one.is_ratio else texts)(one.effect)


def detectable_text(one: Comparison) -> str:
    """The smallest effect that a test of as many peptides would tell; empty where it is not known."""
    if one.detectable is None or not math.isfinite(one.detectable):
        return ""
    return f"×{one.detectable:.2g}" if one.is_ratio else f"±{one.detectable:.2g}"


def csv_text(groups: list[Group]) -> str:
    """All comparisons with every digit."""
    rows = [
        {
            "suite": group.suite,
            "length": group.length,
            "temperature_kelvin": group.temperature_kelvin,
            "budget": group.budget,
            "metric": one.metric,
            "row": one.row,
            "other": one.other,
            "effect": "ratio" if one.is_ratio else "difference",
            "value": one.effect.value,
            "low": one.effect.low,
            "high": one.effect.high,
            "peptides": one.effect.n_peptides,
            "smaller": one.wins,
            "larger": one.losses,
            "test": one.test,
            "p": one.p,
            "p-corrected": one.p_corrected,
            "comparisons": one.n_comparisons,
            "distinguishable": one.distinguishable,
            "detectable": one.detectable,
            "marks": "; ".join(one.marks),
        }
        for group in groups
        for one in group.comparisons
    ]
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n") if rows else ""


def excess_rows(
    scores: pd.DataFrame, over: Callable[[pd.DataFrame, pd.DataFrame], Estimate | None] = excess
) -> list[tuple[Place, str, dict[str, Estimate]]]:
    """Place, row and what `over` (excess, or the ratio) makes of it and the floor, by metric, where it makes anything.

    The floor is that of the same peptides, of as many frames.
    """
    scored = under(scored_lines(scores))
    methods = dict(zip(scored["row"], scored["method"], strict=True))
    found = []
    for place, group in groups_of(scored):
        floor = group[group["method"] == FLOOR]
        for row in row_order(group["row"], methods):
            if methods[row] == FLOOR:
                continue
            known = {}
            for name in WASSERSTEIN:
                mine = group[(group["row"] == row) & (group["metric"] == name)]
                level = floor[floor["metric"] == name]
                estimate = over(mine, level) if len(mine) and len(level) else None
                if estimate is not None:
                    known[name] = estimate
            if known:
                label = "ceiling" if methods[row] == CEILING else row
                found.append((place, label, known))
    return found


def excess_markdown(scores: pd.DataFrame) -> str:
    """Excess over the floor, and ratio to it, in Markdown; empty where nothing can be compared with one."""
    rows = excess_rows(scores)
    if not rows:
        return ""
    ratios = {(place, label): of for place, label, of in excess_rows(scores, ratio_to_floor)}
    heads = [f"{BY_NAME[name].heading} {sign} floor" for name in WASSERSTEIN for sign in ("−", "/")]
    names = titles(place for place, _, _ in rows)
    shown = []
    for place, label, over in rows:
        both = ((over, texts), (ratios.get((place, label), {}), ratio_texts))
        cells = [
            " ".join(write(of[name])).strip() if name in of else "–"
            for name in WASSERSTEIN
            for of, write in both
        ]
        shown.append([names[place], label, *cells])
    lines = markdown_lines(["budget", "method", *heads], "ll" + "r" * len(heads), shown)
    note = (
        "Paired by peptide with the floor of as many frames. −: mean of the differences, /: geometric mean of the "
        "ratios. A perfect sampler's excess is 0 and its ratio 1, each within its interval. Where distances spread "
        "over decades the interval of their excess is wide, and the ratio is the one to judge by. Rows of fewer frames "
        "than the floor have neither."
    )
    return "\n".join([*lines, "", note, ""])
