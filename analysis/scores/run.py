"""Scores of a run folder: one long table, a pure function of its records and of the references."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.attempts import reason_of
from analysis.metrics.case import Spent
from analysis.metrics.frames import compared_frames, prefix
from analysis.metrics.metric import Number
from analysis.metrics.registry import COSTS
from analysis.metrics.score import Key, Score, score
from analysis.metrics.weighting import PLAIN
from analysis.scores.cache import kept_numbers
from analysis.scores.convergence import spread_ratio
from analysis.scores.processes import map_over
from analysis.scores.rows import identity, labels_of, row_of
from analysis.scores.statuses import Status
from analysis.scores.table import tidy
from prosebench.ensemble import Ensemble
from prosebench.record import (
    Cell,
    Record,
    cell_folders,
    open_weights,
    planned_peptides,
    read_cell,
    read_provenance,
    read_record,
    reference_weights_path,
)
from prosebench.reference import MissingReferenceError, Reference, find_reference, known_reference
from prosebench.store.storage import DamagedFile, file_sha256, read_arrays, read_json, write_json

SCORE_VERSION = 8
"""The version of the scores. It is raised whenever a metric changes its meaning or a new one joins; cached
scores of another version are not used."""

NO_REFERENCE = "there is no reference of the peptide here"
FAULT = "scoring failed: "
"""The first words of the reason of a cell at which the scorer, or the reading of its files, raised an error.
This is not a failure of the method."""

TOLERATED_LOSS = 0.01
"""The share of the frames asked for that may be missing before a score is called partial. The filter of
weights removes a few."""

CellsDone = Callable[[int, int], None]
"""A function that is called with the number of cells that are done and the number of all cells."""
StepsDone = Callable[[str, int, int], None]
"""A function that is called with what is being done ("scores" or "figures"), how many are done, and of how many."""


class Mark(NamedTuple):
    """One cell at one of its budgets: its numbers, or why there are none."""

    cell: Cell
    budget: int
    numbers: dict[Key, Number]
    status: Status
    reason: str = ""
    reference: str = ""
    frames: int = 0
    reference_spread: float = math.nan


def score_run(
    directory: Path,
    reference_folders: Sequence[Path] = (),
    *,
    workers: int = 1,
    progress: CellsDone | None = None,
    share: tuple[int, int] = (0, 1),
) -> pd.DataFrame:
    """Long table (`analysis.scores.table`) of every metric of every cell of a run folder at each of its budgets.

    A cell without metrics has one line per budget with an empty metric, a status (analysis.scores.statuses) and a
    reason; one bad cell never stops the others. Where a run folder holds a row twice, see `_one_each` and
    `analysis.scores.rows`. Scores are kept in `directory/scores`, by content; workers > 1 scores in that many
    processes. share (i, n) takes every n-th cell from the i-th on.
    """
    folders = cell_folders(directory)[share[0] :: share[1]]
    jobs = [(folder, directory / "scores", tuple(map(Path, reference_folders))) for folder in folders]
    marks: list[Mark] = []
    damaged: list[dict[str, Any]] = []
    for number, (folder, found) in enumerate(
        zip(folders, map_over(_score_cell, jobs, workers), strict=True), start=1
    ):
        if isinstance(found, str):
            damaged.append({"peptide": folder.name, "status": "failed", "reason": found})
        else:
            marks.extend(found)
        if progress:
            progress(number, len(folders))
    labels = labels_of([mark.cell for mark in marks])
    planned = _planned(directory, [mark.cell for mark in marks])
    lines = [
        line
        for mark in _one_each(marks)
        for line in _lines(mark, labels[mark.cell.id], len(planned[mark.cell.suite, len(mark.cell.peptide)]))
    ]
    return tidy(pd.DataFrame(damaged + lines))


def _planned(directory: Path, cells: Sequence[Cell]) -> dict[tuple[str, int], set[str]]:
    """Peptides by suite and length: those of the plan that stands in the run folder, and all that have a cell."""
    found: dict[tuple[str, int], set[str]] = {}
    planned = [(suite, peptide) for suite, of in planned_peptides(directory).items() for peptide in of]
    for suite, peptide in [*planned, *((cell.suite, cell.peptide) for cell in cells)]:
        found.setdefault((suite, len(peptide)), set()).add(peptide)
    return found


Job = tuple[Path, Path, tuple[Path, ...]]


def _score_cell(job: Job) -> list[Mark] | str:
    """Marks of a cell, or the reason why the folder is not a cell."""
    folder, cache, reference_folders = job
    try:
        cell = read_cell(folder)
    except (DamagedFile, OSError) as error:
        return str(error)
    try:
        return _marks(folder, cell, cache, reference_folders)
    except Exception as error:
        return _unfinished(cell, "unscored", FAULT + reason_of(error))


def _marks(folder: Path, cell: Cell, cache: Path, reference_folders: tuple[Path, ...]) -> list[Mark]:
    if not (folder / "record.json").exists():
        failure = folder / "failure.json"
        if failure.exists():
            return _unfinished(cell, "failed", read_json(failure)["reason"])
        return _unfinished(cell, "waiting", _waits_for(cell, reference_folders))
    record = read_record(folder)
    if record.status == "skipped":
        return _unfinished(cell, "skipped", record.reason)
    costs = [_costs(folder, record, budget) for budget in cell.budgets]
    try:
        path = find_reference(cell.peptide, reference_folders, cell.target.temperature_kelvin)
    except MissingReferenceError:
        pairs = zip(cell.budgets, costs, strict=True)
        return [Mark(cell, budget, cost, "unscored", NO_REFERENCE) for budget, cost in pairs]
    reference = load_reference(path, path.stat().st_mtime_ns)
    short = reference.hash[:12]
    mismatch = _mismatch(record, reference)
    if mismatch:
        pairs = zip(cell.budgets, costs, strict=True)
        return [Mark(cell, budget, cost, "unscored", mismatch, short) for budget, cost in pairs]
    scores = _cached_scores(folder, record, reference, cache / f"{cell.id}-{short}-{SCORE_VERSION}.json")
    spread = _spread(reference, cache / f"reference-{short}-{SCORE_VERSION}.json")
    return [
        _mark(cell, budget, found, cost, short, compared_frames(cell.frames, reference))._replace(
            reference_spread=spread
        )
        for budget, found, cost in zip(cell.budgets, scores, costs, strict=True)
    ]


def _waits_for(cell: Cell, reference_folders: tuple[Path, ...]) -> str:
    """The reason why a cell is not finished, if an input is missing."""
    missing = open_weights(cell.settings)
    if missing:
        return f"weights {', '.join(missing)} are not here"
    there = known_reference(cell.peptide, reference_folders, cell.target.temperature_kelvin)
    return "not finished yet" if there else NO_REFERENCE


def _spread(reference: Reference, path: Path) -> float:
    """`spread_ratio` of a reference; from path where that has it."""
    return kept_numbers(path, ["spread"], lambda: {"spread": spread_ratio(reference)})["spread"]


def _mark(
    cell: Cell, budget: int, found: Score | str, costs: dict[Key, Number], reference: str, compared: int
) -> Mark:
    if isinstance(found, str):
        return Mark(cell, budget, costs, "unscored", found, reference)
    numbers = {**found.numbers, **costs}
    asked = min(compared, budget)
    if found.frames < asked - math.ceil(TOLERATED_LOSS * asked):
        reason = f"{found.frames} of {asked} frames"
        return Mark(cell, budget, numbers, "partial", reason, reference, found.frames)
    return Mark(cell, budget, numbers, "done", "", reference, found.frames)


def _mismatch(record: Record, reference: Reference) -> str:
    """Why a record cannot be scored against a reference; empty where it can."""
    asked, there = record.cell.target.temperature_kelvin, reference.temperature_kelvin
    if asked != there:
        return f"the reference is at {there:g} K, the samples at {asked:g} K"
    if record.force_field_hash != reference.force_field_hash:
        return "the reference was made with another force field"
    return ""


def _unfinished(cell: Cell, status: Status, reason: str) -> list[Mark]:
    return [Mark(cell, budget, {}, status, reason) for budget in cell.budgets]


def _costs(folder: Path, record: Record, budget: int) -> dict[Key, Number]:
    """What a cell had spent at a budget."""
    try:
        provenance = read_provenance(folder)
    except (DamagedFile, OSError):
        provenance = None
    at_budget = min(record.ledger.sampling.evaluations, budget)
    times = record.diagnostics.get("t") or [None]
    is_last = budget == record.cell.budgets[-1]
    spent = Spent(at_budget, is_last, record.ledger, provenance, times[-1])
    found = ((cost.name, cost.of(spent)) for cost in COSTS)
    return {(name, PLAIN): Number(value) for name, value in found if value is not None}


def _cached_scores(folder: Path, record: Record, reference: Reference, path: Path) -> list[Score | str]:
    """Scores of a finished cell at each of its budgets, or why there is none there; from path where it has them."""
    cell = record.cell
    n_frames = compared_frames(cell.frames, reference)
    beyond = reference_weights_path(folder.parent.parent, cell, reference.hash)
    key = {
        "ensemble": record.ensemble_sha256,
        "reference": reference.hash,
        "reference weights": file_sha256(beyond) if beyond.exists() else "",
        "version": SCORE_VERSION,
        "frames": n_frames,
    }
    try:
        stored = read_json(path)
        if stored["key"] == key:
            return [mark if isinstance(mark, str) else _decoded(mark) for mark in stored["marks"]]
    except (DamagedFile, FileNotFoundError, KeyError, TypeError, ValueError):
        pass
    ensemble = record.load_ensemble(folder)
    of_reference = read_arrays(beyond)["log_weights"] if beyond.exists() else None
    marks: list[Score | str] = []
    for budget in cell.budgets:
        there = at_budget(ensemble, budget, cell)
        if not len(there):
            marks.append(f"no frame at {budget} evaluations")
            continue
        first = budget == cell.budgets[0]
        seed = scoring_seed(cell)
        marks.append(
            score(
                there,
                reference,
                n_frames=n_frames,
                seed=seed,
                proposals=first,
                of_reference=of_reference,
            )
        )
    write_json(
        path, {"key": key, "marks": [mark if isinstance(mark, str) else _encoded(mark) for mark in marks]}
    )
    return marks


def at_budget(ensemble: Ensemble, budget: int, cell: Cell) -> Ensemble:
    """The frames of a cell that were there at a budget."""
    if ensemble.evaluations is None and budget == cell.budgets[-1]:
        return ensemble
    return prefix(ensemble, budget)


def scoring_seed(cell: Cell) -> int:
    """Seed of what is random in a score, from the cell's id."""
    return int(cell.id, 16)


@lru_cache(maxsize=1)
def load_reference(path: Path, modified_ns: int) -> Reference:
    """The reference at a path as of a time of change. The last one is kept, as cells come sorted by peptide."""
    return Reference.load(path)


def _encoded(found: Score) -> dict[str, Any]:
    """Numbers as text: JSON knows no infinity, and repr keeps every digit."""
    numbers = [[*key, *(repr(float(part)) for part in number)] for key, number in found.numbers.items()]
    return {"frames": found.frames, "numbers": numbers}


def _decoded(stored: dict[str, Any]) -> Score:
    numbers = {(name, weighting): Number(*map(float, parts)) for name, weighting, *parts in stored["numbers"]}
    return Score(numbers, int(stored["frames"]))


def _one_each(marks: list[Mark]) -> list[Mark]:
    """One mark for each (row with its settings, peptide, budget, seed).

    A run folder holds two where a suite was run again with other budgets: the one with metrics stands, then
    the one of the larger last budget.
    """
    best: dict[tuple[Any, ...], Mark] = {}
    ranked = sorted(marks, key=lambda mark: (not mark.numbers, -mark.cell.budgets[-1], mark.cell.id))
    for mark in ranked:
        cell = mark.cell
        place = (cell.suite, row_of(cell), identity(cell), cell.peptide, mark.budget, cell.seed)
        best.setdefault(place, mark)
    return list(best.values())


def _lines(mark: Mark, label: str, planned: int) -> Iterator[dict[str, Any]]:
    cell = mark.cell
    common = {
        "suite": cell.suite,
        "peptide": cell.peptide,
        "length": len(cell.peptide),
        "planned": planned,
        "row": label,
        "method": cell.method,
        "budget": mark.budget,
        "seed": cell.seed,
        "frames": mark.frames,
        "status": mark.status,
        "reason": mark.reason,
        "reference": mark.reference,
        "reference_spread": mark.reference_spread,
        "cell_id": cell.id,
        "temperature_kelvin": cell.target.temperature_kelvin,
    }
    for (name, weighting), number in (mark.numbers or {("", PLAIN): Number(math.nan)}).items():
        yield common | {"metric": name, "weighting": weighting} | number._asdict()
