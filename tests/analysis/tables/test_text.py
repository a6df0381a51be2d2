"""Tables as text: digits, gaps and marks in Markdown, CSV, LaTeX and on a terminal."""

import csv
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from analysis.statistics.estimates import Estimate
from analysis.tables.main import Table, main_table, peptide_table
from analysis.tables.text import TerminalTable, csv_text, escape, latex, markdown, ratio_texts, texts
from tests.analysis.tables.lines import lines_of, row_of


def test_an_ess_at_its_bound_says_at_most_and_wins_nothing():
    names = [f"{one}{other}" for one in "ACDEF" for other in "AK"]

    def ess(row: str, value: float, bound: float) -> list[dict[str, object]]:
        of = {"ess": value, "ess-bound": bound}
        return [
            line
            for metric, one in of.items()
            for line in lines_of(
                row, {name: [one, one] for name in names}, metric=metric, weighting="smoothed"
            )
        ]

    lines = [*ess("tbg", 1 / 15, 1 / 15), *ess("prose-snis", 0.05, 1e-4), *ess("bg", 0.01, 1e-4)]
    table = main_table(pd.DataFrame(lines))
    assert {row.row for row in table.rows if "ess" in row.best} == {"prose-snis"}
    assert "≤ 0.0667" in markdown(table)
    assert r"$\leq$ 0.0667" in latex(table)


def test_a_gap_gives_its_reason_everywhere(scores: pd.DataFrame):
    table = main_table(scores)
    assert row_of(table, "tbg").gap == "n/a: needs 50 % more"
    assert "n/a: needs 50 % more" in markdown(table)
    assert "n/a: needs 50 % more" in csv_text(table)
    assert r"n/a: needs 50 \% more" in latex(table)
    assert "n/a: needs 50 % more" in shown(table)


def shown(table: Table, width: int = 112) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(TerminalTable(table))
    return console.export_text()


def test_a_narrow_terminal_gets_fewer_columns_and_no_cut_ones(scores: pd.DataFrame):
    scores = scores.replace({"row": {"worse": "prose-self-improve", "half": "md-replicas"}})
    scores.loc[scores["row"] == "prose-snis", "value"] = [0.000189, 0.000190, 0.000188, 0.000187]
    table = main_table(pd.concat([scores, scores.assign(budget=1_000_000)]))
    assert "JSD" in shown(table)
    assert "…" not in shown(table)
    narrow = shown(table, 80)
    assert "JSD" not in narrow.split("Frames scored")[0]
    assert "…" not in narrow
    assert "1,000,000" in narrow
    assert {"self-", "improve", "replicas"} <= {word for line in narrow.splitlines() for word in line.split()}


def test_peptides_alone(scores: pd.DataFrame):
    table = peptide_table(scores)
    assert len(table.rows) == 12
    assert {row.peptides for row in table.rows} == {"1/1", "0/1"}
    assert markdown(table).count("| AA |") == 6
    assert "AA, 1,000 energy evaluations" in latex(table)


def test_csv_has_every_digit(scores: pd.DataFrame):
    rows = {row["row"]: row for row in csv.DictReader(io.StringIO(csv_text(main_table(scores))))}
    found = row_of(main_table(scores), "md").estimates["energy-w2"]
    assert float(rows["md"]["energy-w2"]) == found.value
    assert float(rows["md"]["energy-w2-low"]) == found.low
    assert rows["md"]["torus-w2"] == ""
    assert rows["reference-draw"]["floor"] == "True"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Estimate(0.45219, 0.4012, 0.5103, 4, 2), ("0.452", "[0.401, 0.510]")),
        (Estimate(0.45219, 0.4519, 0.4523, 4, 2), ("0.452", "[0.452, 0.452]")),
        (Estimate(12.34, 8.2, 16.1, 4, 2), ("12.3", "[8.2, 16.1]")),
        (Estimate(1234.5, 900.0, 1500.0, 4, 2), ("1234", "[900, 1500]")),
        (Estimate(0.00123, None, None, 1, 1), ("0.00123", "")),
        (Estimate(3.2e7, None, None, 1, 1), ("3.20e+07", "")),
        (Estimate(0.0, 0.0, 0.0, 4, 2), ("0", "")),
        (Estimate(0.0785, 0.0785, 0.0785 * (1 + 1e-9), 4, 2), ("0.0785", "")),
        (Estimate(np.inf, 1.5, np.inf, 4, 2), ("inf", "[1.50, inf]")),
        (Estimate(np.nan, None, None, 4, 2), ("nan", "")),
        (Estimate(-0.00003, -0.0008, 0.0026, 4, 1), ("0.0000", "[-0.0008, 0.0026]")),
    ],
)
def test_numbers_show_what_is_known(found: Estimate, expected: tuple[str, str]):
    assert texts(found) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Estimate(4.9, 1.13, 21.31, 4, 2), ("4.90", "[1.13, 21.3]")),
        (Estimate(4019.3, 2334.2, 6919.1, 4, 1), ("4019", "[2334, 6919]")),
        (Estimate(0.0089, 0.00531, 0.0149, 4, 1), ("0.00890", "[0.00531, 0.0149]")),
        (Estimate(np.inf, None, None, 4, 1), ("inf", "")),
        (Estimate(1.0, 1.0, 1.0, 4, 1), ("1.00", "")),
    ],
)
def test_both_ends_of_a_ratio_keep_their_digits(found: Estimate, expected: tuple[str, str]):
    assert ratio_texts(found) == expected


def test_latex_escapes_and_balances(scores: pd.DataFrame):
    text = latex(main_table(scores.replace({"row": {"worse": "a_b & c%#{}"}})), caption="50 % & more")
    assert escape("a_b & c%#{}") in text
    assert text.count(r"\begin{") == text.count(r"\end{")
    headings, md = (line for line in text.splitlines() if line.startswith(("method", "md")))
    assert headings.count(" & ") == md.count(" & ") == 10
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(scores: pd.DataFrame, tmp_path: Path):
    table = latex(
        main_table(
            scores.replace(
                {
                    "row": {
                        "worse": "a_b & c%#{}~^\\, a name that is far longer than a line has room for, and longer still"
                    }
                }
            )
        ),
        caption="50 % & more",
        label="t",
    )
    head = r"\documentclass[twocolumn]{article}\usepackage[margin=2cm]{geometry}"
    head += r"\usepackage{booktabs,graphicx}\begin{document}"
    (tmp_path / "t.tex").write_text(f"{head}\n{table}\\end{{document}}\n")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
