"""The continuous flow as a proposal for annealing: draws, log-densities and their gradients, with a centre."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from prosebench.ecnf.flow import Ecnf
from prosebench.energy.target import check_frames
from prosebench.frames.geometry import remove_center
from prosebench.frames.placement import Placement
from prosebench.peptide import Peptide
from prosebench.proposal import Draws, centred_log_density, finite_or_nothing


@dataclass(frozen=True, eq=False)
class EcnfProposal:
    """The flow of one peptide, with centres drawn from N(0, placement.centre_std_nm^2).

    Gradients go by autograd through the flow run backward with `gradient_steps` equal steps, every one computed twice
    to save memory: a gradient costs 1 + 6 gradient_steps evaluations of velocity and exact divergence, each about four
    times over. Draws have the densities of the flow's own integration; the two agree within its tolerance.
    """

    ecnf: Ecnf
    peptide: Peptide
    gradient_steps: int = 12
    batch: int = 64

    @property
    def n_atoms(self) -> int:
        """The number of atoms in a frame."""
        return self.peptide.n_atoms

    @property
    def placement(self) -> Placement:
        """The density of the mean of as many normals of the prior as there are atoms, and a uniform density
        of the orientation."""
        return Placement(self.ecnf.config.nm_per_unit / math.sqrt(self.n_atoms))

    @property
    def length_unit_nm(self) -> float:
        """See `Proposal.length_unit_nm`."""
        return self.ecnf.config.nm_per_unit

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        """See `Proposal.draw`."""
        found = self.ecnf.propose(self.peptide, n, rng, mirror=False, batch=self.batch)
        centres = self.placement.centre_std_nm * rng.standard_normal((n, 1, 3))
        frames = (found.frames_nm + centres).astype(np.float32)
        log_density = found.log_q + centred_log_density(frames, self.placement.centre_std_nm)[0]
        return Draws(
            frames, log_density, {"field-evaluations": float(found.field_evaluations.mean())} if n else {}
        )

    def as_drawn(self, frames_nm: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.floating]:
        """See `Proposal.as_drawn`: the flow knows neither orientation nor labels, but the centre."""
        centres = self.placement.centre_std_nm * rng.standard_normal((len(frames_nm), 1, 3))
        return remove_center(np.asarray(frames_nm, dtype=np.float64)) + centres

    def log_density(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """See `Proposal.log_density`."""
        return self.log_density_and_gradient(frames_nm)[0]

    def log_density_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `Proposal.log_density_and_gradient`."""
        frames = check_frames(frames_nm, self.n_atoms)
        log_q, gradients = centred_log_density(frames, self.placement.centre_std_nm)
        gradients = gradients.copy()
        integration = replace(self.ecnf.integration, steps=self.gradient_steps, divergence="exact")
        ecnf = Ecnf(self.ecnf.field, self.ecnf.source, self.ecnf.device, integration)
        dtype = next(ecnf.field.parameters()).dtype
        for first in range(0, len(frames), self.batch):
            part = slice(first, first + self.batch)
            x = torch.as_tensor(frames[part], dtype=dtype, device=ecnf.device).requires_grad_()
            value = ecnf.log_density(self.peptide, x)
            gradients[part] += torch.autograd.grad(value.sum(), x)[0].double().cpu().numpy()
            log_q[part] += value.detach().cpu().numpy()
        return finite_or_nothing(log_q, gradients)
