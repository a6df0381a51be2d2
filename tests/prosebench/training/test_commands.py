import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from prosebench.cli import app
from prosebench.training.curve import read_curve

RECIPE = """
steps = 6
log_every = 3
checkpoint_every = 2
[model]
size = "{folder}/tiny.toml"
[data]
source = "{folder}"
batch = 8
mix = "mixed"
"""


@pytest.fixture
def recipe(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE.format(folder=folder))
    return path


def test_train_and_sample(recipe: Path, tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["train", str(recipe), "--dir", str(tmp_path / "run")])
    assert said.exit_code == 0, said.output
    assert "step 3 of 6 (50.0%), loss" in said.output, said.output
    assert "0 steps left out, 0 faults in the data" in " ".join(said.output.split())
    model = tmp_path / "run" / "model.npz"
    target = tmp_path / "x.xtc"
    said = CliRunner().invoke(
        app, ["sample", "GG", "-n", "50", "--weights", str(model), "--out", str(target)]
    )
    assert said.exit_code == 0, said.output
    assert target.exists()
    assert "effective sample size" in said.output
    assert "these are proposals" in said.output


def test_a_run_that_diverges_ends_with_one_line(recipe: Path, tmp_path: Path) -> None:
    line = ["train", str(recipe), "--dir", str(tmp_path / "run"), "--set", "optimiser.learning_rate=1e30"]
    said = CliRunner().invoke(app, [*line, "--set", "optimiser.warm_up=0", "--set", "steps=60"])
    assert isinstance(said.exception, ValueError)
    assert "lower the learning rate, or train in float32" in str(said.exception)


def test_bench_training(recipe: Path, folder: Path) -> None:
    arguments = ["--sizes", str(folder / "tiny.toml"), "--peptides", "GG", "--batches", "4", "--seconds", "0"]
    said = CliRunner().invoke(app, ["bench", "training", *arguments])
    assert said.exit_code == 0, said.output
    assert "tiny" in said.output
    assert " GG " in said.output


def test_torchrun_trains_together_and_continues(recipe: Path, folder: Path, tmp_path: Path) -> None:
    """Two processes, killed by a step limit in between, leave the numbers of an undisturbed run."""
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\n"
        "import torch\n"
        "torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from prosebench.training.loop import Training\n"
        "from prosebench.training.recipe import load_recipe\n"
        "recipe, whole, parts = load_recipe(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])\n"
        "for folder, stop in ((whole, None), (parts, 3), (parts, None)):\n"
        "    training = Training(recipe, folder)\n"
        "    training.run(stop_step=stop)\n"
        "training.processes.leave()\n"
    )
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(script),
    ]
    folders = [tmp_path / "whole", tmp_path / "parts"]
    done = subprocess.run(
        [*command, str(recipe), *map(str, folders)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    whole, parts = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in folders)
    for name, value in whole["weights"].items():
        assert torch.equal(value, parts["weights"][name])
    curves = [read_curve(folder / "curve.csv") for folder in folders]
    assert [row["loss"] for row in curves[0]] == [row["loss"] for row in curves[1]]
    assert curves[0][-1]["frames"] == 6 * 8 * 2


def test_improve(tmp_path: Path) -> None:
    arguments = [
        "GG",
        "GA",
        "--budget",
        "60",
        "--weights",
        "identity",
        "--set",
        "rounds=1",
        "--set",
        "steps=1",
    ]
    said = CliRunner().invoke(app, ["improve", *arguments, "--set", "tuning_batch=4", "--out", str(tmp_path)])
    assert said.exit_code == 0, said.output
    assert "round 1, GA: ESS" in said.output
    assert {path.name for path in tmp_path.iterdir()} == {"GG.npz", "GA.npz", "tuned.npz"}
