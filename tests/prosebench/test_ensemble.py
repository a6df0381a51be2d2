"""Ensembles keep what they were given and refuse what does not fit."""

from pathlib import Path

import numpy as np
import pytest

from prosebench.ensemble import Ensemble, concatenate
from prosebench.store.storage import DamagedFile, write_arrays


def make(n: int, *, weighted: bool = False) -> Ensemble:
    rng = np.random.default_rng(n)
    weights = rng.normal(size=n) if weighted else None
    return Ensemble(rng.normal(size=(n, 5, 3)), rng.normal(size=n), weights, np.arange(1, n + 1))


def test_save_and_load(tmp_path: Path) -> None:
    ensemble = make(7, weighted=True)
    ensemble.save(tmp_path / "e.npz")
    back = Ensemble.load(tmp_path / "e.npz")
    for name, array in ensemble.arrays().items():
        np.testing.assert_array_equal(getattr(back, name), array)


def test_select_and_concatenate_undo_each_other() -> None:
    ensemble = make(9, weighted=True)
    again = concatenate([ensemble.select(slice(0, 4)), ensemble.select(np.arange(4, 9))])
    np.testing.assert_array_equal(again.positions_nm, ensemble.positions_nm)
    np.testing.assert_array_equal(again.log_weights, ensemble.log_weights)


def test_concatenate_keeps_weights_only_where_all_have_them() -> None:
    assert concatenate([make(3), make(4, weighted=True)]).log_weights is None


@pytest.mark.parametrize(
    ("positions", "energies", "named"),
    [((4, 5), (4,), "positions_nm"), ((4, 5, 2), (4,), "positions_nm"), ((4, 5, 3), (3,), "energies_kt")],
)
def test_shapes_that_disagree_are_named(
    positions: tuple[int, ...], energies: tuple[int, ...], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        Ensemble(np.zeros(positions), np.zeros(energies))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path / "e.npz", {"velocities": np.zeros(3)})
    with pytest.raises(DamagedFile, match="lacks positions_nm, energies_kt"):
        Ensemble.load(tmp_path / "e.npz")
