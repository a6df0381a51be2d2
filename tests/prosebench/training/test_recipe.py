from pathlib import Path

import numpy as np
import pytest
import torch

from prosebench.arbg.config import load_size as load_arbg_size
from prosebench.ecnf.config import load_size as load_field_size
from prosebench.prose.config import load_size
from prosebench.training.recipe import Recipe, RecipeError, load_recipe, recipe_names
from prosebench.training.schedule import Ema, one_cycle
from prosebench.training.shards import excluded_peptides
from prosebench.training.trainable import make_trainable

from .conftest import recipe_of


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_sound(name: str) -> None:
    recipe = load_recipe(name)
    rooms = {"ecnf": load_field_size, "arbg": load_arbg_size}
    load = next((load for room, load in rooms.items() if room in recipe.trainable), load_size)
    load(recipe.model["size"])
    # Choices are made on validation peptides: those of a validation suite, or of none.
    suites = [excluded_peptides().get(sequence, "own-validation") for sequence in recipe.validation.peptides]
    assert all(suite.endswith("-validation") for suite in suites)


def test_the_published_hyper_parameters() -> None:
    recipe = load_recipe("prose-8aa")
    assert (recipe.steps, recipe.data.batch, recipe.precision) == (500_000, 512, "float32")
    options = recipe.optimiser
    assert (options.learning_rate, options.weight_decay, options.betas) == (1e-4, 4e-4, (0.9, 0.95))
    assert (options.clip_norm, options.ema, options.warm_up, options.divisor) == (1.0, 0.999, 0.05, 500.0)


def test_one_cycle_is_that_of_torch() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 3e-4, 201, pct_start=0.05, div_factor=500, final_div_factor=1, cycle_momentum=False
    )
    for step in range(201):
        # torch counts its warm-up to step pct * steps - 1
        ours = one_cycle(step, 201, 3e-4, warm_up=(0.05 * 201 - 1) / 201)
        assert ours == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)
        optimiser.step()
        schedule.step()


def test_one_cycle_starts_and_ends_low_and_peaks_after_the_warm_up() -> None:
    rates = [one_cycle(step, 1000, 1e-3) for step in range(1000)]
    assert rates[0] == pytest.approx(2e-6)
    assert rates[-1] == pytest.approx(2e-6)
    assert int(np.argmax(rates)) == 50
    assert rates[50] == pytest.approx(1e-3)
    assert one_cycle(0, 1, 1.0) > 0


def test_the_average_is_exponential() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(1.0)
    ema = Ema(module, 0.9)
    module.weight.data.fill_(3.0)
    ema.update()
    assert ema.average["weight"].item() == pytest.approx(1.2)
    with ema.swapped_in():
        assert module.weight.item() == pytest.approx(1.2)
    assert module.weight.item() == pytest.approx(3.0)
    assert ema.average["weight"].item() == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "optimiser.learning_rate=fast",
            r"optimiser\.learning_rate: .*known keys: kind, learning_rate, betas",
        ),
        ("data.shards=3", r"unknown key 'data\.shards'; known keys: source, longest"),
        ("colour=3", r"unknown key 'colour'; known keys: description, trainable"),
        ("steps=0", "steps: .*greater than 0"),
        ("steps", "not of the form key=value"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said(setting: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe("prose-8aa", [setting])


def test_settings_change_a_recipe() -> None:
    recipe = load_recipe("prose-8aa", ["steps=10", "data.source=here", "optimiser.ema=0.5"])
    assert (recipe.steps, recipe.data.source, recipe.optimiser.ema) == (10, "here", 0.5)


def test_an_unknown_recipe_or_trainable_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"unknown recipe 'prose-9aa'; known: .*prose-8aa"):
        load_recipe("prose-9aa")
    (tmp_path / "bad.toml").write_text("steps : 3")
    with pytest.raises(RecipeError, match="is not TOML"):
        load_recipe(tmp_path / "bad.toml")
    with pytest.raises(RecipeError, match="there is no trainable 'nowhere:Model'"):
        make_trainable(recipe_of(folder, trainable="nowhere:Model"), "cpu")
    with pytest.raises(RecipeError, match=r"model has \['depth'\]; it needs size or weights"):
        make_trainable(recipe_of(folder, model={"depth": 3}), "cpu")


def test_seeds_give_other_weights(folder: Path) -> None:
    first, again, other = (
        next(make_trainable(recipe_of(folder, seed=seed), "cpu").module.parameters()) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert isinstance(recipe_of(folder), Recipe)
