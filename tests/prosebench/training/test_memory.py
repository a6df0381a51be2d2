"""Less memory for a step changes no gradient; what a step needs is measured; batches made ahead are the same ones."""

from pathlib import Path

import numpy as np
import pytest
import torch

from prosebench.peptide import Peptide
from prosebench.training.data import FrameBatch
from prosebench.training.loop import ahead
from prosebench.training.memory import step_memory
from prosebench.training.recipe import Recipe, RecipeError, load_recipe
from prosebench.training.trainable import make_trainable
from tests.prosebench.training.conftest import TINY_SIZE

GG, AA = Peptide.from_sequence("GG"), Peptide.from_sequence("AA")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_SIZE)
    return Recipe.model_validate({"model": {"size": str(path)}, "steps": 1, "data": {"source": "nowhere"}})


def gradients(recipe: Recipe) -> list[torch.Tensor]:
    trainable = make_trainable(recipe, "cpu")
    frames = np.repeat(GG.start_nm[None], 4, axis=0).astype(np.float32)
    batch = FrameBatch(("GG",) * 4, frames)
    trainable.module(*trainable.prepare(batch, lambda _: GG, np.random.default_rng(0))).mean().backward()
    return [one.grad for one in trainable.module.parameters() if one.grad is not None]


def test_layers_computed_again_give_the_same_gradients(recipe: Recipe) -> None:
    again = gradients(recipe.model_copy(update={"recompute": "layers"}))
    for one, other in zip(gradients(recipe), again, strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["arbg-mini", "tbg-mini"])
def test_a_flow_that_cannot_compute_layers_again_says_so(name: str) -> None:
    with pytest.raises(RecipeError, match=r"recompute is for Prose and TarFlow"):
        make_trainable(load_recipe(name, ["recompute=layers"]), "cpu")


def test_memory_grows_with_atoms_and_is_less_where_layers_are_computed_again(recipe: Recipe) -> None:
    kept, more = step_memory(recipe, GG), step_memory(recipe, AA)
    again = step_memory(recipe.model_copy(update={"recompute": "layers"}), GG)
    assert more.frame_bytes / kept.frame_bytes == pytest.approx(AA.n_atoms / GG.n_atoms, rel=0.1)
    assert again.frame_bytes < kept.frame_bytes / 3
    assert kept.fixed_bytes == 20 * kept.parameters == again.fixed_bytes
    assert kept.frames_that_fit(kept.fixed_bytes) == 0
    room = 2 * kept.fixed_bytes
    assert kept.frames_that_fit(room) == int(0.9 * room - kept.fixed_bytes) // kept.frame_bytes


def test_items_made_ahead_are_the_same_and_an_error_is_passed_on() -> None:
    def items():
        yield from range(3)
        raise ValueError("no more shards")

    found = ahead(items())
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no more shards"):
        next(found)
