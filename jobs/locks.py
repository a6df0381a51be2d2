"""One worker a cell: a lock that the kernel lets go when its process ends, however it ends."""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def cell_lock(folder: Path) -> Iterator[bool]:
    """Hold the cell's lock inside; yields False, at once, where somebody else holds it.

    A file system without locks always yields True: then signs of life keep workers apart, and should two of them still
    meet, a chunk is written once and the second worker leaves (`jobs.chunks.Overtaken`).
    """
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
        yield True
