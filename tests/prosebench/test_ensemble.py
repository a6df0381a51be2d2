"""Ensembles keep what they were given and refuse what does not fit."""

import re
import warnings
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from prosebench.ensemble import Ensemble, concatenate
from prosebench.peptide import Peptide
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


PEPTIDE = Peptide.from_sequence("GAG")


def near_start(n: int, *, weighted: bool = False) -> Ensemble:
    rng = np.random.default_rng(n)
    frames = PEPTIDE.start_nm + 0.005 * rng.standard_normal((n, PEPTIDE.n_atoms, 3))
    return Ensemble(frames, rng.normal(size=n), 0.3 * rng.normal(size=n) if weighted else None).of(PEPTIDE)


def test_an_ensemble_is_shown_in_one_line() -> None:
    assert repr(near_start(1200, weighted=True)) == "<Ensemble of GAG: 1,200 frames of 27 atoms, log-weights>"
    assert repr(make(3)) == "<Ensemble: 3 frames of 5 atoms, no weights>"


def test_whose_frames_they_are_stays_known() -> None:
    ensemble = near_start(6)
    assert ensemble.select(slice(0, 2)).peptide is PEPTIDE
    assert concatenate([ensemble, ensemble]).peptide is PEPTIDE
    assert ensemble.of("GAG").to_mdtraj().topology == PEPTIDE.topology
    with pytest.raises(ValueError, match="AA has 23 atoms, and these frames have 27"):
        ensemble.of("AA")
    with pytest.raises(ValueError, match=r'ensemble\.of\("ARIP"\) does'):
        make(3).to_mdtraj()


def test_means_are_weighted_and_take_functions_and_values() -> None:
    ensemble = near_start(300, weighted=True)
    by_function = ensemble.mean(mdtraj.compute_rg)
    weights = np.exp(ensemble.log_weights)
    values = mdtraj.compute_rg(ensemble.to_mdtraj())
    assert by_function.value == pytest.approx(np.average(values, weights=weights))
    assert ensemble.mean(values).standard_error == by_function.standard_error
    assert by_function.effective_frames > 0
    both = ensemble.mean(np.stack([values, 2 * values], axis=1))
    assert both.value == pytest.approx([by_function.value, 2 * by_function.value])
    assert re.fullmatch(r"0\.\d+ ± 0\.\d+", str(by_function))
    with pytest.raises(ValueError, match=r"300 frames need \(300, \.\.\.\)"):
        ensemble.mean(values[:-1])
    values[5] = np.nan
    with pytest.raises(ValueError, match="not finite for 1 of 300 frames"):
        ensemble.mean(values)


def test_frames_without_weight_may_have_no_value() -> None:
    ensemble = near_start(50, weighted=True)
    log_weights = ensemble.log_weights.copy()
    log_weights[7] = -np.inf
    values = np.arange(50.0)
    values[7] = np.nan
    lighter = Ensemble(ensemble.positions_nm, ensemble.energies_kt, log_weights)
    rest = np.delete(np.arange(50), 7)
    assert lighter.mean(values).value == pytest.approx(
        np.average(rest, weights=np.exp(log_weights[rest])), rel=1e-12
    )


def test_frames_that_repeat_count_once() -> None:
    """A file of 1,000 frames drawn from 200: std / sqrt(n) would be less than half of the error."""
    single = near_start(200)
    index = np.random.default_rng(0).integers(200, size=1000)
    repeated = single.select(index)
    values = mdtraj.compute_rg(repeated.to_mdtraj())
    estimate = repeated.mean(values)
    assert estimate.standard_error > 2.2 * values.std() / np.sqrt(1000)
    assert estimate.effective_frames < 200
    counts = np.bincount(index, minlength=200)
    assert repeated.ess == pytest.approx(1000**2 / (counts**2).sum() / 1000)
    assert single.ess == pytest.approx(1.0)


def test_a_few_heavy_frames_are_warned_of() -> None:
    ensemble = near_start(500)
    heavy = Ensemble(
        ensemble.positions_nm, ensemble.energies_kt, 3.0 * np.random.default_rng(0).standard_cauchy(500)
    )
    assert heavy.k_hat > 0.7
    assert ensemble.k_hat == -np.inf
    with pytest.warns(UserWarning, match="a few frames carry nearly all the weight"):
        heavy.mean(np.arange(500.0))


def test_torsions_of_one_residue() -> None:
    ensemble = near_start(20)
    trajectory = ensemble.to_mdtraj()
    (psi_atoms, psi), (phi_atoms, phi) = mdtraj.compute_psi(trajectory), mdtraj.compute_phi(trajectory)
    # Both of residue 2: the middle two of the four atoms of psi are its N and CA, those of phi too.
    assert {PEPTIDE.topology.atom(int(i)).residue.index for i in (*psi_atoms[1][:2], *phi_atoms[0][1:3])} == {
        1
    }
    np.testing.assert_allclose(
        ensemble.phi_psi(2), np.stack([phi[:, 0], psi[:, 1]], axis=1), rtol=0, atol=1e-5
    )
    for residue in (1, 3):
        with pytest.raises(ValueError, match=f"residue {residue} of GAG has not both phi and psi; 2 to 2 do"):
            ensemble.phi_psi(residue)
    energy = ensemble.free_energy(ensemble.phi_psi(2), bins=8)
    assert energy.free_energy_kt.shape == (8, 8)
    assert energy.free_energy_kt.min() == 0.0


@pytest.mark.parametrize(
    "name", ["x.trr", "x.h5", "x.XTC", "x.nc", "x.DCD", "x.PDB", "x.cif", "x.pdb.gz", "x.npy", "x"]
)
def test_a_format_that_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("kept")
    for ensemble in (near_start(2), make(2)):
        with pytest.raises(ValueError, match=r"must end in one of \.xtc, \.dcd, \.pdb, \.npz"):
            ensemble.save(tmp_path / name)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


def test_frames_that_were_kept_more_densely_at_first_are_warned_of() -> None:
    ensemble = near_start(60)
    dense = np.unique(np.concatenate([np.arange(1, 41), np.arange(50, 1001, 50)]))
    uneven = Ensemble(ensemble.positions_nm, ensemble.energies_kt, evaluations=dense)
    with pytest.warns(UserWarning, match="more densely at the beginning"):
        uneven.mean(np.arange(60.0))
    with warnings.catch_warnings(action="error"):
        Ensemble(ensemble.positions_nm, ensemble.energies_kt, evaluations=np.arange(60)).mean(np.arange(60.0))


def test_warnings_name_the_line_of_the_user(tmp_path: Path) -> None:
    ensemble = near_start(500)
    weights = 3.0 * np.random.default_rng(0).standard_cauchy(500)
    heavy = Ensemble(ensemble.positions_nm, ensemble.energies_kt, weights, peptide=PEPTIDE)
    values = np.arange(500.0)
    for use in (
        lambda: heavy.mean(values),
        lambda: heavy.histogram(values),
        lambda: heavy.free_energy(values),
        lambda: heavy.save(tmp_path / "x.pdb"),
    ):
        with pytest.warns(UserWarning, match="weight") as found:
            use()
        assert {one.filename for one in found} == {__file__}
