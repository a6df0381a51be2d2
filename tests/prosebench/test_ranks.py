"""Ranks share work out and all end with the same results, in order; here they are threads."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from prosebench.ranks import ALONE, Ranks

T = TypeVar("T")


class _Thread(Ranks):
    """One of several ranks in this process."""

    def __init__(self, rank: int, said: list[Any], together: threading.Barrier) -> None:
        self.rank, self.size = rank, together.parties
        self._said, self._together = said, together

    def gather(self, value: Any) -> list[Any]:
        self._said[self.rank] = value
        self._together.wait(20.0)
        found = list(self._said)
        self._together.wait(20.0)
        return found


def on(size: int, work: Callable[[Ranks], T]) -> list[T]:
    """What each of several ranks has at the end."""
    together, said = threading.Barrier(size), [None] * size
    found: list[Any] = [None] * size

    def run(rank: int) -> None:
        found[rank] = work(_Thread(rank, said, together))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("pieces", [0, 1, 2, 7, 8])
def test_every_rank_has_all_results_in_order_and_each_piece_was_done_once(size: int, pieces: int) -> None:
    done: list[int] = []

    def work(piece: int) -> int:
        done.append(piece)
        return piece**2

    expected = ALONE.map(lambda piece: piece**2, list(range(pieces)))
    assert on(size, lambda ranks: ranks.map(work, list(range(pieces)))) == [expected] * size
    assert sorted(done) == list(range(pieces))
    assert expected == [piece**2 for piece in range(pieces)]


def test_pieces_are_dealt_out_in_turn() -> None:
    who = on(3, lambda ranks: ranks.map(lambda piece: ranks.rank, list("abcdefg")))
    assert who == [[0, 1, 2, 0, 1, 2, 0]] * 3


def test_a_result_of_none_is_a_result() -> None:
    assert on(2, lambda ranks: ranks.map(lambda piece: None, [1, 2, 3])) == [[None] * 3] * 2


def test_the_first_rank_works_and_all_have_what_it_found() -> None:
    worked: list[int] = []

    def work(ranks: Ranks) -> str:
        return ranks.of_first(lambda: worked.append(ranks.rank) or f"by {ranks.rank}")  # type: ignore[func-returns-value]

    assert on(4, work) == ["by 0"] * 4
    assert worked == [0]
