"""What the loop needs of a method that can be trained."""

from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

import numpy as np
from torch import nn

from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.training.data import FrameBatch
from prosebench.training.recipe import Recipe, RecipeError


class Trainable(Protocol):
    """A model with its loss.

    module is called with what `prepare` returns and gives the loss of each frame (n,); its parameters are trained.
    """

    module: nn.Module

    def __init__(self, recipe: Recipe, device: str) -> None:
        """From recipe.model, precision and compile; weights drawn from recipe.seed. ValueError for a wrong model."""

    def prepare(
        self, batch: FrameBatch, peptide: Callable[[str], Peptide], rng: np.random.Generator
    ) -> tuple[Any, ...]:
        """Arguments of the module: augmented tensors on the device."""

    def validate(
        self, peptide: Peptide, frames: Ensemble | None, proposals: int, seed: int
    ) -> Mapping[str, float]:
        """Numbers by name for one peptide, with the weights as they stand; frames are of its reference, if there is
        one."""

    def save(self, path: Path, notes: Mapping[str, Any]) -> str:
        """Write the weights as they stand, with notes; returns the SHA-256 of the file."""


def make_trainable(recipe: Recipe, device: str) -> Trainable:
    """The trainable that a recipe names. Raises RecipeError where there is none of that name."""
    try:
        kind: type[Trainable] = resolve_name(recipe.trainable)
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(
            f"there is no trainable {recipe.trainable!r} ({error}); give module:Class"
        ) from error
    return kind(recipe, device)
