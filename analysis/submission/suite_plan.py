"""What a shipped suite asks of every row: without it nobody sees that a bad cell was left out."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from shlex import quote
from typing import NamedTuple

from analysis.wording import first_few
from prosebench.names import EXTERNAL
from prosebench.record import Cell, without_places
from prosebench.store.storage import json_bytes
from prosebench.suite import Suite, load_suite, suite_names


class Place(NamedTuple):
    """A place at which a row of a suite must have been run."""

    peptide: str
    temperature_kelvin: float
    budget: int
    seed: int


@lru_cache(maxsize=32)
def shipped_suite(name: str) -> Suite | None:
    """The suite of that name that comes with prosebench; None for any other."""
    return load_suite(name) if name in suite_names() else None


def missing_places(cells: Sequence[Cell]) -> list[str]:
    """A line for each row of a shipped suite that has not been run everywhere; empty where all have.

    cells: those that have ended, whatever they came to. Rows with other settings stand apart, and each must be whole.
    Of a row whose costs are declared, every peptide must be there at each of the budgets and seeds that it has.
    """
    rows: dict[bytes, list[Cell]] = {}
    for cell in cells:
        rows.setdefault(_row_key(cell), []).append(cell)
    found = []
    for mine in rows.values():
        suite = shipped_suite(mine[0].suite)
        if suite is None:
            continue
        there = {place for cell in mine for place in _places(cell)}
        asked = set(_asked(suite, mine))
        lacking = sorted(asked - there)
        if lacking:
            named = _named(lacking, several=len(suite.targets) > 1)
            found.append(
                f"suite {suite.name}, row {mine[0].row}: {len(lacking)} of {len(asked)} results are missing "
                f"({named}); `prosebench run --suite {quote(suite.name)}` makes them, and a method that "
                "cannot do one skips it with a reason. Of a part of a suite, send a suite file with a name of its own"
            )
    return sorted(found)


def _row_key(cell: Cell) -> bytes:
    target = cell.target.model_dump(mode="json") | {"temperature_kelvin": None}
    return json_bytes([cell.suite, cell.row, cell.method, without_places(cell.settings), target])


def _places(cell: Cell) -> Iterator[Place]:
    for budget in cell.budgets:
        yield Place(cell.peptide, cell.target.temperature_kelvin, budget, cell.seed)


def _asked(suite: Suite, cells: Sequence[Cell]) -> Iterator[Place]:
    row, declared = cells[0].row, cells[0].method == EXTERNAL
    budgets = suite.row_budgets(row) if row in suite.methods else suite.budgets
    seeds = suite.seeds
    if declared:
        budgets = tuple(sorted({budget for cell in cells for budget in cell.budgets}))
        seeds = tuple(sorted({cell.seed for cell in cells}))
    kelvins = [target.temperature_kelvin for target in suite.targets]
    yield from map(Place._make, product(suite.peptides, kelvins, budgets, seeds))


def _named(places: Sequence[Place], *, several: bool) -> str:
    """The first places in words; with their temperatures where there are several of those."""
    texts = [
        f"{place.peptide}{f' at {place.temperature_kelvin:g} K' if several else ''}, {place.budget:,} evaluations, "
        f"seed {place.seed}"
        for place in places
    ]
    return first_few(texts, 3, ";")
