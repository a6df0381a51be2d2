"""Maps and histograms as small numbers: where frames are, which way up, and what lies outside."""

import numpy as np
import pytest

from analysis.board.maps import BINS, MOST_KT, _maps, _shares, _short, free_energy_digits

UNIT = (0.0, float(BINS))


def grid(points: np.ndarray, *, periodic: bool = False) -> np.ndarray:
    lines = free_energy_digits(points, UNIT, UNIT, periodic=periodic)
    assert {len(line) for line in lines} == {len(lines)} == {BINS}
    return np.array([list(line) for line in lines])


def at(x: float, y: float, n: int = 1000) -> np.ndarray:
    return np.full((n, 2), [x + 0.5, y + 0.5])


def test_the_top_line_is_the_highest_y_and_the_first_digit_the_lowest_x():
    found = grid(at(3, 30))
    row, column = BINS - 1 - 30, 3
    assert found[row, column] == "0"
    # Smoothed by less than a bin: the four beside it are less than 1 kT above, and four bins away nothing is left.
    beside = {(row, column), (row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)}
    assert {(int(i), int(j)) for i, j in np.argwhere(found == "0")} == beside
    assert found[row, column + 4] == "."
    assert found[row - 4, column] == "."


def test_digits_are_whole_kt_above_the_most_populated_bin():
    """e^3.5 times as many frames here as there: 3 kT, rounded down."""
    number = round(1000 / np.exp(3.5))
    found = grid(np.concatenate([at(8, 20), at(30, 20, number)]))
    assert found[BINS - 1 - 20, 8] == "0"
    assert found[BINS - 1 - 20, 30] == "3"


def test_what_is_rarer_than_the_highest_digit_is_not_shown():
    rare = round(1_000_000 / np.exp(MOST_KT + 1.5))
    found = grid(np.concatenate([at(8, 20, 1_000_000), at(30, 20, rare)]))
    assert found[BINS - 1 - 20, 30] == "."
    assert set(found.ravel()) <= {".", *map(str, range(MOST_KT + 1))}


def test_a_circle_has_no_seam_and_a_plane_has_edges():
    across = {periodic: grid(at(0, 20), periodic=periodic)[BINS - 1 - 20] for periodic in (True, False)}
    assert across[True][-1] == across[True][1] != "."
    assert across[False][-1] == "."


def test_without_frames_a_map_is_empty():
    assert set(grid(np.zeros((0, 2))).ravel()) == {"."}


def test_frames_outside_and_those_that_are_not_finite_are_counted_and_not_drawn():
    points = np.concatenate([at(5, 5, 1000), at(500, 5, 200), np.full((50, 2), np.nan)])
    made = _maps(at(5, 5), {("md", 100): points}, UNIT, UNIT, periodic=False)
    (row,) = made["rows"]
    assert (row["row"], row["budget"], row["frames"], row["outside"]) == ("md", 100, 1250, 0.2)
    assert row["map"] == made["reference"]


@pytest.mark.parametrize(
    ("energies", "shares"),
    [([0.5, 0.5, 1.5, 7.0], [5000, 2500]), ([np.inf, np.nan, 0.5, 1.5], [2500, 2500]), ([], [0, 0])],
)
def test_shares_are_of_all_frames(energies: list[float], shares: list[int]):
    assert _shares(np.array(energies), np.array([0.0, 1.0, 2.0])) == shares


def test_numbers_are_kept_to_four_digits():
    assert _short([123456.0, -0.000123456, 0.0]) == [123500.0, -0.0001235, 0.0]
