"""Published weights: fetched where a run is planned, before anything runs, and identified by their content.

Compute nodes often reach no hub: they find the files in the hub's cache, where it is shared.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from prosebench.storage import file_sha256
from prosebench.suite import Suite, SuiteError

Settings = dict[str, Any]


def fetch_weights(suite: Suite, *, download: bool = True) -> Suite:
    """The suite with the SHA-256 of published weights in the settings of each row that names them.

    Each file is fetched once, or taken from the hub's cache. Without download, the hub is not asked, and the hash of
    a file that is not in the cache stays open. Raises SuiteError, one for all rows, where a file cannot be had or is
    not the one whose SHA-256 was given.
    """
    complete = {row: suite.method_settings(row)[1] for row in suite.methods}
    named = [(row, one) for row, settings in complete.items() for one in _with_weights(settings)]
    if not named:
        return suite
    users: dict[tuple[str, str, str], list[tuple[str, Settings]]] = {}
    for row, one in named:
        users.setdefault((one["weights"], one["revision"], one["weights_sha256"]), []).append((row, one))
    problems: dict[str, list[str]] = {}
    for file, those in users.items():
        rows = list(dict.fromkeys(row for row, _ in those))
        try:
            sha256 = _sha256(*file, _example(rows, complete), download)
        except ValueError as error:
            problems[str(error)] = rows
            continue
        for _, one in those:
            one["weights_sha256"] = sha256
    if problems:
        raise SuiteError(_explain(suite, problems))
    methods = {row: suite.methods[row] | settings for row, settings in complete.items()}
    return suite.model_copy(update={"methods": methods})


def _with_weights(settings: Settings) -> Iterator[Settings]:
    """Settings that name weights: those of a method, and of the proposal that it anneals from."""
    if {"weights", "weights_sha256", "revision"} <= settings.keys():
        yield settings
    for value in settings.values():
        if isinstance(value, dict):
            yield from _with_weights(value)


def _sha256(weights: str, revision: str, given: str, example: str, download: bool) -> str:
    """SHA-256 of published weights; of others, or where the file is not to be had yet, what the settings say.

    Raises WeightsError, which is a ValueError.
    """
    # These import torch, for which suites without a flow do not wait.
    from prosebench import weight_files
    from prosebench.ecnf.weights import PUBLISHED as FIELDS
    from prosebench.prose.weights import PUBLISHED as FLOWS

    published = FLOWS | FIELDS
    if weights not in published:
        return given
    where = (published[weights][0], revision, None)
    path = weight_files.download(*where, example) if download else weight_files.cached(*where)
    if path is None:
        return given
    found = file_sha256(path)
    weight_files.check_content(weights, found, given)
    return found


def _example(rows: Sequence[str], complete: dict[str, Settings]) -> str:
    """How these rows are given a file."""
    assignments = [f"--set {row}.weights=PATH" for row in rows if "weights" in complete[row]]
    return " ".join(assignments) or 'proposal_settings = {weights = "PATH"}'


def _explain(suite: Suite, problems: dict[str, list[str]]) -> str:
    reasons = "; ".join(f"{', '.join(rows)}: {reason}" for reason, rows in problems.items())
    others = [row for row in suite.methods if not any(row in rows for rows in problems.values())]
    leave_out = f"; or leave these rows out: --methods {','.join(others)}" if others else ""
    return f"suite {suite.name}, nothing was run: {reasons}{leave_out}"
