import json
import math
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from prosebench.energy.openmm import OpenMMEnergy
from prosebench.peptide import Peptide, PeptideError
from prosebench.prose.flow import Prose
from prosebench.prose.trainable import FlowLoss, TrainableProse, augment
from prosebench.reference import build_reference
from prosebench.store.storage import DamagedFile
from prosebench.training.checkpoint import load_checkpoint
from prosebench.training.curve import read_curve
from prosebench.training.data import FrameBatch
from prosebench.training.loop import MOST_SKIPPED, Training
from prosebench.training.processes import Processes
from prosebench.training.recipe import Recipe
from prosebench.training.shards import SHARDS

from .conftest import ensemble_of, recipe_of

ALONE = Processes()


def train(recipe: Recipe, directory: Path, **options) -> Training:
    training = Training(recipe, directory, ALONE)
    training.run(**options)
    return training


def weights(training: Training) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in training.trainable.module.parameters()])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "data": {"mix": "peptide", "batches": 2},
            "precision": "bfloat16",
            "optimiser": {"kind": "muon", "learning_rate": 1e-3, "ema": 0.9},
        },
    ],
)
def test_a_stopped_run_continues_with_the_same_numbers(folder: Path, tmp_path: Path, changes: dict) -> None:
    recipe = recipe_of(folder, **changes)
    straight = train(recipe, tmp_path / "straight")
    train(recipe, tmp_path / "stopped", stop_step=3)
    train(recipe, tmp_path / "stopped", stop_step=7)
    stopped = train(recipe, tmp_path / "stopped")
    assert torch.equal(weights(straight), weights(stopped))
    for name, average in straight.ema.average.items():
        assert torch.equal(average, stopped.ema.average[name])
    curves = [read_curve(tmp_path / name / "curve.csv") for name in ("straight", "stopped")]
    assert [row["loss"] for row in curves[0]] == [row["loss"] for row in curves[1]]
    assert [row["frames"] for row in curves[0]] == [4 * k * recipe.data.batches * 8 for k in (1, 2, 3)]
    assert (tmp_path / "stopped" / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_faults_of_all_sittings_are_counted(folder: Path, tmp_path: Path) -> None:
    data = shutil.copytree(folder, tmp_path / "data")
    recipe = recipe_of(folder, data={"source": str(data)})
    for shard in (data / SHARDS).glob("*.tar"):
        with tarfile.open(shard, "a") as archive:
            archive.addfile(tarfile.TarInfo("notes.txt"))
    stopped = train(recipe, tmp_path / "run", stop_step=2)
    found = stopped.progress.faults
    assert found
    assert (
        found.items()
        <= {
            f"{shard.name}/notes.txt": "it is not named {SEQUENCE}_{frame}.bin"
            for shard in (data / SHARDS).iterdir()
        }.items()
    )
    shutil.copytree(folder, data, dirs_exist_ok=True)
    training = train(recipe, tmp_path / "run")
    assert training.progress.faults == found
    assert training.notes()["faults"] == len(found)


def test_a_checkpoint_from_before_faults_were_kept_still_loads(folder: Path, tmp_path: Path) -> None:
    checkpoint = train(recipe_of(folder), tmp_path, stop_step=2).checkpoint
    content = torch.load(checkpoint, weights_only=True)
    progress = json.loads(content["progress"])
    del progress["faults"]
    torch.save(content | {"progress": json.dumps(progress)}, checkpoint)
    training = train(recipe_of(folder), tmp_path)
    assert (training.progress.step, training.progress.faults) == (12, {})


def test_a_run_leaves_the_averaged_model(folder: Path, tmp_path: Path) -> None:
    training = train(recipe_of(folder), tmp_path)
    loaded = Prose.from_pretrained(tmp_path / "model.npz", device="cpu")
    for name, value in loaded.network.named_parameters():
        assert torch.equal(value, training.ema.average[f"network.{name}"])
    notes = loaded.source["notes"]
    assert (notes["steps"], notes["frames"], notes["recipe"]["seed"]) == (12, 96, 0)
    assert notes["residues"] == "AGS"


def test_training_lowers_the_loss(folder: Path, tmp_path: Path) -> None:
    train(recipe_of(folder, steps=60, optimiser={"learning_rate": 1e-2}, log_every=10), tmp_path)
    losses = [row["loss"] for row in read_curve(tmp_path / "curve.csv")]
    assert losses[-1] < losses[0] - 0.3


def test_another_recipe_or_a_damaged_file_is_refused(folder: Path, tmp_path: Path) -> None:
    train(recipe_of(folder), tmp_path, stop_step=2)
    with pytest.raises(ValueError, match="made with another recipe: seed was 0 and is 1"):
        Training(recipe_of(folder, seed=1), tmp_path, ALONE)
    (tmp_path / "checkpoint.pt").write_bytes((tmp_path / "checkpoint.pt").read_bytes()[:1000])
    with pytest.raises(DamagedFile, match="is not a checkpoint"):
        Training(recipe_of(folder), tmp_path, ALONE)


def test_what_would_fail_later_is_said_before_the_first_step(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PeptideError, match="no amino acid is 'X'"):
        Training(recipe_of(folder, validation={"peptides": ["GG", "XX"]}), tmp_path, ALONE)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"the folder .*file cannot be made .*: give another name"):
        Training(recipe_of(folder), tmp_path / "file", ALONE)


def test_stopping_when_asked_or_when_time_is_up(folder: Path, tmp_path: Path) -> None:
    rows: list = []
    training = Training(recipe_of(folder), tmp_path, ALONE, rows.append, lambda: len(rows) > 1)
    assert training.run().step == 8
    assert training.checkpoint.exists()
    assert Training(recipe_of(folder), tmp_path, ALONE).run(stop_seconds=0.0).step == 9
    assert not (tmp_path / "model.npz").exists()


def test_gradients_that_are_not_finite_are_left_out_and_end_a_run(folder: Path, tmp_path: Path) -> None:
    training = Training(recipe_of(folder, steps=100), tmp_path, ALONE)
    before, plain = weights(training).clone(), training.trainable.module.forward

    def broken(*arguments):
        step = training.progress.step
        return plain(*arguments) * (math.nan if step != 0 else 1.0)

    training.trainable.module.forward = broken
    with pytest.raises(FloatingPointError, match="not finite since step 1; lower the learning rate"):
        training.run()
    assert training.progress.skipped == MOST_SKIPPED + 1
    assert torch.isfinite(weights(training)).all()
    assert not torch.equal(weights(training), before)


def test_validation_in_the_curve(folder: Path, tmp_path: Path) -> None:
    peptide = Peptide.from_sequence("GA")
    frames = ensemble_of(peptide, 30)
    reference = build_reference(
        peptide, [frames], frame_interval_ps=1.0, lag_frames=2, n_frames=30, seed=0, source={}
    )
    reference.save(tmp_path / "references" / "GA.npz")
    validation = {
        "peptides": ["GA", "GG"],
        "references": str(tmp_path / "references"),
        "proposals": 50,
        "every": 8,
    }
    training = train(recipe_of(folder, validation=validation), tmp_path)
    rows = read_curve(tmp_path / "curve.csv")
    assert ["nll" in row for row in rows] == [False, True, True]
    assert rows[-1]["nll"] == rows[-1]["nll-GA"]  # GG has no reference
    assert 0.0 < rows[-1]["ess-GG"] <= 1.0
    with training.ema.swapped_in():
        again = training.trainable.validate(peptide, reference.scored, 0, seed=0)
    assert again["nll"] == pytest.approx(rows[-1]["nll"], rel=1e-6)


def test_the_loss_is_the_density_of_the_flow(folder: Path) -> None:
    """-log q / (3 atoms), with the volume of the normalised units taken out."""
    trainable = TrainableProse(recipe_of(folder), "cpu")
    peptides = {sequence: Peptide.from_sequence(sequence) for sequence in ("GA", "GG")}
    atoms = max(peptide.n_atoms for peptide in peptides.values())
    frames = np.zeros((2, atoms, 3), dtype=np.float32)
    for row, peptide in enumerate(peptides.values()):
        frames[row, : peptide.n_atoms] = peptide.start_nm
    x, tokens, *_ = trainable.prepare(
        FrameBatch(("GA", "GG"), frames), peptides.__getitem__, np.random.default_rng(0)
    )
    with torch.no_grad():
        losses = FlowLoss(trainable.network)(x, tokens).numpy()
    prose = Prose(trainable.network, device="cpu")
    for row, (sequence, peptide) in enumerate(peptides.items()):
        n = peptide.n_atoms
        log_q = prose.log_prob(sequence, 0.21 * x[row : row + 1, :n].numpy())
        assert losses[row] == pytest.approx(-log_q[0] / (3 * n) - math.log(0.21), abs=1e-5)


def test_augmentation_rotates_and_moves_the_centre() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(rng.standard_normal((1, 7, 3)), 4000, axis=0)
    x[:2000, 5:] = 0.0
    atoms = np.repeat([5, 7], 2000)
    moved = augment(x, atoms, rng)
    assert (moved[:2000, 5:] == 0).all()
    for part, n in ((moved[:2000, :5], 5), (moved[2000:], 7)):
        centre = part.mean(axis=1)
        assert np.abs(centre.mean(axis=0)).max() < 0.05
        np.testing.assert_allclose(centre.std(axis=0), 1 / np.sqrt(n), rtol=0.08)
        one = part - centre[:, None]
        distances = np.linalg.norm(one[:, 0] - one[:, 1], axis=1)
        np.testing.assert_allclose(distances, np.linalg.norm(x[0, 0] - x[0, 1]), rtol=1e-4)
        assert np.abs((one[:, 0] / np.linalg.norm(one[:, :1], axis=2)).mean(axis=0)).max() < 0.06


def test_a_checkpoint_knows_how_many_processes_made_it(folder: Path, tmp_path: Path) -> None:
    training = train(recipe_of(folder), tmp_path, stop_step=2)
    fresh = Training(recipe_of(folder), tmp_path / "other", ALONE)
    progress = load_checkpoint(
        training.checkpoint, training.recipe, fresh.trainable.module, fresh.ema, fresh.optimiser
    )
    assert (progress.step, len(progress.positions)) == (2, 1)
    with pytest.raises(ValueError, match="made by 1 processes and needs as many; there are 2"):
        Training(recipe_of(folder), tmp_path, Processes(0, 2, "cpu"))


def test_validation_uses_the_published_force_field(folder: Path) -> None:
    peptide = Peptide.from_sequence("GG")
    trainable = TrainableProse(recipe_of(folder), "cpu")
    said = trainable.validate(peptide, None, 20, seed=3)
    frames = Prose(trainable.network, device="cpu").sample(peptide, 20, seed=3).positions_nm
    expected = np.median(OpenMMEnergy(peptide).energy(frames))
    assert said["median-energy"] == pytest.approx(expected, rel=1e-3)
