"""The velocity field as something to train: flow matching on straight paths (Lipman et al., arXiv 2210.02747)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prosebench.ecnf.config import load_size
from prosebench.ecnf.flow import Ecnf
from prosebench.ecnf.network import VelocityField
from prosebench.ecnf.nodes import Nodes
from prosebench.ecnf.weights import load_weights, save_weights
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.training.data import FrameBatch
from prosebench.training.recipe import RECOMPUTE_IS_UNKNOWN, Recipe, RecipeError
from prosebench.training.trainable import mean_loss, proposal_numbers

VALIDATION_BATCH = 100


class FlowMatchingLoss(nn.Module):
    """Squared difference between the field and the straight line from noise to data, summed over an atom's coordinates
    and averaged over the atoms."""

    def __init__(self, field: VelocityField, *, low_precision: bool = False) -> None:
        super().__init__()
        self.field, self.low_precision = field, low_precision

    def forward(self, t: Tensor, noise: Tensor, data: Tensor, nodes: Nodes) -> Tensor:
        """t (frames,), noise and data (frames, atoms, 3), centred, 0 where padded -> (frames,)."""
        share = t[:, None, None]
        with torch.autocast(t.device.type, torch.bfloat16, enabled=self.low_precision):
            velocity = self.field(t, (1.0 - share) * noise + share * data, nodes)
        return (velocity - (data - noise)).square().sum(dim=(1, 2)) / nodes.real.sum(dim=1)


class TrainableEcnf:
    """A velocity field of recipe.model: `size` names its size; `weights`, where given, are what it starts from."""

    def __init__(self, recipe: Recipe, device: str) -> None:
        if recipe.dispersion.weight:
            raise RecipeError(
                "dispersion needs a density in training, and flow matching has none; leave it out"
            )
        if recipe.compile != "no":
            raise RecipeError('compile is for Prose and TarFlow; leave it out, or set compile = "no"')
        if recipe.recompute != "no":
            raise RecipeError(RECOMPUTE_IS_UNKNOWN)
        self.device, self._known = device, dict[str, Nodes]()
        self.field = _field(recipe).to(device).train()
        self.module = FlowMatchingLoss(self.field, low_precision=recipe.precision == "bfloat16")

    def prepare(
        self,
        batch: FrameBatch,
        peptide: Callable[[str], Peptide],
        rng: np.random.Generator,
        *,
        part: float = 0.0,
    ) -> tuple[Tensor, Tensor, Tensor, Nodes]:
        """Times, noise, and frames in normalised units. They need no rotation: the field turns with them."""
        x = batch.positions_nm / self.field.config.nm_per_unit
        nodes = Nodes.join([self._nodes(peptide(one)) for one in batch.peptides], x.shape[1])
        real = nodes.real.numpy()[..., None]
        noise = _centred(rng.standard_normal(x.shape), real)
        t = torch.from_numpy(rng.random(len(x), dtype=np.float32))
        data = torch.from_numpy(_centred(x, real)).to(self.device)
        return (
            t.to(self.device),
            torch.from_numpy(noise).to(self.device),
            data,
            nodes.to(self.device, torch.float32),
        )

    @torch.no_grad()
    def validate(
        self, peptide: Peptide, frames: Ensemble | None, proposals: int, seed: int
    ) -> dict[str, float]:
        """flow-loss: the training loss on reference frames. Of proposals: ess (Kish after the published filter),
        median-energy in kT and field-evaluations of each."""
        numbers: dict[str, float] = {}
        with torch.compiler.set_stance("force_eager"):
            if frames is not None:
                numbers["flow-loss"] = mean_loss(
                    FlowMatchingLoss(self.field),
                    self.prepare,
                    peptide,
                    frames.positions_nm,
                    batch=VALIDATION_BATCH,
                    seed=seed,
                )
            if proposals:
                numbers |= self._of_proposals(peptide, proposals, seed)
        self.field.train()
        return numbers

    def save(self, path: Path, notes: Mapping[str, Any]) -> str:
        """Write an own weights file."""
        return save_weights(path, self.field, notes)

    def _of_proposals(self, peptide: Peptide, n: int, seed: int) -> dict[str, float]:
        found = Ecnf(self.field, device=self.device).propose(peptide, n, np.random.default_rng(seed))
        energies = make_target(peptide, TargetSettings()).energy(found.frames_nm)
        numbers = proposal_numbers(energies, found.log_weights(energies))
        return numbers | {"field-evaluations": float(found.field_evaluations.mean())}

    def _nodes(self, peptide: Peptide) -> Nodes:
        if peptide.sequence not in self._known:
            self._known[peptide.sequence] = Nodes.of(peptide.topology, self.field.config)
        return self._known[peptide.sequence]


def _centred(x: NDArray[np.floating], real: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Frames (n, atoms, 3) minus the mean of their real atoms; 0 where padded."""
    mean = x.sum(axis=1, keepdims=True, where=real) / real.sum(axis=1, keepdims=True)
    return np.where(real, x - mean, 0.0).astype(np.float32)


def _field(recipe: Recipe) -> VelocityField:
    unknown = set(recipe.model) - {"size", "weights"}
    if unknown or not recipe.model:
        raise RecipeError(f"model has {sorted(recipe.model)}; it needs size or weights, and may have both")
    if "weights" in recipe.model:
        return load_weights(recipe.model["weights"], size=recipe.model.get("size")).network
    torch.manual_seed(recipe.seed)
    return VelocityField(load_size(recipe.model["size"]))
