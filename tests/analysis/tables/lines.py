"""Lines of the long table of scores, made by hand, and a row of the table that they give."""

import numpy as np

from analysis.tables.main import Table, TableRow


def lines_of(
    row: str, values: dict[str, list[float]], *, method: str = "", **changes: object
) -> list[dict[str, object]]:
    """Lines of the long table of one row: values by peptide, one a seed."""
    common: dict[str, object] = {
        "suite": "s",
        "row": row,
        "method": method or row,
        "budget": 1000,
        "temperature_kelvin": 310.0,
        "metric": "energy-w2",
        "frames": 100,
        "status": "done",
        "reason": "",
        "reference": "0123456789ab",
        "cell_id": "c",
        "weighting": "",
        "planned": 0,
        "reference_spread": np.nan,
        "reference_error": np.nan,
    }
    return [
        common | {"peptide": peptide, "length": len(peptide), "seed": seed, "value": value} | changes
        for peptide, of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]


def row_of(table: Table, name: str) -> TableRow:
    """The first row of that name."""
    return next(row for row in table.rows if row.row == name)
