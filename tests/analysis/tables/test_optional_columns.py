"""Columns that only some tables have: those in which some row has something to tell."""

import pandas as pd

from analysis.metrics.registry import BY_NAME
from analysis.tables.main import main_table
from tests.analysis.tables.lines import lines_of


def columns(turned: dict[str, list[float]]) -> set[str]:
    peptides = {"AA": [1.0, 1.1], "KG": [1.2, 1.3]}
    lines = [
        *lines_of("md", peptides),
        *lines_of("arbg-snis", peptides),
        *lines_of("arbg-snis", turned, metric="peptide-bonds-turned"),
    ]
    return {metric.name for metric in main_table(pd.DataFrame(lines)).metrics}


def test_a_column_of_zeros_is_left_out_and_zeros_count_in_a_mean() -> None:
    nothing = {"AA": [0.0, 0.0], "KG": [0.0, 0.0]}
    assert "peptide-bonds-turned" not in columns({})
    assert "peptide-bonds-turned" not in columns(nothing)
    assert "peptide-bonds-turned" in columns(nothing | {"KG": [0.0, 0.02]})
    lines = lines_of("md", {"AA": [1.0], "KG": [1.0]})
    lines += lines_of("md", nothing | {"KG": [0.04, 0.04]}, metric="peptide-bonds-turned")
    (row,) = main_table(pd.DataFrame(lines)).rows
    assert row.estimates["peptide-bonds-turned"].value == 0.02 * BY_NAME["peptide-bonds-turned"].factor
