"""A table of scores with a floor, a row that is worse, one that failed on a peptide, and one that was skipped."""

import numpy as np
import pandas as pd
import pytest

from tests.analysis.tables.lines import lines_of


@pytest.fixture
def scores() -> pd.DataFrame:
    return pd.DataFrame(
        [
            *lines_of("reference-draw", {"AA": [0.1, 0.1], "KG": [0.1, 0.1]}),
            *lines_of("worse", {"AA": [2.0, 2.1], "KG": [5.2, 5.3]}),
            *lines_of("md", {"AA": [1.0, 1.2], "KG": [1.1, 1.3]}),
            *lines_of("prose-snis", {"AA": [0.9, 1.3], "KG": [1.2, 1.25]}),
            *lines_of("half", {"AA": [0.2, 0.2]}),
            *lines_of("half", {"KG": [np.nan]}, metric="", status="failed", reason="no memory & no_time"),
            *lines_of(
                "tbg", {"AA": [np.nan], "KG": [np.nan]}, metric="", status="skipped", reason="needs 50 % more"
            ),
        ]
    )
