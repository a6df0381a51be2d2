"""Recipes: everything that decides the numbers of a training run, read from TOML."""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prosebench.store.fields import explained, first_fault
from prosebench.store.storage import read_text
from prosebench.training.data import Mix
from prosebench.training.dispersion import DispersionRecipe

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class RecipeError(ValueError):
    """A recipe that cannot be followed; the message names the key and what is known."""


RECOMPUTE_IS_UNKNOWN = 'recompute is for Prose and TarFlow; leave it out, or set recompute = "no"'
"""The error message of a trainable that can only keep everything for the backward pass."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataRecipe(_Part):
    """source: a folder of the published layout, or "published". longest: residues of the longest peptide taken.

    A step averages over `batches` batches of `batch` frames each, in every process; one batch is in memory at a time.
    With mix "peptide", each of them is of one peptide. window_shards are read and shuffled together: the more, the
    better mixed, and the more memory.
    """

    source: str
    longest: Positive | None = None
    revision: str = "main"
    batch: Positive = 512
    batches: Positive = 1
    mix: Mix = "mixed"
    window_shards: Positive = 1


class OptimiserRecipe(_Part):
    """AdamW with a one-cycle learning rate, gradients clipped by their norm, and an average of the weights.

    kind "muon" takes the matrices inside the layers out of AdamW's hands; betas are AdamW's alone.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: Annotated[float, Field(ge=0)] = 4e-4
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    warm_up: Share = 0.05
    divisor: Annotated[float, Field(gt=1)] = 500.0
    ema: Share = 0.999


class ValidationRecipe(_Part):
    """Every `every` steps: loss on `frames` reference frames and ESS of `proposals` proposals of each peptide.

    References are looked for in `references` and among the bundled ones; without one, a peptide gets its ESS only.
    """

    peptides: tuple[str, ...] = ()
    references: str = "references"
    frames: Positive = 1000
    proposals: Annotated[int, Field(ge=0)] = 1000
    every: Positive = 5000


class Recipe(_Part):
    """A training run. trainable is the class that is trained, "module:Class"; model is what it is made with.

    compile "layers" compiles the repeated layer of the network once for all (minutes saved against compiling it whole).
    recompute "layers" keeps only the input of each layer for the backward pass, which computes the layer again: a third
    more time, and a small part of the memory; for Prose and TarFlow alone. `prosebench train RECIPE --dry-run` says
    what a frame takes.
    """

    description: str = ""
    trainable: str = "prosebench.prose.trainable:TrainableProse"
    model: dict[str, Any]
    steps: Positive
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: Literal["no", "layers"] = "no"
    recompute: Literal["no", "layers"] = "no"
    log_every: Positive = 50
    checkpoint_every: Positive = 1000
    data: DataRecipe
    optimiser: OptimiserRecipe = OptimiserRecipe()
    validation: ValidationRecipe = ValidationRecipe()
    dispersion: DispersionRecipe = DispersionRecipe()


def recipe_names() -> list[str]:
    """Names of the recipes that come with prosebench."""
    return sorted(p.name.removesuffix(".toml") for p in _shipped().iterdir() if p.name.endswith(".toml"))


def load_recipe(name_or_path: str | Path, settings: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by its name, or any by its path, changed by settings "part.key=value" with a TOML value.

    Raises RecipeError naming what is wrong.
    """
    path = Path(name_or_path)
    if str(name_or_path) in recipe_names():
        text = (_shipped() / f"{name_or_path}.toml").read_text()
    elif path.suffix == ".toml" and path.exists():
        text = read_text(path)
    else:
        raise RecipeError(
            f"unknown recipe {str(name_or_path)!r}; known: {', '.join(recipe_names())}, or a .toml file"
        )
    try:
        content = tomllib.loads(text)
        for setting in settings:
            _assign(content, setting)
        return Recipe.model_validate(content)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe {name_or_path} is not TOML: {error}") from error
    except ValidationError as error:
        known = _known(first_fault(error)["loc"])
        raise RecipeError(f"recipe {name_or_path}: {explained(error)}; known keys: {known}") from error


def _known(place: tuple[int | str, ...]) -> str:
    """The keys that are known in the part of a recipe where something is wrong."""
    field = Recipe.model_fields.get(str(place[0])) if len(place) > 1 else None
    part = field.annotation if field else Recipe
    known = (
        part.model_fields if isinstance(part, type) and issubclass(part, BaseModel) else Recipe.model_fields
    )
    return ", ".join(known)


def _assign(content: dict[str, Any], setting: str) -> None:
    place, equals, text = setting.partition("=")
    *parts, key = place.strip().split(".")
    if not (equals and key):
        raise RecipeError(
            f"--set {setting!r} is not of the form key=value, as in optimiser.learning_rate=3e-4"
        )
    for part in parts:
        content = content.setdefault(part, {})
    try:
        content[key] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        content[key] = text.strip()


def _shipped() -> Any:
    return resources.files("prosebench.training") / "recipes"
