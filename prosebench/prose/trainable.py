"""Prose and TarFlow as something to train: augmentation, loss, validation."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from prosebench.ensemble import Ensemble
from prosebench.flows.molecule.handedness import one_handed
from prosebench.flows.molecule.tokens import Tokens
from prosebench.frames.geometry import random_rotations
from prosebench.frames.placement import Orientation, Placement
from prosebench.peptide import Peptide
from prosebench.prose.config import load_size
from prosebench.prose.flow import Prose
from prosebench.prose.layers import AdaptiveLayer, PlainLayer
from prosebench.prose.network import Network
from prosebench.prose.weights import load_weights, save_weights
from prosebench.training.data import FrameBatch
from prosebench.training.dispersion import DispersionRecipe, Energies, dispersion, spread
from prosebench.training.recipe import Recipe, RecipeError
from prosebench.training.trainable import mean_loss, proposal_numbers

VALIDATION_BATCH = 250


class FlowLoss(nn.Module):
    """Negative log-likelihood of each frame in normalised units, divided by 3 atoms; in nats.

    spread is the variance of the latent: T / 310 K where a flow is trained as it is drawn from at another temperature.
    """

    def __init__(
        self,
        network: Network,
        *,
        low_precision: bool = False,
        spread: float = 1.0,
        recipe: DispersionRecipe | None = None,
    ) -> None:
        super().__init__()
        self.network, self.low_precision, self.spread = network, low_precision, spread
        self.recipe = recipe or DispersionRecipe()

    def forward(
        self, x: Tensor, tokens: Tokens, energies_kt: Tensor | None = None, weight: float = 0.0
    ) -> Tensor:
        """x (frames, atoms, 3), 0 where padded -> (frames,). With energies_kt (frames,), those of centre and
        orientation included, and a weight, energy dispersion is added."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.low_precision):
            z, log_det = self.network(x, tokens)
        dimension = 3 * tokens.mask.sum(dim=1)
        squares = z.square().sum(dim=(1, 2)) / self.spread
        loss = (0.5 * squares - log_det) / dimension + 0.5 * math.log(2 * math.pi * self.spread)
        if energies_kt is not None and weight:
            scattered = dispersion(-loss * dimension, energies_kt, self.recipe.largest_kt)
            loss = loss + weight * (scattered / dimension).to(loss.dtype)
        return loss


class TrainableProse:
    """A flow of recipe.model: `size` names its size; `weights`, where given, are what it starts from."""

    def __init__(self, recipe: Recipe, device: str) -> None:
        self.device, self._known = device, dict[str, Tokens]()
        self.network = _network(recipe).to(device).train()
        self.dispersion, self._energies = recipe.dispersion, Energies()
        if recipe.dispersion.weight and recipe.data.mix != "peptide":
            raise RecipeError('dispersion compares frames of one peptide; set data.mix = "peptide"')
        self.module = FlowLoss(
            self.network, low_precision=recipe.precision == "bfloat16", recipe=recipe.dispersion
        )
        if recipe.recompute == "layers":
            recompute_layers(self.network)
        if recipe.compile == "layers":
            compile_layers(self.network)

    def prepare(
        self,
        batch: FrameBatch,
        peptide: Callable[[str], Peptide],
        rng: np.random.Generator,
        *,
        part: float = 0.0,
    ) -> tuple[Tensor, Tokens, Tensor | None, float]:
        """Frames in normalised units, their centre drawn from N(0, 1/atoms), rotated at random (arXiv 2508.18175);
        tokens; energies and the weight of their dispersion, where that has set in when a part of the run is done.

        For a flow in local coordinates they are rotated to a narrow density of orientations, and equivalent hydrogens
        have labels of one handedness.
        """
        atoms = np.array([peptide(sequence).n_atoms for sequence in batch.sequences])
        topologies = [peptide(sequence).topology for sequence in batch.peptides]
        config = self.network.config
        frames: NDArray[np.floating] = batch.positions_nm
        if config.coordinates == "local":
            frames = one_handed(frames, topologies)
        x = augment(frames / config.nm_per_unit, atoms, rng, orientation=config.orientation(topologies))
        tokens = Tokens.join([self._tokens(peptide(sequence)) for sequence in batch.peptides], x.shape[1])
        weight = self.dispersion.at(part)
        energies = self._placed_energies(peptide(batch.peptides[0]), frames, x) if weight else None
        return torch.from_numpy(x).to(self.device), tokens.to(self.device), energies, weight

    def _placed_energies(
        self, peptide: Peptide, frames_nm: NDArray[np.floating], x: NDArray[np.float32]
    ) -> Tensor:
        """Energies (n,) in kT of frames of one peptide, with those of centre and orientation as they are in x."""
        config = self.network.config
        centre_std_nm = config.nm_per_unit / math.sqrt(peptide.n_atoms)
        placement = Placement(centre_std_nm, config.orientation([peptide.topology]))
        placed = placement.energy_and_gradient(x * config.nm_per_unit)[0]
        return torch.from_numpy(self._energies(peptide, frames_nm) + placed).to(self.device)

    @torch.no_grad()
    def validate(
        self, peptide: Peptide, frames: Ensemble | None, proposals: int, seed: int
    ) -> dict[str, float]:
        """Of reference frames: nll, the training loss in float32, and spread (`prosebench.training.dispersion`). Of
        proposals: ess (Kish after the published filter) and median-energy in kT."""
        numbers: dict[str, float] = {}
        with torch.compiler.set_stance("force_eager"):
            if frames is not None:
                numbers["spread"] = self._spread(peptide, frames, seed)
                numbers["nll"] = mean_loss(
                    FlowLoss(self.network),
                    self.prepare,
                    peptide,
                    frames.positions_nm,
                    batch=VALIDATION_BATCH,
                    seed=seed,
                )
            if proposals:
                numbers |= self._of_proposals(peptide, proposals, seed)
        self.network.train()
        return numbers

    def save(self, path: Path, notes: Mapping[str, Any]) -> str:
        """Write an own weights file."""
        return save_weights(path, self.network, notes)

    def _spread(self, peptide: Peptide, frames: Ensemble, seed: int) -> float:
        """Var(log q + U) an atom; see `prosebench.training.dispersion.spread`."""
        rng, log_q, energies = np.random.default_rng(seed), [], []
        loss = FlowLoss(self.network)
        for first in range(0, len(frames), VALIDATION_BATCH):
            part = frames.positions_nm[first : first + VALIDATION_BATCH]
            batch = FrameBatch((peptide.sequence,) * len(part), part)
            x, tokens, _, _ = self.prepare(batch, lambda _: peptide, rng)
            log_q.append(-loss(x, tokens).double().cpu().numpy() * 3 * peptide.n_atoms)
            energies.append(self._placed_energies(peptide, part, x.cpu().numpy()).cpu().numpy())
        return spread(np.concatenate(log_q), np.concatenate(energies), peptide.n_atoms)

    def _of_proposals(self, peptide: Peptide, n: int, seed: int) -> dict[str, float]:
        ensemble = Prose(self.network, device=self.device).sample(
            peptide, n, seed=seed, batch=VALIDATION_BATCH
        )
        assert ensemble.log_weights is not None
        return proposal_numbers(ensemble.energies_kt, ensemble.log_weights)

    def _tokens(self, peptide: Peptide) -> Tokens:
        if peptide.sequence not in self._known:
            self._known[peptide.sequence] = Tokens.of([peptide.topology], self.network.config.block_orders)
        return self._known[peptide.sequence]


def augment(
    x: NDArray[np.floating],
    atoms: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    spread: float = 1.0,
    orientation: Orientation | None = None,
) -> NDArray[np.float32]:
    """Frames (n, padded atoms, 3) centred, rotated, and shifted by N(0, spread / atoms) along each axis.

    atoms (n,) says how many atoms of each frame are real; padding stays 0. spread is the variance of the latent;
    orientation the density of orientations to rotate to: narrow for local coordinates, uniform where left out.
    """
    real = (np.arange(x.shape[1]) < atoms[:, None])[..., None]
    centred = x - x.sum(axis=1, keepdims=True, where=real) / atoms[:, None, None]
    turns = orientation.draw_turns(centred, rng) if orientation else random_rotations(rng, len(x))
    rotated = centred @ turns
    shifts = rng.standard_normal((len(x), 1, 3)) * np.sqrt(spread / atoms)[:, None, None]
    return np.where(real, rotated + shifts, 0.0).astype(np.float32)


def compile_layers(network: Network) -> None:
    """Compile the layer that the network repeats, in place: once for all, whatever the number of atoms."""
    for layer in _repeated(network):
        layer.compile(dynamic=True)


def recompute_layers(network: Network) -> None:
    """Have each layer keep its input alone for the backward pass, which computes the layer again."""
    for layer in _repeated(network):
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


def _repeated(network: Network) -> list[nn.Module]:
    """The layers of all blocks."""
    kind = PlainLayer if network.config.conditioning == "additive" else AdaptiveLayer
    return [module for module in network.modules() if isinstance(module, kind)]


def _network(recipe: Recipe) -> Network:
    unknown = set(recipe.model) - {"size", "weights", "nm_per_unit"}
    if unknown or not {"size", "weights"} & set(recipe.model):
        raise RecipeError(
            f"model has {sorted(recipe.model)}; it needs size or weights, and may have nm_per_unit"
        )
    if "weights" in recipe.model:
        return load_weights(recipe.model["weights"], size=recipe.model.get("size")).network
    config = load_size(recipe.model["size"])
    if "nm_per_unit" in recipe.model:
        config = config.model_copy(update={"nm_per_unit": float(recipe.model["nm_per_unit"])})
    torch.manual_seed(recipe.seed)
    return Network(config)
