"""The page of a report: its tables, its figures with their captions, and what all of it rests on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.attempts import Failure
from analysis.figures.every import Drawn
from analysis.report.spent import spent_markdown
from analysis.scores.reference_quality import quality_statement
from analysis.scores.table import scored_places
from analysis.tables import paper_text
from prosebench.names import name_at
from prosebench.record import Provenance, Record, read_provenance, read_record, readable_cells
from prosebench.reference import InvalidReferenceError, MissingReferenceError, Reference, find_reference


def report_page(
    directory: Path,
    scores: pd.DataFrame,
    texts: Mapping[str, str],
    figures: Drawn,
    failures: Sequence[Failure],
    reference_folders: Sequence[Path],
    formats: Sequence[str],
) -> str:
    """The page in Markdown. texts: by their file beside it; figures: what was drawn."""
    counts = Counter(scores.drop_duplicates(["cell_id", "budget"])["status"])
    stand = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    sections = [
        f"# {suites(scores)}",
        f"Cells and budgets: {stand}. Every number below is rebuilt from the records of this folder; all of "
        "them, with every digit, are in [scores.csv](../scores.csv).",
        *_failure_sections(failures),
        "## Scores\n\n"
        + texts.get("table.md", "Not made.\n")
        + "\nAlso as [CSV](table.csv) and [LaTeX](table.tex); each peptide alone: "
        "[per_peptide.md](per_peptide.md), [CSV](per_peptide.csv).",
        *_text_sections(texts),
        *_figure_sections(figures, formats),
        "## References\n\n" + "\n".join(reference_lines(scores, reference_folders, directory / "scores")),
        *_spent_sections(directory),
        "## Made with\n\n" + "\n".join(_provenance_lines(directory)),
    ]
    return "\n\n".join(sections) + "\n"


def _spent_sections(directory: Path) -> list[str]:
    text = spent_markdown(directory)
    return ["## What it took\n\n" + text] if text else []


def _failure_sections(failures: Sequence[Failure]) -> list[str]:
    if not failures:
        return []
    lines = [f"- **{one.what}**: {one.reason}" for one in failures]
    return ["## What could not be made\n\n" + "\n".join(lines)]


def suites(scores: pd.DataFrame) -> str:
    """Names of the suites that were run."""
    return ", ".join(sorted(suite for suite in scores["suite"].unique() if suite)) or "no readable cells"


def _text_sections(texts: Mapping[str, str]) -> list[str]:
    """Comparisons, excess over the floor, agreement and the paper's tables, where there is something to show."""
    titles = {
        "comparisons.md": "Paired comparisons",
        "excess.md": "Excess over the floor",
        "price.md": "The price of training",
        "agreement.md": "Agreement with published repeats",
        "published-md.md": "Agreement with published dynamics",
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


def _figure_sections(figures: Drawn, formats: Sequence[str]) -> list[str]:
    """Figures over the suite, and links to the pages of the peptides."""
    shown = [f"{_picture(name, formats)}\n\n{caption}" for name, caption in sorted(figures.captions.items())]
    sections = ["## Figures\n\n" + "\n\n".join(shown)] if shown else []
    pages = [path for path in figures.paths if path.suffix == ".md"]
    if pages:
        links = " · ".join(f"[{path.stem}](peptides/{path.name})" for path in pages)
        sections.append(f"## Peptides\n\nEnergies, torsions, states and walks of each peptide: {links}")
    return sections


def _picture(stem: str, formats: Sequence[str]) -> str:
    name = f"figures/{stem}"
    others = " · ".join(f"[{kind.upper()}]({name}.{kind})" for kind in formats if kind != "png")
    return f"![{stem}]({name}.png)" + (f"\n\n{others}" if others else "")


def reference_lines(scores: pd.DataFrame, folders: Sequence[Path], cache: Path) -> list[str]:
    """How good each reference is that something was scored against. cache: the folder `scores` of the run."""
    lines = []
    for peptide, kelvin in scored_places(scores):
        name = name_at(peptide, kelvin)
        try:
            reference = Reference.load(find_reference(peptide, folders, kelvin))
        except (MissingReferenceError, InvalidReferenceError) as error:
            lines.append(f"- **{name}**: {str(error).splitlines()[0]}")
            continue
        length = f", {reference.source['total_ns']:g} ns" if "total_ns" in reference.source else ""
        said = f"{len(reference):,} frames{length}, hash {reference.hash[:12]}."
        lines.append(f"- **{name}**: {said} {quality_statement(reference, cache)}".rstrip())
    return lines or ["No reference was used."]


def _provenance_lines(directory: Path) -> list[str]:
    """Versions, targets and machines of all finished cells, each with the number of cells it stands for."""
    found: Counter[str] = Counter()

    def read(folder: Path) -> tuple[Record, Provenance]:
        return read_record(folder), read_provenance(folder)

    for _, (record, provenance) in readable_cells(directory, read):
        versions = " ".join(f"{name} {version}" for name, version in sorted(record.versions.items()))
        target = " ".join(f"{name} {value}" for name, value in sorted(record.target.items()))
        found[f"commit {provenance.commit}; {versions}; target: {target}; host {provenance.host}"] += 1
    return [f"- {number} cells: {text}" for text, number in sorted(found.items())] or [
        "No cell has finished."
    ]
