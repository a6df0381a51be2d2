"""Energy dispersion: how much log q + U varies over the frames of one peptide, as a term of the loss.

Where q is the Boltzmann density, log q + U (U in kT) is the same for every frame. Its variance is what makes importance
weights uneven: for normal log-weights the effective share of samples is exp(-variance). Likelihood learns each frame's
density from its frequency, which is noisy; the energy says it exactly. This is the log-variance divergence (Richter et
al., NeurIPS 2020, arXiv 2010.10436), here over frames of the training data.
"""

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from prosebench.energy.settings import TargetSettings, make_target
from prosebench.energy.target import Target
from prosebench.peptide import Peptide


class DispersionRecipe(BaseModel):
    """weight of the term at its height; start: the part of the run after which it sets in, and ramp: the part within
    which it comes up. Deviations beyond largest_kt nats count as that much."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: Annotated[float, Field(ge=0)] = 0.0
    start: Annotated[float, Field(ge=0, lt=1)] = 0.5
    ramp: Annotated[float, Field(gt=0)] = 0.1
    largest_kt: Annotated[float, Field(gt=0)] = 15.0

    def at(self, part: float) -> float:
        """Weight of the term when a part (0 to 1) of the run is done."""
        return self.weight * min(1.0, max(0.0, (part - self.start) / self.ramp))


class Energies:
    """Energies in kT of frames of many peptides, whose targets are kept."""

    def __init__(self) -> None:
        self._targets: dict[str, Target] = {}

    def __call__(self, peptide: Peptide, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """The energies (n,) in kT of frames (n, atoms, 3) of one peptide."""
        if peptide.sequence not in self._targets:
            self._targets[peptide.sequence] = make_target(peptide, TargetSettings())
        return self._targets[peptide.sequence].energy(frames_nm)


def dispersion(log_q: Tensor, energies_kt: Tensor, largest_kt: float) -> Tensor:
    """Squared deviation (n,) of log q + U from its mean over frames of one peptide; 0 where an energy is not finite."""
    finite = torch.isfinite(energies_kt)
    total = log_q.double() + torch.where(finite, energies_kt, 0.0)
    mean = total[finite].mean().detach() if finite.any() else total.new_zeros(())
    deviation = (total - mean).clamp(-largest_kt, largest_kt)
    return torch.where(finite, deviation.square(), 0.0)


def spread(log_q: NDArray[np.float64], energies_kt: NDArray[np.float64], n_atoms: int) -> float:
    """Var(log q + U) an atom over frames (n,) of a reference, in nats^2: the yardstick of a flow on a peptide.

    For normal log-weights the effective share of samples is exp(-spread * atoms). It needs no draws. Frames whose
    energy is not finite are left out.
    """
    finite = np.isfinite(energies_kt)
    return float(np.var(log_q[finite] + energies_kt[finite]) / n_atoms)
