from pathlib import Path

import numpy as np
import pytest
import torch

from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.training.recipe import Recipe
from prosebench.training.shards import write_shards

torch.set_num_threads(1)

TINY_SIZE = """
channels = 16
head_dim = 8
blocks = 2
layers_per_block = 1
expansion = 2
nm_per_unit = 0.21
max_residues = 2
"""
SEQUENCES = ("GA", "GG", "GS")


def ensemble_of(peptide: Peptide, n: int, seed: int = 0) -> Ensemble:
    """Start structures with noise: no physics, right shapes."""
    noise = 0.005 * np.random.default_rng(seed).standard_normal((n, peptide.n_atoms, 3))
    return Ensemble(peptide.start_nm + noise, np.zeros(n))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training data of three dipeptides in four shards."""
    path = tmp_path_factory.mktemp("data")
    peptides = [Peptide.from_sequence(sequence) for sequence in SEQUENCES]
    ensembles = {peptide.sequence: ensemble_of(peptide, 40) for peptide in peptides}
    write_shards(path, ensembles, peptides, frames_per_shard=30)
    (path / "tiny.toml").write_text(TINY_SIZE)
    return path


def recipe_of(folder: Path, **changes) -> Recipe:
    data = {"source": str(folder), "batch": 8, "mix": "mixed"} | changes.pop("data", {})
    content = {
        "model": {"size": str(folder / "tiny.toml")},
        "steps": 12,
        "log_every": 4,
        "checkpoint_every": 5,
        "data": data,
        "optimiser": {"learning_rate": 1e-3, "ema": 0.9},
    }
    return Recipe.model_validate(content | changes)
