"""What the code of a method says of a record that somebody else made; asked by jobs, judged by the analysis."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.record import Record


class Inspection(NamedTuple):
    """Reasons against a record; whether log-weights were computed again; whether frames of its method may repeat."""

    reasons: tuple[str, ...] = ()
    weights: Literal["recomputed", "as declared"] = "as declared"
    may_repeat: bool = True


Inspect = Callable[[Record, Ensemble, Peptide, Path | None], Inspection]
"""Asks the method of a record, given its frames, its peptide and the path of the peptide's reference."""


def nothing_asked(record: Record, ensemble: Ensemble, peptide: Peptide, reference: Path | None) -> Inspection:
    """No method is asked."""
    return Inspection()
