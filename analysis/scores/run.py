"""Scores of a run folder: one long table, a pure function of its records and of the references."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.metrics.score import REFERENCE_ERROR, prefix, score
from analysis.scores.processes import map_over
from analysis.scores.statuses import SCORED
from prosebench.ensemble import Ensemble
from prosebench.record import (
    EXTERNAL,
    Cell,
    Record,
    cell_folders,
    open_weights,
    read_cell,
    read_provenance,
    read_record,
)
from prosebench.reference import MissingReferenceError, Reference, find_reference, known_reference
from prosebench.store.storage import DamagedFile, json_bytes, read_json, write_bytes, write_json

SCORE_VERSION = 4
"""Raised whenever a metric changes its meaning or one joins: cached scores of another version are not used."""

COLUMNS = (
    "suite",
    "peptide",
    "length",
    "row",
    "method",
    "budget",
    "seed",
    "metric",
    "value",
    "frames",
    "status",
    "reason",
    "reference",
    "cell_id",
    "reference_error",
    "temperature_kelvin",
)
FLOATS = ("value", "reference_error", "temperature_kelvin")
_TEMPERATURE = "target.temperature_kelvin"
NO_REFERENCE = "there is no reference of the peptide here"
TOLERATED_LOSS = 0.01
"""Share of the frames asked for that may lack before a score is called partial (a weight filter takes a
few).
"""

Progress = Callable[[int, int], None]
"""Called with the number of cells that are done and the number of all cells."""


class Mark(NamedTuple):
    """One cell at one budget: its metrics by name, or why there are none."""

    cell: Cell
    budget: int
    metrics: dict[str, float]
    status: str
    reason: str = ""
    reference: str = ""


def score_run(
    directory: Path,
    reference_folders: Sequence[Path] = (),
    *,
    workers: int = 1,
    progress: Progress | None = None,
    share: tuple[int, int] = (0, 1),
) -> pd.DataFrame:
    """Long table (COLUMNS) of every metric of every cell of a run folder at each of its budgets.

    Metrics are those of `analysis.metrics.score.score`, with sampling-evaluations, preparation-evaluations,
    sampling-seconds, device-seconds (sampling-seconds times the cores or accelerators that shared them), wall-seconds
    and, at a cell's last budget, failures. reference_error is what the finite
    reference adds to a metric's standard error (NaN where that is not known). The clock runs for a whole cell: at
    a smaller budget, sampling seconds are its share pro rata of evaluations. `frames` is how many frames were
    scored, `length` the number of residues. A cell without metrics has one line per budget with an empty
    metric, a status (analysis.scores.statuses) and a reason; one bad cell never stops the others. Where a run folder
    holds a row twice, see `_one_each` and `_labels`. Scores are kept in `directory/scores`, by content; workers > 1
    scores in that many processes. share (i, n) takes every n-th cell from the i-th on.
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
    labels = _labels([mark.cell for mark in marks])
    lines = [line for mark in _one_each(marks) for line in _lines(mark, labels[mark.cell.id])]
    table = pd.DataFrame(damaged + lines, columns=list(COLUMNS))
    texts = ["suite", "peptide", "row", "method", "metric", "status", "reason", "reference", "cell_id"]
    table[texts] = table[texts].fillna("").astype(str)
    numbers = ["length", "budget", "seed", "frames"]
    table[numbers] = table[numbers].fillna(0).astype(int)
    table[list(FLOATS)] = table[list(FLOATS)].astype(float)
    order = ["suite", "length", "peptide", "row", "budget", "seed", "metric"]
    return table.sort_values(order, kind="stable", ignore_index=True)


def write_scores(directory: Path, table: pd.DataFrame) -> Path:
    """Write `directory/scores.csv`: the same table gives the same bytes. Returns its path."""
    path = directory / "scores.csv"
    write_bytes(path, table.to_csv(index=False, lineterminator="\n", na_rep="nan").encode())
    return path


def read_scores(path: Path) -> pd.DataFrame:
    """Read what `write_scores` wrote."""
    texts = dict.fromkeys(
        ("suite", "peptide", "row", "method", "metric", "status", "reason", "reference", "cell_id"), str
    )
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={name: ["nan"] for name in FLOATS})


def scored_places(scores: pd.DataFrame) -> list[tuple[str, float]]:
    """Every (peptide, kelvin) of which something was scored, sorted: each has a reference of its own."""
    scored = scores[scores["status"].isin(SCORED)]
    pairs = zip(scored["peptide"].tolist(), scored["temperature_kelvin"].tolist(), strict=True)
    return sorted(set(pairs))


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
        return _unfinished(cell, "failed", f"scoring: {type(error).__name__}: {error}")


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
    return [
        _mark(cell, budget, scored, cost, short)
        for budget, scored, cost in zip(cell.budgets, scores, costs, strict=True)
    ]


def _waits_for(cell: Cell, reference_folders: tuple[Path, ...]) -> str:
    """Why a cell is not finished, as far as it is an input that lacks."""
    missing = open_weights(cell.settings)
    if missing:
        return f"weights {', '.join(missing)} are not here"
    there = known_reference(cell.peptide, reference_folders, cell.target.temperature_kelvin)
    return "not finished yet" if there else NO_REFERENCE


def _mark(
    cell: Cell, budget: int, scored: dict[str, float] | str, costs: dict[str, float], reference: str
) -> Mark:
    if isinstance(scored, str):
        return Mark(cell, budget, costs, "unscored", scored, reference)
    asked = min(cell.frames, budget)
    if scored["frames"] < asked - math.ceil(TOLERATED_LOSS * asked):
        reason = f"{scored['frames']:.0f} of {asked} frames"
        return Mark(cell, budget, scored | costs, "partial", reason, reference)
    return Mark(cell, budget, scored | costs, "done", "", reference)


def _mismatch(record: Record, reference: Reference) -> str:
    """Why a record cannot be scored against a reference; empty where it can."""
    asked, there = record.cell.target.temperature_kelvin, reference.temperature_kelvin
    if asked != there:
        return f"the reference is at {there:g} K, the samples at {asked:g} K"
    if record.force_field_hash != reference.force_field_hash:
        return "the reference was made with another force field"
    return ""


def _unfinished(cell: Cell, status: str, reason: str) -> list[Mark]:
    return [Mark(cell, budget, {}, status, reason) for budget in cell.budgets]


def _costs(folder: Path, record: Record, budget: int) -> dict[str, float]:
    """What a cell had spent at a budget."""
    spent = record.ledger.sampling.evaluations
    at_mark = min(spent, budget)
    costs = {
        "sampling-evaluations": float(at_mark),
        "preparation-evaluations": float(record.ledger.preparation.evaluations),
    }
    if budget == record.cell.budgets[-1]:
        costs["failures"] = float(record.ledger.sampling.failures + record.ledger.preparation.failures)
    try:
        where = read_provenance(folder)
    except (DamagedFile, OSError):
        return costs
    seconds = where.seconds
    sampling = seconds.get("sampling", 0.0) * (at_mark / spent if spent else 1.0)
    other = sum(seconds.get(phase, 0.0) for phase in ("preparation", "training"))
    devices = where.ranks * (where.threads if where.device == "cpu" else 1)
    return costs | {
        "sampling-seconds": sampling,
        "device-seconds": devices * sampling,
        "wall-seconds": sampling + other,
    }


def _cached_scores(
    folder: Path, record: Record, reference: Reference, path: Path
) -> list[dict[str, float] | str]:
    """Scores of a finished cell at each of its budgets, or why there is none there; read from path if they
    are there.
    """
    key = {"ensemble": record.ensemble_sha256, "reference": reference.hash, "version": SCORE_VERSION}
    try:
        stored = read_json(path)
        if stored["key"] == key:
            return [mark if isinstance(mark, str) else _decoded(mark) for mark in stored["marks"]]
    except (DamagedFile, FileNotFoundError, KeyError, TypeError):
        pass
    cell = record.cell
    ensemble = record.load_ensemble(folder)
    marks: list[dict[str, float] | str] = []
    for budget in cell.budgets:
        there = at_budget(ensemble, budget, cell)
        if not len(there):
            marks.append(f"no frame at {budget} evaluations")
            continue
        first = budget == cell.budgets[0]
        found = score(
            there,
            reference,
            n_frames=cell.frames,
            seed=scoring_seed(cell),
            proposals=first,
        )
        marks.append(found)
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
    """The reference at a path as of a time of change; the last one is kept, as cells come sorted by
    peptide.
    """
    return Reference.load(path)


def _encoded(metrics: dict[str, float]) -> dict[str, str]:
    """Numbers as text: JSON knows no infinity, and repr keeps every digit."""
    return {name: repr(float(value)) for name, value in metrics.items()}


def _decoded(metrics: dict[str, str]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def _labels(cells: list[Cell]) -> dict[str, str]:
    """Label of each cell's row, by cell id: the row's name, and what tells it from its namesakes.

    Cells of one row that were run with other settings, frames or physics stand apart: "md [friction_per_ps=1.0]";
    at another temperature: "md at 400 K". Rows whose costs were declared, not metered, say so.
    """
    variants: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for cell in cells:
        traits = _traits(cell)
        variants.setdefault((cell.suite, cell.row), {})[_key(traits)] = traits
    labels = {}
    for cell in cells:
        known, traits = list(variants[cell.suite, cell.row].values()), _traits(cell)
        differing = [
            name
            for name in sorted(traits)
            if any(_key(other.get(name)) != _key(traits[name]) for other in known)
        ]
        described = ", ".join(f"{name}={_plain(traits[name])}" for name in differing if name != _TEMPERATURE)
        name = f"{cell.row} (declared)" if cell.method == EXTERNAL else cell.row
        name = f"{name} [{described}]" if described else name
        labels[cell.id] = at_kelvin(name, traits[_TEMPERATURE]) if _TEMPERATURE in differing else name
    return labels


def at_kelvin(name: str, kelvin: float) -> str:
    """Name of a row where rows differ in temperature."""
    return f"{name} at {kelvin:g} K"


def _traits(cell: Cell) -> dict[str, Any]:
    target = {f"target.{name}": value for name, value in cell.target.model_dump(mode="json").items()}
    return {"method": cell.method, "frames": cell.frames} | cell.settings | target


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _key(value: Any) -> str:
    return json_bytes(value).decode()


def _one_each(marks: list[Mark]) -> list[Mark]:
    """One mark for each (row with its settings, peptide, budget, seed).

    A run folder holds two where a suite was run again with other budgets: the one with metrics stands, then
    the one of the larger last budget.
    """
    best: dict[tuple[Any, ...], Mark] = {}
    ranked = sorted(marks, key=lambda mark: (not mark.metrics, -mark.cell.budgets[-1], mark.cell.id))
    for mark in ranked:
        cell = mark.cell
        place = (cell.suite, cell.row, _key(_traits(cell)), cell.peptide, mark.budget, cell.seed)
        best.setdefault(place, mark)
    return list(best.values())


def _lines(mark: Mark, label: str) -> Iterator[dict[str, Any]]:
    cell = mark.cell
    common = {
        "suite": cell.suite,
        "peptide": cell.peptide,
        "length": len(cell.peptide),
        "row": label,
        "method": cell.method,
        "budget": mark.budget,
        "seed": cell.seed,
        "frames": int(mark.metrics.get("frames", 0)),
        "status": mark.status,
        "reason": mark.reason,
        "reference": mark.reference,
        "cell_id": cell.id,
        "temperature_kelvin": cell.target.temperature_kelvin,
    }
    metrics: dict[str, float | None] = {
        name: value
        for name, value in mark.metrics.items()
        if name != "frames" and not name.endswith(REFERENCE_ERROR)
    }
    for name, value in (metrics or {"": None}).items():
        error = mark.metrics.get(name + REFERENCE_ERROR)
        yield common | {"metric": name, "value": value, "reference_error": error}
