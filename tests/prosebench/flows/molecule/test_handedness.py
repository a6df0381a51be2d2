import numpy as np
import pytest

from prosebench.energy.settings import TargetSettings, make_target
from prosebench.flows.molecule.handedness import equivalent_hydrogens, one_handed
from prosebench.peptide import Peptide
from prosebench.prose.fine_tuning import _draw_batch
from prosebench.prose.network import Network
from prosebench.prose.trainable import TrainableProse
from prosebench.training.data import FrameBatch
from prosebench.training.recipe import load_recipe
from tests.prosebench.prose.conftest import tiny_config

ALL_RESIDUES = ["ACDEF", "GHIKL", "MNPQR", "STVWY", "PG"]


def exchanged(frames: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The last two of each group in each other's place."""
    changed = frames.copy()
    changed[:, groups[:, 3]], changed[:, groups[:, 4]] = frames[:, groups[:, 4]], frames[:, groups[:, 3]]
    return changed


@pytest.mark.parametrize("sequence", ALL_RESIDUES)
def test_energies_do_not_know_the_labels(sequence: str) -> None:
    peptide = Peptide.from_sequence(sequence)
    groups = equivalent_hydrogens(peptide.topology)
    frames = peptide.start_nm + 0.003 * np.random.default_rng(0).standard_normal((1, *peptide.start_nm.shape))
    target = make_target(peptide, TargetSettings())
    assert len(groups) >= len(sequence) - 1
    for one in np.array_split(groups, len(groups)):
        np.testing.assert_allclose(target.energy(exchanged(frames, one)), target.energy(frames), atol=1e-3)


@pytest.mark.parametrize("sequence", ALL_RESIDUES)
def test_all_labels_come_to_one_handedness(sequence: str) -> None:
    peptide = Peptide.from_sequence(sequence)
    groups, rng = equivalent_hydrogens(peptide.topology), np.random.default_rng(1)
    frames = np.repeat(peptide.start_nm[None], 8, axis=0)
    right = one_handed(frames, [peptide.topology])
    assert np.ptp(right, axis=0).max() == 0.0
    for frame in range(1, 8):
        frames[frame] = exchanged(frames[[frame]], groups[rng.random(len(groups)) < 0.5])[0]
    np.testing.assert_array_equal(one_handed(frames, [peptide.topology]), right)
    assert len(np.unique(frames.reshape(8, -1), axis=0)) > 2


def test_a_flow_in_local_coordinates_is_trained_on_one_handedness() -> None:
    trainable = TrainableProse(load_recipe("prose-mini"), "cpu")
    known = {sequence: Peptide.from_sequence(sequence) for sequence in ("GG", "GA")}
    frames = np.zeros((2, 23, 3))
    for frame, peptide in zip(frames, known.values(), strict=True):
        frame[: peptide.n_atoms] = peptide.start_nm
    other = frames.copy()
    other[0] = exchanged(frames[:1], equivalent_hydrogens(known["GG"].topology))[0]
    for sequences, given in (
        (("GG", "GA"), (frames, other)),
        (("GG", "GG"), (frames[[0, 0]], other[[0, 0]])),
    ):
        ours, theirs = (
            trainable.prepare(FrameBatch(sequences, one), known.__getitem__, np.random.default_rng(2))[0]
            for one in given
        )
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("coordinates", ["local", "cartesian"])
def test_so_is_its_fine_tuning_and_no_other(coordinates: str) -> None:
    network = Network(tiny_config(coordinates=coordinates))
    peptide = Peptide.from_sequence("GG")
    frames = np.repeat(peptide.start_nm[None].astype(np.float32), 4, axis=0)
    other = exchanged(frames, equivalent_hydrogens(peptide.topology))
    ours, theirs = (
        _draw_batch(network, peptide, one, 4, np.random.default_rng(3), 1.0).numpy()
        for one in (frames, other)
    )
    assert (ours == theirs).all() == (coordinates == "local")
