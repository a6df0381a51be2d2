"""Published weights: fetched where a run is planned, before anything runs, and identified by their content.

Compute nodes often reach no hub: they find the files in the hub's cache, where it is shared.
"""

import copy
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prosebench.store.storage import file_sha256
from prosebench.suite import Suite, SuiteError

Settings = dict[str, Any]


class Use(NamedTuple):
    """Where a suite names weights: a row, the keys that lead to the settings that do, and these settings."""

    row: str
    keys: tuple[str, ...]
    settings: Settings


def fetch_weights(suite: Suite, *, download: bool = True) -> Suite:
    """The suite with the SHA-256 of published weights in the settings of each row that names them.

    Each file is fetched once, or taken from the hub's cache. Without download, the hub is not asked, and the hash of
    a file that is not in the cache stays open (see `rows_without_hash`). Raises SuiteError, one for all rows, where a
    file cannot be had or is not the one whose SHA-256 was given.
    """
    complete = {row: suite.method_settings(row)[1] for row in suite.methods}
    files: dict[tuple[str, str], list[Use]] = {}
    for use in _published_uses(complete):
        files.setdefault((use.settings["weights"], use.settings["revision"]), []).append(use)
    if not files:
        return suite
    problems: dict[str, list[str]] = {}
    for uses in files.values():
        for reason, row in _fill_in(suite, uses, download):
            problems.setdefault(reason, []).append(row)
    if problems:
        raise SuiteError(_explain(suite, problems))
    methods = {row: suite.methods[row] | settings for row, settings in complete.items()}
    return suite.model_copy(update={"methods": methods})


def rows_without_hash(suite: Suite) -> list[str]:
    """Rows of what `fetch_weights` gave whose published weights it had no hash of: ids of their cells are not final."""
    missing = [use.row for use in _published_uses(suite.methods) if not use.settings["weights_sha256"]]
    return list(dict.fromkeys(missing))


def _published_uses(rows: Mapping[str, Settings]) -> list[Use]:
    uses = [use for row, settings in rows.items() for use in _uses(row, (), settings)]
    if not uses:
        return []
    published = _published_files()
    return [use for use in uses if use.settings["weights"] in published]


def _uses(row: str, keys: tuple[str, ...], settings: Settings) -> Iterator[Use]:
    """Settings that name weights: those of a method, and of the proposal that it anneals from."""
    if {"weights", "weights_sha256", "revision"} <= settings.keys():
        yield Use(row, keys, settings)
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _uses(row, (*keys, key), value)


def _published_files() -> dict[str, str]:
    """The file on the hub of each name of published weights."""
    # These import torch, for which suites without a flow do not wait.
    from prosebench.ecnf.weights import PUBLISHED as FIELDS
    from prosebench.prose.weights import PUBLISHED as FLOWS

    return {name: file for name, (file, _) in (FLOWS | FIELDS).items()}


def _fill_in(suite: Suite, uses: Sequence[Use], download: bool) -> Iterator[tuple[str, str]]:
    """Write the hash of one file into the settings that use it; yield why not, with the row, where that cannot be."""
    from prosebench.flows.weight_files import WeightsError, check_content

    try:
        path = _path(suite, uses, download)
    except WeightsError as error:
        yield from ((str(error), use.row) for use in uses)
        return
    if path is None:
        return
    found = file_sha256(path)
    for use in uses:
        try:
            check_content(use.settings["weights"], found, use.settings["weights_sha256"])
        except WeightsError as error:
            yield str(error), use.row
        use.settings["weights_sha256"] = found


def _path(suite: Suite, uses: Sequence[Use], download: bool) -> Path | None:
    """The published file that these uses share. Raises WeightsError."""
    from prosebench.flows import weight_files

    one = uses[0].settings
    where = (_published_files()[one["weights"]], one["revision"], None)
    if not download:
        return weight_files.cached(*where)
    return weight_files.download(*where, " ".join(_assignment(suite, use) for use in uses))


def _assignment(suite: Suite, use: Use) -> str:
    """The option that gives a row a file of one's own; a nested table is replaced whole, so all of it is repeated."""
    key, value = "weights", "PATH"
    if use.keys:
        key = use.keys[0]
        table = copy.deepcopy(suite.methods[use.row].get(key, {}))
        innermost = table
        for inner in use.keys[1:]:
            innermost = innermost.setdefault(inner, {})
        innermost["weights"] = "PATH"
        value = _toml(table)
    return f"--set {shlex.quote(f'{use.row}.{key}={value}')}"


def _toml(value: Any) -> str:
    """A value from a suite in TOML, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _explain(suite: Suite, problems: dict[str, list[str]]) -> str:
    reasons = "; ".join(f"{', '.join(dict.fromkeys(rows))}: {reason}" for reason, rows in problems.items())
    others = [row for row in suite.methods if not any(row in rows for rows in problems.values())]
    leave_out = f"; or leave these rows out: --methods {','.join(others)}" if others else ""
    return f"suite {suite.name}, nothing was run: {reasons}{leave_out}"
