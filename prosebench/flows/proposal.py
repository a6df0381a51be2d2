"""A flow as a proposal: draws, exact log-densities and their gradients, centre and handedness as the flow has them."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from prosebench.energy.target import check_frames
from prosebench.flows.device import is_gpu, memory_bytes
from prosebench.flows.flow import TRAINING_TEMPERATURE_KELVIN, Drawn, Flow
from prosebench.frames.placement import Placement
from prosebench.peptide import Peptide
from prosebench.proposal import Draws, finite_or_nothing

GRADIENT_BYTES = 2**30
"""The memory in bytes that a backward pass may take on a CPU. It decides how many frames go through it
together."""
GRADIENT_SHARE = 0.3
"""The share of a GPU's whole memory that a backward pass may take there."""


class SmoothFlow(Flow[Drawn]):
    """A flow whose log-density has a gradient, by autograd through `log_density`; so it can be annealed from."""

    @property
    @abstractmethod
    def length_unit_nm(self) -> float:
        """See `prosebench.proposal.Proposal.length_unit_nm`."""

    @abstractmethod
    def gradient_bytes(self, peptide: Peptide) -> int:
        """The rough memory in bytes that a backward pass keeps for one frame."""


@dataclass(frozen=True, eq=False)
class FlowProposal:
    """A flow for one peptide, drawn from as for a temperature; see `prosebench.proposal`.

    batch is the number of frames that are drawn together. How many go through a backward pass together depends on the
    size of the network and the kind of device, not on what is free.
    """

    flow: SmoothFlow
    peptide: Peptide
    temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN
    batch: int | None = None

    @property
    def n_atoms(self) -> int:
        """The number of atoms in a frame."""
        return self.peptide.n_atoms

    @property
    def placement(self) -> Placement:
        """The placement of the flow."""
        return self.flow.placement(self.peptide, self.temperature_kelvin)

    @property
    def length_unit_nm(self) -> float:
        """See `Proposal.length_unit_nm`."""
        return self.flow.length_unit_nm

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        """See `Proposal.draw`."""
        found = self.flow.propose(
            self.peptide, n, rng, temperature_kelvin=self.temperature_kelvin, mirror=False, batch=self.batch
        )
        frames = (found.frames_nm + found.centres_nm[:, None]).astype(np.float32)
        return Draws(frames, found.log_q_full, {})

    def as_drawn(self, frames_nm: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.floating]:
        """See `Proposal.as_drawn`."""
        return self.flow.as_drawn(self.peptide, frames_nm, rng, self.temperature_kelvin)

    @torch.no_grad()
    def log_density(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """See `Proposal.log_density`."""
        frames = check_frames(frames_nm, self.n_atoms)
        log_q, size = np.empty(len(frames)), self.batch or len(frames)
        for first in range(0, len(frames), size):
            part = slice(first, first + size)
            x = torch.as_tensor(frames[part], dtype=torch.float64, device=self.flow.device)
            log_q[part] = self.flow.log_density(self.peptide, x, self.temperature_kelvin).cpu().numpy()
        return np.where(np.isfinite(log_q), log_q, -np.inf)

    def log_density_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `Proposal.log_density_and_gradient`."""
        frames = check_frames(frames_nm, self.n_atoms)
        log_q, gradients = np.empty(len(frames)), np.empty(frames.shape)
        device = torch.device(self.flow.device)
        memory = int(GRADIENT_SHARE * memory_bytes(device)) if is_gpu(device) else GRADIENT_BYTES
        size = max(1, memory // self.flow.gradient_bytes(self.peptide))
        for first in range(0, len(frames), size):
            part = slice(first, first + size)
            x = torch.as_tensor(frames[part], dtype=torch.float64, device=device).requires_grad_()
            value = self.flow.log_density(self.peptide, x, self.temperature_kelvin)
            gradients[part] = torch.autograd.grad(value.sum(), x)[0].cpu().numpy()
            log_q[part] = value.detach().cpu().numpy()
        return finite_or_nothing(log_q, gradients)
