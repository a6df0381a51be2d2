"""The drawing of the layers: from the import arrows that a linter holds the code to (pyproject.toml)."""

import tomllib
from html import escape
from pathlib import Path

CAPTIONS = {
    "prosebench.cli": "the commands",
    "jobs": "what runs cells: plan, worker, schedulers",
    "analysis": "metrics, statistics, tables, figures, board",
    "baselines": "one file a method: MD, tempering, SMC, TBG ...",
    "prosebench.check": "checks of methods and machines",
    "prosebench.contract": "what a method must do",
    "prosebench.pretrained": "flows by name",
    "prosebench.ecnf": "continuous flow",
    "prosebench.prose": "Prose, TarFlow",
    "prosebench.robin": "Robin",
    "prosebench.arbg": "autoregressive flow",
    "prosebench.flows": "what flows share",
    "prosebench.training": "one loop for all",
    "prosebench.method": "what a method is: Run, Chunk, Method",
    "prosebench.energy": "OpenMM, kernels, the meter",
    "prosebench.ensemble": "frames, energies, weights",
    "prosebench.frames.importance": "weights and their sums",
    "prosebench.peptide": "sequence, atoms, System",
    "prosebench.frames.geometry": "rotations, chirality",
}
"""What each layer is. A layer of the linter without a caption is an error: then this drawing is out of date."""

TOWER = ("Folders:", "Library:")
"""How the names of the contracts begin that stand one above the other; the rest are rules inside a layer."""

WIDTH, HEIGHT, GAP, LEFT = 760, 46, 12, 10
FILLS = ("#e8eaf6", "#e3f2fd", "#e0f2f1", "#f1f8e9", "#fff8e1", "#fbe9e7")


def layers(pyproject: Path) -> list[list[str]]:
    """Rows of modules from the top down; each may import from the rows below it."""
    contracts = tomllib.loads(pyproject.read_text())["tool"]["importlinter"]["contracts"]
    rows = [row for one in contracts if one["name"].startswith(TOWER) for row in one["layers"]]
    return [[name.strip() for name in row.replace("|", ":").split(":")] for row in rows]


def svg(rows: list[list[str]]) -> str:
    """The rows as boxes, one above the other."""
    height = len(rows) * (HEIGHT + GAP) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" role="img">',
        "<title>Layers of prosebench: each may import from those below it</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
    ]
    for number, row in enumerate(rows):
        top = 10 + number * (HEIGHT + GAP)
        width = (WIDTH - 2 * LEFT - (len(row) - 1) * GAP) / len(row)
        fill = FILLS[number * len(FILLS) // len(rows)]
        for place, name in enumerate(row):
            left = LEFT + place * (width + GAP)
            middle = left + width / 2
            short = escape(name.removeprefix("prosebench."))
            parts += [
                f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{HEIGHT}" rx="5" fill="{fill}" '
                'stroke="#9fa8da"/>',
                f'<text x="{middle:.1f}" y="{top + 19}" text-anchor="middle" font-size="14" font-weight="bold" '
                f'fill="#222222">{short}</text>',
                f'<text x="{middle:.1f}" y="{top + 36}" text-anchor="middle" font-size="11.5" fill="#444444">'
                f"{escape(CAPTIONS[name])}</text>",
            ]
    parts.append(
        f'<text x="{WIDTH / 2}" y="{height - 12}" text-anchor="middle" font-size="12" fill="#444444">'
        "A layer imports from those below it, never from those above. Boxes of one row may or may not know each other."
        "</text></svg>"
    )
    return "\n".join(parts) + "\n"
