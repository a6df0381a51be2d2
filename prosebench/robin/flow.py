"""Robin for users: draws of binned coordinates, with exact densities.

    Robin.from_pretrained("robin.ckpt").sample("ARIP", 10_000)

Densities and invariance. A density is that of all 3 atoms coordinates: the probabilities of the bins at the logit
temperature, and uniform inside a bin. It is not invariant under anything: Robin saw centred frames in all orientations,
and knows neither rotations nor reflections exactly. Weights are right all the same, as for any flow
(`prosebench.flows.flow`), where the target is given a density of centre and orientation that the flow covers.
Orientation: uniform, as it was trained. Centre: frames were centred, so draws have their centre within a few bins of 0,
and nobody knows its density; it is a normal here whose width is measured on PILOT_FRAMES draws from a stream of their
own, so that it depends on weights and peptide alone. The authors' own evaluation corrects neither, so that the scatter
of the centre goes into its weights.

A density that is uniform inside its bins has no gradient, so that nothing is annealed from it.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prosebench.flows.flow import (
    TRAINING_TEMPERATURE_KELVIN,
    Flow,
    Proposals,
    as_peptide,
)
from prosebench.frames.placement import Placement
from prosebench.peptide import Peptide
from prosebench.ranks import ALONE, Ranks
from prosebench.robin.config import RobinConfig
from prosebench.robin.network import Known, Network
from prosebench.robin.sampling import draw, log_density
from prosebench.robin.weights import FORMAT

DEFAULT_BATCH = 64
PILOT_FRAMES = 256
"""The number of draws on which the width of the centre's density is measured."""
PILOT_SEED = 0
CHI_SQUARE_MEDIAN = 2.3660
"""The median of chi-square with three degrees of freedom. Divided by it, the median squared distance of a
normal centre from 0 gives the variance along one axis."""


class Robin(Flow[Proposals]):
    """The network with its weights; see `prosebench.flows.flow.Flow`."""

    weight_format = FORMAT
    network: Network

    def __init__(
        self, network: Network, source: dict[str, Any] | None = None, device: str | None = None
    ) -> None:
        super().__init__(network, source, device)
        self._centre_std_nm = dict[tuple[str, ...], float]()

    @property
    def config(self) -> RobinConfig:
        """Size and units of the network."""
        return self.network.config

    def propose(
        self,
        peptide: str | Peptide,
        n: int,
        rng: np.random.Generator,
        *,
        temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN,
        mirror: bool = True,
        batch: int | None = None,
        ranks: Ranks = ALONE,
    ) -> Proposals:
        """See `Flow.propose`. At every temperature the draws are the same, and weights alone know it."""
        peptide, batch = as_peptide(peptide), DEFAULT_BATCH if batch is None else batch
        if batch < 1:
            raise ValueError(f"the batch is {batch} frames; give at least one, or leave it out")
        drawn_nm, log_q = self._draw(peptide, n, rng, batch, ranks)
        return Proposals.of(peptide, drawn_nm, log_q, self.placement(peptide), mirror=mirror)

    @torch.no_grad()
    def log_density(
        self, peptide: Peptide, frames_nm: Tensor, temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN
    ) -> Tensor:
        """See `Flow.log_density`; -inf beyond the bins. There is no gradient."""
        return log_density(self.network, self.known(peptide), frames_nm / self.config.nm_per_unit)

    def placement(
        self, peptide: Peptide, temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN
    ) -> Placement:
        """A normal of the centre, as wide as that of draws, and every orientation; see the module."""
        of = (peptide.sequence, *peptide.atom_names)  # atoms are drawn in the order of the topology
        if of not in self._centre_std_nm:
            rng = np.random.Generator(np.random.Philox(PILOT_SEED))
            drawn_nm, _ = self._draw(peptide, PILOT_FRAMES, rng, DEFAULT_BATCH, ALONE)
            squares = (drawn_nm.mean(axis=1) ** 2).sum(axis=1)
            # By the median: a few draws are far off, and would widen the normal that all are weighted by.
            self._centre_std_nm[of] = math.sqrt(np.median(squares) / CHI_SQUARE_MEDIAN)
        return Placement(self._centre_std_nm[of])

    def unknown(self, peptide: Peptide, *, any_length: bool = False) -> str | None:
        """See `Flow.unknown`; there is also a largest number of atoms."""
        if peptide.n_atoms > self.config.max_atoms:
            return f"was made for peptides of up to {self.config.max_atoms} atoms"
        return super().unknown(peptide, any_length=any_length)

    def known(self, peptide: Peptide) -> Known:
        """What the network is told of a peptide."""
        return self.network.known(peptide.topology)

    @torch.no_grad()
    def _draw(
        self, peptide: Peptide, n: int, rng: np.random.Generator, batch: int, ranks: Ranks
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Frames as drawn (n, atoms, 3) in nm and their log-densities (n,).

        Every batch is a whole one, filled up with draws that are thrown away: in single precision, another number of
        rows may round a sum to the other side of a uniform number, and so change a frame.
        """
        uniforms = np.zeros((-(-n // batch) * batch, peptide.n_atoms, 3, 2))
        uniforms[:n] = rng.random((n, peptide.n_atoms, 3, 2))
        known = self.known(peptide)

        def drawn(part: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            u, log_q = draw(self.network, known, torch.as_tensor(part, device=self.device))
            return u.cpu().numpy() * self.config.nm_per_unit, log_q.cpu().numpy()

        pieces = ranks.map(drawn, np.split(uniforms, max(1, len(uniforms) // batch)))
        frames, log_q = (np.concatenate(values)[:n] for values in zip(*pieces, strict=True))
        return frames, log_q
