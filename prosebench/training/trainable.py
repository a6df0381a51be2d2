"""What the loop needs of a method that can be trained."""

from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prosebench.ensemble import Ensemble
from prosebench.frames.importance import ess, filter_top
from prosebench.peptide import Peptide
from prosebench.training.data import FrameBatch
from prosebench.training.recipe import Recipe, RecipeError

Prepare = Callable[..., tuple[Any, ...]]


class Trainable(Protocol):
    """A model with its loss.

    module is called with what `prepare` returns and gives the loss of each frame (n,); its parameters are trained.
    """

    module: nn.Module

    def __init__(self, recipe: Recipe, device: str) -> None:
        """Make it from recipe.model, precision and compile; weights are drawn from recipe.seed. ValueError
        for a wrong model."""

    def prepare(
        self,
        batch: FrameBatch,
        peptide: Callable[[str], Peptide],
        rng: np.random.Generator,
        *,
        part: float = 0.0,
    ) -> tuple[Any, ...]:
        """Arguments of the module: augmented tensors on the device. part of the run is done (0 to 1)."""

    def validate(
        self, peptide: Peptide, frames: Ensemble | None, proposals: int, seed: int
    ) -> Mapping[str, float]:
        """Numbers by name for one peptide, with the weights as they stand; frames are of its reference, if there is
        one."""

    def save(self, path: Path, notes: Mapping[str, Any]) -> str:
        """Write the weights as they stand, with notes; returns the SHA-256 of the file."""


def mean_loss(
    module: nn.Module,
    prepare: Prepare,
    peptide: Peptide,
    frames_nm: NDArray[np.float32],
    *,
    batch: int,
    seed: int,
) -> float:
    """Mean loss of frames (n, atoms, 3) of one peptide, prepared as for training by a random stream of its own."""
    rng, losses = np.random.default_rng(seed), []
    for first in range(0, len(frames_nm), batch):
        part = frames_nm[first : first + batch]
        arguments = prepare(FrameBatch((peptide.sequence,) * len(part), part), lambda _: peptide, rng)
        losses.append(module(*arguments))
    return float(torch.cat(losses).mean())


def proposal_numbers(energies_kt: NDArray[np.float64], log_weights: NDArray[np.float64]) -> dict[str, float]:
    """ess (Kish, after the published filter, as a share of the weights) and median-energy (kT) of proposals (n,)."""
    kept = log_weights[filter_top(log_weights)]
    return {"ess": ess(kept), "median-energy": float(np.median(energies_kt))}


def make_trainable(recipe: Recipe, device: str) -> Trainable:
    """The trainable that a recipe names. Raises RecipeError where there is none of that name."""
    try:
        kind: type[Trainable] = resolve_name(recipe.trainable)
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(
            f"there is no trainable {recipe.trainable!r} ({error}); give module:Class"
        ) from error
    return kind(recipe, device)
