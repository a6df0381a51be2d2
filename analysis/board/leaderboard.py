"""The leaderboard: every file of `results/leaderboard`, a pure function of the runs in `results/runs`."""

import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.board.board import Board, make_board
from analysis.board.kept_runs import read_runs
from analysis.board.site import site_files
from analysis.board.views import cell_lines
from analysis.figures.every import suite_figures
from analysis.figures.style import save
from analysis.scores.statuses import SCORED
from analysis.statistics.estimates import Estimate
from analysis.tables import comparisons as comparison_tables
from analysis.tables import text as tables_text
from analysis.tables.digits import DIGITS, kept
from analysis.tables.grid import csv_table
from analysis.tables.main import Table
from analysis.tables.price import paybacks, price_markdown
from prosebench.store.storage import json_bytes, write_bytes

README = "README.md"
_PLACE = ("suite", "length", "temperature_kelvin", "row", "budget")
_KINDS = ("scaling", "length", "price")
"""The kinds of figures over a suite that the board shows."""


def board_files(runs: Path) -> dict[str, bytes]:
    """Path and content of every file of the board of the runs kept in a folder; the same runs give the same bytes.

    Raises FileNotFoundError, DamagedFile or `board.MixedRuns`.
    """
    board = make_board(read_runs(runs))
    figures = _figures(board)
    files = {f"figures/{name}.svg": content for name, (content, _) in figures.items()}
    cells = cell_lines(board)
    captions = [(f"{name}.svg", caption) for name, (_, caption) in figures.items()]
    files |= {
        "leaderboard.csv": tables_text.csv_text(rounded(board.main)).encode(),
        "leaderboard.json": json_bytes(_board_json(board)),
        "cells.csv": csv_table(
            list(cells[0]) if cells else [], [list(one.values()) for one in cells]
        ).encode(),
        README: _readme(board, captions).encode(),
    }
    compared = comparison_tables.csv_text(board.comparisons)
    if compared:
        table = pd.read_csv(io.StringIO(compared))
        text = table.to_csv(index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")
        files["comparisons.csv"] = text.encode()
    return dict(sorted((files | dict(site_files(board, captions))).items()))


def write_board(files: Mapping[str, bytes], target: Path) -> list[Path]:
    """Write the files of a board, and remove what an earlier one left. Returns their paths."""
    for path in _files_in(target) if _is_board(target) else []:
        if path.relative_to(target).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        write_bytes(target / name, content)
    return [target / name for name in files]


def differences(files: Mapping[str, bytes], target: Path) -> list[str]:
    """How a folder differs from the files of a board: a line for each, empty where it is the same byte for byte."""
    there = {path.relative_to(target).as_posix(): path.read_bytes() for path in _files_in(target)}
    return [
        *(f"{name} is missing" for name in sorted(set(files) - set(there))),
        *(f"{name} is not of this board" for name in sorted(set(there) - set(files))),
        *(f"{name} differs" for name in sorted(set(files) & set(there)) if files[name] != there[name]),
    ]


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def _is_board(folder: Path) -> bool:
    """Whether a folder holds an earlier board: nothing else is ever removed."""
    return (folder / "leaderboard.json").exists() and (folder / "site.js").exists()


def _figures(board: Board) -> dict[str, tuple[bytes, str]]:
    """SVG and caption of figures over the suites, by name."""
    found = {}
    scored = board.scores[board.scores["status"].isin(SCORED)]
    with tempfile.TemporaryDirectory() as scratch:
        for suite, part in scored.groupby("suite", sort=True):
            for drawing in suite_figures(part):
                figure = drawing.make() if drawing.kind in _KINDS else None
                if figure is None:
                    continue
                (path,) = save(figure, Path(scratch) / f"{suite}-{drawing.name}", ("svg",))
                found[path.stem] = (path.read_bytes(), f"{suite}. {drawing.caption}")
    return found


def rounded(table: Table) -> Table:
    """The table with numbers that are the same on every machine."""

    def short(found: Estimate) -> Estimate:
        value, low, high = (
            None if number is None else kept(number) for number in (found.value, found.low, found.high)
        )
        assert value is not None
        return replace(found, value=value, low=low, high=high)

    rows = tuple(
        replace(row, estimates={name: short(found) for name, found in row.estimates.items()})
        for row in table.rows
    )
    return replace(table, rows=rows)


def _board_json(board: Board) -> dict[str, Any]:
    ids = cell_lines(board)
    rows = []
    for row in rounded(board.main).rows:
        place = (row.suite, row.length, row.temperature_kelvin, row.row, row.budget)
        rows.append(
            {
                "suite": row.suite,
                "length": row.length,
                "temperature_kelvin": row.temperature_kelvin,
                "budget": row.budget,
                "row": row.row,
                "method": board.methods[row.row],
                "kind": row.kind,
                "weighting": row.weighting,
                "peptides": row.peptides,
                "seeds": row.seeds,
                "note": row.gap or row.note,
                "metrics": {
                    name: {
                        "value": _finite(found.value),
                        "low": _finite(found.low),
                        "high": _finite(found.high),
                    }
                    | {"best": name in row.best}
                    for name, found in row.estimates.items()
                },
                "records": sorted(
                    {cell["record"] for cell in ids if tuple(cell[name] for name in _PLACE) == place} - {""}
                ),
            }
        )
    return {
        "schema": 1,
        "score_versions": sorted({run.score_version for run in board.runs}),
        "runs": [run.name for run in board.runs],
        "references": {
            name: reference["hash"] for run in board.runs for name, reference in run.references.items()
        },
        "rows": rows,
    }


def _finite(value: float | None) -> float | str | None:
    """A number as JSON can hold it: JSON knows no infinity."""
    return value if value is None or abs(value) < float("inf") else str(value)


def _readme(board: Board, figures: Sequence[tuple[str, str]]) -> str:
    sections = [
        "# Leaderboard",
        "The whole board, sortable, with a page for each method and peptide: open [index.html](index.html) in a "
        "browser (no server needed). Everything here is rebuilt from [the kept runs](../runs) by `prosebench "
        "leaderboard`; the same runs give the same bytes. Methods stand in a fixed order, not by score.",
        *_suite_tables(board),
    ]
    compared = comparison_tables.markdown(board.comparisons)
    if compared:
        sections.append(f"## Paired comparisons\n\n{compared}")
    priced = price_markdown(paybacks(board.scores))
    if priced:
        sections.append(f"## The price of training\n\n{priced}")
    if figures:
        shown = [f"![{file}](figures/{file})\n\n{caption}" for file, caption in figures]
        sections.append("## Figures\n\n" + "\n\n".join(shown))
    sections.append(
        "## Files\n\n- [leaderboard.csv](leaderboard.csv), [leaderboard.json](leaderboard.json): the table with "
        "every interval\n- [cells.csv](cells.csv): every cell with its scores, its ledger and the hashes of its "
        "record, ensemble and reference\n- [../runs](../runs): records, scores and drawings of each run"
    )
    return "\n\n".join(sections).rstrip() + "\n"


def _suite_tables(board: Board) -> Iterator[str]:
    for suite in sorted({row.suite for row in board.main.rows}):
        rows = tuple(row for row in board.main.rows if row.suite == suite)
        for length in sorted({row.length for row in rows}):
            part = replace(board.main, rows=tuple(row for row in rows if row.length == length))
            yield f"## {suite}, {length} residues\n\n{tables_text.markdown(part)}"
