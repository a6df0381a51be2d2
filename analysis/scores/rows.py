"""Names of rows: what tells the rows of one run from each other, and the order in which they are shown."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from prosebench.names import CEILING, EXTERNAL, FLOOR
from prosebench.store.storage import json_bytes

if TYPE_CHECKING:
    from prosebench.record import Cell

_TEMPERATURE = "target.temperature_kelvin"
_AT_KELVIN = re.compile(r" at [\d.]+ K$")
_ADDED = re.compile(r" \(| \[| at [\d.]+ K$")
DECLARED = " (declared)"
"""The ending of the name of a row whose costs nobody has metered."""

KNOWN_ROWS = (
    "prose-snis",
    "prose-self-improve",
    "tarflow-snis",
    "bg",
    "tbg",
    "smc-mala",
    "smc-ula",
    "arbg-snis",
    "robin-snis",
    "md-flow",
    "md",
    "md-tuned",
    "md-replicas",
    "parallel-tempering",
    FLOOR,
    CEILING,
)
"""The methods that come with prosebench, in the order in which tables and figures show their rows."""


def labels_of(cells: Sequence["Cell"]) -> dict[str, str]:
    """Label of each cell's row, by cell id: the row's name, and what tells it from its namesakes.

    Cells of one row that were run with other settings, frames or physics stand apart: "md [friction_per_ps=1.0]";
    at another temperature: "md at 400 K". Rows that draw from trained weights name them: "prose-snis (prose-mini)".
    Rows whose costs were declared, not metered, say so.
    """
    variants: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for cell in cells:
        variants.setdefault((cell.suite, row_of(cell)), {})[identity(cell)] = traits(cell)
    return {cell.id: _label(cell, list(variants[cell.suite, row_of(cell)].values())) for cell in cells}


def row_of(cell: "Cell") -> str:
    """Name of a cell's row. Frames of the reference are the control, whatever their row is called."""
    return FLOOR if cell.method == FLOOR else cell.row


def _label(cell: "Cell", namesakes: Sequence[dict[str, Any]]) -> str:
    mine = traits(cell)
    differing = [
        name
        for name in sorted(mine)
        if any(_text(other.get(name)) != _text(mine[name]) for other in namesakes)
    ]
    described = ", ".join(f"{name}={_plain(mine[name])}" for name in differing if name != _TEMPERATURE)
    name = f"{cell.row}{DECLARED}" if cell.method == EXTERNAL else _with_weights(cell)
    name = f"{name} [{described}]" if described else name
    return at_kelvin(name, mine[_TEMPERATURE]) if _TEMPERATURE in differing else name


def _with_weights(cell: "Cell") -> str:
    """Name of a row with the weights that it draws from, its own or those of its proposal, unless it says them.

    Weights of a file keep their suffix: my-flow.npz is nobody's bundled weights.
    """
    settings = {**cell.settings.get("proposal_settings", {}), **cell.settings}
    weights = PurePath(str(settings.get("weights") or "")).name
    return f"{cell.row} ({weights})" if weights and weights not in cell.row else row_of(cell)


def plain_name(row: str) -> str:
    """Name of a row without what labels add to it: weights, settings, temperature."""
    return _ADDED.split(row, maxsplit=1)[0]


def row_order(rows: Iterable[str], methods: Mapping[str, str] | None = None) -> list[str]:
    """Rows in the order in which tables and figures show them: known methods first, floor and ceiling last.

    methods maps a row to its method, by which a row whose method is the floor is known.
    """
    kinds = methods or {}

    def place(row: str) -> tuple[bool, int, str]:
        plain = row if row.endswith(DECLARED) else plain_name(row)
        kind = kinds.get(row, plain)
        name = plain if plain in KNOWN_ROWS else kind
        number = KNOWN_ROWS.index(name) if name in KNOWN_ROWS else len(KNOWN_ROWS)
        return bool({kind, plain} & {FLOOR, CEILING}), number, row

    return sorted(set(rows), key=place)


def at_kelvin(name: str, kelvin: float) -> str:
    """Name of a row where rows differ in temperature."""
    return f"{name} at {kelvin:g} K"


def without_temperature(row: str) -> str:
    """Name of a row without what `at_kelvin` adds to it."""
    return _AT_KELVIN.sub("", row)


def traits(cell: "Cell") -> dict[str, Any]:
    """What a row was run with, by name: two cells of one row belong together where all of it is equal."""
    target = {f"target.{name}": value for name, value in cell.target.model_dump(mode="json").items()}
    return {"method": cell.method, "frames": cell.frames} | cell.settings | target


def identity(cell: "Cell") -> str:
    """The traits of a cell as one text."""
    return _text(traits(cell))


def _text(value: Any) -> str:
    return json_bytes(value).decode()


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
