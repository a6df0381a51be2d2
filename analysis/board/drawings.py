"""Drawings of the leaderboard's pages as SVG text. Their colours come from the style sheet and follow its theme.

All coordinates are whole numbers or have one decimal: the same data give the same bytes on every machine.
"""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from analysis.board.maps import BINS, MOST_KT
from analysis.figures.style import Look

OUTLINE_KT = 2
"""The bins of the reference up to this free energy, in whole kT, are outlined on the maps of the methods."""

_SQUARE = f"M0 0h{BINS}v{BINS}h-{BINS}z"
_DASHES = {"-": "", "--": "7 3", "-.": "7 3 2 3", ":": "2 3"}
_WIDTH, _HEIGHT, _MARGIN = 480, 170, 16


def dash(look: Look) -> str:
    """SVG dash pattern of a look."""
    return _DASHES[look.line] if isinstance(look.line, str) else "2 3"


def marker(look: Look) -> str:
    """The marker of a row, as in the figures: 12 units square."""
    shapes = {
        "o": '<circle cx="6" cy="6" r="4.5"/>',
        "s": '<path d="M2 2h8v8h-8z"/>',
        "D": '<path d="M6 .8l5.2 5.2-5.2 5.2-5.2-5.2z"/>',
        "d": '<path d="M6 .5l3.2 5.5-3.2 5.5-3.2-5.5z"/>',
        "^": '<path d="M6 1l5.2 9.5h-10.4z"/>',
        "v": '<path d="M6 11l5.2-9.5h-10.4z"/>',
        "<": '<path d="M1 6l9.5-5.2v10.4z"/>',
        ">": '<path d="M11 6l-9.5-5.2v10.4z"/>',
        "P": '<path d="M4.2 1h3.6v3.2h3.2v3.6h-3.2v3.2h-3.6v-3.2h-3.2v-3.6h3.2z"/>',
        "X": '<path d="M3 .8l3 3 3-3 2.2 2.2-3 3 3 3-2.2 2.2-3-3-3 3-2.2-2.2 3-3-3-3z"/>',
        "h": '<path d="M6 .8l4.6 2.6v5.2l-4.6 2.6-4.6-2.6v-5.2z"/>',
        "p": '<path d="M6 .8l5.2 3.9-2 6.1h-6.4l-2-6.1z"/>',
        "*": '<path d="M6 .5l1.5 3.8 4 .3-3.1 2.6 1 4-3.4-2.2-3.4 2.2 1-4-3.1-2.6 4-.3z"/>',
        "_": '<path d="M1 5h10v2h-10z"/>',
        "|": '<path d="M5 1h2v10h-2z"/>',
    }
    shape = shapes[look.marker]
    return f'<svg class="marker" viewBox="0 0 12 12" aria-hidden="true" fill="{look.colour}">{shape}</svg>'


def energy_histogram(energy: Mapping[str, Any], budget: int, looks: Mapping[str, Look], title: str) -> str:
    """Histogram of energies: the reference as an area, a stepped line for each row at a budget."""
    rows = [row for row in energy["rows"] if row["budget"] == budget]
    most = max([*energy["reference"], *(share for row in rows for share in row["shares"]), 1])
    low, high = energy["range"]
    parts = [_open(f"-2 -2 {_WIDTH + 4} {_HEIGHT + 38}", title, "histogram")]
    parts.append(f'<path class="reference" d="{_steps(energy["reference"], most)}V{_HEIGHT}H0z"/>')
    for row in rows:
        look = looks[row["row"]]
        style = f'stroke="{look.colour}"' + (f' stroke-dasharray="{dash(look)}"' if dash(look) else "")
        parts.append(f'<path class="line" {style} d="{_steps(row["shares"], most)}"/>')
    parts.append(f'<path class="axis" d="M0 {_HEIGHT}h{_WIDTH}"/>')
    for value in _ticks(low, high):
        x = (value - low) / (high - low) * _WIDTH
        if not _MARGIN < x < _WIDTH - _MARGIN:
            continue
        parts.append(f'<path class="axis" d="M{x:.1f} {_HEIGHT}v4"/>')
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT + 17}" text-anchor="middle">{_signed(value)}</text>')
    parts.append(
        f'<text x="{_WIDTH}" y="{_HEIGHT + 33}" text-anchor="end">potential energy (kT)</text></svg>'
    )
    return "".join(parts)


Axis = tuple[str, str, str]
"""The texts of an axis: its low end, its name, and its high end."""


def free_energy_map(grid: Sequence[str], outline: str, title: str, x: Axis, y: Axis) -> str:
    """One map; outline: name of an `outline_symbol` that is laid over it."""
    parts = [_open(f"-4 -.5 {BINS + 5} {BINS + 4.5}", title, "map"), f'<path class="ground" d="{_SQUARE}"/>']
    # Bins are strokes of width 1 along the middle of their line: half the bytes of boxes.
    parts.append('<g transform="translate(0 .5)">')
    for level in range(MOST_KT + 1):
        runs = _runs(grid, str(level))
        if runs:
            parts.append(f'<path class="k{level}" d="{runs}"/>')
    parts.append(f'</g><use href="#{outline}"/><path class="frame" d="{_SQUARE}"/>')
    for place, anchor, along, upwards in zip(
        (0, BINS // 2, BINS), ("start", "middle", "end"), x, y, strict=True
    ):
        parts.append(f'<text x="{place}" y="{BINS + 3}" text-anchor="{anchor}">{escape(along)}</text>')
        turned = f'transform="translate(-1 {BINS - place})rotate(-90)" text-anchor="{anchor}"'
        parts.append(f"<text {turned}>{escape(upwards)}</text>")
    return "".join([*parts, "</svg>"])


def outline_symbol(grid: Sequence[str], name: str) -> str:
    """A drawing that shows nothing itself: the outline of a map's populated region, for other maps to use."""
    path = f'<path id="{name}" class="outline" d="{region_outline(grid, OUTLINE_KT)}"/>'
    return f'<svg class="symbols" width="0" height="0" aria-hidden="true"><defs>{path}</defs></svg>'


def region_outline(grid: Sequence[str], most: int) -> str:
    """Path around the bins of at most so many kT, edges between neighbours in it left out."""
    inside = [[digit != "." and int(digit) <= most for digit in line] for line in grid]

    def at(line: int, column: int) -> bool:
        return 0 <= line < len(inside) and 0 <= column < len(inside[0]) and inside[line][column]

    size = len(inside)
    across = [
        f"M{first} {line}h{length}"
        for line in range(size + 1)
        for first, length in _stretches([at(line, c) != at(line - 1, c) for c in range(size)])
    ]
    down = [
        f"M{column} {first}v{length}"
        for column in range(size + 1)
        for first, length in _stretches([at(line, column) != at(line, column - 1) for line in range(size)])
    ]
    return "".join(across + down)


def _runs(grid: Sequence[str], digit: str) -> str:
    return "".join(
        f"M{first} {line}h{length}"
        for line, text in enumerate(grid)
        for first, length in _stretches([one == digit for one in text])
    )


def _stretches(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """(first, length) of each stretch of True."""
    found, place = [], 0
    for flag, group in groupby(flags):
        length = len(list(group))
        if flag:
            found.append((place, length))
        place += length
    return found


def _steps(shares: Sequence[int], most: int) -> str:
    width = _WIDTH / len(shares)
    path = f"M0 {_HEIGHT}"
    for number, share in enumerate(shares, start=1):
        path += f"V{_HEIGHT * (1.0 - share / most):.1f}H{number * width:.1f}"
    return path


def _ticks(low: float, high: float) -> list[int]:
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**6) if (high - low) / step <= 9)
    first = -int(-low // step) * step
    return list(range(first, int(high // 1) + 1, step))


def _signed(value: int) -> str:
    return f"−{-value}" if value < 0 else str(value)


def _open(box: str, title: str, kind: str) -> str:
    return f'<svg class="{kind}" viewBox="{box}" role="img" aria-label="{escape(title)}">'
