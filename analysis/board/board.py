"""The board: all kept runs put together, and what stands in its tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from analysis.board.kept_runs import KeptRecord, KeptRun
from analysis.board.review import CellReview
from analysis.figures.style import Look, looks
from analysis.metrics.registry import TABLE_METRICS
from analysis.scores.rows import row_order
from analysis.scores.statuses import SCORED
from analysis.scores.table import ORDER
from analysis.statistics.estimates import Estimate
from analysis.tables.comparisons import Group, Place, comparison_groups, excess_rows
from analysis.tables.main import Table, main_table, peptide_table
from prosebench.names import CEILING, FLOOR
from prosebench.store.storage import json_bytes

SHOWN_METRICS = tuple(metric for metric in TABLE_METRICS if metric.better or metric.optional)
"""The metrics that the board shows: those that it ranks by, and those that say how much of the target the
weights see."""

_PLACE = ["suite", "row", "peptide", "temperature_kelvin", "budget", "seed"]
"""The columns that name a place in the scores. Two runs may both hold one place; the board takes it from one
of them."""


class MixedRuns(ValueError):
    """Kept runs that cannot stand on one board; the message names them and what to do."""


@dataclass(frozen=True)
class Board:
    """Kept runs, and their scores in one long table with a column `run`."""

    runs: tuple[KeptRun, ...]
    scores: pd.DataFrame

    @cached_property
    def main(self) -> Table:
        """A row for each suite, length, budget and method."""
        return main_table(self.scores)

    @cached_property
    def by_peptide(self) -> Table:
        """A row for each suite, peptide, budget and method."""
        return peptide_table(self.scores)

    @cached_property
    def comparisons(self) -> list[Group]:
        """The comparisons of all pairs of methods in every group and metric."""
        return comparison_groups(self.scores)

    @cached_property
    def excess(self) -> dict[tuple[Place, str], dict[str, Estimate]]:
        """Excess over the floor by place and row."""
        return {(place, row): over for place, row, over in excess_rows(self.scores)}

    @cached_property
    def methods(self) -> dict[str, str]:
        """Method of each row."""
        named = self.scores[self.scores["row"] != ""]
        return dict(zip(named["row"], named["method"], strict=True))

    @cached_property
    def rows(self) -> list[str]:
        """Rows in the order in which they are shown: never by score."""
        return row_order(self.methods, self.methods)

    @cached_property
    def looks(self) -> dict[str, Look]:
        """Look of each row, as in all figures."""
        return looks(self.rows)

    @cached_property
    def records(self) -> dict[str, KeptRecord]:
        """Records by cell id."""
        return {cell_id: kept for run in self.runs for cell_id, kept in run.records.items()}

    @cached_property
    def reviews(self) -> dict[str, CellReview]:
        """What reviews saw of cells that somebody else made, by cell id."""
        return {cell_id: seen for run in self.runs for cell_id, seen in run.review.cells.items()}

    @cached_property
    def peptides(self) -> list[tuple[str, int, str, float]]:
        """(suite, length, peptide, kelvin) of all cells, sorted."""
        named = self.scores[self.scores["row"] != ""]
        columns = (named[name].tolist() for name in ("suite", "length", "peptide", "temperature_kelvin"))
        return sorted(set(zip(*columns, strict=True)))

    def reference(self, name: str) -> Mapping[str, Any]:
        """What is known of the reference of a peptide at its temperature (`name_at`); empty where there is none."""
        return next((run.references[name] for run in self.runs if name in run.references), {})

    def drawings(self, suite: str, name: str) -> list[tuple[KeptRun, dict[str, Any]]]:
        """What each run that has frames of a peptide at its temperature (`name_at`) draws."""
        found = ((run, run.drawings(suite, name)) for run in self.runs)
        return [(run, drawn) for run, drawn in found if drawn]


def make_board(runs: Sequence[KeptRun]) -> Board:
    """Put runs together. Raises MixedRuns where scores of two versions, or against two references, would be mixed.

    A row of one suite that was run with other settings in a later run stands apart, as "row [run]". A cell that two
    runs hold is taken from the first, by name.
    """
    _check_versions(runs)
    _check_references(runs)
    parts = []
    known: dict[tuple[str, str], bytes] = {}
    for run in runs:
        part = run.scores.assign(run=run.name)
        other: dict[tuple[str, str], str] = {}
        for suite, row in sorted(set(zip(part["suite"].tolist(), part["row"].tolist(), strict=True))):
            traits = _traits(run, part, suite, row)
            if traits and known.setdefault((suite, row), traits) != traits:
                other[suite, row] = f"{row} [{run.name}]"
        pairs = zip(part["suite"].tolist(), part["row"].tolist(), strict=True)
        part["row"] = [other.get(pair, pair[1]) for pair in pairs]
        parts.append(part)
    scores = pd.concat(parts, ignore_index=True)
    scores = _without_superseded(scores).drop_duplicates([*_PLACE, "metric", "weighting"], ignore_index=True)
    return Board(tuple(runs), scores.sort_values(ORDER, kind="stable", ignore_index=True))


def _without_superseded(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores with each place taken from one run: of several, the first run that scored it, else the
    first."""
    ranked = scores.assign(missing=~scores["status"].isin(SCORED)).sort_values(
        ["missing", "run"], kind="stable"
    )
    first = ranked.drop_duplicates(_PLACE)[[*_PLACE, "run"]]
    return scores.merge(first, on=[*_PLACE, "run"])


def _traits(run: KeptRun, part: pd.DataFrame, suite: str, row: str) -> bytes:
    """What a row was run with: it must be equal for two runs to share a row. Empty where no cell ended."""
    ids = part.loc[(part["suite"] == suite) & (part["row"] == row), "cell_id"].unique()
    cells = [run.records[cell_id].record.cell for cell_id in sorted(ids) if cell_id in run.records]
    if not cells:
        return b""
    first = cells[0]
    return json_bytes(
        [first.method, first.frames, first.settings, first.target.model_dump(mode="json")]
        if first.method not in (FLOOR, CEILING)
        else [first.method]
    )


def _check_versions(runs: Sequence[KeptRun]) -> None:
    versions = {run.score_version: run.name for run in runs}
    if len(versions) > 1:
        said = ", ".join(f"{name} by version {version}" for version, name in sorted(versions.items()))
        raise MixedRuns(
            f"runs were scored by different versions ({said}); keep the older ones again, from their run folders: "
            "`prosebench leaderboard RUN_FOLDER`"
        )


def _check_references(runs: Sequence[KeptRun]) -> None:
    known: dict[str, tuple[str, str]] = {}
    for run in runs:
        for peptide, reference in run.references.items():
            name, digest = known.setdefault(peptide, (run.name, reference["hash"]))
            if digest != reference["hash"]:
                raise MixedRuns(
                    f"{name} and {run.name} were scored against different references of {peptide}; keep one of "
                    "them again with --references of the other"
                )
