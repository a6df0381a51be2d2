"""Review of results of strangers: what the method of a record says of it, and cells that are run again here."""

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from jobs.cells.launch import run_local
from jobs.cells.plan import lay_out
from prosebench.check.imports import energy_imports
from prosebench.energy.meter import Meter
from prosebench.energy.settings import make_target
from prosebench.energy.target import Target
from prosebench.ensemble import Ensemble
from prosebench.flows.weights.files import ChangedWeights, WeightsOutOfReach
from prosebench.inspection import Inspection
from prosebench.method import BrokenMethod, Method, Run, UnknownMethod, load_method, method_entry_points
from prosebench.names import EXTERNAL
from prosebench.peptide import Peptide
from prosebench.record import Record, read_record
from prosebench.store.fields import explained
from prosebench.store.hub import HubError
from prosebench.store.storage import FileElsewhere

RECOMPUTED = 32
"""The number of proposals of a cell that are drawn again. One half are the heaviest, the others are chosen at
random."""

SAME_FRAME_NM = 1e-3
SAME_WEIGHT = 0.01
"""How far a proposal that is drawn again may lie from the one that was sent: SAME_FRAME_NM for its
coordinates, SAME_WEIGHT for its log-weight plus its energy. Between instruction sets, those of `prose-mini`
differ by at most 5e-7 nm and 6e-5."""

STRAYING = 0.05
"""The share of the proposals drawn again that may differ by more. Where a flow is steep, it magnifies a
difference in the last digit."""


def inspect(record: Record, ensemble: Ensemble, peptide: Peptide, reference_path: Path | None) -> Inspection:
    """What is impossible in a record by the code of its own method: its marks, its preparation, its weights.
    Frames are those of it."""
    cell = record.cell
    if cell.row in method_entry_points() and cell.method not in (cell.row, EXTERNAL):
        said = f"its row is called {cell.row}, but runs {cell.method}; give the row another name"
        return Inspection((said,))
    if cell.method == EXTERNAL:
        return Inspection()
    try:
        loaded = load_method(cell.method)
        method = loaded(loaded.Settings(**cell.settings))
    except ValidationError as error:
        return Inspection(tuple(_refused(error, cell.method)))
    except (UnknownMethod, BrokenMethod):
        return Inspection()
    target = make_target(peptide, cell.target.model_copy(update={"engine": "batched", "platform": "CPU"}))
    run = Run(
        cell_id=cell.id,
        peptide=peptide,
        meter=Meter(target, cell.budgets[-1]),
        budgets=cell.budgets,
        frames=cell.frames,
        reference_path=reference_path,
    )
    marks = method.marks(run)
    reasons = [
        *_check_imports(loaded),
        *_check_preparation(record, method, run),
        *_check_marks(marks, ensemble, method, run),
    ]
    if ensemble.log_weights is None or not method.independent or reasons:
        return Inspection(tuple(reasons), may_repeat=marks is None)
    try:
        reasons += _check_weights(method, run, ensemble, target)
    except (OSError, HubError, WeightsOutOfReach):
        # Only a machine that has the published weights can tell.
        return Inspection(tuple(reasons), may_repeat=False)
    except ChangedWeights as error:
        reasons.append(_other_weights(error))
        return Inspection(tuple(reasons), may_repeat=False)
    return Inspection(tuple(reasons), "recomputed", may_repeat=False)


def _refused(error: ValidationError, method: str) -> Iterator[str]:
    """What is wrong with the settings; nothing where they name a file or a method that is not here, which is
    no fault."""
    causes = [one.get("ctx", {}).get("error") for one in error.errors()]
    changed = next((cause for cause in causes if isinstance(cause, ChangedWeights)), None)
    if changed:
        yield _other_weights(changed)
    elif not all(isinstance(cause, FileElsewhere | UnknownMethod | BrokenMethod) for cause in causes):
        yield f"its settings are none of {method}: {explained(error)}"


def _other_weights(error: ChangedWeights) -> str:
    return f"its weights are not those of that name: {error}"


def _check_imports(method: type[Method]) -> Iterator[str]:
    found = energy_imports(method)
    if found:
        yield (
            f"its method imports {', '.join(found)}: energies from there are counted by nobody. Take those of "
            "run.meter, and the molecule from run.peptide"
        )


def _check_preparation(record: Record, method: Method, run: Run) -> Iterator[str]:
    spent, most = record.ledger.preparation.evaluations, method.preparation(run)
    if spent > most:
        yield f"its ledger has {spent:,} evaluations of preparation; its method takes {most:,} at most"
    elif most and not spent:
        yield "its ledger has no preparation, but its method prepares"


def _check_marks(
    marks: NDArray[np.int64] | None, ensemble: Ensemble, method: Method, run: Run
) -> Iterator[str]:
    claims = ensemble.evaluations
    if marks is None or claims is None:
        return
    if len(claims) != len(marks):
        yield f"it has {len(claims):,} frames; by its settings its method keeps {len(marks):,}"
    elif (claims != marks).any():
        first = int(np.argmax(claims != marks))
        yield (
            f"its frame {first:,} claims {claims[first]:,} evaluations; by its settings its method keeps that frame "
            f"after {marks[first]:,}"
        )


def _check_weights(method: Method, run: Run, ensemble: Ensemble, target: Target) -> Iterator[str]:
    """Proposals, and their log-weights beside their energies, that differ from what the method gives with
    this seed."""
    assert ensemble.log_weights is not None
    chosen = _places(ensemble.log_weights)
    again = redrawn(method, run, target, chosen)
    theirs = ensemble.select(chosen)
    if again.log_weights is None or theirs.log_weights is None:
        return
    moved = ~(np.abs(theirs.positions_nm - again.positions_nm).max(axis=(1, 2)) <= SAME_FRAME_NM)
    moved &= np.isfinite(again.positions_nm).all(axis=(1, 2))
    if moved.sum() > STRAYING * len(chosen):
        yield f"{moved.sum()} of {len(chosen)} of its frames are not those that its method draws with its seed"
        return
    with np.errstate(invalid="ignore"):
        gaps = (theirs.log_weights + theirs.energies_kt) - (again.log_weights + again.energies_kt)
    known = np.isfinite(again.log_weights) & np.isfinite(again.energies_kt)
    differ = known & ~(np.abs(gaps) <= SAME_WEIGHT)
    differ |= ~known & np.isfinite(theirs.log_weights)
    if differ.sum() > STRAYING * len(chosen):
        yield (
            f"{differ.sum()} of {len(chosen)} of its log-weights are not -E - log q of their frames, as its method "
            "computes it"
        )


def _places(log_weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """The heaviest proposals, and some at random: which ones must not be known beforehand.

    Half of the latter are said to have no weight, where there are such: what is left out must not go unseen.
    """
    n, rng = len(log_weights), np.random.default_rng()
    heaviest = np.argsort(log_weights)[-min(n, RECOMPUTED // 2) :]
    weightless = np.flatnonzero(~np.isfinite(log_weights))
    left_out = rng.permutation(weightless)[: RECOMPUTED // 4]
    others = rng.permutation(n)[: RECOMPUTED - len(heaviest) - len(left_out)]
    return np.unique(np.concatenate([heaviest, left_out, others]))


def redrawn(method: Method, run: Run, target: Target, places: NDArray[np.int64]) -> Ensemble:
    """Proposals at some places (ascending, from 0) of a whole run, drawn again by a method that is `independent`.

    Only these are computed: of the random numbers of their chunks, the others are left out. Raises NotImplementedError
    where the method draws its numbers otherwise.
    """
    settings: Any = method.settings
    size = int(settings.chunk_proposals)
    shared = {one.name: getattr(run, one.name) for one in fields(Run)}
    parts = []
    for index in np.unique(places // size).tolist():
        rows = places[places // size == index] - index * size
        shared["meter"] = Meter(target, len(rows))
        some = _SomeRows(**shared, rows=rows, number=min(size, run.budgets[-1] - index * size))
        chunk = method.chunk(some, index, {})
        assert chunk.ensemble is not None, "an independent method draws frames in each chunk"
        parts.append(chunk.ensemble.arrays())
    return Ensemble.from_arrays({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


@dataclass(frozen=True)
class _SomeRows(Run):
    """A run whose random streams give some rows of the `number` that a chunk has."""

    rows: NDArray[np.int64] = field(default_factory=lambda: np.arange(0))
    number: int = 0

    def rng(self, index: int) -> np.random.Generator:
        """See `Run.rng`."""
        return cast(np.random.Generator, _Rows(super().rng(index), self.rows, self.number))


class _Rows:
    """A generator that gives only some rows of the arrays that another gives, where each row is for one
    frame."""

    def __init__(self, rng: np.random.Generator, rows: NDArray[np.int64], number: int) -> None:
        self._rng, self._rows, self._number = rng, rows, number

    def standard_normal(self, size: Any = None, **more: Any) -> NDArray[Any]:
        """See the method of numpy.random.Generator."""
        return cast(NDArray[Any], self._rng.standard_normal(self._all(size), **more))[self._rows]

    def random(self, size: Any = None, **more: Any) -> NDArray[Any]:
        """See the method of numpy.random.Generator."""
        return cast(NDArray[Any], self._rng.random(self._all(size), **more))[self._rows]

    def integers(self, low: int, high: int | None = None, size: Any = None, **more: Any) -> NDArray[Any]:
        """See the method of numpy.random.Generator."""
        return cast(NDArray[Any], self._rng.integers(low, high, self._all(size), **more))[self._rows]

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(f"rows of {name} cannot be told apart")

    def _all(self, size: Any) -> tuple[int, ...]:
        shape = (size,) if isinstance(size, int) else tuple(size or ())
        if shape[:1] != (len(self._rows),):
            raise NotImplementedError(f"an array of shape {shape} has no row for each frame")
        return (self._number, *shape[1:])


@contextmanager
def run_again(
    records: Sequence[Record], number: int, reference_folders: Sequence[Path]
) -> Iterator[list[tuple[Record, Path]]]:
    """Cells drawn at random, run again here: their records as they came, and their new folders, while this lasts.

    Ensembles made elsewhere, and cells of methods that are not installed here, cannot be run again.
    """
    here = [record for record in records if record.cell.method in method_entry_points()]
    chosen = random.SystemRandom().sample(here, min(number, len(here)))
    with tempfile.TemporaryDirectory() as scratch:
        fresh = lay_out([record.cell for record in chosen], Path(scratch))
        run_local(
            fresh,
            Path(scratch),
            workers=len(os.sched_getaffinity(0)),
            reference_folders=list(reference_folders),
        )
        yield list(zip(chosen, fresh, strict=True))


def record_again(folder: Path) -> Record | None:
    """The record of a cell that was run again; None where it came to none."""
    return read_record(folder) if (folder / "record.json").exists() else None
