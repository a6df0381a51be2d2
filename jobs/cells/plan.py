"""From a suite to cells, and from cells to folders."""

import shutil
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

from jobs.cells.chunks import move_aside
from prosebench.method import load_method
from prosebench.record import (
    Cell,
    cell_folders,
    open_weights,
    read_cell,
    read_record,
    readable_cells,
    without_hashes,
)
from prosebench.reference import known_reference
from prosebench.rows import method_settings
from prosebench.store.storage import DamagedFile, write_json
from prosebench.suite import Suite


def plan_cells(suite: Suite) -> list[Cell]:
    """All cells of a suite. A method whose small budgets are prefixes of large ones gets one cell for all of them.

    One that evaluates frame after frame has its target on the CPU: its cell is that of the suite without a GPU.
    """
    cells = []
    for row in suite.methods:
        method, settings = method_settings(suite, row)
        kind = load_method(method)
        budgets_of_row = suite.row_budgets(row)
        marks = [budgets_of_row] if kind.prefixes else [(budget,) for budget in budgets_of_row]
        for peptide, target, budgets, seed in product(suite.peptides, suite.targets, marks, suite.seeds):
            cells.append(
                Cell(
                    suite=suite.name,
                    peptide=peptide,
                    row=row,
                    method=method,
                    settings=settings,
                    budgets=budgets,
                    frames=suite.frames,
                    seed=seed,
                    target=target if kind.batched else target.on_cpu(),
                )
            )
    return cells


def with_stored(cells: list[Cell], directory: Path) -> list[Cell]:
    """The cells, with those whose weights nobody here knows replaced by the cells of the run folder that are
    the same but for their hash.

    So a machine without the weights finds what one with them has finished.
    """
    if not any(open_weights(cell.settings) for cell in cells):
        return cells
    stored: dict[str, Cell] = {}
    for _, cell in readable_cells(directory, read_cell):
        if not open_weights(cell.settings):
            stored[_without_hashes(cell).id] = cell
    return [stored.get(cell.id, cell) if open_weights(cell.settings) else cell for cell in cells]


def remove_placeholders(cells: list[Cell], directory: Path) -> None:
    """Remove the folders that stood for these cells while nobody knew what their weights are."""
    for cell in cells:
        before = _without_hashes(cell)
        folder = directory / "cells" / before.folder_name
        if before.id != cell.id and folder.exists() and {path.name for path in folder.iterdir()} <= _IDLE:
            shutil.rmtree(folder, ignore_errors=True)


def set_skips_aside(cells: list[Cell], directory: Path, references: Sequence[Path]) -> None:
    """Move away the records of controls that were skipped for want of a reference which has come or changed since."""
    for cell in cells:
        path = directory / "cells" / cell.folder_name / "record.json"
        if not (load_method(cell.method).needs_reference and path.exists()):
            continue
        reference = known_reference(cell.peptide, references, cell.target.temperature_kelvin)
        # The time of change, unlike that of modification, is new for a copy, too.
        if reference is None or reference.stat().st_ctime < path.stat().st_mtime:
            continue
        try:
            skipped = read_record(path.parent).status == "skipped"
        except DamagedFile:
            continue
        if skipped:
            _aside(path, directory)


_IDLE = {"cell.json", "lock"}
"""A cell whose folder holds only these files has not been worked on."""


def _without_hashes(cell: Cell) -> Cell:
    """A cell as it was planned before the SHA-256 of its weights was known."""
    content = {name: getattr(cell, name) for name in Cell.model_fields}
    return Cell(**content | {"settings": without_hashes(cell.settings)})


def lay_out(cells: list[Cell], directory: Path) -> list[Path]:
    """Make the folder of each cell, with its cell.json, and return the folders in the order of the cells."""
    (directory / "cells").mkdir(parents=True, exist_ok=True)
    # Mostly waiting for the disk: side by side, hundreds of cells take a second.
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(partial(_lay_out_cell, directory), cells))


def _lay_out_cell(directory: Path, cell: Cell) -> Path:
    folder = directory / "cells" / cell.folder_name
    if folder.exists():
        # A file of its settings may lie elsewhere now; its content, which the id vouches for, is the same.
        if not (folder / "record.json").exists() and read_cell(folder) != cell:
            write_json(folder / "cell.json", cell.model_dump(mode="json"))
    else:
        # The folder must never lack its cell.json, even for a moment: another process would take it for foreign.
        fresh = directory / f".new-{uuid.uuid4().hex}"
        fresh.mkdir()
        write_json(fresh / "cell.json", cell.model_dump(mode="json"))
        try:
            fresh.rename(folder)
        except OSError as error:
            shutil.rmtree(fresh)
            if not folder.exists():
                raise error
    return folder


def set_foreign_aside(directory: Path) -> list[str]:
    """Move away what is under cells/ but is no cell, and records that are damaged. Returns one warning for each."""
    warnings = []
    cells = directory / "cells"
    for path in sorted(cells.iterdir()) if cells.is_dir() else []:
        if not path.is_dir():
            warnings.append(f"{path} is not the folder of a cell; set aside as {_aside(path, directory)}")
    for folder in cell_folders(directory):
        try:
            read_cell(folder)
        except (DamagedFile, FileNotFoundError) as error:
            warnings.append(f"{error}; its folder is set aside as {_aside(folder, directory)}")
            continue
        try:
            record = read_record(folder)
            if record.status == "done":
                record.load_ensemble(folder)
        except FileNotFoundError as error:
            if (folder / "record.json").exists():
                warnings.append(
                    f"{error}; its record is set aside as {_aside(folder / 'record.json', directory)}"
                )
        except DamagedFile as error:
            warnings.append(
                f"{error}; its record is set aside as {_aside(folder / 'record.json', directory)}"
            )
    return warnings


def _aside(path: Path, directory: Path) -> Path:
    return move_aside(path, directory / "set-aside")
