"""Fine-tuning of a flow on weighted proposals of its own, with a term that holds it near the model it started from."""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from prosebench.flows.device import is_gpu, repeatable
from prosebench.flows.molecule.handedness import one_handed
from prosebench.flows.molecule.tokens import Tokens
from prosebench.frames.importance import clean_log_weights, filter_top, resample
from prosebench.peptide import Peptide
from prosebench.prose.flow import TRAINING_TEMPERATURE_KELVIN, Prose, latent_spread
from prosebench.prose.network import Network
from prosebench.prose.snis import LatentSettings
from prosebench.prose.trainable import FlowLoss, augment
from prosebench.ranks import ALONE, Ranks
from prosebench.training.schedule import one_cycle

Frames = NDArray[np.float32]

PIECE_FRAMES = 64
"""The number of frames in one piece of a batch of fine-tuning. Ranks share the pieces, and the gradients of
the pieces are summed in order, so that the sum is the same for any number of ranks."""


class TuningSettings(LatentSettings):
    """Fine-tuning of a round: steps of AdamW with a one-cycle learning rate, and how much the start model holds back.

    The loss is NLL / (3 atoms) + teacher * mean (log q - log q of the start model)^2, with the latent that the next
    proposals will have; see LatentSettings.
    """

    rounds: int = Field(4, ge=0)
    steps: int = Field(250, gt=0)
    tuning_batch: int = Field(256, gt=0)
    learning_rate: float = Field(5e-6, gt=0)
    weight_decay: float = Field(4e-4, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    teacher: float = Field(0.5, ge=0)


def draw_buffer(frames: Frames, log_weights: NDArray[np.float64], rng: np.random.Generator) -> Frames | None:
    """As many frames as there are, drawn by their weights after the published filter; None where no frame has
    a weight."""
    kept = filter_top(log_weights)
    if not np.isfinite(clean_log_weights(log_weights[kept])).any():
        return None
    return frames[kept[resample(log_weights[kept], len(frames), rng)]]


def fine_tune(
    network: Network,
    teacher: Network,
    buffers: Mapping[Peptide, Frames],
    settings: TuningSettings,
    rng: np.random.Generator,
    *,
    latent_kelvin: float = TRAINING_TEMPERATURE_KELVIN,
    ranks: Ranks = ALONE,
) -> float:
    """Train a network in place on frames (n, atoms, 3) in nm; batches are of one peptide, in turn. The last loss.

    latent_kelvin is the temperature at which the latent of the next proposals is drawn. Ranks share the batches of a
    network on a CPU; on GPUs, where passing gradients on takes longer than computing them, the first one trains and
    hands the weights to the others.
    """
    device = str(next(network.parameters()).device)
    if not (is_gpu(device) and ranks.size > 1):
        return _train(network, teacher, buffers, settings, rng, latent_kelvin, ranks)

    def trained() -> tuple[float, dict[str, NDArray[np.float32]]]:
        return _train(network, teacher, buffers, settings, rng, latent_kelvin, ALONE), weights_of(network)

    loss, weights = ranks.of_first(trained)
    put_weights(network.eval(), weights)
    return loss


def _train(
    network: Network,
    teacher: Network,
    buffers: Mapping[Peptide, Frames],
    settings: TuningSettings,
    rng: np.random.Generator,
    latent_kelvin: float,
    ranks: Ranks,
) -> float:
    spread = latent_spread(latent_kelvin)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=settings.weight_decay, fused=True
    )
    device = str(next(network.parameters()).device)
    loss_of = _Loss(
        FlowLoss(network.train(), spread=spread), FlowLoss(teacher, spread=spread), settings.teacher
    )
    tokens = {peptide: Prose(teacher, device=device).tokens(peptide) for peptide in buffers}
    last: float | Tensor = math.nan
    with repeatable(device):
        for step, peptide in zip(range(settings.steps), itertools.cycle(buffers), strict=False):
            x = _draw_batch(network, peptide, buffers[peptide], settings.tuning_batch, rng, spread).to(device)
            backward = partial(loss_of.backward, tokens=tokens[peptide], whole=len(x))
            loss = _sum_gradients(backward, x.split(PIECE_FRAMES), list(network.parameters()), ranks)
            rate = one_cycle(step, settings.steps, settings.learning_rate)
            if _step(network, optimiser, rate, settings.clip_norm):
                last = loss
    network.eval()
    return float(last)


def weights_of(network: Network) -> dict[str, NDArray[np.float32]]:
    """The weights as arrays, "weights.NAME" each; on a CPU, these are the weights themselves and no copies."""
    return {f"weights.{name}": value.detach().cpu().numpy() for name, value in network.named_parameters()}


@torch.no_grad()
def put_weights(network: Network, arrays: Mapping[str, NDArray[Any]]) -> None:
    """The reverse of `weights_of`; other arrays are passed over."""
    for name, value in network.named_parameters():
        value.copy_(torch.from_numpy(arrays[f"weights.{name}"]))


def _draw_batch(
    network: Network, peptide: Peptide, frames: Frames, size: int, rng: np.random.Generator, spread: float
) -> Tensor:
    """A batch drawn from the frames, augmented, in normalised units."""
    chosen: NDArray[np.floating] = frames[rng.integers(len(frames), size=size)] / network.config.nm_per_unit
    if network.config.coordinates == "local":  # a frame that was mirrored has labels of the other hand
        chosen = one_handed(chosen, [peptide.topology])
    orientation = network.config.orientation([peptide.topology], spread)
    atoms = np.full(len(chosen), peptide.n_atoms)
    return torch.from_numpy(augment(chosen, atoms, rng, spread=spread, orientation=orientation))


def _step(network: Network, optimiser: torch.optim.AdamW, rate: float, clip_norm: float) -> bool:
    """Take a step along the gradients, and clear them; False where they are not finite, and none is taken."""
    norm = nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    finite = bool(torch.isfinite(norm))
    if finite:
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return finite


@dataclass(frozen=True, eq=False)
class _Loss:
    """NLL / (3 atoms) + teacher * (log q - log q of the start model)^2, each a mean over frames of one peptide."""

    tuned: FlowLoss
    start: FlowLoss
    teacher: float

    def backward(self, piece: Tensor, tokens: Tokens, whole: int) -> Tensor:
        """Add the gradients of a piece of a batch of `whole` frames; its part of the loss."""
        nll = self.tuned(piece, tokens)
        with torch.no_grad():
            start_nll = self.start(piece, tokens)
        difference = 3 * piece.shape[1] * (nll - start_nll)
        loss = (nll.mean() + self.teacher * difference.square().mean()) * (len(piece) / whole)
        loss.backward()
        return loss.detach()


def _sum_gradients(
    backward: Callable[[Tensor], Tensor],
    pieces: Sequence[Tensor],
    parameters: list[nn.Parameter],
    ranks: Ranks,
) -> Tensor:
    """Leave the sum of the pieces' gradients, taken in their order, in .grad of the parameters; the sum of losses."""
    if ranks.size == 1:
        return _sum([backward(piece) for piece in pieces])

    def gradients(piece: Tensor) -> tuple[Tensor, list[NDArray[np.float32] | None]]:
        for parameter in parameters:
            parameter.grad = None
        loss = backward(piece)
        return loss, [None if one.grad is None else one.grad.numpy() for one in parameters]

    losses, found = zip(*ranks.map(gradients, pieces), strict=True)
    for parameter, parts in zip(parameters, zip(*found, strict=True), strict=True):
        there = [torch.from_numpy(part) for part in parts if part is not None]
        parameter.grad = _sum(there) if there else None
    return _sum(losses)


def _sum(values: Sequence[Tensor]) -> Tensor:
    """The sum of some arrays, added in their order."""
    return functools.reduce(torch.add, values)
