"""The optimiser of a run: AdamW for all weights, or Muon for the matrices inside the layers and AdamW for the rest."""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from prosebench.training.recipe import OptimiserRecipe

COORDINATES = 6
"""The largest width of the narrow side of a map that reads or writes coordinates: the scale and shift of a
token are six numbers."""


class RunOptimiser:
    """One or two optimisers of torch behind the calls that a loop makes.

    Muon (Jordan et al. 2024) makes every step of a matrix orthogonal; its steps are scaled to the size of AdamW's
    (arXiv 2502.16982, eq. 4), so that one learning rate serves both.
    """

    def __init__(self, module: nn.Module, recipe: OptimiserRecipe) -> None:
        matrices = list(inner_matrices(module)) if recipe.kind == "muon" else []
        chosen = {id(weight) for weight in matrices}
        rest = [weight for weight in module.parameters() if id(weight) not in chosen]
        decay = recipe.weight_decay
        self._parts: list[Optimizer] = [
            torch.optim.AdamW(rest, lr=0.0, betas=recipe.betas, weight_decay=decay, fused=True)
        ]
        if matrices:
            self._parts.append(
                torch.optim.Muon(matrices, lr=0.0, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
            )

    def step(self, learning_rate: float) -> None:
        """Move the weights along their gradients."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = learning_rate
            part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """The state of the optimisers, for a checkpoint."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a stored state."""
        for part, stored in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(stored)


def inner_matrices(module: nn.Module) -> list[torch.Tensor]:
    """Weights of linear maps between channels: those that touch coordinates (3 in, 3 or 6 out) are no such maps."""
    linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
    return [part.weight for part in linear if min(part.weight.shape) > COORDINATES]
