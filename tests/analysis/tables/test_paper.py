import csv
import io
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.tables import paper_text
from analysis.tables.annealing import CORRECTED_END, PUBLISHED_END
from analysis.tables.paper import LAYOUTS, PaperTable, paper_tables, published_rows
from prosebench.names import CEILING, FLOOR


def long_table() -> pd.DataFrame:
    """Three lengths in three suites, a weighted row with its proposals, MD, floor, ceiling, one that was skipped."""
    rng = np.random.default_rng(0)
    lines = []
    for length, peptides in (
        (2, ("AA", "KG", "SS", "VF")),
        (4, ("ARIP", "RLMM", "GGRS")),
        (8, ("DGVAHALS", "IDHRQLKW")),
    ):
        for peptide in peptides:
            for row, level in (("prose-snis", 0.5), ("md", 1.0), (FLOOR, 0.1), (CEILING, 9.0)):
                for seed in (0, 1):
                    values = dict.fromkeys(
                        ("energy-w2", "torus-w2", "tica-w2", "torus-k-jsd", "tica-k-jsd"),
                        level * length * np.exp(rng.normal(0, 0.05)) / 10,
                    )
                    values |= {"sampling-evaluations": 1e4, "sampling-seconds": 5.0}
                    if row == "prose-snis":
                        values["ess"] = 0.1
                        for name in ("energy-w2", "torus-k-jsd", "torus-w2"):
                            lines.append(line(length, peptide, row, seed, name, 7.0, weighting="unweighted"))
                    for metric, value in values.items():
                        weighted = row == "prose-snis" and not metric.startswith("sampling")
                        weighting = "filtered" if weighted else ""
                        lines.append(line(length, peptide, row, seed, metric, value, weighting=weighting))
            lines.append(
                line(length, peptide, "tbg", 0, "", np.nan, status="skipped", reason="no 50 % & more")
            )
    return pd.DataFrame(lines)


def line(
    length: int, peptide: str, row: str, seed: int, metric: str, value: float, **changes: object
) -> dict[str, object]:
    common = {
        "budget": 10_000,
        "frames": 10_000,
        "status": "done",
        "reason": "",
        "reference": "r",
        "cell_id": "c",
        "weighting": "",
        "planned": 0,
        "reference_spread": np.nan,
        "reference_error": np.nan,
    }
    place = {"suite": f"suite-{length}", "length": length, "peptide": peptide, "row": row, "method": row}
    return (
        common
        | place
        | {"seed": seed, "metric": metric, "value": value, "temperature_kelvin": 310.0}
        | changes
    )


@pytest.fixture(scope="module")
def tables() -> dict[str, PaperTable]:
    return {table.layout.name: table for table in paper_tables(long_table(), {"AA": True, "KG": True})}


def line_of(table: PaperTable, label: str):
    return next(one for one in table.lines if one.label == label)


def test_published_rows_stand_before_measured_ones_and_yardsticks_last(tables: dict[str, PaperTable]):
    lines = tables["table2"].lines
    assert [one.measured for one in lines] == sorted(one.measured for one in lines)
    assert [one.label for one in lines if one.measured] == ["prose-snis", "tbg", "md", "floor", "ceiling"]
    assert line_of(tables["table2"], "Prose").texts[4, "energy-w2"] == "0.932"
    assert line_of(tables["table2"], "UniSim").texts[2, "energy-w2"] == ">1e5"


def test_what_was_published_elsewhere_joins_the_tables_of_its_budgets(tables: dict[str, PaperTable]):
    robin = line_of(tables["table2"], "Robin")
    assert (robin.texts[8, "energy-w2"], robin.peptides[8]) == ("4.251", "30")
    assert "Rehman" in robin.marks[0]
    assert line_of(tables["table3"], "Robin").texts[4, "tica-w2"] == "0.379"
    labels = [one.label for one in tables["table2"].lines]
    assert labels.count("Prose") == labels.count("TarFlow") == 1
    assert line_of(tables["table3"], "TarFlow").texts[4, "torus-w2"] == "0.776"
    assert not any("Robin" in one.label for name in ("table4", "table11") for one in tables[name].lines)


def test_dynamics_published_with_robin_are_those_of_its_page():
    """Means over 30 peptides of each length, as the page gives them."""
    rows = pd.DataFrame(published_rows("robin_md")).set_index("sequence").astype(float).reset_index()
    assert len(rows) == 60 * 17
    means = rows.groupby([rows["sequence"].str.len(), "energy_evaluations"]).mean(numeric_only=True)
    assert means.loc[(4, 1e4)].tolist() == pytest.approx([5.68, 2.43, 1.06], abs=0.006)
    assert means.loc[(8, 1e8)].tolist() == pytest.approx([1.66, 2.25, 1.37], abs=0.006)


def test_lengths_of_several_suites_stand_side_by_side(tables: dict[str, PaperTable]):
    md = line_of(tables["table2"], "md")
    assert md.peptides == {2: "4/4", 4: "3/3", 8: "2/2"}
    assert md.estimates[8, "energy-w2"].value == pytest.approx(0.8, rel=0.1)
    assert md.estimates[8, "energy-w2"].high > md.estimates[8, "energy-w2"].value


def test_what_differs_from_the_paper_is_marked(tables: dict[str, PaperTable]):
    marks = "; ".join(line_of(tables["table2"], "md").marks)
    assert "fewer than the 30 published peptides" in marks
    assert "2 residues: some own references" in marks
    assert "4, 8 residues: own references" in marks
    assert "frames" not in marks
    assert "n/a: no 50 % & more" in "; ".join(line_of(tables["table2"], "tbg").marks)
    fewer = paper_tables(long_table().assign(frames=500, temperature_kelvin=400.0))[0]
    assert {"500 frames, not 10,000", "at 400 K"} <= set(line_of(fewer, "md").marks)


def test_only_the_table_of_the_budget_has_measured_rows(tables: dict[str, PaperTable]):
    assert {name for name, table in tables.items() if table.measured} == {
        "table2",
        "table11",
        "table14",
        "table15",
    }


def test_longer_peptides_stand_in_a_table_of_their_own():
    place = {"suite": "paper", "budget": 1_000_000, "method": "prose-snis"}
    lines = [
        line(len(peptide), peptide, "prose-snis", 0, "energy-w2", value, weighting=weighting, **place)
        for peptide, value in (("YQNPDGSQA", 20.0), ("GYDPETGTWG", 800.0))
        for weighting in ("filtered", "unweighted")
    ]
    (table,) = (one for one in paper_tables(pd.DataFrame(lines)) if one.layout.name == "table13")
    assert table.lengths == [9, 10]
    published = line_of(table, "Prose self-improvement SNIS")
    assert (published.texts[9, "energy-w2"], published.texts[10, "ess"]) == ("18.85", "0.0002")
    assert published.peptides == {9: "1", 10: "1"}
    mine = line_of(table, "prose-snis")
    assert (mine.estimates[9, "energy-w2"].value, mine.estimates[10, "energy-w2"].value) == (20.0, 800.0)
    assert not any("fewer" in mark for mark in mine.marks)
    assert line_of(table, "prose-snis, proposal").measured


def test_rows_that_anneal_say_where_they_end():
    ends = {"smc-ula": 1.0, "smc-mala": 0.98, "md": None}
    lines = [
        line(2, peptide, row, 0, metric, value, suite="s", budget=1_000_000, method=row)
        for row, end in ends.items()
        for peptide in ("AA", "KG")
        for metric, value in (("energy-w2", 1.0), ("annealed-to", end))
        if value is not None
    ]
    (table,) = (one for one in paper_tables(pd.DataFrame(lines)) if one.layout.name == "table4")
    assert CORRECTED_END in line_of(table, "smc-ula").marks
    assert PUBLISHED_END in line_of(table, "smc-mala").marks
    assert PUBLISHED_END in line_of(table, "Prose SMC (MALA)").marks
    for label in ("md", "Prose SNIS"):
        assert not {CORRECTED_END, PUBLISHED_END} & set(line_of(table, label).marks)


def test_proposals_of_a_weighted_row_and_scores_of_any_other(tables: dict[str, PaperTable]):
    assert line_of(tables["table11"], "prose-snis").estimates[2, "energy-w2"].value == 7.0
    assert line_of(tables["table11"], "md").estimates[2, "energy-w2"].value < 1.0
    assert line_of(tables["table14"], "prose-snis, proposal").estimates[
        2, "torus-k-jsd"
    ].value == pytest.approx(7.0)
    assert line_of(tables["table14"], "prose-snis").estimates[2, "torus-k-jsd"].value < 1.0
    assert not any(one.label == "md, proposal" for one in tables["table14"].lines)


def test_a_row_competes_with_and_without_weights():
    scores = long_table()
    at_2 = (scores["metric"] == "torus-k-jsd") & (scores["weighting"] == "unweighted")
    at_2 &= scores["length"] == 2
    scores.loc[at_2, "value"] = 0.01 + 0.001 * scores["seed"]
    table = next(one for one in paper_tables(scores) if one.layout.name == "table14")
    best = {one.label for one in table.lines if (2, "torus-k-jsd") in one.best}
    assert best == {"prose-snis, proposal"}


def test_effective_samples_per_second(tables: dict[str, PaperTable]):
    found = line_of(tables["table15"], "prose-snis").estimates[2, "effective-samples-per-second"]
    assert found.value == pytest.approx(0.1 * 1e4 / 5.0)
    assert not any(one.label == "md" and one.estimates for one in tables["table15"].lines)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: one.name)
def test_every_writer_shows_every_line(layout, tables: dict[str, PaperTable]):
    table = tables[layout.name]
    for kind, write in paper_text.WRITERS.items():
        text = write(table)
        for one in table.lines:
            escaped = one.label.replace("&", "\\&") if kind == "tex" else one.label
            assert escaped in text, (kind, one.label)
        for mark in table.remarks:
            assert mark.split(" %")[0] in text
    assert (
        len({row.count("|") for row in paper_text.markdown(table).splitlines() if row.startswith("|")}) == 1
    )


def test_csv_has_every_digit(tables: dict[str, PaperTable]):
    rows = list(csv.DictReader(io.StringIO(paper_text.csv_text(tables["table2"]))))
    found = next(
        row for row in rows if (row["method"], row["length"], row["metric"]) == ("md", "2", "energy-w2")
    )
    estimate = line_of(tables["table2"], "md").estimates[2, "energy-w2"]
    assert [float(found[name]) for name in ("value", "low", "high")] == [
        estimate.value,
        estimate.low,
        estimate.high,
    ]
    assert found["source"] == "measured"


def test_html_is_balanced_and_escaped(tables: dict[str, PaperTable]):
    class Balance(HTMLParser):
        stack: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag != "meta":  # has no end
                self.stack.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.stack.pop() == tag

    text = paper_text.html_text(tables["table2"])
    parser = Balance()
    parser.feed(text)
    assert not parser.stack
    assert "&gt;1e5" in text
    assert '<th scope="row">Prose</th>' in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_within_the_page(tables: dict[str, PaperTable], tmp_path: Path):
    body = "\n".join(paper_text.latex(table) for table in tables.values())
    head = (
        r"\documentclass[twocolumn]{article}\usepackage[margin=1.5cm]{geometry}\usepackage{booktabs,graphicx}"
    )
    (tmp_path / "t.tex").write_text(f"{head}\\begin{{document}}\n{body}\\end{{document}}\n")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout, done.stdout
