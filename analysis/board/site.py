"""The leaderboard's pages: one board, a page a method, a page a peptide. No server, no network, no dates."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.board.board import Board
from analysis.board.drawings import OUTLINE_KT, marker
from analysis.board.index import index_page
from analysis.board.maps import MOST_KT
from analysis.board.panels import panels
from analysis.board.views import (
    Notes,
    cell_lines,
    counts_text,
    gap_name,
    kind_of,
    peptide_file,
    row_view,
    shown_metrics,
    slug,
)
from analysis.scores.reference_quality import quality_view
from prosebench.names import CEILING, EXTERNAL, FLOOR, name_at
from prosebench.peptide.residues import ONE_LETTER

FOLDER = Path(__file__).parent / "assets"
STATIC = ("style.css", "site.js")
_METHOD_COLUMNS = (("text", "row"), ("num", "residues"), ("num", "budget"))
_PEPTIDE_COLUMNS = (("text", "peptide"), ("num", "residues"), ("num", "budget"))


def site_files(board: Board, figures: Sequence[tuple[str, str]]) -> Iterator[tuple[str, bytes]]:
    """Path inside the site and content of each of its files; figures: file name and caption."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_markup,
    )
    common = {
        "score_version": ", ".join(sorted({str(run.score_version) for run in board.runs})),
        "metrics": shown_metrics(board),
    }

    def page(kind: str, root: str, context: dict[str, Any]) -> bytes:
        template = environment.get_template(f"{kind}.html.j2")
        return (template.render({**common, "page": kind, "root": root, **context}).rstrip() + "\n").encode()

    for name in STATIC:
        yield name, (FOLDER / name).read_bytes()
    yield "index.html", page("index", "", index_page(board, figures))
    cells = cell_lines(board)
    for row in board.rows:
        yield f"methods/{slug(row)}.html", page("method", "../", _method(board, row, cells))
    for place in board.peptides:
        suite, _, peptide, kelvin = place
        yield (
            f"peptides/{peptide_file(suite, name_at(peptide, kelvin))}",
            page("peptide", "../", _peptide(board, place)),
        )


def _markup(value: Any) -> Any:
    """Drawings are ours and stand in the page as they are."""
    return Markup(value) if isinstance(value, str) and value.startswith("<svg ") else value


def _method(board: Board, row: str, cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    notes, metrics, method = Notes(), shown_metrics(board), board.methods[row]
    suites = []
    for suite in sorted({one.suite for one in board.main.rows if one.row == row}):
        places = {one.group for one in board.main.rows if (one.row, one.suite) == (row, suite)}
        main = [one for one in board.main.rows if one.group in places and (one.row == row or one.floor)]
        mine = [one for one in board.by_peptide.rows if (one.row, one.suite) == (row, suite)]
        rows = [row_view(board, one, metrics, notes) for one in main]
        for view, one in zip(rows, main, strict=True):
            # The line under the published filter stands behind the row that competes, which is what links lead to.
            view["anchor"] = view["anchor"] if one.row == row and not one.secondary else ""
            view["first"] = [
                _text(view["label"], view["place"], marker=view["marker"]),
                *_places(view),
            ]
        by_peptide = [row_view(board, one, metrics, Notes()) for one in mine]
        for view in by_peptide:
            name = name_at(view["peptide"], view["temperature_kelvin"])
            href = f"peptides/{peptide_file(suite, name)}"
            view |= {"anchor": "", "notes": []}
            view["first"] = [_text(name, name, href=href), *_places(view)]
        lines = [
            _cell(cell, [metric.name for metric in metrics])
            for cell in cells
            if (cell["suite"], cell["row"]) == (suite, row)
        ]
        suites.append(
            {
                "name": suite,
                "slug": slug(suite),
                "rows": rows,
                "first": _headings(_METHOD_COLUMNS),
                "by_peptide": by_peptide,
                "first_peptide": _headings(_PEPTIDE_COLUMNS),
                "settings": _settings(board, suite, row),
                "cells": lines,
                "has_gaps": any(gap for line in lines for _, gap in line["metrics"]),
            }
        )
    return {
        "title": row,
        "label": row,
        "kind": kind_of(method),
        "marker": marker(board.looks[row]),
        "said": _method_said(board, row),
        "suites": suites,
        "notes": notes.texts,
    }


def _method_said(board: Board, row: str) -> str:
    method = board.methods[row]
    if method == FLOOR:
        return (
            "Frames drawn from the half of the reference that scoring does not use: what perfect sampling of this many "
            "frames scores. Distances between finite samples do not reach zero. A method that beats the floor by more "
            "than its interval is suspicious."
        )
    if method == CEILING:
        return (
            "One frame of the reference over and over: what a sampler scores that never moves from a good start. A "
            "method near the ceiling has learnt nothing of the distribution."
        )
    counted = counts_text(board, row)
    if method == EXTERNAL:
        return (
            "Frames made elsewhere: evaluations and seconds are what their makers declare, nothing was metered, and so "
            "this row competes with no metered one. Energies were computed here, for the scores alone. Cells at each "
            f"of their budgets: {counted}."
        )
    return f"Installed as {method}. Cells at each of their budgets: {counted}."


def _text(text: str, value: Any, *, href: str = "", marker: str = "") -> dict[str, Any]:
    return {"text": text, "v": value, "href": href, "marker": marker, "num": False}


def _places(view: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells of a table's line for length and budget."""
    return [_text(f"{view[name]:,}", view[name]) | {"num": True} for name in ("length", "budget")]


def _headings(columns: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"sort": sort, "text": text} for sort, text in columns]


def _settings(board: Board, suite: str, row: str) -> list[tuple[str, str]]:
    """What a row was run with: settings, scored frames and target; several values where cells differ."""
    found: dict[str, set[str]] = {}
    ids = set(board.scores.loc[(board.scores["suite"] == suite) & (board.scores["row"] == row), "cell_id"])
    for cell_id in sorted(ids & set(board.records)):
        cell = board.records[cell_id].record.cell
        target = cell.target
        physics = {
            "temperature (K)": target.temperature_kelvin,
            "force field": " + ".join(target.force_field.files),
            "cutoff (nm)": target.force_field.cutoff_nm,
            "engine": target.engine,
        }
        for name, value in {**cell.settings, "frames scored": cell.frames, **physics}.items():
            found.setdefault(name, set()).add(str(value))
    return [(name, " or ".join(sorted(values)) or "–") for name, values in found.items()]


def _cell(cell: dict[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    """A line of the table of cells: four digits of each score with its certificate; all of them are in cells.csv."""

    def short(name: str, digits: int) -> str:
        return f"{float(cell[name]):.{digits}g}" if cell.get(name) else ""

    def whole(name: str) -> str:
        return f"{float(cell[name]):,.0f}" if cell[name] else "–"

    return cell | {
        "metrics": [(short(name, 4), short(gap_name(name), 1)) for name in metrics],
        "spent": whole("sampling-evaluations"),
        "preparation": whole("preparation-evaluations"),
        "failures": whole("failures"),
        "seconds": f"{float(cell['sampling-seconds']):.3g}" if cell["sampling-seconds"] else "–",
        "versions": f"commit {cell['commit']}; {cell['versions']}" if cell["versions"] else "",
        "machine": f"{cell['machine']}; {cell['target']}" if cell["machine"] else "",
    }


def _peptide(board: Board, place: tuple[str, int, str, float]) -> dict[str, Any]:
    suite, length, peptide, kelvin = place
    notes, metrics = Notes(), shown_metrics(board)
    rows = [
        row_view(board, one, metrics, notes)
        for one in board.by_peptide.rows
        if (one.suite, one.peptide, one.temperature_kelvin) == (suite, peptide, kelvin)
    ]
    for view in rows:
        href = f"methods/{view['slug']}.html"
        view["anchor"] = ""
        name = _text(view["label"], view["place"], href=href, marker=view["marker"])
        view["first"] = [name, _text(f"{view['budget']:,}", view["budget"]) | {"num": True}]
    names = {letter: name.capitalize() for name, letter in ONE_LETTER.items()}
    at = name_at(peptide, kelvin)
    known = board.reference(at)
    drawn = board.drawings(suite, at)
    neighbours = [other for other in board.peptides if other[:2] == (suite, length)]
    number = neighbours.index(place)
    return {
        "title": f"{at} ({suite})",
        "suite": suite,
        "length": length,
        "peptide": at,
        "residues": "–".join(names[letter] for letter in peptide),
        "rows": rows,
        "first": _headings((("text", "row"), ("num", "budget"))),
        "notes": notes.texts,
        "reference": known
        and {
            "frames": f"{known['frames']:,}",
            "scored_frames": f"{known['scored_frames']:,}",
            "total_ns": f"{known['total_ns']:,.{0 if known['total_ns'] > 10 else 2}f}"
            if known["total_ns"]
            else "",
            "kind": "the published one" if known["kind"] == "published" else "made by this suite",
            "hash": known["hash"],
            "quality": quality_view(known["quality"]) if known["quality"] else None,
        },
        "drawn": [panels(run.name, numbers, board.looks) for run, numbers in drawn],
        "several": len(drawn) > 1,
        "levels": range(MOST_KT + 1),
        "outline_kt": OUTLINE_KT + 1,
        "previous": _neighbour(neighbours, number - 1),
        "next": _neighbour(neighbours, number + 1),
    }


def _neighbour(peptides: Sequence[tuple[str, int, str, float]], number: int) -> dict[str, str] | None:
    if not 0 <= number < len(peptides):
        return None
    suite, _, peptide, kelvin = peptides[number]
    name = name_at(peptide, kelvin)
    return {"file": peptide_file(suite, name), "name": name}
