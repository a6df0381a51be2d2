"""Ranks: processes that work on one cell together. One alone is the default.

All ranks run the same method on the same numbers. Only what costs time is cut into pieces, of which each rank does
some (`Ranks.map`); every rank then has all results, in the order of the pieces. So results do not depend on how many
ranks there are, as long as the pieces do not.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class Ranks:
    """One rank alone; `jobs.cells.mpi` has several, over MPI."""

    rank = 0
    size = 1

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order, on every rank. All must call it, in the same order of calls."""
        return [value]

    def map(self, work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> list[Result]:
        """work(piece) of every piece, in order, on every rank; piece i is done by rank i modulo their number."""
        mine = [work(piece) for piece in pieces[self.rank :: self.size]]
        parts = self.gather(mine)
        return [parts[index % self.size][index // self.size] for index in range(len(pieces))]

    def of_first(self, work: Callable[[], Result]) -> Result:
        """The result of work(), which only the first rank does, on every rank; the others wait for it."""
        found: Result = self.gather(work() if self.rank == 0 else None)[0]
        return found


ALONE = Ranks()
