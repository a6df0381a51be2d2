"""All figures of a run folder: of each peptide, and over the suite."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.costs import (
    THROUGHPUT_AXES,
    by_temperature,
    pairs_by_peptide,
    samplers,
    seconds_by_length,
    throughput,
    weights_by_length,
)
from analysis.figures.peptide import energy_histogram, ramachandran, tica_map
from analysis.figures.peptide_data import Cores, PeptideData, States, find_cores, find_states, load_peptide
from analysis.figures.scaling import FIGURES, scaling
from analysis.figures.smc import annealing
from analysis.figures.states import diagnostics, populations, walks, weight_traces
from analysis.figures.style import FORMATS, Look, looks, row_order, save
from analysis.report.attempts import Attempts, Failure
from analysis.report.peptide_page import page_markdown, page_numbers
from analysis.scores.processes import map_over
from analysis.scores.rows import without_temperature
from analysis.scores.statuses import SCORED
from prosebench.names import CEILING, FLOOR, name_at
from prosebench.record import cell_folders, read_cell
from prosebench.reference import Reference, find_reference
from prosebench.store.storage import DamagedFile, read_json, write_bytes, write_json

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


class Drawn(NamedTuple):
    """Paths of what was drawn, sorted, and what could not be."""

    paths: list[Path]
    failures: list[Failure]


Maker = Callable[[], Figure | None]
"""Makes a figure; None where there is nothing to draw."""


def write_figures(
    directory: Path,
    scores: pd.DataFrame,
    target: Path,
    reference_folders: Sequence[Path] = (),
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    formats: Sequence[str] = FORMATS,
) -> Drawn:
    """Write every figure of a scored run folder into target, in each of the formats.

    Per peptide `<peptide>-<kind>` with the kinds of `analysis.report.peptide_page.CAPTIONS`, and its page beside target
    in `peptides/<peptide>.md` and `.json`; over the suite those of `suite_figures`; with several suites in one folder
    the suite's name stands in front. Only what was scored is shown; floor and ceiling have no maps of their own.
    A figure or page that cannot be made stops no other: it stands among the failures.
    """
    chosen = selections(scores)
    several = scores.loc[scores["suite"] != "", "suite"].nunique() > 1
    jobs = [
        (choice, directory, target, tuple(map(Path, reference_folders)), several, tuple(formats))
        for choice in chosen
    ]
    drawn = Drawn([], [])
    for number, (paths, failures) in enumerate(map_over(_peptide_figures, jobs, workers), start=1):
        drawn.paths.extend(paths)
        drawn.failures.extend(failures)
        if progress:
            progress(number, len(jobs))
    makers: dict[str, Maker] = {}
    for suite, part in scores[scores["status"].isin(SCORED)].groupby("suite"):
        makers |= {f"{suite}-{n}" if several else n: make for n, make in suite_figures(part).items()}
    makers |= {f"throughput-{one}": partial(_throughput, directory, one) for one in THROUGHPUT_AXES}
    paths, failures = _drawn(makers, target, formats)
    return Drawn(sorted(drawn.paths + paths), drawn.failures + failures)


def _drawn(makers: Mapping[str, Maker], target: Path, formats: Sequence[str]) -> Drawn:
    """Make and save figures by name."""
    attempts, paths = Attempts(), []
    for name, make in makers.items():
        with attempts.of(f"figure {name}"):
            figure = make()
            if figure is not None:
                paths.extend(save(figure, target / name, formats))
    return Drawn(paths, attempts.failures)


def suite_figures(scores: pd.DataFrame) -> dict[str, Maker]:
    """Makers of figures over one suite, by name.

    Of several temperatures each has its own scaling, "scaling-jsd-393K": floor and ceiling are not the same.
    """
    found: dict[str, Maker] = {}
    several = scores["temperature_kelvin"].nunique() > 1
    for kelvin, part in scores.groupby("temperature_kelvin", sort=True):
        at = f"-{kelvin:g}K" if several else ""
        found |= {f"scaling-{name}{at}": partial(scaling, part, metrics) for name, metrics in FIGURES.items()}
        for against in ("device-seconds", "wall-seconds"):
            if (part["metric"] == against).any():
                found[f"scaling-{against}{at}"] = partial(scaling, part, FIGURES["wasserstein"], against)
    found["cost-by-length"] = partial(seconds_by_length, scores)
    found["weights-by-length"] = partial(weights_by_length, scores)
    found["temperature"] = partial(by_temperature, scores, ("ess", "energy-w2", "torus-w2"))
    for kelvin, part in samplers(scores).groupby("temperature_kelvin", sort=True):
        at = f"-{kelvin:g}K" if several else ""
        rows = row_order(part["row"], dict(zip(part["row"], part["method"], strict=True)))
        for row, other in list(combinations(rows, 2))[:MOST_PAIRS]:
            name = f"pairs-{_plain(without_temperature(row))}-{_plain(without_temperature(other))}{at}"
            found[name] = partial(pairs_by_peptide, part, row, other, FIGURES["wasserstein"])
    return found


def _plain(row: str) -> str:
    return "".join(character if character.isalnum() or character in "._" else "_" for character in row)


def _throughput(directory: Path, against: str) -> Figure | None:
    """Throughput out of what bench commands have left in the folder `bench`: JSON files, a list of rows each."""
    rows = [row for path in sorted((directory / "bench").glob("*.json")) for row in read_json(path)]
    return throughput(rows, against)


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


def _peptide_figures(job: Job) -> Drawn:
    """Figures and page of one peptide."""
    choice, directory, target, reference_folders, several, formats = job
    name = name_at(choice.peptide, choice.temperature_kelvin)
    stem = f"{choice.suite}-{name}" if several else name
    attempts, paths = Attempts(), []
    with attempts.of(f"all of {stem}"):
        reference = Reference.load(
            find_reference(choice.peptide, reference_folders, choice.temperature_kelvin)
        )
        data = load_peptide(choice.peptide, reference, choice.cells, _folders(directory))
        attempts.failures += [Failure(f"frames in the figures of {stem}", reason) for reason in data.damaged]
        states, cores = cache(lambda: find_states(data)), cache(lambda: find_cores(data.walk(data.truth)))
        makers = _peptide_makers(data, states, cores, looks(choice.all_rows))
        drawn = _drawn({f"{stem}-{kind}": make for kind, make in makers.items()}, target, formats)
        attempts.failures += drawn.failures
        paths += drawn.paths
        with attempts.of(f"page of {stem}"):
            names = [path.stem for path in drawn.paths if path.suffix == ".png"]
            numbers = page_numbers(data, states(), cores())
            page = target.parent / "peptides" / f"{stem}.md"
            write_json(page.with_suffix(".json"), numbers)
            write_bytes(page, page_markdown(numbers, names, formats).encode())
            paths += [page.with_suffix(".json"), page]
    return Drawn(paths, attempts.failures)


def _peptide_makers(
    data: PeptideData, states: Callable[[], States], cores: Callable[[], Cores], look: dict[str, Look]
) -> dict[str, Maker]:
    """Makers of the figures of one peptide, by their kind."""
    truth, samples = data.truth, data.samples
    return {
        "energy": partial(energy_histogram, data.sequence, truth, samples, look),
        "ramachandran": partial(ramachandran, data.sequence, data.topology, truth, samples),
        "tica": partial(tica_map, data.sequence, data.topology, data.reference.tica, truth, samples),
        "states": lambda: populations(data, states(), look) if data.cells else None,
        "walks": lambda: walks(data, cores(), look),
        "weights": partial(weight_traces, data, look),
        "annealing": partial(annealing, data.last, look),
        "diagnostics": partial(diagnostics, data, look),
    }


def _folders(directory: Path) -> dict[str, Path]:
    found = {}
    for folder in cell_folders(directory):
        try:
            found[read_cell(folder).id] = folder
        except (DamagedFile, OSError):
            continue
    return found
