"""All figures of a run folder: of each peptide, and over the suite."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import mdtraj
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.figures_peptide import Sample, energy_histogram, ramachandran, tica_map
from analysis.figures_scaling import FIGURES, scaling
from analysis.score import select_scored
from analysis.scores import at_budget, scoring_seed
from analysis.style import FLOOR, looks, row_order, save
from analysis.statuses import SCORED
from prosebench.ensemble import Ensemble, concatenate
from prosebench.geometry import fix_chirality
from prosebench.record import cell_folders, read_cell, read_record
from prosebench.reference import Reference, find_reference
from prosebench.storage import DamagedFile

MOST_BUDGETS = 3
"""Figures of a peptide show at most this many budgets: the smallest, the largest, one between."""


@dataclass(frozen=True)
class Selection:
    """The cells of one peptide in one suite that its figures show: (row, budget, cell id), in order."""

    suite: str
    peptide: str
    cells: tuple[tuple[str, int, str], ...]
    all_rows: tuple[str, ...]


def write_figures(
    directory: Path,
    scores: pd.DataFrame,
    target: Path,
    reference_folders: Sequence[Path] = (),
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write every figure of a scored run folder into target, as PNG, PDF and SVG; returns the paths,
    sorted.

    Per peptide `<peptide>-energy`, `-ramachandran` and `-tica`, over the suite `scaling-<name>`; with several
    suites in one folder the suite's name stands in front. Only what was scored is shown; the floor has no
    maps of its own.
    """
    chosen = selections(scores)
    several = scores.loc[scores["suite"] != "", "suite"].nunique() > 1
    jobs = [(choice, directory, target, tuple(map(Path, reference_folders)), several) for choice in chosen]
    paths: list[Path] = []
    for number, made in enumerate(_map(jobs, workers), start=1):
        paths.extend(made)
        if progress:
            progress(number, len(jobs))
    for suite, part in scores[scores["status"].isin(SCORED)].groupby("suite"):
        for name, metrics in FIGURES.items():
            stem = f"{suite}-scaling-{name}" if several else f"scaling-{name}"
            paths.extend(save(scaling(part, metrics), target / stem))
    return sorted(paths)


def selections(scores: pd.DataFrame) -> list[Selection]:
    """What the figures of each peptide show: scored cells of all rows but the floor, at up to
    MOST_BUDGETS.
    """
    methods = dict(zip(scores["row"], scores["method"], strict=True))
    rows = tuple(row for row in row_order(scores["row"], methods) if row)
    place = ["suite", "peptide", "row", "budget", "cell_id"]
    scored = scores[scores["status"].isin(SCORED)].drop_duplicates(place)
    found = []
    for (suite, peptide), part in scored.groupby(["suite", "peptide"]):
        budgets = sorted(part["budget"].unique().tolist())
        if len(budgets) > MOST_BUDGETS:
            budgets = [budgets[0], budgets[len(budgets) // 2], budgets[-1]]
        cells = tuple(
            (row, budget, cell_id)
            for row in rows
            for budget in budgets
            if methods[row] != FLOOR
            for cell_id in part[(part["row"] == row) & (part["budget"] == budget)]["cell_id"]
        )
        found.append(Selection(str(suite), str(peptide), cells, rows))
    return found


Job = tuple[Selection, Path, Path, tuple[Path, ...], bool]


def _map(jobs: list[Job], workers: int) -> Iterator[list[Path]]:
    if workers <= 1 or len(jobs) <= 1:
        yield from map(_peptide_figures, jobs)
        return
    with ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=get_context("spawn"), initializer=partial(threadpool_limits, 1)
    ) as pool:
        yield from pool.map(_peptide_figures, jobs)


def _peptide_figures(job: Job) -> list[Path]:
    choice, directory, target, reference_folders, several = job
    reference = Reference.load(find_reference(choice.peptide, reference_folders))
    topology = reference.peptide.topology
    samples, n_frames = _samples(choice, directory, reference, topology)
    truth = reference.scored.select(slice(0, n_frames))
    stem = f"{choice.suite}-{choice.peptide}" if several else choice.peptide
    figures = {
        "energy": energy_histogram(choice.peptide, truth, samples, looks(choice.all_rows)),
        "ramachandran": ramachandran(choice.peptide, topology, truth, samples),
        "tica": tica_map(choice.peptide, topology, reference.tica, truth, samples),
    }
    return [path for name, figure in figures.items() for path in save(figure, target / f"{stem}-{name}")]


def _samples(
    choice: Selection, directory: Path, reference: Reference, topology: mdtraj.Topology
) -> tuple[list[Sample], int]:
    """The scored frames of each row and budget, seeds together, and how many reference frames they were
    scored against.
    """
    folders = _folders(directory)
    parts: dict[tuple[str, int], list[Ensemble]] = {}
    n_frames = 0
    for row, budget, cell_id in choice.cells:
        record = read_record(folders[cell_id])
        try:
            ensemble = record.load_ensemble(folders[cell_id])
        except (DamagedFile, OSError):  # scores outlive ensembles: records may be kept without their frames
            continue
        there = at_budget(ensemble, budget, record.cell)
        frames = there.select(select_scored(there, record.cell.frames, scoring_seed(record.cell)))
        fixed, _, _ = fix_chirality(frames.positions_nm, topology, reference.scored.positions_nm[0])
        parts.setdefault((row, budget), []).append(Ensemble(fixed, frames.energies_kt))
        n_frames = max(n_frames, record.cell.frames)
    samples = [Sample(row, budget, concatenate(ensembles)) for (row, budget), ensembles in parts.items()]
    return samples, n_frames or len(reference.scored)


def _folders(directory: Path) -> dict[str, Path]:
    found = {}
    for folder in cell_folders(directory):
        try:
            found[read_cell(folder).id] = folder
        except (DamagedFile, OSError):
            continue
    return found


__all__ = ["Sample", "energy_histogram", "ramachandran", "scaling", "selections", "tica_map", "write_figures"]
