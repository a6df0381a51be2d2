"""The report of a run folder: tables, figures and one page that puts them together, out of records alone."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis import comparison_tables, paper_text, tables_text
from analysis.agreement import agreement_markdown, agreements
from analysis.attempts import Attempts, Failure
from analysis.ceiling import with_ceiling
from analysis.comparison_tables import comparison_groups
from analysis.comparisons import check_allowed
from analysis.convergence import statement
from analysis.figures import write_figures
from analysis.pages import CAPTIONS as PEPTIDE_KINDS
from analysis.paper_tables import paper_tables
from analysis.scores import score_run, scored_places, write_scores
from analysis.style import FORMATS
from analysis.tables import Table, main_table, peptide_table
from prosebench.record import cell_folders, read_provenance, read_record
from prosebench.reference import MissingReferenceError, Reference, find_reference, name_at
from prosebench.storage import DamagedFile, write_bytes

Progress = Callable[[str, int, int], None]
"""Called with what is being done ("scores" or "figures"), how many are done, and of how many."""

CAPTIONS = {
    "scaling-wasserstein": "Distances against energy evaluations of sampling: mean over peptides of the mean over "
    "seeds, with its 95 % interval. Dashed: the floor, what frames of the reference itself score; dotted: the "
    "ceiling, one frame over and over.",
    "scaling-jsd": "Jensen-Shannon divergences against energy evaluations, drawn in the same way.",
    "scaling-device-seconds": "Distances against sampling time of one peptide, times the cores or accelerators that "
    "shared it.",
    "scaling-wall-seconds": "Distances against wall time of one peptide: sampling and preparation.",
    "cost-by-length": "Sampling seconds per 10,000 energy evaluations against length.",
    "weights-by-length": "Effective sample size and Pareto k-hat of the weights against length.",
    "temperature": "Metrics against the temperature of the target.",
    "pairs": "Two rows peptide by peptide, bars over seeds: below the diagonal the first is better. p is that of the "
    "paired test of this pair alone; the table of comparisons corrects for all.",
    "throughput": "Energy evaluations per second, from bench records.",
}


@dataclass(frozen=True)
class Report:
    """What was written: the folder, all paths in it, the scores, the main table, and what could not be made."""

    directory: Path
    paths: tuple[Path, ...]
    scores: pd.DataFrame
    main: Table
    failures: tuple[Failure, ...] = ()

    @property
    def table(self) -> tables_text.TerminalTable:
        """The main table for a terminal."""
        return tables_text.TerminalTable(self.main)


def write_report(
    directory: Path,
    reference_folders: Sequence[Path] = (),
    *,
    workers: int = 1,
    progress: Progress | None = None,
    against: str | None = None,
    allow: Collection[str] = (),
    formats: Sequence[str] = FORMATS,
) -> Report:
    """Score a run folder and write `directory/report`; the same records and references give the same
    bytes.

    table.{md,csv,tex}, per_peptide.{md,csv}, comparisons.{md,csv}, the paper's tables as paper/<table>.{md,csv,tex,
    html}, figures/, a page a peptide in peptides/, and report.md, which shows them all. against: the row that all
    others are compared with (default: all pairs); allow: inequalities under which rows are compared all the same,
    and marked (analysis.comparisons.INEQUALITIES); formats: of the figures, with "png" among them. Works on an
    unfinished run too: what is missing is in the tables with its reason. A table, figure or page that cannot be made
    stops no other: it is listed, with its reason, in report.md and in the report's failures. Raises FileNotFoundError
    for a folder without cells, ValueError for what it does not know.
    """
    if not cell_folders(directory):
        raise FileNotFoundError(
            f"{directory} holds no cells; `prosebench run --suite NAME --dir {directory}` makes them"
        )
    check_allowed(allow)
    if not set(formats) <= set(FORMATS) or "png" not in formats:
        raise ValueError(
            f"figure formats {', '.join(formats)}: png must be among them; known: {', '.join(FORMATS)}"
        )
    scores = score_run(
        directory,
        reference_folders,
        workers=workers,
        progress=progress and (lambda *n: progress("scores", *n)),
    )
    if against and against not in set(scores["row"]):
        known = ", ".join(sorted(set(scores["row"]) - {""}))
        raise ValueError(f"there is no row {against!r} to compare with; this run has: {known}")
    target = directory / "report"
    shown = with_ceiling(scores, reference_folders)
    main = main_table(shown)
    paths = [write_scores(directory, scores)]
    attempts = Attempts()
    texts: dict[str, str] = {}
    for what, make in _text_makers(scores, shown, main, reference_folders, against, allow).items():
        with attempts.of(what):
            texts |= {name: text for name, text in make().items() if text}
    figures, failures = write_figures(
        directory,
        shown,
        target / "figures",
        reference_folders,
        workers=workers,
        progress=progress and (lambda *n: progress("figures", *n)),
        formats=formats,
    )
    attempts.failures += failures
    page = _page(directory, scores, texts, figures, attempts.failures, reference_folders, formats)
    for name, text in {**texts, "report.md": page}.items():
        write_bytes(target / name, text.encode())
        paths.append(target / name)
    return Report(target, (*paths, *figures), scores, main, tuple(attempts.failures))


def _text_makers(
    scores: pd.DataFrame,
    shown: pd.DataFrame,
    main: Table,
    reference_folders: Sequence[Path],
    against: str | None,
    allow: Collection[str],
) -> dict[str, Callable[[], dict[str, str]]]:
    """What makes the tables, by what they are called: each returns texts by their file. shown: with the ceiling."""

    def whole() -> dict[str, str]:
        tex = tables_text.latex(main, caption=f"Scores of {_suites(scores)}.", label="tab:scores")
        return {
            "table.md": tables_text.markdown(main),
            "table.csv": tables_text.csv_text(main),
            "table.tex": tex,
        }

    def by_peptide() -> dict[str, str]:
        table = peptide_table(shown)
        return {"per_peptide.md": tables_text.markdown(table), "per_peptide.csv": tables_text.csv_text(table)}

    def comparisons() -> dict[str, str]:
        groups = comparison_groups(scores, against=against, allow=allow)
        return {
            "comparisons.md": comparison_tables.markdown(groups),
            "comparisons.csv": comparison_tables.csv_text(groups),
        }

    def paper() -> dict[str, str]:
        published = _published_references(scores, reference_folders)
        return {
            f"paper/{table.layout.name}.{kind}": write(table)
            for table in paper_tables(shown, published)
            if table.measured
            for kind, write in paper_text.WRITERS.items()
        }

    def agreement() -> dict[str, str]:
        published = _published_references(scores, reference_folders)
        return {"agreement.md": agreement_markdown(agreements(scores, published))}

    return {
        "the table of scores": whole,
        "the table by peptide": by_peptide,
        "comparisons": comparisons,
        "excess over the floor": lambda: {"excess.md": comparison_tables.excess_markdown(shown)},
        "agreement with published repeats": agreement,
        "the paper's tables": paper,
    }


def _page(
    directory: Path,
    scores: pd.DataFrame,
    texts: Mapping[str, str],
    figures: list[Path],
    failures: Sequence[Failure],
    reference_folders: Sequence[Path],
    formats: Sequence[str],
) -> str:
    counts = Counter(scores.drop_duplicates(["cell_id", "budget"])["status"])
    stand = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    sections = [
        f"# {_suites(scores)}",
        f"Cells and budgets: {stand}. Every number below is rebuilt from the records of this folder; all of "
        "them, with every digit, are in [scores.csv](../scores.csv).",
        *_failure_sections(failures),
        "## Scores\n\n"
        + texts.get("table.md", "Not made.\n")
        + "\nAlso as [CSV](table.csv) and [LaTeX](table.tex); each peptide alone: "
        "[per_peptide.md](per_peptide.md), [CSV](per_peptide.csv).",
        *_text_sections(texts),
        *_figure_sections(figures, formats),
        "## References\n\n" + "\n".join(_reference_lines(scores, reference_folders)),
        "## Made with\n\n" + "\n".join(_provenance_lines(directory)),
    ]
    return "\n\n".join(sections) + "\n"


def _failure_sections(failures: Sequence[Failure]) -> list[str]:
    if not failures:
        return []
    lines = [f"- **{one.what}**: {one.reason}" for one in failures]
    return ["## What could not be made\n\n" + "\n".join(lines)]


def _suites(scores: pd.DataFrame) -> str:
    return ", ".join(sorted(suite for suite in scores["suite"].unique() if suite)) or "no readable cells"


def _text_sections(texts: Mapping[str, str]) -> list[str]:
    """Comparisons, excess over the floor, agreement and the paper's tables, where there is something to show."""
    titles = {
        "comparisons.md": "Paired comparisons",
        "excess.md": "Excess over the floor",
        "agreement.md": "Agreement with published repeats",
    }
    sections = [f"## {title}\n\n{texts[name]}" for name, title in titles.items() if name in texts]
    papers = [name for name in texts if name.startswith("paper/") and name.endswith(".md")]
    if papers:
        listed = [
            f"- {texts[name].splitlines()[0].lstrip('# ')}: "
            + " · ".join(f"[{kind}]({name[:-3]}.{kind})" for kind in paper_text.WRITERS)
            for name in papers
        ]
        sections.append("## Beside the paper\n\n" + "\n".join(listed))
    return sections


def _figure_sections(figures: list[Path], formats: Sequence[str]) -> list[str]:
    """Figures over the suite, and links to the pages of the peptides."""
    pictures = [path for path in figures if path.suffix == ".png" and not _is_of_peptide(path)]
    pages = [path for path in figures if path.suffix == ".md"]
    shown = []
    for path in pictures:
        caption = next((text for kind, text in CAPTIONS.items() if kind in path.stem), "")
        shown.append(f"{_picture(path, formats)}\n\n{caption}")
    sections = ["## Figures\n\n" + "\n\n".join(shown)] if shown else []
    if pages:
        links = " · ".join(f"[{path.stem}](peptides/{path.name})" for path in pages)
        sections.append(f"## Peptides\n\nEnergies, torsions, states and walks of each peptide: {links}")
    return sections


def _is_of_peptide(path: Path) -> bool:
    return path.stem.rsplit("-", 1)[-1] in PEPTIDE_KINDS and "by-length" not in path.stem


def _picture(path: Path, formats: Sequence[str]) -> str:
    name = f"figures/{path.stem}"
    others = " · ".join(f"[{kind.upper()}]({name}.{kind})" for kind in formats if kind != "png")
    return f"![{path.stem}]({name}.png)" + (f"\n\n{others}" if others else "")


def _published_references(scores: pd.DataFrame, folders: Sequence[Path]) -> dict[str, bool]:
    """Whether the reference of each scored peptide at its temperature (`name_at`) is the published one."""
    found = {}
    for peptide, kelvin in scored_places(scores):
        try:
            source = Reference.load(find_reference(peptide, folders, kelvin)).source
            found[name_at(peptide, kelvin)] = source.get("kind") == "published"
        except (MissingReferenceError, DamagedFile, ValueError):
            found[name_at(peptide, kelvin)] = False
    return found


def _reference_lines(scores: pd.DataFrame, folders: Sequence[Path]) -> list[str]:
    """How good each reference is that something was scored against."""
    lines = []
    for peptide, kelvin in scored_places(scores):
        name = name_at(peptide, kelvin)
        try:
            reference = Reference.load(find_reference(peptide, folders, kelvin))
        except (MissingReferenceError, DamagedFile, ValueError) as error:
            lines.append(f"- **{name}**: {str(error).splitlines()[0]}")
            continue
        length = f", {reference.source['total_ns']:g} ns" if "total_ns" in reference.source else ""
        said = f"{len(reference):,} frames{length}, hash {reference.hash[:12]}."
        if reference.convergence and reference.floor:
            said += f" {statement(reference.convergence, reference.floor)}"
        lines.append(f"- **{name}**: {said}")
    return lines or ["No reference was used."]


def _provenance_lines(directory: Path) -> list[str]:
    """Versions, targets and machines of all finished cells, each with the number of cells it stands for."""
    found: Counter[str] = Counter()
    for folder in cell_folders(directory):
        try:
            record, provenance = read_record(folder), read_provenance(folder)
        except (DamagedFile, OSError):
            continue
        versions = " ".join(f"{name} {version}" for name, version in sorted(record.versions.items()))
        target = " ".join(f"{name} {value}" for name, value in sorted(record.target.items()))
        found[f"commit {provenance.commit}; {versions}; target: {target}; host {provenance.host}"] += 1
    return [f"- {number} cells: {text}" for text, number in sorted(found.items())] or [
        "No cell has finished."
    ]
