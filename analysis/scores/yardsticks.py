"""The yardsticks beside every score: the floor, what frames of the reference itself score, and the ceiling, what one
frame over and over does. Neither needs a cell; where cells of `reference-draw` were run, their row is the floor."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.metrics.case import views
from analysis.metrics.frames import compared_frames
from analysis.metrics.score import compared
from analysis.metrics.weighting import PLAIN
from analysis.scores.reference_quality import kept_floor
from analysis.scores.run import load_reference
from analysis.scores.statuses import SCORED
from prosebench.ensemble import Ensemble
from prosebench.names import CEILING, FLOOR
from prosebench.record import read_cell, readable_cells
from prosebench.reference import InvalidReferenceError, MissingReferenceError, Reference, find_reference


def with_yardsticks(
    scores: pd.DataFrame, reference_folders: Sequence[Path] = (), *, directory: Path
) -> pd.DataFrame:
    """The long table of a run folder with a ceiling, and with a floor where no cell has measured one."""
    return with_ceiling(with_floor(scores, reference_folders, directory=directory), reference_folders)


def with_ceiling(scores: pd.DataFrame, reference_folders: Sequence[Path] = ()) -> pd.DataFrame:
    """The long table with a row of method CEILING at every budget, suite, and seed of what has been scored.

    Seed i stands for the i-th frame of the reference's spare half: a frame of the same distribution, and not the
    start structure, whose energy would say more of its builder than of any sampler. A peptide without a reference
    has no ceiling.
    """
    rows: list[dict[str, Any]] = []
    for reference, part in _peptides(scores, reference_folders):
        known: dict[tuple[int, int], dict[str, float]] = {}
        for _, group in part.groupby(["suite", "budget", "seed"], sort=True):
            asked = int(group["frames"].max())
            seed = int(group["seed"].iloc[0]) % len(_unscored(reference))
            if (asked, seed) not in known:
                known[asked, seed] = stuck(reference, seed, asked)
            rows += _lines(group, CEILING, known[asked, seed], asked)
    return _with_lines(scores, rows)


def with_floor(
    scores: pd.DataFrame, reference_folders: Sequence[Path] = (), *, directory: Path
) -> pd.DataFrame:
    """The long table with a row of method FLOOR for peptides and budgets at which no cell of `reference-draw` was run.

    It is what such a cell would have: as many spare frames as are asked for, at most one an evaluation, against as many
    of the reference as are asked for. Numbers that take a while are kept in the folder `scores` of the run.
    """
    rows: list[dict[str, Any]] = []
    asked = {cell.id: cell.frames for _, cell in readable_cells(directory, read_cell)}
    for reference, part in _peptides(scores, reference_folders):
        for _, group in part.groupby(["suite", "budget"], sort=True):
            if FLOOR not in set(group["method"]):
                kept = max(asked[cell_id] for cell_id in group["cell_id"])
                against = compared_frames(kept, reference)
                frames = min(against, int(group["budget"].iloc[0]))
                values = kept_floor(reference, frames, against, directory / "scores")
                drawn = int(values.pop("frames"))
                rows += _lines(group[group["seed"] == group["seed"].min()], FLOOR, values, drawn)
    return _with_lines(scores, rows)


def _peptides(
    scores: pd.DataFrame, reference_folders: Sequence[Path]
) -> Iterator[tuple[Reference, pd.DataFrame]]:
    """The reference of each peptide and temperature that has been scored against it, with the scored lines."""
    scored = scores[scores["status"].isin(SCORED)]
    for (peptide, reference_hash), part in scored.groupby(["peptide", "reference"], sort=True):
        try:
            path = find_reference(str(peptide), reference_folders, float(part["temperature_kelvin"].iloc[0]))
            reference = load_reference(path, path.stat().st_mtime_ns)
        except (MissingReferenceError, InvalidReferenceError):
            continue
        if reference.hash.startswith(str(reference_hash)):
            yield reference, part


def _lines(
    group: pd.DataFrame, method: str, values: Mapping[str, float], frames: int
) -> Iterator[dict[str, Any]]:
    """A line for each number of a yardstick, at the place of a group of lines."""
    common = {
        "row": method,
        "method": method,
        "frames": frames,
        "status": "done",
        "reason": "",
        "cell_id": "",
    }
    unknown = {"reference_error": np.nan, "gap": np.nan, "weighting": PLAIN}
    for name, value in values.items():
        yield (
            dict(zip(group.columns, group.iloc[0], strict=True))
            | common
            | unknown
            | {"metric": name, "value": value}
        )


def _with_lines(scores: pd.DataFrame, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=list(scores.columns))
    return pd.concat([scores, made], ignore_index=True) if rows else scores


def stuck(reference: Reference, index: int, n_frames: int) -> dict[str, float]:
    """Distances between one spare frame and the first n_frames of the scored half.

    A single point stands for as many equal ones: every distance here depends on shares alone.
    """
    topology = reference.peptide.topology
    frame: Ensemble = _unscored(reference).select(slice(index, index + 1))
    truth = reference.scored.select(slice(0, n_frames))
    found = compared(*(views(side, reference.tica, topology) for side in (frame, truth)))
    return {name: number.value for name, number in found.items()}


def _unscored(reference: Reference) -> Ensemble:
    """The frames that are not scored against; any frames of a reference that is scored against as a whole."""
    return reference.spare if len(reference.spare) else reference.ensemble
