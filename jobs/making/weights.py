"""Published weights: fetched where a run is planned, before anything runs, and identified by their content.

Compute nodes often reach no hub: they find the files in the hub's cache, where it is shared.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from prosebench.flows.weights import files as weight_files
from prosebench.flows.weights.files import WeightsError, WeightsOutOfReach
from prosebench.rows import method_settings
from prosebench.store.places import PUBLISHED_WEIGHTS, stored_weights
from prosebench.store.storage import file_sha256
from prosebench.suite import Suite, SuiteError

Settings = dict[str, Any]


class Use(NamedTuple):
    """Where a suite names weights: a row, and the settings that do, its own or those of its proposal."""

    row: str
    settings: Settings


class MissingWeights(NamedTuple):
    """Published weights that are not on this machine, the rows that need them, and, where the hub was asked, why."""

    weights: str
    rows: tuple[str, ...]
    why: str


def fetch_weights(suite: Suite, *, download: bool = True) -> tuple[Suite, list[MissingWeights]]:
    """The suite with the SHA-256 of published weights in the settings of each row that names them; what is missing.

    Each file is fetched once, or taken from where it is on this machine. Without download, the hub is not asked. The
    hash of a file that cannot be had stays as it was given, mostly open. Raises SuiteError, one for all rows, where a
    file is not the one whose SHA-256 was given, or does not exist at the revision.
    """
    complete = {row: method_settings(suite, row)[1] for row in suite.methods}
    files: dict[tuple[str, str], list[Use]] = {}
    for use in published_uses(complete):
        files.setdefault((use.settings["weights"], use.settings["revision"]), []).append(use)
    if not files:
        return suite, []
    problems: dict[str, list[str]] = {}
    missing: list[MissingWeights] = []
    for (weights, _), uses in files.items():
        rows = tuple(dict.fromkeys(use.row for use in uses))
        try:
            for reason, row in _fill_in(uses, download):
                problems.setdefault(reason, []).append(row)
        except WeightsOutOfReach as error:
            missing.append(MissingWeights(weights, rows, error.why))
    if problems:
        raise SuiteError(_explain(suite, problems))
    methods = {row: suite.methods[row] | settings for row, settings in complete.items()}
    return suite.model_copy(update={"methods": methods}), missing


def published_uses(rows: Mapping[str, Settings]) -> list[Use]:
    """Where the settings of rows name published weights."""
    uses = [use for row, settings in rows.items() for use in _uses(row, settings)]
    return [use for use in uses if use.settings["weights"] in PUBLISHED_WEIGHTS]


def _uses(row: str, settings: Settings) -> Iterator[Use]:
    """Settings that name weights: those of a method, and of the proposal that it anneals from."""
    if {"weights", "weights_sha256", "revision"} <= settings.keys():
        yield Use(row, settings)
    for value in settings.values():
        if isinstance(value, dict):
            yield from _uses(row, value)


def _fill_in(uses: Sequence[Use], download: bool) -> Iterator[tuple[str, str]]:
    """Write the hash of one file into the settings that use it; yield why not, with the row, where that cannot be.

    Raises WeightsOutOfReach.
    """
    one = uses[0].settings
    where = (PUBLISHED_WEIGHTS[one["weights"]], one["revision"], None)
    try:
        path = weight_files.download(*where, "weights = PATH") if download else stored_weights(*where)
    except WeightsOutOfReach:
        raise
    except WeightsError as error:
        yield from ((str(error), use.row) for use in uses)
        return
    if path is None:
        raise WeightsOutOfReach(f"{one['weights']} is not on this machine", why="")
    found = file_sha256(path)
    for use in uses:
        try:
            weight_files.check_listed(path, found)
            weight_files.check_content(use.settings["weights"], found, use.settings["weights_sha256"])
        except WeightsError as error:
            yield str(error), use.row
        use.settings["weights_sha256"] = found


def _explain(suite: Suite, problems: dict[str, list[str]]) -> str:
    reasons = "; ".join(f"{', '.join(dict.fromkeys(rows))}: {reason}" for reason, rows in problems.items())
    others = [row for row in suite.methods if not any(row in rows for rows in problems.values())]
    leave_out = f"; or leave these rows out: --methods {','.join(others)}" if others else ""
    return f"suite {suite.name}, nothing was run: {reasons}{leave_out}"
