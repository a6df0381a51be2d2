"""What a metric is: its words for a reader, and how it is measured. `analysis.metrics.registry` holds all of them.

There are three kinds. A Distance compares the scored frames with the reference. A Quality says something of the
ensemble itself: of its weights, or of its frames. A Cost says what a record had spent.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from analysis.metrics.case import Case, ReferenceFrames, Spent, Views

Scale = Literal["linear", "log"]

UNBOUNDED = (-math.inf, math.inf)
POSITIVE = (0.0, math.inf)
SHARE = (0.0, 1.0)


class Number(NamedTuple):
    """A measured value, what the finite reference adds to its standard error, and the gap of its certificate.

    The gap says by how much, relative to it, the square of a distance may at most lie above the optimum. NaN stands
    for what is not known.
    """

    value: float
    reference_error: float = math.nan
    gap: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number by which a reader judges, under its name in the scores.

    what: one sentence for a reader. better: which direction is better; a metric without one ranks nothing. scale:
    "log" for values that spread over decades: they are averaged geometrically and compared by their ratio, all others
    by their mean and difference. factor: what tables multiply a value by. bounds: between what a value, times the
    factor, can lie. least: name of the metric that holds the least value this one can take, where that depends on the
    cell; there a value says no more than "at most". in_table: whether it is a column of the tables;
    optional: of those alone where some row has it, and not 0 like all others.
    """

    name: str
    heading: str
    what: str
    unit: str = ""
    better: Literal["less", "more", ""] = ""
    scale: Scale = "linear"
    factor: float = 1.0
    bounds: tuple[float, float] = UNBOUNDED
    least: str = ""
    in_table: bool = True
    optional: bool = False

    @property
    def label(self) -> str:
        """Heading with the unit: "E-W2 (kT)"."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading

    def wins(self, smaller: int, larger: int) -> int:
        """The number of peptides on which a row is better, from the numbers on which its value is smaller and
        larger."""
        return larger if self.better == "more" else smaller


@dataclass(frozen=True, kw_only=True)
class Distance(Metric):
    """How far the scored frames are from the reference.

    between measures two ensembles; error is what the finite reference adds to the standard error of that value.
    """

    better: Literal["less", "more", ""] = "less"
    between: Callable[["Views", "Views"], Number]
    error: Callable[["Views", "ReferenceFrames", float], float]


@dataclass(frozen=True, kw_only=True)
class Quality(Metric):
    """What an ensemble is like by itself. None where it does not apply, as for weights that are not there.

    by_weighting: whether it depends on the weights under which frames are scored.
    """

    of: Callable[["Case"], float | None]
    by_weighting: bool = False


@dataclass(frozen=True, kw_only=True)
class Cost(Metric):
    """What had been spent at a budget. None where the record does not say.

    adds_to: name of the cost in whose column this one stands behind a plus sign.
    """

    of: Callable[["Spent"], float | None]
    adds_to: str = ""
