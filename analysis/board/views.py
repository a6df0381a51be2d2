"""What the pages of the leaderboard show of a row and of a cell, as texts and sortable numbers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.board.board import SHOWN_METRICS, Board
from analysis.board.drawings import marker
from analysis.board.review import review_text
from analysis.metrics.metric import Metric
from analysis.scores.statuses import SCORED
from analysis.scores.table import under
from analysis.statistics.estimates import Estimate
from analysis.tables.digits import kept_text
from analysis.tables.main import TableRow
from analysis.tables.text import metric_texts, texts
from prosebench.names import CEILING, EXTERNAL, FLOOR, name_at

LARGE_PREPARATION = 0.1
"""A row is marked if its preparation takes more than this share of its budget."""


@dataclass
class Notes:
    """The numbered notes of one page; equal texts share a number."""

    texts: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, text: str) -> dict[str, Any]:
        """A note's kind, text and number."""
        for note in self.texts:
            if (note["kind"], note["text"]) == (kind, text):
                return note
        self.texts.append({"kind": kind, "text": text, "number": len(self.texts) + 1})
        return self.texts[-1]


def shown_metrics(board: Board) -> list[Metric]:
    """Metrics of which the board has a number."""
    known = set(board.scores.loc[board.scores["status"].isin(SCORED), "metric"])
    return [metric for metric in SHOWN_METRICS if metric.name in known]


def slug(text: str) -> str:
    """A name that is safe in file names and addresses."""
    return "".join(one if one.isalnum() or one in "._-" else "-" for one in text).strip("-")


def row_view(board: Board, row: TableRow, metrics: Sequence[Metric], notes: Notes) -> dict[str, Any]:
    """One row of a table; its notes are added to those of the page."""
    look = board.looks[row.row]
    place = (row.suite, row.length, row.temperature_kelvin, row.budget)
    over = board.excess.get((place, "ceiling" if row.ceiling else row.row), {})
    cells = [_metric_view(row, metric) | {"name": metric.name} for metric in metrics]
    for cell in cells:
        cell["best"] = cell["name"] in row.best and cell["v"] != "inf"
        shown = cell["name"] in over and not (row.peptide or row.secondary)
        cell["over"] = " ".join(texts(over[cell["name"]])).strip() if shown else ""
    said = [] if row.control else [notes.add(*note) for note in (*_notes(row), *_reviewed(board, row))]
    return {
        "suite": row.suite,
        "length": row.length,
        "budget": row.budget,
        "peptide": row.peptide,
        "temperature_kelvin": row.temperature_kelvin,
        "label": board.main.name(row),
        "control": row.control,
        "kind": row.kind if row.control else "method",
        "place": f"{board.rows.index(row.row):03d}",
        "slug": slug(row.row),
        "anchor": slug(f"{name_at(row.suite, row.temperature_kelvin)}-{row.length}-{row.budget}"),
        "id": slug(
            f"{row.suite}-{row.length}-{row.budget}-{name_at(row.peptide, row.temperature_kelvin)}-{row.label}"
        ),
        "marker": marker(look),
        "colour": look.colour,
        "cells": cells,
        "evaluations": _spent(row),
        "seconds": {"v": "", "value": ""} if row.control else number_view(row.estimates.get("wall-seconds")),
        "peptides": row.peptides,
        "seeds": row.seeds,
        "notes": said,
    }


def _metric_view(row: TableRow, metric: Metric) -> dict[str, Any]:
    found = row.estimates.get(metric.name)
    view = number_view(found)
    if found is not None:
        view["value"], view["interval"] = metric_texts(found, metric)
    if metric.name in row.at_least:
        view |= {"value": f"≤ {view['value']}", "interval": "", "low": "", "high": ""}
    return view


def number_view(found: Estimate | None) -> dict[str, Any]:
    """An estimate: v, low, high for sorting and drawing, value and interval for reading."""
    if found is None:
        return {"v": "", "value": "", "interval": "", "low": "", "high": ""}
    value, interval = texts(found)
    return {
        "v": kept_text(found.value),
        "low": kept_text(found.low),
        "high": kept_text(found.high),
        "value": value,
        "interval": interval,
    }


def _spent(row: TableRow) -> dict[str, str]:
    sampling, preparation = (row.estimates.get(f"{kind}-evaluations") for kind in ("sampling", "preparation"))
    if row.control or sampling is None:
        return {"v": "", "value": "–", "interval": ""}
    more = f"+ {preparation.value:,.0f}" if preparation is not None and preparation.value else ""
    total = sampling.value + (preparation.value if preparation else 0.0)
    return {"v": kept_text(total), "value": f"{sampling.value:,.0f}", "interval": more}


def _reviewed(board: Board, row: TableRow) -> Iterator[tuple[str, str]]:
    """What a review saw of the cells of a row that somebody else sent."""
    scores, length = board.scores, row.length
    mine = (scores["suite"] == row.suite) & (scores["row"] == row.row) & (scores["budget"] == row.budget)
    mine &= scores["temperature_kelvin"] == row.temperature_kelvin
    mine &= scores["peptide"] == row.peptide if row.peptide else scores["length"] == length
    said = review_text(
        [board.reviews[one] for one in scores[mine]["cell_id"].unique() if one in board.reviews]
    )
    if said:
        yield "reviewed", f"{row.label}, {row.peptide or row.suite}, {row.budget:,} evaluations: {said}"


def _notes(row: TableRow) -> Iterable[tuple[str, str]]:
    """Kind and text of all that a reader must know besides the numbers of a row."""
    peptides = f"{row.peptide or row.suite}, {row.length} residues"
    place = f"{row.label}, {peptides}, {row.budget:,} evaluations: "
    # What is true of all rows on these peptides, or of a row everywhere, is one note.
    shared = {"unconverged": f"{peptides}: ", "declared": f"{row.row}: "}
    for remark in row.remarks:
        yield remark.kind, shared.get(remark.kind, place) + remark.text
    preparation = row.estimates.get("preparation-evaluations")
    if preparation is not None and preparation.value > LARGE_PREPARATION * row.budget and not row.secondary:
        yield (
            "preparation",
            f"{place}{preparation.value:,.0f} evaluations of preparation: "
            f"{preparation.value / row.budget:.2g} times the budget",
        )


def cell_lines(board: Board) -> list[dict[str, Any]]:
    """A line for every cell at every budget: scores to nine digits, what was spent, hashes, versions and
    machine.

    Beside a score stands its certificate, where there is one.
    """
    metrics = [metric.name for metric in shown_metrics(board)]
    standing = under(board.scores)
    certified = set(standing.loc[standing["gap"].notna(), "metric"])
    gaps = {name: gap_name(name) for name in metrics if name in certified}
    cells = standing[(standing["row"] != "") & (standing["method"] != CEILING)]
    place = ["suite", "length", "peptide", "temperature_kelvin", "row", "budget", "seed"]
    found = []
    for key, lines in cells.groupby(place, sort=True):
        first = lines.iloc[0]
        values = dict(zip(lines["metric"], lines["value"], strict=True))
        certificates = dict(zip(lines["metric"], lines["gap"], strict=True))
        kept = board.records.get(first["cell_id"])
        found.append(
            dict(zip(place, key, strict=True))
            | {"method": first["method"], "status": first["status"], "reason": first["reason"]}
            | {name: kept_text(values.get(name)) for name in metrics}
            | {gap: kept_text(certificates.get(name)) for name, gap in gaps.items()}
            | {"frames": int(first["frames"]), "cell_id": first["cell_id"], "reference": first["reference"]}
            | {
                name: kept_text(values.get(name))
                for name in (
                    "sampling-evaluations",
                    "preparation-evaluations",
                    "failures",
                    "sampling-seconds",
                )
            }
            | _behind(kept)
            | {"run": first["run"]}
        )
    return found


def gap_name(metric: str) -> str:
    """Column of a distance's certificate: by how much, relatively, its square may lie above the optimum."""
    return f"{metric}-gap"


def _behind(kept: Any) -> dict[str, str]:
    """Hashes, versions and machine of a record."""
    if kept is None:
        return dict.fromkeys(("record", "ensemble", "versions", "commit", "target", "machine"), "")
    where = kept.provenance
    return {
        "record": kept.sha256,
        "ensemble": kept.record.ensemble_sha256,
        "versions": " ".join(f"{name} {version}" for name, version in sorted(kept.record.versions.items())),
        "commit": where.commit if where else "",
        "target": " ".join(f"{name} {value}" for name, value in sorted(kept.record.target.items())),
        "machine": f"{where.host} ({where.device})" if where else "",
    }


def kind_of(method: str) -> str:
    """What a row is, in words."""
    kinds = {FLOOR: "Control: the floor", CEILING: "Control: the ceiling"}
    return kinds.get(method, "Made elsewhere, costs declared" if method == EXTERNAL else "Method")


def counts_text(board: Board, row: str) -> str:
    """What the cells of a row came to at each of their budgets: "6 done, 2 failed"."""
    lines = board.scores[board.scores["row"] == row].drop_duplicates(["suite", "peptide", "seed", "budget"])
    return ", ".join(f"{number} {status}" for status, number in sorted(Counter(lines["status"]).items()))


def method_link(board: Board, row: str) -> dict[str, Any]:
    """Name of a row, its page and marker, and what its cells came to."""
    method = board.methods[row]
    kinds = {FLOOR: "floor", CEILING: "ceiling", EXTERNAL: "made elsewhere (costs declared)"}
    said = kinds.get(method, f"method {method}")
    if method != CEILING:
        said += f", {counts_text(board, row)}"
    return {"slug": slug(row), "label": row, "marker": marker(board.looks[row]), "said": said}


def peptide_file(suite: str, name: str) -> str:
    """File of a peptide at its temperature (`name_at`)."""
    return f"{slug(suite)}-{name}.html"
