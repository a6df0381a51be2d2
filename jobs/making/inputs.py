"""What the cells of a suite need before they can run, and what of it this machine lacks: weights and references."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from jobs.making.weights import MissingWeights, fetch_weights, published_uses
from prosebench.method import load_method
from prosebench.names import PUBLISHED_KELVIN, name_at
from prosebench.record import Cell
from prosebench.rows import method_settings
from prosebench.store.places import has_reference, readable
from prosebench.suite import Suite

MOST_NAMED = 4

PeptideAtKelvin = tuple[str, float]
"""A peptide and a temperature in kelvin. Each such pair has its own reference."""


@dataclass(frozen=True)
class Inputs:
    """What is missing for a suite, whose rows hold the SHA-256 of all weights that are there.

    n_weights and n_references are how many there are in all; scored: whether cells without a reference wait, since
    nothing could be scored. named: the suite as it was given, for the commands that get what is missing.
    """

    suite: Suite
    named: str
    weights: tuple[MissingWeights, ...]
    references: tuple[PeptideAtKelvin, ...]
    n_weights: int
    n_references: int
    scored: bool = True

    def waits(self, cell: Cell) -> bool:
        """Whether a cell has to wait for an input."""
        if any(cell.row in missing.rows for missing in self.weights):
            return True
        if (cell.peptide, cell.target.temperature_kelvin) not in self.references:
            return False
        return self.scored or load_method(cell.method).needs_reference

    def ready(self, cells: Sequence[Cell], directory: Path) -> list[Cell]:
        """The cells that can run, and those that are finished already."""
        return [
            cell
            for cell in cells
            if not self.waits(cell) or (directory / "cells" / cell.folder_name / "record.json").exists()
        ]

    @property
    def summary(self) -> str:
        """How much is here."""
        parts = [f"references here: {self.n_references - len(self.references)} of {self.n_references}"]
        if self.n_weights:
            parts.append(f"published weights here: {self.n_weights - len(self.weights)} of {self.n_weights}")
        return "; ".join(parts)

    @property
    def lines(self) -> list[str]:
        """What is missing, one line a kind, each with the command that gets it."""
        fetch = (
            f"`prosebench fetch --suite {quote(self.named)} --to DATA` where the hub is in reach, then here "
        )
        fetch += "`export PROSEBENCH_DATA=DATA`"
        lines = []
        if self.weights:
            names = ", ".join(missing.weights for missing in self.weights)
            rows = ", ".join(dict.fromkeys(row for missing in self.weights for row in missing.rows))
            why = next((f" (the hub: {missing.why})" for missing in self.weights if missing.why), "")
            lines.append(
                f"weights that are not here{why}: {names}. Rows that wait: {rows}. To get them: {fetch}"
            )
        if self.references:
            kelvins = sorted({kelvin for _, kelvin in self.references})
            make = f"`prosebench reference --suite {quote(self.named)}`"
            if len(kelvins) > 1 or kelvins != [PUBLISHED_KELVIN]:
                make = ", ".join(
                    f"{make[:-1]} --temperature {kelvin:g}`" if kelvin != PUBLISHED_KELVIN else make
                    for kelvin in kelvins
                )
            waiting = "Their cells wait" if self.scored else "Nothing of them can be scored"
            published = f" or, for the published ones: {fetch}" if PUBLISHED_KELVIN in kelvins else ""
            names = _named([name_at(*place) for place in self.references])
            lines.append(
                f"references that are not here: {len(self.references)} of {self.n_references} ({names}). {waiting}. "
                f"To make them: {make}{published}"
            )
        return lines


def find_inputs(
    suite: Suite,
    references: Sequence[Path],
    *,
    named: str = "",
    download: bool = True,
    scored: bool = True,
) -> Inputs:
    """What a suite needs and this machine lacks. With download, weights are fetched where the hub is in reach.

    Without, for a plan alone, published references that would be read from PROSEBENCH_DATA count as here. Raises
    SuiteError as `fetch_weights` does, HubError where PROSEBENCH_DATA names no folder.
    """
    filled, weights = fetch_weights(suite, download=download)
    places = [(peptide, target.temperature_kelvin) for peptide in suite.peptides for target in suite.targets]
    settings = {row: method_settings(suite, row)[1] for row in suite.methods}
    names = {(use.settings["weights"], use.settings["revision"]) for use in published_uses(settings)}
    return Inputs(
        suite=filled,
        named=named or suite.name,
        weights=tuple(weights),
        references=tuple(
            place
            for place in places
            if not has_reference(*place, references) and (download or not readable(*place))
        ),
        n_weights=len(names),
        n_references=len(places),
        scored=scored,
    )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return " ".join(names[:MOST_NAMED]) + more
