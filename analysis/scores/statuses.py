"""What a cell can have come to, and which of that stands in a table."""

from typing import Literal

Status = Literal["done", "partial", "unscored", "skipped", "failed", "waiting"]
"""What became of a cell. done: it was scored; partial: it was scored on fewer frames than asked for;
unscored: it was run, but there is no reference, or scoring it raised an error; skipped: the method cannot do
this cell; failed: the method raised an error; waiting: it is not finished yet.
"""

SCORED: tuple[Status, ...] = ("done", "partial")
"""The statuses of cells whose scores stand in a table."""
