"""What the code of a method says of a record that somebody else made; asked by jobs, judged by the analysis."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.record import Record


class Inspection(NamedTuple):
    """What a method says of a record: the reasons against it, whether its log-weights were computed again,
    and whether frames of the method may repeat."""

    reasons: tuple[str, ...] = ()
    weights: Literal["recomputed", "as declared"] = "as declared"
    may_repeat: bool = True


Inspect = Callable[[Record, Ensemble, Peptide, Path | None], Inspection]
"""A function that asks the method of a record for its judgement, given the frames, the peptide, and the path
of the peptide's reference."""


def nothing_asked(record: Record, ensemble: Ensemble, peptide: Peptide, reference: Path | None) -> Inspection:
    """An inspection in which no method is asked."""
    return Inspection()
