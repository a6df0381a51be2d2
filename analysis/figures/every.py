"""All figures of a run folder: of each peptide, and over the suite."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from analysis.attempts import Attempts, Failure
from analysis.figures.costs import (
    THROUGHPUT_AXES,
    by_temperature,
    pairs_by_peptide,
    samplers,
    seconds_by_length,
    throughput,
    weights_by_length,
)
from analysis.figures.drawing import Drawing, Maker
from analysis.figures.peptide import energy_histogram, ramachandran, tica_map
from analysis.figures.peptide_data import Cores, PeptideData, States, find_cores, find_states, load_peptide
from analysis.figures.peptide_page import page_markdown, page_numbers
from analysis.figures.price import CAPTION as PRICE_CAPTION
from analysis.figures.price import price_figure
from analysis.figures.scaling import FIGURES, scaling
from analysis.figures.smc import annealing
from analysis.figures.states import diagnostics, populations, walks, weight_traces
from analysis.figures.style import FORMATS, Look, looks, save
from analysis.scores.processes import map_over
from analysis.scores.reference_quality import quality_statement
from analysis.scores.rows import row_order, without_temperature
from analysis.scores.statuses import SCORED
from analysis.tables.price import paybacks
from prosebench.names import CEILING, FLOOR, name_at
from prosebench.record import read_cell, readable_cells
from prosebench.reference import Reference, find_reference
from prosebench.store.storage import read_json, write_bytes, write_json

MOST_PAIRS = 6
"""The largest number of pairs of rows that are drawn peptide by peptide."""

MOST_BUDGETS = 3
"""The figures of a peptide show at most this many budgets: the smallest, the largest, and one between."""


@dataclass(frozen=True)
class Selection:
    """The cells of one peptide at one temperature in one suite that its figures show: (row, budget, cell id)."""

    suite: str
    peptide: str
    cells: tuple[tuple[str, int, str], ...]
    all_rows: tuple[str, ...]
    temperature_kelvin: float


class Drawn(NamedTuple):
    """Paths of what was drawn, sorted, what could not be, and captions of the figures over suites by their name."""

    paths: list[Path]
    failures: list[Failure]
    captions: dict[str, str]


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

    Per peptide `<peptide>-<kind>` (`_peptide_figures_of`), and its page beside target in
    `peptides/<peptide>.md` and `.json`; over the suite those of `suite_figures`; with several suites in one folder
    the suite's name stands in front. Only what was scored is shown; floor and ceiling have no maps of their own.
    A figure or page that cannot be made stops no other: it stands among the failures.
    """
    chosen = selections(scores)
    several = scores.loc[scores["suite"] != "", "suite"].nunique() > 1
    jobs = [
        (choice, directory, target, tuple(map(Path, reference_folders)), several, tuple(formats))
        for choice in chosen
    ]
    drawn = Drawn([], [], {})
    for number, (paths, failures, _) in enumerate(map_over(_peptide_figures, jobs, workers), start=1):
        drawn.paths.extend(paths)
        drawn.failures.extend(failures)
        if progress:
            progress(number, len(jobs))
    drawings: list[Drawing] = []
    for suite, part in scores[scores["status"].isin(SCORED)].groupby("suite"):
        found = suite_figures(part)
        drawings += [replace(one, name=f"{suite}-{one.name}") for one in found] if several else found
    drawings += [
        Drawing(
            f"throughput-{one}",
            "Energy evaluations per second, from bench records.",
            partial(_throughput, directory, one),
        )
        for one in THROUGHPUT_AXES
    ]
    over = _drawn(drawings, target, formats)
    return Drawn(sorted(drawn.paths + over.paths), drawn.failures + over.failures, over.captions)


def _drawn(drawings: Sequence[Drawing], target: Path, formats: Sequence[str]) -> Drawn:
    """Make and save figures."""
    attempts, paths, captions = Attempts(), [], {}
    for drawing in drawings:
        with attempts.of(f"figure {drawing.name}"):
            figure = drawing.make()
            if figure is not None:
                paths.extend(save(figure, target / drawing.name, formats))
                captions[drawing.name] = drawing.caption
    return Drawn(paths, attempts.failures, captions)


_SCALING = {
    "wasserstein": "Distances against energy evaluations of sampling: geometric mean over peptides "
    "and seeds, with its 95 % interval. Dashed: the floor, what frames of "
    "the reference itself score; dotted: the ceiling, one frame over and over.",
    "jsd": "Jensen-Shannon divergences against energy evaluations, drawn in the same way.",
}
_AGAINST_SECONDS = {
    "device-seconds": "Distances against sampling time of one peptide, times the cores or "
    "accelerators that shared it.",
    "wall-seconds": "Distances against wall time of one peptide: sampling and preparation.",
}


def suite_figures(scores: pd.DataFrame) -> list[Drawing]:
    """Figures over one suite.

    Of several temperatures each has its own scaling, "scaling-jsd-393K": floor and ceiling are not the same.
    """
    found: list[Drawing] = []
    several = scores["temperature_kelvin"].nunique() > 1
    for kelvin, part in scores.groupby("temperature_kelvin", sort=True):
        at, said = (f"-{kelvin:g}K", f"{kelvin:g} K. ") if several else ("", "")
        for name, metrics in FIGURES.items():
            make = partial(scaling, part, metrics)
            found.append(Drawing(f"scaling-{name}{at}", said + _SCALING[name], make, "scaling"))
        for against, caption in _AGAINST_SECONDS.items():
            if (part["metric"] == against).any():
                make = partial(scaling, part, FIGURES["wasserstein"], against)
                found.append(Drawing(f"scaling-{against}{at}", said + caption, make, "cost"))
        found.append(Drawing(f"price{at}", said + PRICE_CAPTION, partial(_priced, part), "price"))
    found += [
        Drawing(
            "cost-by-length",
            "Sampling seconds per 10,000 energy evaluations against length, each row at its largest budget.",
            partial(seconds_by_length, scores),
            "length",
        ),
        Drawing(
            "weights-by-length",
            "Effective sample size and Pareto k-hat of the weights against length, each row at "
            "its largest budget.",
            partial(weights_by_length, scores),
            "length",
        ),
        Drawing(
            "temperature",
            "Metrics against the temperature of the target, each row at its largest budget. "
            "Dashed: the floor.",
            partial(by_temperature, scores, ("ess", "energy-w2", "torus-w2")),
        ),
    ]
    for kelvin, part in samplers(scores).groupby("temperature_kelvin", sort=True):
        at = f"-{kelvin:g}K" if several else ""
        rows = row_order(part["row"], dict(zip(part["row"], part["method"], strict=True)))
        for row, other in list(combinations(rows, 2))[:MOST_PAIRS]:
            name = f"pairs-{_plain(without_temperature(row))}-{_plain(without_temperature(other))}{at}"
            found.append(
                Drawing(name, _PAIRS, partial(pairs_by_peptide, part, row, other, FIGURES["wasserstein"]))
            )
    return found


_PAIRS = (
    "Two rows peptide by peptide, bars over seeds: below the diagonal the first is better. p"
    " is that of the paired test of this pair alone, of distances on logarithms; the table "
    "of comparisons corrects for all."
)


def _plain(row: str) -> str:
    return "".join(character if character.isalnum() or character in "._" else "_" for character in row)


def _priced(scores: pd.DataFrame) -> Figure | None:
    return price_figure(paybacks(scores))


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
    for (suite, peptide, kelvin), part in scored.groupby(["suite", "peptide", "temperature_kelvin"]):
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
        drawings = _peptide_figures_of(data, stem, states, cores, looks(choice.all_rows))
        drawn = _drawn(drawings, target, formats)
        attempts.failures += drawn.failures
        paths += drawn.paths
        with attempts.of(f"page of {stem}"):
            shown = [one for one in drawings if one.name in drawn.captions]
            said = quality_statement(reference, directory / "scores")
            numbers = page_numbers(data, states(), cores(), said)
            page = target.parent / "peptides" / f"{stem}.md"
            write_json(page.with_suffix(".json"), numbers)
            write_bytes(page, page_markdown(numbers, shown, formats).encode())
            paths += [page.with_suffix(".json"), page]
    return Drawn(paths, attempts.failures, {})


def _peptide_figures_of(
    data: PeptideData,
    stem: str,
    states: Callable[[], States],
    cores: Callable[[], Cores],
    look: dict[str, Look],
) -> list[Drawing]:
    """Figures of one peptide, in the order of its page."""
    truth, samples = data.truth, data.samples

    def one(kind: str, caption: str, make: Maker) -> Drawing:
        return Drawing(f"{stem}-{kind}", caption, make, kind)

    return [
        one(
            "energy",
            "Energies of the scored frames, all seeds together; the reference is filled.",
            partial(energy_histogram, data.sequence, truth, samples, look),
        ),
        one(
            "ramachandran",
            f"Free energy over phi and psi {_whose_torsions(data.sequence)}, all seeds together; thin lines are "
            "the reference's contours at 1, 3 and 5 kT. Few frames are drawn as points.",
            partial(ramachandran, data.sequence, data.topology, truth, samples),
        ),
        one(
            "tica",
            "Free energy over the two TICA components of the reference, drawn in the same way.",
            partial(tica_map, data.sequence, data.topology, data.reference.tica, truth, samples),
        ),
        one(
            "states",
            "Populations of k-means states over the TICA components at the largest budget: bars "
            "are the reference with one standard error by its effective frames, points the rows "
            "with their range over seeds.",
            lambda: populations(data, states(), look) if data.cells else None,
        ),
        one(
            "walks",
            "The slowest observable of the reference along one trajectory of each row; a round "
            "trip goes from one grey core to the other and back. At the right the reference "
            "(filled) and the trajectory.",
            lambda: walks(data, cores(), look),
        ),
        one(
            "weights",
            "Effective sample size (Kish, after the filter) among the first samples, a line a seed.",
            partial(weight_traces, data, look),
        ),
        one(
            "annealing",
            "Annealing at the largest budget, a line a seed, a point at its end: effective share "
            "of the particles before resampling; accepted moves, in grey the band that the "
            "published settings aim at; the standard deviation of a move along an axis; share of "
            "the draws that have descendants.",
            partial(annealing, data.last, look),
        ),
        one(
            "diagnostics",
            "What methods report of themselves, chunk by chunk, a line a seed.",
            partial(diagnostics, data, look),
        ),
    ]


def _whose_torsions(sequence: str) -> str:
    """Which residues a Ramachandran plot of a peptide is of."""
    if len(sequence) == 2:
        return "beside the peptide bond (no residue of a dipeptide has both: psi is of the first, phi of the second)"
    return "of each inner residue"


def _folders(directory: Path) -> dict[str, Path]:
    return {cell.id: folder for folder, cell in readable_cells(directory, read_cell)}
