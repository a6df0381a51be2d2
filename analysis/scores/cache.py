"""Numbers that take a while, kept in a file of the folder `scores` of a run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from prosebench.store.storage import DamagedFile, read_json, write_json


def kept_numbers(
    path: Path, names: Sequence[str], compute: Callable[[], Mapping[str, float]]
) -> dict[str, float]:
    """Numbers by name: those in the file where it has all of them, else those that are computed, which are kept."""
    try:
        stored = read_json(path)
        return {name: float(stored[name]) for name in names}
    except (DamagedFile, FileNotFoundError, KeyError, TypeError, ValueError):
        found = {name: float(value) for name, value in compute().items()}
        write_json(path, {name: repr(value) for name, value in found.items()})
        return {name: found[name] for name in names}
