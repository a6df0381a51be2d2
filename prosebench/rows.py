"""What the rows of a suite run: methods, with their settings checked and whole."""

from typing import Any

from pydantic import ValidationError

from prosebench.method import load_method
from prosebench.peptide import check_sequence
from prosebench.store.fields import explained
from prosebench.suite import OF_A_ROW, Suite, SuiteError


def check_suite(suite: Suite) -> None:
    """Check peptides, methods and settings before anything runs. Raises SuiteError naming the first that is wrong."""
    for sequence in suite.peptides:
        try:
            check_sequence(sequence)
        except ValueError as error:
            raise SuiteError(f"suite {suite.name}: {error}") from error
    for row in suite.methods:
        method_settings(suite, row)
        suite.row_budgets(row)


def method_settings(suite: Suite, row: str) -> tuple[str, dict[str, Any]]:
    """The method behind a row of a suite, and its settings with all defaults filled in. Raises SuiteError."""
    given = {key: value for key, value in suite.methods[row].items() if key not in OF_A_ROW}
    method = suite.methods[row].get("method", row)
    try:
        settings = load_method(method).Settings(**given)
    except ValidationError as error:
        known = ", ".join([*load_method(method).Settings.model_fields, *OF_A_ROW])
        raise SuiteError(
            f"suite {suite.name}, [methods.{row}]: {explained(error)}; known settings: {known}"
        ) from error
    except ValueError as error:
        raise SuiteError(f"suite {suite.name}: {error}") from error
    return method, settings.model_dump(mode="json")
