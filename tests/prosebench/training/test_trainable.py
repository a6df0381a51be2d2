"""What the loop needs of a method: losses of frames by batches, numbers of proposals, classes by their name."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from prosebench.frames.importance import ess
from prosebench.peptide import Peptide
from prosebench.training.data import FrameBatch
from prosebench.training.recipe import Recipe, RecipeError
from prosebench.training.trainable import make_trainable, mean_loss, proposal_numbers

peptide_of = cache(Peptide.from_sequence)


class _Sizes(nn.Module):
    """The loss of a frame is its first coordinate, and a random number."""

    def forward(self, frames: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return frames[:, 0, 0] + noise


def prepare(batch: FrameBatch, peptide: Any, rng: np.random.Generator, **_: Any) -> tuple[Any, ...]:
    assert peptide(batch.sequences[0]).sequence == "GG"
    assert len(batch.sequences) == len(batch.positions_nm)
    return torch.from_numpy(batch.positions_nm), torch.from_numpy(rng.random(len(batch.positions_nm)))


@pytest.mark.parametrize("batch", [1, 4, 7, 10, 100])
def test_every_frame_counts_once_whatever_the_batch(batch: int) -> None:
    frames = np.zeros((10, peptide_of("GG").n_atoms, 3), dtype=np.float32)
    frames[:, 0, 0] = np.arange(10)
    found = mean_loss(_Sizes(), prepare, peptide_of("GG"), frames, batch=batch, seed=3)
    assert found == pytest.approx(4.5 + np.random.default_rng(3).random(10).mean())


def test_proposals_are_judged_after_the_published_filter_and_by_the_median() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=1000)
    weights[[3, 5]] = 60.0
    numbers = proposal_numbers(np.array([1.0, 5.0, np.inf]), weights)
    assert numbers["median-energy"] == 5.0
    # The two that rule are the highest 0.2 %.
    assert numbers["ess"] == pytest.approx(ess(np.delete(weights, [3, 5])))
    assert numbers["ess"] > 100 * ess(weights)


def recipe(trainable: str) -> Recipe:
    return Recipe.model_validate(
        {"trainable": trainable, "model": {}, "steps": 1, "data": {"source": "nowhere"}}
    )


@pytest.mark.parametrize(
    "name", ["no_such_package:Thing", "prosebench.names:Thing", "prosebench names", ":", ""]
)
def test_a_class_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(RecipeError, match=r"there is no trainable '.*give module:Class"):
        make_trainable(recipe(name), "cpu")


def test_the_class_that_a_recipe_names_is_made_with_it() -> None:
    made = make_trainable(recipe("tests.prosebench.training.test_trainable:Told"), "cpu")
    assert isinstance(made, Told)
    assert (made.recipe.steps, made.device) == (1, "cpu")


class Told:
    """Remembers what it was made with."""

    def __init__(self, recipe: Recipe, device: str) -> None:
        self.recipe, self.device = recipe, device
