"""Things made one by one: what raises is noted with its reason, and the rest is made all the same."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Failure(NamedTuple):
    """What could not be made, and why."""

    what: str
    reason: str


def reason_of(error: Exception) -> str:
    """What an error that was caught says, in one line, with the place where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {said} ({Path(last.filename).name}, line {last.lineno})"


class Attempts:
    """A list of failures; whatever fails within its context `of` is noted."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Within this context, an error is noted as a failure of the named thing, with where it was raised,
        and goes no further."""
        try:
            yield
        except Exception as error:
            self.failures.append(Failure(what, reason_of(error)))
