"""The report of a run folder: tables, figures and one page that puts them together, out of records alone."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import pandas as pd

from analysis.attempts import Attempts, Failure
from analysis.figures.every import write_figures
from analysis.figures.style import FORMATS
from analysis.report.page import report_page, suites
from analysis.scores.run import FAULT, score_run
from analysis.scores.table import scored_places, write_scores
from analysis.scores.yardsticks import with_yardsticks
from analysis.statistics.comparisons import check_allowed
from analysis.tables import comparisons as comparison_tables
from analysis.tables import paper_text
from analysis.tables import text as tables_text
from analysis.tables.agreement import agreement_markdown, agreements
from analysis.tables.comparisons import comparison_groups
from analysis.tables.main import Table, main_table, peptide_table
from analysis.tables.paper import paper_tables
from analysis.tables.price import paybacks, price_markdown
from analysis.tables.published_md import md_agreements, md_markdown
from analysis.wording import first_few
from prosebench.names import name_at
from prosebench.record import cell_folders, read_cell, readable_cells
from prosebench.reference import InvalidReferenceError, MissingReferenceError, Reference, find_reference
from prosebench.store.storage import write_bytes

Progress = Callable[[str, int, int], None]
"""A function that is called with what is being done ("scores" or "figures"), how many are done, and how many
there are."""


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
    and marked (analysis.statistics.comparisons.INEQUALITIES); formats: of the figures, with "png" among them. Works on
    an unfinished run too: what is missing is in the tables with its reason. A table, figure, page or score that cannot
    be made stops no other: it is listed, with its reason, in report.md and in the report's failures. Raises
    FileNotFoundError for a folder without cells, ValueError for what it does not know.
    """
    if not cell_folders(directory):
        raise FileNotFoundError(
            f"{directory} holds no cells; `prosebench run --suite NAME --dir {quote(str(directory))}` makes them"
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
    shown = with_yardsticks(scores, reference_folders, directory=directory)
    main = main_table(shown)
    paths = [write_scores(directory, scores)]
    attempts = Attempts()
    attempts.failures += _unscored(scores)
    texts: dict[str, str] = {}
    for what, make in _text_makers(directory, scores, shown, main, reference_folders, against, allow).items():
        with attempts.of(what):
            texts |= {name: text for name, text in make().items() if text}
    drawn = write_figures(
        directory,
        shown,
        target / "figures",
        reference_folders,
        workers=workers,
        progress=progress and (lambda *n: progress("figures", *n)),
        formats=formats,
    )
    attempts.failures += drawn.failures
    page = report_page(directory, scores, texts, drawn, attempts.failures, reference_folders, formats)
    for name, text in {**texts, "report.md": page}.items():
        write_bytes(target / name, text.encode())
        paths.append(target / name)
    return Report(target, (*paths, *drawn.paths), scores, main, tuple(attempts.failures))


def _unscored(scores: pd.DataFrame) -> list[Failure]:
    """Finished cells at which scoring raised an error, by what it was."""
    faults = scores[scores["reason"].str.startswith(FAULT)].drop_duplicates("cell_id")
    found = []
    for reason, some in faults.groupby("reason", sort=True):
        rows, peptides = (first_few(sorted(set(some[name]))) for name in ("row", "peptide"))
        found.append(Failure(f"scores of {rows} on {peptides}", str(reason)))
    return found


def _text_makers(
    directory: Path,
    scores: pd.DataFrame,
    shown: pd.DataFrame,
    main: Table,
    reference_folders: Sequence[Path],
    against: str | None,
    allow: Collection[str],
) -> dict[str, Callable[[], dict[str, str]]]:
    """What makes the tables, by what they are called: each returns texts by their file. shown: with the ceiling."""

    def whole() -> dict[str, str]:
        tex = tables_text.latex(main, caption=f"Scores of {suites(scores)}.", label="tab:scores")
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
        return {
            "agreement.md": agreement_markdown(agreements(scores, published, _settings(directory))),
            "published-md.md": md_markdown(md_agreements(scores)),
        }

    return {
        "the table of scores": whole,
        "the table by peptide": by_peptide,
        "comparisons": comparisons,
        "excess over the floor": lambda: {"excess.md": comparison_tables.excess_markdown(shown)},
        "agreement with published numbers": agreement,
        "the price of training": lambda: {"price.md": price_markdown(paybacks(shown))},
        "the paper's tables": paper,
    }


def _settings(directory: Path) -> dict[str, dict[str, Any]]:
    """Settings of each readable cell, by its id."""
    return {cell.id: cell.settings for _, cell in readable_cells(directory, read_cell)}


def _published_references(scores: pd.DataFrame, folders: Sequence[Path]) -> dict[str, bool]:
    """Whether the reference of each scored peptide at its temperature (`name_at`) is the published one."""
    found = {}
    for peptide, kelvin in scored_places(scores):
        try:
            source = Reference.load(find_reference(peptide, folders, kelvin)).source
            found[name_at(peptide, kelvin)] = source.get("kind") == "published"
        except (MissingReferenceError, InvalidReferenceError):
            found[name_at(peptide, kelvin)] = False
    return found
