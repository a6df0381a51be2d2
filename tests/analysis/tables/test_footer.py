"""What stands below a table: cells that wait, and how rows anneal."""

import numpy as np
import pandas as pd

from analysis.tables.annealing import CORRECTED_END, PUBLISHED_END
from analysis.tables.footer import LEAST_MASS_SEEN, MOST_MISSED
from analysis.tables.main import main_table
from analysis.tables.text import markdown
from tests.analysis.tables.lines import lines_of


def test_cells_that_lack_something_are_counted_by_what_it_is() -> None:
    nothing = {"AA": [np.nan, np.nan], "KG": [np.nan, np.nan]}
    lines = [
        *lines_of("md", {"AA": [1.0, 2.0]}),
        *lines_of("md", {"GG": [np.nan]}, metric="", status="waiting", reason="no reference"),
        *lines_of("prose-snis", nothing, metric="", status="waiting", reason="no weights"),
        *lines_of("smc-ula", nothing, metric="", status="waiting", reason="no weights"),
        *lines_of("old", {"WW": [np.nan]}, metric="", status="unscored", reason="no reference"),
        *lines_of("tbg", nothing, metric="", status="skipped", reason="too long"),
    ]
    scores = pd.DataFrame(lines)
    scores["cell_id"] = [
        f"{row}-{peptide}-{seed}" for row, peptide, seed in scores[["row", "peptide", "seed"]].values
    ]
    footer = main_table(scores).footer
    assert "Waiting: 8 cells; no weights. Rows: prose-snis, smc-ula; peptides: AA, KG." in footer
    assert "Waiting: 1 cell; no reference. Rows: md; peptides: GG." in footer
    assert "Not scored: 1 cell; no reference. Rows: old; peptides: WW." in footer
    assert not any("too long" in line for line in footer)
    unscored = main_table(scores[scores["status"] == "waiting"]).footer
    assert unscored[0] == "Nothing has been scored yet."
    assert "Waiting: 8 cells; no weights. Rows: prose-snis, smc-ula; peptides: AA, KG." in unscored


def test_each_way_to_end_the_annealing_is_told_with_its_rows() -> None:
    rows = {"smc-ula": 1.0, "smc-mala": 1.0, "smc-mala [published_schedule=true]": 0.98}
    lines = [line for row in (*rows, "md") for line in lines_of(row, {"AA": [1.0, 2.0]})]
    for row, end in rows.items():
        lines += lines_of(row, {"AA": [end, end]}, metric="annealed-to")
    footer = main_table(pd.DataFrame(lines)).footer
    assert f"Annealing (smc-mala, smc-ula): {CORRECTED_END}." in footer
    assert f"Annealing (smc-mala [published_schedule=true]): {PUBLISHED_END}." in footer


def test_rows_whose_weights_miss_much_of_the_target_are_named_with_their_cells() -> None:
    """Cells that see too little, cells that miss too much, and those that do both count once each."""

    def told(seen: list[float], missed: list[float]) -> str:
        lines = [
            *lines_of("prose-snis", {"AA": [0.1] * len(seen)}, metric="ess", weighting="filtered"),
            *lines_of("prose-snis", {"AA": seen}, metric="mass-seen"),
            *lines_of("prose-snis", {"AA": missed}, metric="weight-missed"),
            *lines_of("arbg-snis", {"AA": [0.97, 1.03]}, metric="mass-seen"),
            *lines_of("arbg-snis", {"AA": [0.0, 0.02]}, metric="weight-missed"),
        ]
        return "\n".join(line for line in main_table(pd.DataFrame(lines)).footer if "Missed mass" in line)

    just_enough, just_few = LEAST_MASS_SEEN, MOST_MISSED
    assert told([just_enough, 1.4], [just_few, 0.0]) == ""
    assert "for prose-snis in 1 of 2 cells." in told([0.89, 1.0], [0.0, 0.0])
    assert "for prose-snis in 1 of 2 cells." in told([1.0, 1.0], [0.0, 0.11])
    found = told([0.5, 1.0, 0.8, 1.0, np.nan], [0.3, 0.2, 0.0, 0.0, np.nan])
    assert "less than 90 %" in found
    assert "more than 10 %" in found
    assert "for prose-snis in 3 of 4 cells." in found
    assert "arbg-snis" not in found


def test_the_footer_says_what_the_numbers_are(scores: pd.DataFrame):
    text = markdown(main_table(scores))
    for words in ("Frames scored: 100", "AA 01234567", "95 % interval", "do not reach zero"):
        assert words in text
    assert "which no row of this table shows" in markdown(
        main_table(scores[scores["row"] != "reference-draw"])
    )


def test_the_footer_counts_the_cells_whose_weights_have_a_heavy_tail(scores: pd.DataFrame):
    weighted = [
        *lines_of("prose-snis", {"AA": [0.5, 0.5]}, metric="ess", weighting="filtered"),
        *lines_of("prose-snis", {"AA": [0.69, 0.71], "KG": [np.inf, np.nan]}, metric="k-hat"),
        *lines_of("bg", {"AA": [0.2, -np.inf]}, metric="k-hat"),
    ]
    footer = " ".join(main_table(pd.concat([scores, pd.DataFrame(weighted)], ignore_index=True)).footer)
    assert "highest 0.2 %" in footer
    assert "0.7 or more for prose-snis in 2 of 3 cells." in footer
    assert "ESS: Kish" not in " ".join(main_table(scores).footer)
