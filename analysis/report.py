"""The report of a run folder: tables, figures and one page that puts them together, out of records alone."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis import tables_text
from analysis.convergence import statement
from analysis.figures import write_figures
from analysis.scores import score_run, write_scores
from analysis.statuses import SCORED
from analysis.tables import Table, main_table, peptide_table
from prosebench.record import cell_folders, read_provenance, read_record
from prosebench.reference import MissingReferenceError, Reference, find_reference
from prosebench.storage import DamagedFile, write_bytes

Progress = Callable[[str, int, int], None]
"""Called with what is being done ("scores" or "figures"), how many are done, and of how many."""

_CAPTIONS = {
    "energy": "Energies of the scored frames, all seeds together; the reference is filled.",
    "ramachandran": "Free energy over backbone torsions, all seeds together; thin lines are the reference's "
    "contours at 1, 3 and 5 kT. Few frames are drawn as points.",
    "tica": "Free energy over the two TICA components of the reference, drawn in the same way.",
}
_SCALING_CAPTION = (
    "Metrics against energy evaluations of sampling: mean over peptides of the mean over seeds, with its 95 "
    "% interval. Grey: the floor, what frames of the reference itself score."
)


@dataclass(frozen=True)
class Report:
    """What was written: the folder, all paths in it, the scores, and the main table."""

    directory: Path
    paths: tuple[Path, ...]
    scores: pd.DataFrame
    main: Table

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
) -> Report:
    """Score a run folder and write `directory/report`; the same records and references give the same
    bytes.

    table.{md,csv,tex} and per_peptide.{md,csv}, figures/, and report.md, which shows them all. Works on an
    unfinished run too: what is missing is in the tables with its reason. Raises FileNotFoundError for a
    folder without cells.
    """
    if not cell_folders(directory):
        raise FileNotFoundError(
            f"{directory} holds no cells; `prosebench run --suite NAME --dir {directory}` makes them"
        )
    scores = score_run(
        directory,
        reference_folders,
        workers=workers,
        progress=progress and (lambda *n: progress("scores", *n)),
    )
    target = directory / "report"
    main, by_peptide = main_table(scores), peptide_table(scores)
    paths = [write_scores(directory, scores)]
    texts = {
        "table.md": tables_text.markdown(main),
        "table.csv": tables_text.csv_text(main),
        "table.tex": tables_text.latex(main, caption=f"Scores of {_suites(scores)}.", label="tab:scores"),
        "per_peptide.md": tables_text.markdown(by_peptide),
        "per_peptide.csv": tables_text.csv_text(by_peptide),
    }
    figures = write_figures(
        directory,
        scores,
        target / "figures",
        reference_folders,
        workers=workers,
        progress=progress and (lambda *n: progress("figures", *n)),
    )
    page = _page(directory, scores, texts["table.md"], figures, reference_folders)
    for name, text in {**texts, "report.md": page}.items():
        write_bytes(target / name, text.encode())
        paths.append(target / name)
    return Report(target, (*paths, *figures), scores, main)


def _page(
    directory: Path, scores: pd.DataFrame, table: str, figures: list[Path], reference_folders: Sequence[Path]
) -> str:
    counts = Counter(scores.drop_duplicates(["cell_id", "budget"])["status"])
    stand = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    sections = [
        f"# {_suites(scores)}",
        f"Cells and budgets: {stand}. Every number below is rebuilt from the records of this folder; all of "
        "them, with every digit, are in [scores.csv](../scores.csv).",
        "## Scores\n\n" + table + "\nAlso as [CSV](table.csv) and [LaTeX](table.tex); each peptide alone: "
        "[per_peptide.md](per_peptide.md), [CSV](per_peptide.csv).",
        *_figure_sections(figures),
        "## References\n\n" + "\n".join(_reference_lines(scores, reference_folders)),
        "## Made with\n\n" + "\n".join(_provenance_lines(directory)),
    ]
    return "\n\n".join(sections) + "\n"


def _suites(scores: pd.DataFrame) -> str:
    return ", ".join(sorted(suite for suite in scores["suite"].unique() if suite)) or "no readable cells"


def _figure_sections(figures: list[Path]) -> list[str]:
    pictures = [path for path in figures if path.suffix == ".png"]
    over_suite = [path for path in pictures if "scaling-" in path.stem]
    sections = []
    if over_suite:
        sections.append(f"## Scaling\n\n{_SCALING_CAPTION}\n\n" + "\n\n".join(map(_picture, over_suite)))
    stems = sorted({path.stem.rsplit("-", 1)[0] for path in pictures if path not in over_suite})
    for stem in stems:
        shown = [path for kind in _CAPTIONS for path in pictures if path.stem == f"{stem}-{kind}"]
        parts = [f"{_picture(path)}\n\n{_CAPTIONS[path.stem.rsplit('-', 1)[1]]}" for path in shown]
        sections.append(f"## {stem}\n\n" + "\n\n".join(parts))
    return sections


def _picture(path: Path) -> str:
    name = f"figures/{path.stem}"
    return f"![{path.stem}]({name}.png)\n\n[PDF]({name}.pdf) · [SVG]({name}.svg)"


def _reference_lines(scores: pd.DataFrame, folders: Sequence[Path]) -> list[str]:
    """How good each reference is that something was scored against."""
    lines = []
    for peptide in sorted(scores.loc[scores["status"].isin(SCORED), "peptide"].unique()):
        try:
            reference = Reference.load(find_reference(peptide, folders))
        except (MissingReferenceError, DamagedFile, ValueError) as error:
            lines.append(f"- **{peptide}**: {str(error).splitlines()[0]}")
            continue
        length = f", {reference.source['total_ns']:g} ns" if "total_ns" in reference.source else ""
        said = f"{len(reference):,} frames{length}, hash {reference.hash[:12]}."
        if reference.convergence and reference.floor:
            said += f" {statement(reference.convergence, reference.floor)}"
        lines.append(f"- **{peptide}**: {said}")
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
