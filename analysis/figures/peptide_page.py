"""The page of one peptide: its numbers as data, and as Markdown with its figures."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.figures.drawing import Drawing
from analysis.figures.peptide_data import Cores, PeptideData, States, energy_overlap
from analysis.figures.style import FORMATS
from analysis.tables.digits import kept
from analysis.tables.grid import markdown_lines


def page_numbers(data: PeptideData, states: States, cores: Cores, said: str) -> dict[str, Any]:
    """The numbers of a page as JSON: the reference, its states, and each row at each budget.

    said: what is known of the reference (`analysis.scores.reference_quality.quality_statement`).

    Of each row: energy_overlap (see `peptide_data.energy_overlap`), state populations and their differences to the
    reference (means over seeds), and round_trips by seed of rows that walk (else null).
    """
    reference = data.reference
    rows = []
    for sample in data.samples:
        cells = [cell for cell in data.cells if (cell.row, cell.budget) == (sample.row, sample.budget)]
        components = [data.components(cell.frames) for cell in cells]
        shares = np.mean([states.shares(points) for points in components], axis=0)
        walkers = [data.walk(cell.frames) for cell in cells if cell.one_walker]
        rows.append(
            {
                "row": sample.row,
                "budget": sample.budget,
                "seeds": [cell.seed for cell in cells],
                "energy_overlap": energy_overlap(sample.ensemble.energies_kt, data.truth.energies_kt),
                "populations": _rounded(shares),
                "differences": _rounded(shares - states.reference),
                "round_trips": [cores.round_trips(values) for values in walkers] or None,
            }
        )
    return {
        "peptide": data.sequence,
        "reference": {
            "hash": reference.hash,
            "frames": len(reference),
            "statement": said,
            "slowest": data.slowest,
        },
        "states": {
            "centres": [_rounded(centre) for centre in states.centres],
            "populations": _rounded(states.reference),
            "errors": _rounded(states.error),
        },
        "rows": rows,
    }


def _rounded(values: Sequence[float] | np.ndarray) -> list[float]:
    return [kept(value) for value in values]


def page_markdown(
    numbers: dict[str, Any],
    figures: Sequence[Drawing],
    formats: Sequence[str] = FORMATS,
    folder: str = "../figures",
) -> str:
    """The page: figures that stand in folder, each with its caption, and its numbers."""
    states = numbers["states"]
    sections = [
        f"# {numbers['peptide']}",
        numbers["reference"]["statement"] or "The reference states nothing of its quality.",
    ]
    others = [kind for kind in formats if kind != "png"]
    for figure in figures:
        links = " · ".join(f"[{kind.upper()}]({folder}/{figure.name}.{kind})" for kind in others)
        sections.append(f"![{figure.name}]({folder}/{figure.name}.png)\n\n{figure.caption} {links}".rstrip())
        if figure.kind == "energy":
            sections.append(_overlaps(numbers["rows"]))
        if figure.kind == "states":
            sections.append(_populations(numbers["rows"], states))
    return "\n\n".join(sections) + "\n"


def _overlaps(rows: Sequence[dict[str, Any]]) -> str:
    shown = []
    for row in rows:
        trips = "–" if row["round_trips"] is None else ", ".join(f"{trip:g}" for trip in row["round_trips"])
        shown.append([row["row"], f"{row['budget']:,}", f"{row['energy_overlap']:.3f}", trips])
    headings = ["method", "evaluations", "energy overlap", "round trips, by seed"]
    return "\n".join(markdown_lines(headings, "lrrl", shown))


def _populations(rows: Sequence[dict[str, Any]], states: dict[str, Any]) -> str:
    """Populations in percent, with the difference to the reference."""
    number = len(states["populations"])
    pairs = zip(states["populations"], states["errors"], strict=True)
    shown = [["*reference*", "", *(f"{100 * p:.1f} ± {100 * e:.1f}" for p, e in pairs)]]
    for row in rows:
        of = zip(row["populations"], row["differences"], strict=True)
        shown.append([row["row"], f"{row['budget']:,}", *(f"{100 * p:.1f} ({100 * d:+.1f})" for p, d in of)])
    headings = ["method", "evaluations", *(f"state {i + 1}" for i in range(number))]
    lines = markdown_lines(headings, "lr" + "r" * number, shown)
    return "\n".join([*lines, "", "Populations in percent, in brackets the difference to the reference."])
