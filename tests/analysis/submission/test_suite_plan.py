"""A shipped suite is whole or it is said what is missing; suites of one's own are nobody's business."""

import pytest

from analysis.submission.suite_plan import missing_places, shipped_suite
from prosebench.names import EXTERNAL
from prosebench.record import Cell
from prosebench.suite import Suite

QUICK = shipped_suite("quickstart")
HOT = shipped_suite("temperatures")
assert QUICK is not None
assert HOT is not None


def cells(
    suite: Suite, row: str, *, method: str = "", seeds: tuple[int, ...] = (), **changes: object
) -> list[Cell]:
    """The cells of a row, one a peptide, temperature and seed, each with all budgets."""
    known = row in suite.methods
    fields = {
        "suite": suite.name,
        "row": row,
        "method": method or (suite.methods[row].get("method", row) if known else row),
        "settings": {},
        "budgets": suite.row_budgets(row) if known else suite.budgets,
        "frames": suite.frames,
    }
    return [
        Cell.model_validate(fields | {"peptide": peptide, "target": target, "seed": seed} | changes)
        for peptide in suite.peptides
        for target in suite.targets
        for seed in seeds or suite.seeds
    ]


def test_only_names_of_shipped_suites_are_known() -> None:
    assert shipped_suite("my-own") is None
    assert shipped_suite("../quickstart") is None


@pytest.mark.parametrize("suite", [QUICK, HOT], ids=lambda suite: suite.name)
@pytest.mark.parametrize("row", ["md", "theirs"])
def test_a_row_that_was_run_everywhere_lacks_nothing(suite: Suite, row: str) -> None:
    assert missing_places(cells(suite, row)) == []
    assert missing_places([]) == []


def test_what_was_left_out_is_told_with_what_to_do() -> None:
    assert QUICK is not None
    (said,) = missing_places(cells(QUICK, "theirs")[1:])
    budget = max(QUICK.budgets)
    assert said.startswith(f"suite quickstart, row theirs: {len(QUICK.budgets)} of ")
    assert f"{QUICK.peptides[0]}, {budget:,} evaluations, seed {QUICK.seeds[0]}" in said
    assert "`prosebench run --suite quickstart` makes them" in said


def test_a_suite_of_one_s_own_may_be_a_part() -> None:
    assert QUICK is not None
    own = QUICK.model_copy(update={"name": "my-own"})
    assert missing_places([cells(own, "theirs")[0]]) == []


def test_rows_with_other_settings_do_not_complete_each_other() -> None:
    assert QUICK is not None
    every = cells(QUICK, "theirs")
    other = cells(QUICK, "theirs", settings={"friction_per_ps": 9.0})
    assert len(missing_places([*every[:1], *other[1:]])) == 2
    # Where a file lay makes no other settings.
    here, there = (
        cells(QUICK, "theirs", settings={"weights": f"{folder}/x.npz", "weights_sha256": "1f"})
        for folder in "ab"
    )
    assert missing_places([*here[:1], *there[1:]]) == []


def test_temperatures_belong_to_one_row_and_are_named_where_they_differ() -> None:
    assert HOT is not None
    every = cells(HOT, "theirs")
    coldest, *others = sorted({target.temperature_kelvin for target in HOT.targets})
    assert len(others) > 1
    (said,) = missing_places([cell for cell in every if cell.target.temperature_kelvin == coldest])
    assert f" at {others[0]:g} K, " in said
    assert f" at {coldest:g} K, " not in said
    (said,) = missing_places([cell for cell in every if cell.target.temperature_kelvin != coldest])
    assert f" at {coldest:g} K, " in said


def test_a_declared_row_needs_every_peptide_at_the_budgets_and_seeds_it_has() -> None:
    assert QUICK is not None
    theirs = cells(QUICK, "theirs", method=EXTERNAL, seeds=(7,), budgets=(12_345,))
    assert missing_places(theirs) == []
    (said,) = missing_places(theirs[1:])
    assert (
        f"1 of {len(QUICK.peptides)} results are missing ({QUICK.peptides[0]}, 12,345 evaluations, seed 7)"
        in said
    )
    more = cells(QUICK, "theirs", method=EXTERNAL, seeds=(8,), budgets=(12_345,))[:1]
    assert len(missing_places([*theirs, *more])) == 1
