"""The autoregressive flow as something to train: loss, energy dispersion, validation."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prosebench.arbg.config import load_size
from prosebench.arbg.flow import Arbg
from prosebench.arbg.internal import log_volume, to_internal
from prosebench.arbg.network import Network, log_shape_density
from prosebench.arbg.scaffold import Scaffold
from prosebench.arbg.table import measure
from prosebench.arbg.weights import load_weights, save_weights
from prosebench.ensemble import Ensemble
from prosebench.flows.molecule.handedness import one_handed
from prosebench.peptide import Peptide
from prosebench.training.data import FrameBatch, TrainingData
from prosebench.training.dispersion import DispersionRecipe, Energies, dispersion, spread
from prosebench.training.recipe import RECOMPUTE_IS_UNKNOWN, Recipe, RecipeError
from prosebench.training.trainable import proposal_numbers

VALIDATION_BATCH = 250


class ArbgLoss(nn.Module):
    """Negative log-likelihood of each frame's shape in nm, divided by 3 atoms, and energy dispersion; in nats."""

    def __init__(self, network: Network, recipe: DispersionRecipe, *, low_precision: bool = False) -> None:
        super().__init__()
        self.network, self.recipe, self.low_precision = network, recipe, low_precision

    def forward(self, internal: Tensor, scaffold: Scaffold, energies_kt: Tensor, weight: float) -> Tensor:
        """The loss (frames,) of internal coordinates (frames, atoms, 3) with energies_kt (frames,) and the
        weight of their dispersion."""
        with torch.autocast(internal.device.type, torch.bfloat16, enabled=self.low_precision):
            log_q = self.network(internal, self.network.know(scaffold))
        log_q = log_q.double() - log_volume(internal.double())
        loss = -log_q
        if weight:
            loss = loss + weight * dispersion(log_q, energies_kt, self.recipe.largest_kt)
        return (loss / (3 * scaffold.n_atoms)).float()


class TrainableArbg:
    """A flow of recipe.model: `size` names its size; `weights`, where given, are what it starts from."""

    def __init__(self, recipe: Recipe, device: str) -> None:
        if recipe.data.mix != "peptide":
            raise RecipeError('this flow is trained on batches of one peptide each; set data.mix = "peptide"')
        if recipe.recompute != "no":
            raise RecipeError(RECOMPUTE_IS_UNKNOWN)
        self.device, self.dispersion = device, recipe.dispersion
        self._scaffolds, self._energies = dict[str, Scaffold](), Energies()
        self.network = _network(recipe).to(device).train()
        self.module = ArbgLoss(self.network, recipe.dispersion, low_precision=recipe.precision == "bfloat16")
        if recipe.compile == "layers":
            for layer in self.network.layers:
                layer.compile(dynamic=True)

    def prepare(
        self,
        batch: FrameBatch,
        peptide: Callable[[str], Peptide],
        rng: np.random.Generator,
        *,
        part: float = 0.0,
    ) -> tuple[Tensor, Scaffold, Tensor, float]:
        """Internal coordinates, scaffold, energies and the weight of their dispersion; there is nothing to augment,
        since the density does not know place and orientation. part of the run is done (0 to 1)."""
        (sequence,) = batch.peptides
        one, weight = peptide(sequence), self.dispersion.at(part)
        internal, scaffold = self._internal(one, batch.positions_nm)
        energies = torch.zeros(len(internal), dtype=torch.float64)
        if weight:
            energies = torch.from_numpy(self._energies(one, batch.positions_nm))
        return internal.to(self.device), scaffold.to(self.device), energies.to(self.device), weight

    @torch.no_grad()
    def validate(
        self, peptide: Peptide, frames: Ensemble | None, proposals: int, seed: int
    ) -> dict[str, float]:
        """Of reference frames: nll, the training loss in float32 without dispersion, and spread, see
        `prosebench.training.dispersion`. Of proposals: ess (Kish after the published filter) and median-energy in
        kT."""
        numbers: dict[str, float] = {}
        with torch.compiler.set_stance("force_eager"):
            if frames is not None:
                log_q = self._log_q(peptide, frames.positions_nm)
                numbers["nll"] = float(-log_q.mean()) / (3 * peptide.n_atoms)
                numbers["spread"] = spread(log_q, frames.energies_kt, peptide.n_atoms)
            if proposals:
                drawn = Arbg(self.network, device=self.device).sample(peptide, proposals, seed=seed)
                assert drawn.log_weights is not None
                numbers |= proposal_numbers(drawn.energies_kt, drawn.log_weights)
        self.network.train()
        return numbers

    def save(self, path: Path, notes: Mapping[str, Any]) -> str:
        """Write an own weights file."""
        return save_weights(path, self.network, notes)

    def _internal(self, peptide: Peptide, frames_nm: np.ndarray) -> tuple[Tensor, Scaffold]:
        if peptide.sequence not in self._scaffolds:
            self._scaffolds[peptide.sequence] = Scaffold.of(peptide.topology)
        scaffold = self._scaffolds[peptide.sequence]
        frames = one_handed(np.asarray(frames_nm, dtype=np.float32), [peptide.topology])
        return to_internal(torch.from_numpy(frames)[:, scaffold.order], scaffold), scaffold

    def _log_q(self, peptide: Peptide, frames_nm: np.ndarray) -> np.ndarray:
        internal, scaffold = self._internal(peptide, frames_nm)
        known = self.network.know(scaffold.to(self.device))
        parts = [
            log_shape_density(self.network, part.to(self.device), known)
            for part in internal.split(VALIDATION_BATCH)
        ]
        return torch.cat(parts).cpu().numpy()


def _network(recipe: Recipe) -> Network:
    unknown = set(recipe.model) - {"size", "weights"}
    if unknown or len({"size", "weights"} & set(recipe.model)) != 1:
        raise RecipeError(f"model has {sorted(recipe.model)}; it needs size or weights, and nothing else")
    if "weights" in recipe.model:
        return load_weights(recipe.model["weights"]).network
    torch.manual_seed(recipe.seed)
    network = Network(load_size(recipe.model["size"]))
    data = recipe.data
    network.set_table(measure(TrainingData(data.source, longest=data.longest, revision=data.revision)))
    return network
