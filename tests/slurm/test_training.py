"""Training over two nodes: killed and preempted on the way, it ends with the weights of a quiet run."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest
import torch

from prosebench.peptide import Peptide
from prosebench.training.curve import read_curve
from prosebench.training.shards import write_shards
from tests.jobs.conftest import run
from tests.prosebench.training.conftest import TINY_SIZE, ensemble_of
from tests.slurm.conftest import Site, end_of, take_all_nodes, until

STEPS, WIDE_STEPS = 240, 80
RECIPE = """
steps = {steps}
log_every = 20
checkpoint_every = 20
[model]
size = "{folder}/tiny.toml"
[data]
source = "{folder}"
batch = 8
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    peptides = [Peptide.from_sequence(sequence) for sequence in ("GA", "GG")]
    ensembles = {peptide.sequence: ensemble_of(peptide, 40) for peptide in peptides}
    write_shards(folder, ensembles, peptides, frames_per_shard=10)
    (folder / "tiny.toml").write_text(TINY_SIZE)
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(folder=folder, steps=STEPS))
    return path


def test_two_nodes_with_a_gpu_each(site: Site, recipe: Path) -> None:
    quiet = train_here(recipe, site, processes=2, steps=STEPS)
    site.profile('partition = "low"\ngpus = 1')
    command = train_there(recipe, site, "--nodes", "2", "--gpus", "1")
    following = site.start(*command, "--follow")
    checkpoint = site.directory / "checkpoint.pt"
    until("a checkpoint is stored", checkpoint.exists)
    os.kill(trainers(site)[0], signal.SIGKILL)
    until("the job starts again", lambda: "continuing after step" in site.log())
    assert "submitted 0 jobs, 1 were queued already" in run(*command).stdout
    take_all_nodes()
    said = end_of(following)
    assert f"step {STEPS} of {STEPS}" in said
    assert len(re.findall("goes back into the queue; its command ended with status (0|1)", site.log())) == 2
    nodes = set(re.findall(r"job \S+ on (node\d), GPUs 0:", site.log()))
    assert len(nodes) == 2
    whole, parts = (
        torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (quiet, site.directory)
    )
    for name, value in whole["weights"].items():
        assert torch.equal(value, parts["weights"][name]), name
    rows = [[row["loss"] for row in read_curve(folder / "curve.csv")] for folder in (quiet, site.directory)]
    assert rows[0] == rows[1]
    assert "this run is finished" in run(*command).stdout
    assert f"step {STEPS}, loss" in site.status()


def test_two_nodes_with_two_gpus_each(site: Site, recipe: Path) -> None:
    """Four processes, asked to stop on the way: the losses of a quiet run, up to the rounding of their sums."""
    quiet = train_here(recipe, site, processes=4, steps=WIDE_STEPS)
    site.profile("gpus = 2")
    command = [*train_there(recipe, site, "--nodes", "2", "--gpus", "2"), "--set", f"steps={WIDE_STEPS}"]
    following = site.start(*command, "--follow")
    checkpoint = site.directory / "checkpoint.pt"
    until("a checkpoint is stored", checkpoint.exists)
    run("scancel", "--signal=USR2", run("squeue", "-h", "-o", "%A").stdout.split()[0])
    said = end_of(following)
    assert f"step {WIDE_STEPS} of {WIDE_STEPS}" in said
    assert "goes back into the queue; its command ended with status 0" in site.log()
    assert "continuing after step" in site.log()
    gpus = re.findall(r"job \S+ on (node\d), GPUs (\S+):", site.log())
    assert len({node for node, _ in gpus}) >= 2
    assert {visible for _, visible in gpus} == {"0,1"}
    rows = [read_curve(folder / "curve.csv") for folder in (quiet, site.directory)]
    assert rows[1][-1]["frames"] == WIDE_STEPS * 8 * 4
    losses = [[row["loss"] for row in one] for one in rows]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[0][-1] < losses[0][0]


def train_here(recipe: Path, site: Site, *, processes: int, steps: int) -> Path:
    """A quiet training run on this machine; its folder."""
    folder = site.folder / "quiet"
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    train = ["-m", "prosebench.cli", "train", str(recipe), "--dir", str(folder), "--threads", "1"]
    run(sys.executable, *torchrun, *train, "--set", f"steps={steps}")
    return folder


def train_there(recipe: Path, site: Site, *more: str) -> list[str]:
    """The command that trains on the cluster."""
    command = ["prosebench", "train", str(recipe), "--dir", str(site.directory), "--executor", "slurm"]
    return [*command, "--cluster", str(site.folder / "cluster.toml"), *more]


def trainers(site: Site) -> list[int]:
    """Processes that train into this site's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if str(site.directory).encode() in words and b"LOCAL_RANK=" in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
