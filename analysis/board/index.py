"""What the first page of the leaderboard shows: the board, comparisons, figures, and ways to everything else."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from analysis.board.board import Board
from analysis.board.kept_runs import KeptRun
from analysis.board.views import Notes, method_link, peptide_file, row_view, shown_metrics
from analysis.tables import comparisons as comparison_tables
from analysis.tables.price import HEADINGS, paybacks, price_rows
from analysis.tables.price import NOTE as PRICE_NOTE
from prosebench.names import CEILING, EXTERNAL, FLOOR, name_at


def index_page(board: Board, figures: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What the template of the first page is given; figures: file name and caption."""
    notes, metrics = Notes(), shown_metrics(board)
    rows = [row_view(board, row, metrics, notes) for row in board.main.rows]
    options = {
        "suite": sorted({row["suite"] for row in rows}),
        "residues": sorted({row["length"] for row in rows}),
        "budget": sorted({row["budget"] for row in rows}),
    }
    return {
        "title": "Leaderboard",
        "counts": {
            "methods": _methods_in_rows(board),
            "peptides": _number(len({peptide for _, _, peptide, _ in board.peptides}), "peptide"),
            "cells": _number(sum(len(run.records) for run in board.runs), "record"),
        },
        "choices": [
            {
                "name": name,
                "options": [
                    {"value": value, "text": f"{value:,}" if name == "budget" else value} for value in values
                ],
            }
            for name, values in options.items()
        ],
        "rows": rows,
        "notes": notes.texts,
        "comparisons": [group for group in _comparisons(board) if group["lines"] or group["refused"]],
        "comparison_note": comparison_tables.NOTE,
        "price_headings": HEADINGS,
        "prices": price_rows(paybacks(board.scores)),
        "price_note": PRICE_NOTE,
        "figures": [
            {"file": file, "caption": caption, "alt": f"{caption} The numbers are in the table."}
            for file, caption in figures
        ],
        "method_links": [method_link(board, row) for row in board.rows],
        "peptide_links": _peptide_links(board),
        "runs": [_run(run) for run in board.runs],
    }


def _methods_in_rows(board: Board) -> str:
    """Number of methods, and of rows where it is another: a method may stand here with several settings.

    Rows that were made elsewhere are all of one method for the harness; each is one of its own.
    """
    rows = [row for row in board.rows if board.methods[row] not in (FLOOR, CEILING)]
    methods = {row if board.methods[row] == EXTERNAL else board.methods[row] for row in rows}
    several = f" in {len(rows):,} rows" if len(rows) > len(methods) else ""
    return _number(len(methods), "method") + several


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _comparisons(board: Board) -> Iterator[dict[str, Any]]:
    several = board.main.has_temperatures
    for place in dict.fromkeys(group.place for group in board.comparisons):
        suite, length, kelvin, budget = place
        groups = [group for group in board.comparisons if group.place == place]
        lines = []
        for group in groups:
            for one in group.comparisons:
                value, interval = comparison_tables.effect_texts(one)
                wins = group.metric.wins(one.wins, one.losses)
                lines.append(
                    {
                        "metric": group.metric.heading,
                        "pair": one.pair,
                        "value": value,
                        "interval": interval,
                        "distinguishable": one.distinguishable,
                        "wins": f"{wins} of {one.wins + one.losses}",
                        "p": f"{one.p_corrected:.2g}",
                        "test": "; ".join([one.test, *one.marks]),
                        "detectable": comparison_tables.detectable_text(one),
                    }
                )
        refused = dict.fromkeys(text for group in groups for text in group.refused)
        at = f", {kelvin:g} K" if several else ""
        title = f"{suite}, {length} residues{at}, {budget:,} evaluations"
        yield {"title": title, "lines": lines, "refused": list(refused)}


def _peptide_links(board: Board) -> list[dict[str, Any]]:
    groups: dict[tuple[str, int], list[dict[str, str]]] = {}
    for suite, length, peptide, kelvin in board.peptides:
        name = name_at(peptide, kelvin)
        link = {"name": name, "href": f"peptides/{peptide_file(suite, name)}"}
        groups.setdefault((suite, length), []).append(link)
    return [
        {"title": f"{suite}, {length} residues", "peptides": links}
        for (suite, length), links in groups.items()
    ]


def _run(run: KeptRun) -> dict[str, Any]:
    """What a kept run says of itself."""
    versions: Counter[str] = Counter()
    machines: Counter[str] = Counter()
    for kept in run.records.values():
        commit = kept.provenance.commit if kept.provenance else "unknown"
        known = " ".join(f"{name} {version}" for name, version in sorted(kept.record.versions.items()))
        versions[f"commit {commit}; {known}"] += 1
        if kept.provenance:
            engine = " ".join(str(value) for _, value in sorted(kept.record.target.items()))
            machines[f"{kept.provenance.host} ({kept.provenance.device}; {engine})"] += 1
    return {
        "name": run.name,
        "suites": ", ".join(sorted({kept.record.cell.suite for kept in run.records.values()})),
        "records": len(run.records),
        "versions": "; ".join(sorted(versions)),
        "machines": "; ".join(sorted(machines)),
        "sha256": hashlib.sha256(
            "".join(sorted(kept.sha256 for kept in run.records.values())).encode()
        ).hexdigest(),
    }
