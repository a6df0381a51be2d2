"""A flow as a proposal: draws, exact log-densities and their gradients, centre and handedness as the flow has them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.func import functional_call

from prosebench.energy.target import check_frames
from prosebench.frames.placement import Placement
from prosebench.peptide import Peptide
from prosebench.proposal import Draws, finite_or_nothing
from prosebench.prose.flow import TRAINING_TEMPERATURE_KELVIN, Prose, latent_spread

GRADIENT_BYTES = {"cpu": 2**30, "cuda": 24 * 2**30}
"""Memory of a backward pass, by kind of device."""

_NUMBERS_KEPT = 40
"""Float32 numbers that a backward pass keeps of an atom for each channel of each layer, with an expansion of 4."""


@dataclass(frozen=True, eq=False)
class FlowProposal:
    """The flow of `prose` for one peptide, its latent drawn as for a temperature.

    batch is the number of frames that are drawn together. The gradient is that of the direction x -> z, which takes
    all atoms at once and not one after the other.
    """

    prose: Prose
    peptide: Peptide
    latent_kelvin: float = TRAINING_TEMPERATURE_KELVIN
    batch: int | None = None

    @property
    def n_atoms(self) -> int:
        """Atoms of a frame."""
        return self.peptide.n_atoms

    @property
    def placement(self) -> Placement:
        """That of the flow's training, widened as the latent is."""
        config = self.prose.config
        centre_std_nm = config.nm_per_unit * math.sqrt(self._spread / self.n_atoms)
        return Placement(centre_std_nm, config.orientation([self.peptide.topology], self._spread))

    @property
    def length_unit_nm(self) -> float:
        """See `Proposal.length_unit_nm`."""
        return self.prose.config.nm_per_unit

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        """See `Proposal.draw`."""
        found = self.prose.propose(
            self.peptide, n, rng, temperature_kelvin=self.latent_kelvin, mirror=False, batch=self.batch
        )
        centres_nm = found.centres[:, None] * found.nm_per_unit
        return Draws((found.frames_nm + centres_nm).astype(np.float32), found.log_q_full, {})

    def log_density_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `Proposal.log_density_and_gradient`."""
        unit = self.prose.config.nm_per_unit
        frames = check_frames(frames_nm, self.n_atoms) / unit
        log_q, gradients = np.empty(len(frames)), np.empty(frames.shape)
        size = self._frames_at_once()
        weights = {name: value.detach() for name, value in self.prose.network.named_parameters()}
        tokens = self.prose.tokens(self.peptide)
        dtype = next(iter(weights.values())).dtype
        for first in range(0, len(frames), size):
            part = slice(first, first + size)
            x = torch.as_tensor(frames[part], dtype=dtype, device=self.prose.device).requires_grad_()
            z, log_det = functional_call(self.prose.network, weights, (x, tokens))
            value = log_det.double() - 0.5 * z.double().square().sum(dim=(1, 2)) / self._spread
            gradients[part] = torch.autograd.grad(value.sum(), x)[0].double().cpu().numpy() / unit
            log_q[part] = value.detach().cpu().numpy()
        log_q -= 1.5 * self.n_atoms * math.log(2 * math.pi * self._spread * unit**2)
        return finite_or_nothing(log_q, gradients)

    def _frames_at_once(self) -> int:
        """Frames of a backward pass: by the size of the network and the kind of device, not by what is free."""
        config, kind = self.prose.config, torch.device(self.prose.device).type
        frame = 4 * _NUMBERS_KEPT * config.channels * config.blocks * config.layers_per_block * self.n_atoms
        return max(1, GRADIENT_BYTES.get(kind, GRADIENT_BYTES["cpu"]) // frame)

    @property
    def _spread(self) -> float:
        return latent_spread(self.latent_kelvin)
