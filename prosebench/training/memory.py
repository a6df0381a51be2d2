"""Memory that a training step needs: what is there always, and what a frame adds for the backward pass."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prosebench.peptide import Peptide
from prosebench.training.data import FrameBatch
from prosebench.training.recipe import Recipe
from prosebench.training.trainable import Trainable, make_trainable

COPIES = {"adamw": 5, "muon": 4}
"""The number of arrays as large as the weights, by optimiser: the weights, the gradients, the running average
of the weights, and the one or two means of the optimiser."""


@dataclass(frozen=True)
class StepMemory:
    """parameters of the model; fixed_bytes that weights, gradients and optimiser take; frame_bytes that are kept of
    each frame of `atoms` atoms until the backward pass has gone through it."""

    parameters: int
    fixed_bytes: int
    frame_bytes: int
    atoms: int

    def frames_that_fit(self, memory_bytes: int) -> int:
        """Frames of a batch on a device with so much memory, with a tenth of it to spare."""
        return max(0, int(0.9 * memory_bytes - self.fixed_bytes) // self.frame_bytes)


def step_memory(recipe: Recipe, peptide: Peptide) -> StepMemory:
    """The memory of a step, measured on the CPU without doing one: what autograd keeps of three frames minus
    what it keeps of two is that of one frame."""
    trainable = make_trainable(recipe.model_copy(update={"compile": "no"}), "cpu")
    parameters = list(trainable.module.parameters())
    numbers = sum(one.numel() for one in parameters)
    three, two = (_kept(trainable, peptide, frames) for frames in (3, 2))
    fixed = 4 * numbers * COPIES[recipe.optimiser.kind]
    return StepMemory(numbers, fixed, max(1, three - two), peptide.n_atoms)


def _kept(trainable: Trainable, peptide: Peptide, frames: int) -> int:
    """Bytes of the arrays that a forward pass keeps for the backward pass, each counted once."""
    own = {one.untyped_storage()._cdata for one in trainable.module.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in own:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    positions = np.repeat(peptide.start_nm[None], frames, axis=0).astype(np.float32)
    batch = FrameBatch((peptide.sequence,) * frames, positions)
    arguments: tuple[Any, ...] = trainable.prepare(batch, lambda _: peptide, np.random.default_rng(0))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = trainable.module(*arguments).mean()
    assert loss.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
