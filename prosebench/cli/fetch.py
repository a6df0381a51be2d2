"""The command that gets published weights, references and topologies, and checks a folder of them."""

import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from prosebench.cli.options import SuiteName, app, check_suite_name, err, out
from prosebench.store.hub import DATA_VARIABLE

if TYPE_CHECKING:
    from prosebench.suite import Suite

_DEFAULT = Path("prosebench-data")
_MOST_NAMED = 20


@app.command()
def fetch(
    suite: SuiteName,
    to: Annotated[
        Path | None, typer.Option(help=f"Folder to fill; default: that of {DATA_VARIABLE}, or {_DEFAULT}.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="Only say what this folder lacks; needs no network.")
    ] = None,
) -> None:
    """Get all published files that a suite needs into one folder, verified; again: go on where it broke off."""
    check_suite_name(suite)
    from prosebench.rows import check_suite
    from prosebench.suite import load_suite

    chosen = load_suite(suite)
    check_suite(chosen)
    if check is not None:
        _check(chosen, suite, check)
        return
    from huggingface_hub.utils import disable_progress_bars

    from jobs.making.fetching import Listed, list_needs, missing_files
    from jobs.making.fetching import fetch as get

    folder = to or Path(os.environ.get(DATA_VARIABLE) or _DEFAULT)
    needs = list_needs(chosen, folder)
    missing = missing_files(needs, folder)
    left = sum(file.size_bytes for file in missing)
    out.print(
        f"{chosen.name} needs {len(needs.files)} files, {_size(needs.size_bytes)}; "
        f"to get: {len(missing)}, {_size(left)}"
    )
    for source, commit in dict.fromkeys((file.source, file.commit) for file in needs.files):
        out.print(f"{source.repository} at {source.revision}: commit {commit}", soft_wrap=True)
    if needs.unpublished:
        out.print(
            f"nothing is published of {', '.join(needs.unpublished)}; `prosebench reference --suite {quote(suite)}` "
            "makes references",
            soft_wrap=True,
        )
    if not out.is_terminal:
        disable_progress_bars()
    number = 0

    def tell(file: Listed) -> None:
        nonlocal number
        number += 1
        out.print(f"{number}/{len(missing)} {file.place}, {_size(file.size_bytes)}", soft_wrap=True)

    get(missing, folder, tell)
    out.print(
        f"all {len(needs.files)} files are in {folder}, verified; "
        f"`export {DATA_VARIABLE}={quote(str(folder.resolve()))}` has every command read them, on a machine without "
        "network too",
        soft_wrap=True,
    )


def _check(suite: "Suite", named: str, folder: Path) -> None:
    """Say what a folder lacks of a suite; ends with 1 where it lacks anything."""
    from jobs.making.fetching import check_folder

    whole, lacks = check_folder(suite, folder)
    for lack in lacks[:_MOST_NAMED]:
        err.print(f"{lack.path}: {lack.reason}", soft_wrap=True)
    if len(lacks) > _MOST_NAMED:
        err.print(f"and {len(lacks) - _MOST_NAMED} more")
    out.print(
        f"{folder}: {len(whole)} files of {suite.name} are there and verified, {len(lacks)} lack",
        soft_wrap=True,
    )
    if lacks:
        out.print(
            f"`prosebench fetch --suite {quote(named)} --to {quote(str(folder))}` gets them where the hub is in reach",
            soft_wrap=True,
        )
    raise typer.Exit(1 if lacks else 0)


def _size(size_bytes: int) -> str:
    """A size as people say it: 12 kB, 3.4 MB, 1.2 GB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.3g} {name}"
    return f"{size_bytes} bytes"
