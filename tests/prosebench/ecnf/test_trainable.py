from pathlib import Path

import numpy as np
import pytest
import torch

from prosebench.ecnf.bench import bench_sampling
from prosebench.ecnf.flow import Ecnf
from prosebench.ecnf.trainable import FlowMatchingLoss, TrainableEcnf
from prosebench.ecnf.weights import save_weights
from prosebench.ensemble import Ensemble
from prosebench.training.data import FrameBatch
from prosebench.training.loop import Training
from prosebench.training.processes import Processes
from prosebench.training.recipe import Recipe, RecipeError, load_recipe
from prosebench.training.shards import write_shards

from .conftest import GG, tiny_field


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of GG: its start structure, with noise."""
    path = tmp_path_factory.mktemp("data")
    noise = 0.01 * np.random.default_rng(0).standard_normal((64, GG.n_atoms, 3))
    write_shards(path, {"GG": Ensemble(GG.start_nm + noise, np.zeros(64))}, [GG])
    (path / "tiny.toml").write_text("channels = 16\nlayers = 2\nresidues_max = 2\nnm_per_unit = 0.21\n")
    return path


def recipe_of(folder: Path, steps: int, **changes) -> Recipe:
    content = {
        "trainable": "prosebench.ecnf.trainable:TrainableEcnf",
        "model": {"size": str(folder / "tiny.toml")},
        "steps": steps,
        "log_every": 10,
        "data": {"source": str(folder), "batch": 16, "mix": "peptide"},
        "optimiser": {"learning_rate": 1e-2, "ema": 0.9},
    }
    return Recipe.model_validate(content | changes)


def test_training_lowers_the_loss_and_leaves_a_model(folder: Path, tmp_path: Path) -> None:
    training = Training(recipe_of(folder, 60), tmp_path, Processes())
    rows = training.run().rows
    assert rows[-1]["loss"] < 0.85 * rows[0]["loss"]
    loaded = Ecnf.from_pretrained(tmp_path / "model.npz", device="cpu")
    assert loaded.source["notes"]["residues"] == "G"
    for name, value in loaded.field.named_parameters():
        assert torch.equal(value, training.ema.average[f"field.{name}"])


def test_a_stopped_run_continues_with_the_same_numbers(folder: Path, tmp_path: Path) -> None:
    recipe = recipe_of(folder, 6)
    straight = Training(recipe, tmp_path / "straight", Processes())
    straight.run()
    Training(recipe, tmp_path / "stopped", Processes()).run(stop_step=3)
    stopped = Training(recipe, tmp_path / "stopped", Processes())
    stopped.run()
    for name, average in straight.ema.average.items():
        assert torch.equal(average, stopped.ema.average[name])


def test_the_loss_of_a_field_that_stands_still_is_known(folder: Path) -> None:
    """|data - noise|^2 of an atom: what the frames spread, and 3 (1 - 1/atoms)."""
    trainable = TrainableEcnf(recipe_of(folder, 1), "cpu")
    for layer in trainable.field.stack:
        torch.nn.init.zeros_(layer.pull_out.weight)
    frames = np.repeat(GG.start_nm[None], 1000, axis=0).astype(np.float32)
    rng = np.random.default_rng(0)
    arguments = trainable.prepare(FrameBatch(("GG",) * 1000, frames), lambda _: GG, rng)
    losses = FlowMatchingLoss(trainable.field)(*arguments).detach()
    u = (GG.start_nm - GG.start_nm.mean(axis=0)) / 0.21
    expected = (u**2).sum() / GG.n_atoms + 3 * (1 - 1 / GG.n_atoms)
    assert abs(float(losses.mean()) - expected) < 4 * float(losses.std()) / 1000**0.5
    said = trainable.validate(GG, Ensemble(frames[:200], np.zeros(200)), 4, seed=0)
    assert said["flow-loss"] == pytest.approx(expected, rel=0.05)
    assert said.keys() == {"flow-loss", "ess", "median-energy", "field-evaluations"}


def test_the_shipped_recipe_and_wrong_models(folder: Path) -> None:
    recipe = load_recipe("tbg-mini")
    assert TrainableEcnf(recipe, "cpu").field.config.residues_max == recipe.data.longest == 2
    with pytest.raises(RecipeError, match="needs size or weights"):
        TrainableEcnf(recipe_of(folder, 1, model={"depth": 3}), "cpu")


def test_the_cost_of_samples_is_measured(tmp_path: Path) -> None:
    save_weights(tmp_path / "tbg.npz", tiny_field(dtype=torch.float32, layers=2, scale=0.05), {})
    (row,) = bench_sampling(
        ["GG"], prose="identity", tbg=str(tmp_path / "tbg.npz"), samples=(4, 2), rounds=1, device="cpu"
    )
    assert (row["peptide"], row["atoms"]) == ("GG", 17)
    assert min(row["prose_seconds"], row["tbg_seconds"], row["ratio"]) > 0
    assert row["field_evaluations"] >= 7
    assert row["divergence_over_velocity"] > 1
