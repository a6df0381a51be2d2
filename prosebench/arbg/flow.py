"""The autoregressive flow for users: draws of a peptide with exact densities.

    Arbg.from_pretrained("arbg-small").sample("ARIP", 10_000)

The density does not depend on orientation: draws are turned at random, and the density of all orientations is uniform.
The centre has the density N(0, CENTRE_STD_NM^2 / atoms) along each axis; energies do not know it. Hydrogens have labels
of one handedness (`prosebench.flows.molecule.handedness`); a draw with others has no weight. The flow knows one
temperature, that of its training data: at another, draws are the same and weights alone know it.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.special import ndtr
from torch import Tensor

from prosebench.arbg.config import ArbgConfig
from prosebench.arbg.internal import log_volume, to_internal
from prosebench.arbg.network import Known, Network, log_shape_density
from prosebench.arbg.sampling import NORMALS, UNIFORMS, draw
from prosebench.arbg.scaffold import Scaffold
from prosebench.arbg.weights import FORMAT
from prosebench.flows.flow import TRAINING_TEMPERATURE_KELVIN, Proposals, as_peptide
from prosebench.flows.molecule.handedness import one_handed
from prosebench.flows.proposal import SmoothFlow
from prosebench.frames.placement import Placement
from prosebench.peptide import Peptide
from prosebench.ranks import ALONE, Ranks

CENTRE_STD_NM = 0.2
"""The standard deviation in nm of a frame's centre, times sqrt(atoms). It is about that of the other flows,
so that annealing moves the frames of all flows alike."""

DRAWN_TOGETHER = 256
_NUMBERS_KEPT = 60
"""The rough number of float32 values that a backward pass keeps for each atom, layer and channel."""


class Arbg(SmoothFlow[Proposals]):
    """The flow with its weights; see `prosebench.flows.flow.Flow`."""

    weight_format = FORMAT
    network: Network

    def __init__(
        self, network: Network, source: dict[str, Any] | None = None, device: str | None = None
    ) -> None:
        super().__init__(network, source, device)
        self._last: tuple[str, tuple[str, ...], Known] | None = None

    @property
    def config(self) -> ArbgConfig:
        """Size of the network."""
        return self.network.config

    @torch.no_grad()
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
        """See `Flow.propose`; the temperature changes nothing."""
        peptide = as_peptide(peptide)
        known, atoms = self.known(peptide), peptide.n_atoms
        dtype = known.mean.dtype
        # All numbers of a frame stand together, so that the frames of a smaller n are the first of a larger one.
        numbers = rng.standard_normal((n, atoms * (UNIFORMS + NORMALS) + 7))
        turns = Rotation.from_quat(numbers[:, :4]).as_matrix()
        centres = numbers[:, None, 4:7] * CENTRE_STD_NM / math.sqrt(atoms)
        of_atoms = numbers[:, 7:].reshape(n, atoms, -1)
        split = ndtr(of_atoms[..., :UNIFORMS]), of_atoms[..., UNIFORMS:]
        # Uniform numbers stay in float64: they choose components, see `heads._component`.
        uniforms = torch.as_tensor(split[0], dtype=torch.float64, device=self.device)
        normals = torch.as_tensor(split[1], dtype=dtype, device=self.device)
        size = DRAWN_TOGETHER if batch is None else batch
        if size < 1:
            raise ValueError(f"a batch of {size} frames cannot be drawn; give 1 or more")
        # A batch of another size rounds in another way, and may choose another component: the last one is filled up.
        missing = -n % size
        pieces = [
            torch.cat([numbers, numbers[:1].expand(missing, -1, -1)]).split(size)
            for numbers in (uniforms, normals)
        ]
        drawn = ranks.map(lambda piece: self._draw(known, *piece), list(zip(*pieces, strict=True)))
        x, log_q = (np.concatenate(part)[:n] for part in zip(*drawn, strict=True))
        frames = (x - x.mean(axis=1, keepdims=True)) @ turns + centres
        # The target, too, is taken with labels of one handedness alone: what is drawn with others has no weight in it.
        other_hand = (one_handed(frames, [peptide.topology]) != frames).any(axis=(1, 2))
        log_q = np.where(other_hand, np.nan, log_q)
        log_centre = -self.placement(peptide).energy_and_gradient(frames)[0]
        return Proposals.of(peptide, frames, log_q + log_centre, self.placement(peptide), mirror=mirror)

    def log_density(
        self, peptide: Peptide, frames_nm: Tensor, temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN
    ) -> Tensor:
        """See `Flow.log_density`."""
        known = self.known(peptide)
        x = frames_nm[:, known.scaffold.order]
        centre, variance = frames_nm.mean(dim=1), CENTRE_STD_NM**2 / peptide.n_atoms
        of_centre = -0.5 * centre.square().sum(dim=-1) / variance - 1.5 * math.log(2 * math.pi * variance)
        return log_shape_density(self.network, to_internal(x, known.scaffold), known, x) + of_centre

    def placement(
        self, peptide: Peptide, temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN
    ) -> Placement:
        """A normal density of the centre and a uniform one of the orientation."""
        return Placement(CENTRE_STD_NM / math.sqrt(peptide.n_atoms))

    @property
    def one_handed(self) -> bool:
        """Whether the flow knows labels of one handedness only: yes, it was trained on such labels."""
        return True

    @property
    def length_unit_nm(self) -> float:
        """See `prosebench.proposal.Proposal.length_unit_nm`."""
        return CENTRE_STD_NM

    def gradient_bytes(self, peptide: Peptide) -> int:
        """See `SmoothFlow.gradient_bytes`."""
        config, atoms = self.config, peptide.n_atoms
        of_layers = _NUMBERS_KEPT * config.channels + 3 * config.heads * atoms
        of_pairs = 4 * atoms * (config.pair_channels + config.pair_hidden)
        return 4 * atoms * (config.layers * of_layers + of_pairs)

    @torch.no_grad()
    def known(self, peptide: Peptide) -> Known:
        """What the network knows of a peptide before any coordinate; kept until another peptide is asked for."""
        name, atoms = peptide.sequence, tuple(peptide.atom_names)
        if self._last is None or self._last[:2] != (name, atoms):
            scaffold = Scaffold.of(peptide.topology).to(self.device)
            self._last = name, atoms, self.network.know(scaffold)
        return self._last[2]

    def _draw(
        self, known: Known, uniforms: Tensor, normals: Tensor
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Frames (n, atoms, 3) in nm in the order of the topology, with log-densities (n,) of their shapes."""
        internal, x, log_q = draw(self.network, known, uniforms, normals)
        shape = log_q.double() - log_volume(internal.double())
        back = torch.argsort(known.scaffold.order)
        return x[:, back].double().cpu().numpy(), shape.cpu().numpy()
