from pathlib import Path

import numpy as np
import pytest
import torch

from prosebench.arbg.flow import Arbg
from prosebench.arbg.trainable import TrainableArbg
from prosebench.ensemble import Ensemble
from prosebench.flows.molecule.handedness import one_handed
from prosebench.peptide import Peptide
from prosebench.training.data import FrameBatch
from prosebench.training.loop import Training
from prosebench.training.recipe import Recipe, RecipeError
from prosebench.training.shards import write_shards
from tests.prosebench.training.conftest import ensemble_of

SIZE = """
channels = 16
head_dim = 8
layers = 1
pair_channels = 4
pair_hidden = 8
components = 2
circle_components = 3
max_residues = 2
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("arbg")
    peptides = [Peptide.from_sequence(sequence) for sequence in ("GA", "GG")]
    write_shards(folder / "data", {one.sequence: ensemble_of(one, 64) for one in peptides}, peptides)
    (folder / "size.toml").write_text(SIZE)
    return Recipe.model_validate(
        {
            "trainable": "prosebench.arbg.trainable:TrainableArbg",
            "model": {"size": str(folder / "size.toml")},
            "steps": 6,
            "data": {"source": str(folder / "data"), "batch": 8, "mix": "peptide"},
            "optimiser": {"kind": "muon", "learning_rate": 3e-3},
            "dispersion": {"weight": 0.3, "start": 0.0, "ramp": 0.1},
        }
    )


def test_the_loss_is_the_density_of_the_flow(recipe: Recipe) -> None:
    trainable = TrainableArbg(recipe, "cpu")
    peptide = Peptide.from_sequence("GG")
    frames = one_handed(ensemble_of(peptide, 8).positions_nm, [peptide.topology])
    batch = FrameBatch(("GG",) * 8, frames)
    internal, scaffold, energies, _ = trainable.prepare(
        batch, lambda _: peptide, np.random.default_rng(0), part=1.0
    )
    with torch.no_grad():
        losses = trainable.module(internal, scaffold, energies, 0.0)
    flow = Arbg(trainable.network, device="cpu")
    centred = frames - frames.mean(axis=1, keepdims=True)
    full = flow.log_prob("GG", centred)
    of_centre = -flow.placement(peptide).energy_and_gradient(centred)[0]
    shape = -losses.numpy() * 3 * peptide.n_atoms
    np.testing.assert_allclose(shape, full - of_centre, atol=0.05)


def test_a_run_goes_on_and_ends_with_weights(recipe: Recipe, tmp_path: Path) -> None:
    """Whole, and in two sittings: the same weights."""
    Training(recipe, tmp_path / "whole").run()
    Training(recipe, tmp_path / "parts").run(stop_step=3)
    Training(recipe, tmp_path / "parts").run()
    whole, parts = (Arbg.from_pretrained(tmp_path / name / "model.npz") for name in ("whole", "parts"))
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(parts.network.state_dict()[name], value, rtol=0, atol=0)
    assert whole.unknown(Peptide.from_sequence("GA")) is None
    assert "never seen W" in (whole.unknown(Peptide.from_sequence("WA")) or "")


def test_validation_needs_no_draws(recipe: Recipe) -> None:
    trainable = TrainableArbg(recipe, "cpu")
    peptide = Peptide.from_sequence("GG")
    frames = ensemble_of(peptide, 64)
    numbers = trainable.validate(peptide, frames, 0, seed=0)
    assert set(numbers) == {"nll", "spread"}
    with_draws = trainable.validate(peptide, None, 8, seed=0)
    assert set(with_draws) == {"ess", "median-energy"}


def test_batches_are_of_one_peptide(recipe: Recipe) -> None:
    mixed = recipe.model_copy(update={"data": recipe.data.model_copy(update={"mix": "mixed"})})
    with pytest.raises(RecipeError, match="mix"):
        TrainableArbg(mixed, "cpu")


def test_an_ensemble_is_returned_with_weights(recipe: Recipe) -> None:
    ensemble = Arbg(TrainableArbg(recipe, "cpu").network, device="cpu").sample("GG", 5)
    assert isinstance(ensemble, Ensemble)
    assert ensemble.log_weights is not None
    assert len(ensemble) == 5
