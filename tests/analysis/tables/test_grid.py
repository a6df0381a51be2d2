"""Cells of tables hold anything, and the table stays one."""

import csv
import io

import pytest

from analysis.tables.grid import csv_table, latex_frame, markdown_lines


def test_bars_in_cells_end_no_column():
    lines = markdown_lines(["a|b", "c"], "lr", [["x | y", "1"], ["", "2"]])
    assert lines == ["| a\\|b | c |", "| :-- | --: |", "| x \\| y | 1 |", "|  | 2 |"]
    assert {line.replace("\\|", "").count("|") for line in lines} == {3}


def test_an_alignment_that_does_not_exist_is_no_table():
    with pytest.raises(KeyError):
        markdown_lines(["a"], "c", [])


def test_csv_is_read_back_as_it_was():
    rows = [["a, b", 'say "so"', 0.1], ["two\nlines", "", None]]
    text = csv_table(["x", "y", "z"], rows)
    assert "\r" not in text
    assert list(csv.reader(io.StringIO(text))) == [
        ["x", "y", "z"],
        ["a, b", 'say "so"', "0.1"],
        ["two\nlines", "", ""],
    ]


def test_a_frame_of_latex_is_closed():
    text = latex_frame([r"\caption{C}"], "lc", [r"a & b \\"], "N")
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert (
        text.index(r"\caption") < text.index(r"\toprule") < text.index("a & b") < text.index(r"\bottomrule")
    )
    assert text.count("{") == text.count("}")
