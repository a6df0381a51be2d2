"""The drawings of a peptide's page: histograms, maps and the table of states, out of a run's small numbers."""

from collections.abc import Mapping
from typing import Any

from analysis.board.drawings import (
    Axis,
    dash,
    energy_histogram,
    free_energy_map,
    marker,
    outline_symbol,
)
from analysis.board.views import slug
from analysis.figures.style import Look


def panels(name: str, numbers: Mapping[str, Any], looks: Mapping[str, Look]) -> dict[str, Any]:
    """Everything that the page shows of one run's frames. numbers are those of `maps.peptide_drawings`."""
    peptide = numbers["peptide"]
    return {
        "name": name,
        "energies": [_energies(numbers, budget, looks) for budget in _budgets(numbers)],
        "maps": [
            *(_ramachandran(one, peptide, looks, name) for one in numbers["ramachandran"]),
            _tica(numbers, looks, name),
        ],
        "slowest": numbers["reference"]["slowest"],
        **_states(numbers, looks),
    }


def _budgets(numbers: Mapping[str, Any]) -> list[int]:
    return sorted({row["budget"] for row in numbers["energy"]["rows"]})


def _energies(numbers: Mapping[str, Any], budget: int, looks: Mapping[str, Look]) -> dict[str, Any]:
    """The histogram at a budget, and its key: each row with its overlap and with what the histogram leaves out."""
    energy = numbers["energy"]
    overlaps = {(one["row"], one["budget"]): one["energy_overlap"] for one in numbers["rows"]}
    chosen = {one["row"]: one for one in energy["rows"] if one["budget"] == budget}
    rows = [
        {
            "label": row,
            "line": _line(look),
            "overlap": f"{overlaps[row, budget]:.2f}",
            "said": _left_out(chosen[row]),
        }
        for row, look in looks.items()
        if row in chosen
    ]
    title = f"{budget:,} evaluations"
    label = (
        f"Energies of {numbers['peptide']} at {title}: histogram of the reference and of {', '.join(chosen)}"
    )
    return {"svg": energy_histogram(energy, budget, looks, label), "title": title, "rows": rows}


def _left_out(row: Mapping[str, Any]) -> str:
    said = []
    if row["outside"] > 0.01:
        share = "all" if row["outside"] > 0.995 else f"{100 * row['outside']:.0f} %"
        said.append(f"{share} beyond this range")
    if row["not_finite"]:
        said.append(f"{row['not_finite']:,} not finite")
    return ", ".join(said)


def _line(look: Look) -> str:
    pattern = f' stroke-dasharray="{dash(look)}"' if dash(look) else ""
    return (
        f'<svg class="stroke" aria-hidden="true" viewBox="0 0 36 8" preserveAspectRatio="none">'
        f'<path d="M0 4h36" stroke-width="3" stroke="{look.colour}"{pattern}/></svg>'
    )


def _ramachandran(
    one: Mapping[str, Any], peptide: str, looks: Mapping[str, Look], run: str
) -> dict[str, Any]:
    phi, psi = f"φ{one['phi']}", f"ψ{one['psi']}"
    title = f"Ramachandran, {phi} and {psi}"
    ends = (("−180°", phi, "180°"), ("−180°", psi, "180°"))
    said = "Free energy over backbone torsions; each row at its largest budget, all seeds together."
    maps = _row_maps(one, f"{title} of {peptide}", ends, looks, run)
    return {"title": title, "said": said, "maps": maps}


def _tica(numbers: Mapping[str, Any], looks: Mapping[str, Look], run: str) -> dict[str, Any]:
    tica = numbers["tica"]
    x, y = (
        (f"{tica[axis][0]:.2g}".replace("-", "−"), label, f"{tica[axis][1]:.2g}")
        for axis, label in (("x", "TIC 1"), ("y", "TIC 2"))
    )
    said = "Free energy over the two slowest components that TICA finds in the reference."
    title = "TICA"
    return {
        "title": title,
        "said": said,
        "maps": _row_maps(tica, f"TICA map of {numbers['peptide']}", (x, y), looks, run),
    }


def _row_maps(
    maps: Mapping[str, Any], title: str, ends: tuple[Axis, Axis], looks: Mapping[str, Look], run: str
) -> list[dict[str, str]]:
    truth, outline = maps["reference"], slug(f"outline {title} {run}")
    drawn = [
        {
            "svg": outline_symbol(truth, outline)
            + free_energy_map(truth, outline, f"{title}: reference", *ends),
            "title": "reference",
            "marker": "",
            "said": "",
        }
    ]
    for row in maps["rows"]:
        said = [f"{row['budget']:,} evaluations"]
        if row["outside"] > 0.001:
            said.append(f"{row['outside']:.1%} outside")
        drawn.append(
            {
                "svg": free_energy_map(row["map"], outline, f"{title}: {row['row']}, {said[0]}", *ends),
                "title": row["row"],
                "marker": marker(looks[row["row"]]),
                "said": ", ".join(said),
            }
        )
    return drawn


def _states(numbers: Mapping[str, Any], looks: Mapping[str, Look]) -> dict[str, Any]:
    """Populations in percent, and differences to the reference."""
    states = numbers["states"]
    return {
        "states": range(1, len(states["populations"]) + 1),
        "populations": [
            (f"{100 * share:.1f}", f"{100 * error:.1f}")
            for share, error in zip(states["populations"], states["errors"], strict=True)
        ],
        "shares": [
            {
                "label": row["row"],
                "marker": marker(looks[row["row"]]),
                "budget": f"{row['budget']:,}",
                "populations": [
                    (f"{100 * share:.1f}", f"{100 * other:+.1f}".replace("-", "−"))
                    for share, other in zip(row["populations"], row["differences"], strict=True)
                ],
                "overlap": f"{row['energy_overlap']:.3f}",
                "trips": "–"
                if row["round_trips"] is None
                else ", ".join(f"{one:g}" for one in row["round_trips"]),
            }
            for row in numbers["rows"]
        ],
    }
