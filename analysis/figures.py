"""All figures of a run folder: of each peptide, and over the suite."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial, wraps
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

from analysis.figures_costs import (
    THROUGHPUT_AXES,
    by_temperature,
    pairs_by_peptide,
    samplers,
    seconds_by_length,
    throughput,
    weights_by_length,
)
from analysis.figures_peptide import Sample, energy_histogram, ramachandran, tica_map
from analysis.figures_scaling import FIGURES, scaling
from analysis.figures_smc import annealing
from analysis.figures_states import diagnostics, populations, walks, weight_traces
from analysis.pages import page_markdown, page_numbers
from analysis.peptide_data import find_cores, find_states, load_peptide
from analysis.statuses import SCORED
from analysis.style import CEILING, FLOOR, FORMATS, looks, row_order, save
from prosebench.record import cell_folders, read_cell
from prosebench.reference import Reference, find_reference, name_at
from prosebench.storage import DamagedFile, read_json, write_bytes, write_json

MOST_PAIRS = 6
"""Pairs of rows that are drawn peptide by peptide."""

MOST_BUDGETS = 3
"""Figures of a peptide show at most this many budgets: the smallest, the largest, one between."""


@dataclass(frozen=True)
class Selection:
    """The cells of one peptide at one temperature in one suite that its figures show: (row, budget, cell id)."""

    suite: str
    peptide: str
    cells: tuple[tuple[str, int, str], ...]
    all_rows: tuple[str, ...]
    temperature_kelvin: float = 310.0


def write_figures(
    directory: Path,
    scores: pd.DataFrame,
    target: Path,
    reference_folders: Sequence[Path] = (),
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Write every figure of a scored run folder into target, in each of the formats; returns the paths, sorted.

    Per peptide `<peptide>-<kind>` with the kinds of `analysis.pages.CAPTIONS`, and its page beside target in
    `peptides/<peptide>.md` and `.json`; over the suite those of `suite_figures`; with several suites in one folder
    the suite's name stands in front. Only what was scored is shown; floor and ceiling have no maps of their own.
    """
    chosen = selections(scores)
    several = scores.loc[scores["suite"] != "", "suite"].nunique() > 1
    jobs = [
        (choice, directory, target, tuple(map(Path, reference_folders)), several, tuple(formats))
        for choice in chosen
    ]
    paths: list[Path] = []
    for number, made in enumerate(_map(jobs, workers), start=1):
        paths.extend(made)
        if progress:
            progress(number, len(jobs))
    for suite, part in scores[scores["status"].isin(SCORED)].groupby("suite"):
        for name, figure in suite_figures(part).items():
            paths.extend(save(figure, target / (f"{suite}-{name}" if several else name), formats))
    for against in THROUGHPUT_AXES:
        drawn = throughput(_bench_rows(directory), against)
        if drawn is not None:
            paths.extend(save(drawn, target / f"throughput-{against}", formats))
    return sorted(paths)


def suite_figures(scores: pd.DataFrame) -> dict[str, Figure]:
    """Figures over one suite by name; only those for which there is something to draw.

    Of several temperatures each has its own scaling, "scaling-jsd-393K": floor and ceiling are not the same.
    """
    found: dict[str, Figure | None] = {}
    several = scores["temperature_kelvin"].nunique() > 1
    for kelvin, part in scores.groupby("temperature_kelvin", sort=True):
        at = f"-{kelvin:g}K" if several else ""
        found |= {f"scaling-{name}{at}": scaling(part, metrics) for name, metrics in FIGURES.items()}
        for against in ("sampling-seconds", "wall-seconds"):
            if (part["metric"] == against).any():
                found[f"scaling-{against}{at}"] = scaling(part, FIGURES["wasserstein"], against)
    found["cost-by-length"] = seconds_by_length(scores)
    found["weights-by-length"] = weights_by_length(scores)
    found["temperature"] = by_temperature(scores, ("ess", "energy-w2", "torus-w2"))
    rows = row_order(samplers(scores)["row"], dict(zip(scores["row"], scores["method"], strict=True)))
    for row, other in list(combinations(rows, 2))[:MOST_PAIRS]:
        name = f"pairs-{_plain(row)}-{_plain(other)}"
        found[name] = pairs_by_peptide(scores, row, other, FIGURES["wasserstein"])
    return {name: figure for name, figure in found.items() if figure is not None}


def _plain(row: str) -> str:
    return "".join(character if character.isalnum() or character in "._" else "_" for character in row)


def _bench_rows(directory: Path) -> list[dict[str, Any]]:
    """What bench commands have left in the folder `bench`: JSON files with a list of measurements each."""
    return [row for path in sorted((directory / "bench").glob("*.json")) for row in read_json(path)]


def selections(scores: pd.DataFrame) -> list[Selection]:
    """What the figures of each peptide show: scored cells of all rows but the floor, at up to
    MOST_BUDGETS.
    """
    methods = dict(zip(scores["row"], scores["method"], strict=True))
    rows = tuple(row for row in row_order(scores["row"], methods) if row)
    place = ["suite", "peptide", "row", "budget", "cell_id"]
    scored = scores[scores["status"].isin(SCORED)].drop_duplicates(place)
    found = []
    kelvins = scored["temperature_kelvin"].fillna(310.0)
    for (suite, peptide, kelvin), part in scored.groupby(["suite", "peptide", kelvins]):
        budgets = sorted(part["budget"].unique().tolist())
        if len(budgets) > MOST_BUDGETS:
            budgets = [budgets[0], budgets[len(budgets) // 2], budgets[-1]]
        cells = tuple(
            (row, budget, cell_id)
            for row in rows
            for budget in budgets
            if methods[row] not in (FLOOR, CEILING)
            for cell_id in part[(part["row"] == row) & (part["budget"] == budget)]["cell_id"]
        )
        found.append(Selection(str(suite), str(peptide), cells, rows, float(str(kelvin))))
    return found


Job = tuple[Selection, Path, Path, tuple[Path, ...], bool, tuple[str, ...]]


def _map(jobs: list[Job], workers: int) -> Iterator[list[Path]]:
    if workers <= 1 or len(jobs) <= 1:
        yield from map(_peptide_figures, jobs)
        return
    with ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=get_context("spawn"), initializer=partial(threadpool_limits, 1)
    ) as pool:
        yield from pool.map(_peptide_figures, jobs)


def _peptide_figures(job: Job) -> list[Path]:
    choice, directory, target, reference_folders, several, formats = job
    reference = Reference.load(find_reference(choice.peptide, reference_folders, choice.temperature_kelvin))
    data = load_peptide(choice.peptide, reference, choice.cells, _folders(directory))
    states, cores = find_states(data), find_cores(data.walk(data.truth))
    name = name_at(choice.peptide, choice.temperature_kelvin)
    stem = f"{choice.suite}-{name}" if several else name
    truth, samples, look = data.truth, data.samples, looks(choice.all_rows)
    figures = {
        "energy": energy_histogram(choice.peptide, truth, samples, look),
        "ramachandran": ramachandran(choice.peptide, data.topology, truth, samples),
        "tica": tica_map(choice.peptide, data.topology, reference.tica, truth, samples),
        "states": populations(data, states, look) if data.cells else None,
        "walks": walks(data, cores, look),
        "weights": weight_traces(data, look),
        "annealing": annealing(data.last, look),
        "diagnostics": diagnostics(data, look),
    }
    drawn = {f"{stem}-{kind}": figure for kind, figure in figures.items() if figure is not None}
    paths = [path for name, figure in drawn.items() for path in save(figure, target / name, formats)]
    numbers = page_numbers(data, states, cores)
    pages = target.parent / "peptides"
    write_json(pages / f"{stem}.json", numbers)
    write_bytes(pages / f"{stem}.md", page_markdown(numbers, list(drawn), formats).encode())
    return [*paths, pages / f"{stem}.json", pages / f"{stem}.md"]


def _folders(directory: Path) -> dict[str, Path]:
    found = {}
    for folder in cell_folders(directory):
        try:
            found[read_cell(folder).id] = folder
        except (DamagedFile, OSError):
            continue
    return found


__all__ = ["Sample", "energy_histogram", "ramachandran", "scaling", "selections", "tica_map", "write_figures"]
