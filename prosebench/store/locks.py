"""A lock on a file that the kernel lets go when its process ends, however it ends."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def file_lock(path: Path) -> Iterator[bool]:
    """Hold the lock of a file, made where there is none; yields False, at once, where somebody else holds it.

    So it does where another process has removed the file meanwhile: its lock would keep nobody away. A file system
    without locks always yields True.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
        yield path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file, made where there is none, after waiting for whoever holds it now.

    On a file system without locks nobody waits.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
        yield
