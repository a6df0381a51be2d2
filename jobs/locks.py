"""One worker a cell: a lock that the kernel lets go when its process ends, however it ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def cell_lock(folder: Path) -> Iterator[bool]:
    """Hold the cell's lock inside; yields False, at once, where somebody else holds it."""
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
