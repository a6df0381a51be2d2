"""Prose for users: a trained flow that samples peptides with exact densities.

    Prose.from_pretrained("prose-up-to-8aa").sample("ARIP", 10_000)

Units and densities. The network works in normalised units u = x / nm_per_unit. Centre and orientation are taken out of
the density as `prosebench.flows.flow` says; the orientation where a flow is trained in a narrow density of it
(`ProseConfig.orientation`). Of the centre, "gaussian", the default, is the density that training gives it,
N(c; 0, 1/atoms), as wide as the latent where that is scaled to a temperature; "published" is the chi_3 density of |c|,
which costs effective samples.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from prosebench.energy.target import Target
from prosebench.ensemble import Ensemble
from prosebench.flows.flow import (
    TRAINING_TEMPERATURE_KELVIN,
    Proposals,
    as_peptide,
    finite_weights,
)
from prosebench.flows.molecule.tokens import Tokens
from prosebench.flows.proposal import SmoothFlow
from prosebench.frames.importance import com_energy_adjustment
from prosebench.frames.placement import Placement
from prosebench.peptide import Peptide
from prosebench.prose.config import ProseConfig
from prosebench.prose.inverse import Inverter, PeptideInverter
from prosebench.prose.network import Network
from prosebench.prose.prepared_layers import Precision
from prosebench.prose.weights import FORMAT
from prosebench.ranks import ALONE, Ranks

CentreDensity = Literal["gaussian", "published"]

RECOMPUTED_FRAMES = 256
"""The number of frames whose densities are computed again in one batch."""

_NUMBERS_KEPT = 40
"""The number of float32 values that a backward pass keeps for each atom, layer and channel, if the expansion
is 4."""


@dataclass(frozen=True, eq=False)
class ProseProposals(Proposals):
    """Draws of Prose. spread is the variance of the latent: T / 310 K, or 1."""

    nm_per_unit: float
    spread: float = 1.0

    def log_q(self, com: CentreDensity = "gaussian") -> NDArray[np.float64]:
        """Log-density (n,) without centre and orientation, up to a constant of (com, atoms)."""
        if com == "gaussian":
            return super().log_q()
        return super().log_q() + self._centre("gaussian") - self._centre(com)

    def log_weights(
        self, energies_kt: NDArray[np.float64], com: CentreDensity = "gaussian"
    ) -> NDArray[np.float64]:
        """Importance weights -E - log q (n,); -inf where the energy or the density is not finite."""
        return finite_weights(energies_kt, self.log_q(com))

    def _centre(self, com: CentreDensity) -> NDArray[np.float64]:
        units, atoms = self.centres_nm / self.nm_per_unit, self.frames_nm.shape[1]
        return centre_log_density(units, atoms, com, self.nm_per_unit, self.spread)


class Prose(SmoothFlow[ProseProposals]):
    """The flow with its weights; see `prosebench.flows.flow.Flow`. precision is that of draws on a GPU."""

    weight_format = FORMAT
    network: Network

    joins_streams = True

    def __init__(
        self,
        network: Network,
        source: dict[str, Any] | None = None,
        device: str | None = None,
        precision: Precision = "float32",
    ) -> None:
        super().__init__(network, source, device)
        self.precision = precision
        self._inverter: Inverter | None = None
        self._known: tuple[Peptide, Tokens] | None = None
        self._prepared: tuple[Peptide, PeptideInverter] | None = None

    def with_network(self, network: Network) -> "Prose":
        """A flow that draws as this one does, with the weights of another network."""
        return Prose(network, self.source, self.device, self.precision)

    @property
    def config(self) -> ProseConfig:
        """Size and units of the flow."""
        return self.network.config

    def sample(
        self,
        sequence: str | Peptide,
        n: int,
        temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN,
        seed: int = 0,
        *,
        com: CentreDensity = "gaussian",
        target: Target | None = None,
        batch: int | None = None,
        watch: Callable[[ProseProposals, NDArray[np.float64]], None] = lambda proposals, energies_kt: None,
        insist: bool = False,
    ) -> Ensemble:
        """See `Flow.sample`; com is the density of the centre that is taken out.

        Of another temperature than that of training, the latent is drawn from N(0, T / 310 K).
        """
        if not insist:
            self.check_known(as_peptide(sequence))
        peptide, weigh = as_peptide(sequence), partial(ProseProposals.log_weights, com=com)
        return self._sample(peptide, n, temperature_kelvin, seed, target, batch, watch, weigh)

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
    ) -> ProseProposals:
        """See `Flow.propose`. temperature_kelvin scales the latent; leave it at 310 for the naive transfer, where
        weights alone know the temperature. Raises ValueError for a temperature that cannot be."""
        peptide = as_peptide(peptide)
        spread = latent_spread(temperature_kelvin)
        z = rng.standard_normal((n, peptide.n_atoms, 3)) * math.sqrt(spread)
        start = torch.as_tensor(z, dtype=self._dtype, device=self.device)
        x, log_det = self._inverter_of(peptide)(start, batch, ranks)
        if self.precision == "bfloat16":
            log_q = self._recomputed(x, log_det, peptide, spread)
        else:
            log_q = _log_normal(z, spread) - log_det.double().cpu().numpy()
        log_q = log_q - _log_volume(z, self.config.nm_per_unit)
        unit = self.config.nm_per_unit
        return ProseProposals.of(
            peptide,
            x.double().cpu().numpy() * unit,
            log_q,
            self.placement(peptide, temperature_kelvin),
            mirror=mirror,
            nm_per_unit=unit,
            spread=spread,
        )

    def log_density(
        self, peptide: Peptide, frames_nm: Tensor, temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN
    ) -> Tensor:
        """See `Flow.log_density`: by the direction x -> z, which takes all atoms at once."""
        spread, unit = latent_spread(temperature_kelvin), self.config.nm_per_unit
        weights = {name: value.detach() for name, value in self.network.named_parameters()}
        x = (frames_nm / unit).to(self._dtype)
        z, log_det = functional_call(self.network, weights, (x, self.tokens(peptide)))
        constant = 1.5 * peptide.n_atoms * math.log(2 * math.pi * spread * unit**2)
        return log_det.double() - 0.5 * z.double().square().sum(dim=(1, 2)) / spread - constant

    def placement(
        self, peptide: Peptide, temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN
    ) -> Placement:
        """The placement of the training, made wider as the latent is at other temperatures."""
        spread = latent_spread(temperature_kelvin)
        centre_std_nm = self.config.nm_per_unit * math.sqrt(spread / peptide.n_atoms)
        return Placement(centre_std_nm, self.config.orientation([peptide.topology], spread))

    @property
    def one_handed(self) -> bool:
        """Whether the flow knows labels of one handedness only: those in local coordinates were trained on
        such labels."""
        return self.config.coordinates == "local"

    @property
    def length_unit_nm(self) -> float:
        """The normalised unit of length in nm."""
        return self.config.nm_per_unit

    def gradient_bytes(self, peptide: Peptide) -> int:
        """See `SmoothFlow.gradient_bytes`."""
        config = self.config
        layers = config.blocks * config.layers_per_block
        return 4 * _NUMBERS_KEPT * config.channels * layers * peptide.n_atoms

    def log_prob(
        self,
        sequence: str | Peptide,
        frames_nm: NDArray[np.floating],
        *,
        com: CentreDensity | None = None,
        batch: int = 256,
    ) -> NDArray[np.float64]:
        """Log-density (n,) of frames (n, atoms, 3) in nm, as they are: the flow is not invariant to rotation, and
        one in local coordinates knows frames in its orientation alone, which `Orientation.draw_turns` gives them, and,
        where it was trained for many peptides, with hydrogens' labels of one handedness alone (`one_handed`).

        By default the density of all 3 atoms coordinates, in nm^-3atoms, the centre included; with com, those
        of centre and orientation are taken out, as in `ProseProposals.log_q`. Raises ValueError for another shape.
        """
        peptide = as_peptide(sequence)
        log_q = super().log_prob(peptide, frames_nm, batch=batch)
        if com is None:
            return log_q
        unit, centres = self.config.nm_per_unit, np.asarray(frames_nm, dtype=np.float64).mean(axis=1)
        log_q -= centre_log_density(centres / unit, peptide.n_atoms, com, unit)
        orientation = self.placement(peptide).orientation
        return log_q - orientation.log_density(frames_nm) if orientation else log_q

    def tokens(self, peptide: Peptide) -> Tokens:
        """What the network is told of a peptide; kept for the last one."""
        if self._known is None or self._known[0] is not peptide:
            self._known = peptide, Tokens.of([peptide.topology], self.config.block_orders).to(self.device)
        return self._known[1]

    def _inverter_of(self, peptide: Peptide) -> PeptideInverter:
        """The inverse for a peptide; kept for the last one, with what a GPU has recorded for it."""
        if self._prepared is None or self._prepared[0] is not peptide:
            self._inverter = self._inverter or Inverter(self.network, self.precision)
            self._prepared = peptide, self._inverter.of(self.tokens(peptide))
        return self._prepared[1]

    @torch.no_grad()
    def _recomputed(self, x: Tensor, log_det: Tensor, peptide: Peptide, spread: float) -> NDArray[np.float64]:
        """Log-density (n,) of draws x in normalised units by the direction x -> z in float32; NaN where a draw has
        none. Rounded keys and values lead to slightly other frames, and the weights go by where these are."""
        values = []
        for part in x.split(RECOMPUTED_FRAMES):
            z, change = self.network(part, self.tokens(peptide))
            values.append(_log_normal(z.double().cpu().numpy(), spread) + change.double().cpu().numpy())
        return np.where(np.isnan(log_det.cpu().numpy()), np.nan, np.concatenate(values))

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.network.parameters()).dtype


def latent_spread(temperature_kelvin: float) -> float:
    """Variance T / 310 K of the latent at a temperature. Raises ValueError for one that is not above 0, or infinite."""
    if not 0.0 < temperature_kelvin < math.inf:
        raise ValueError(f"the temperature is {temperature_kelvin} K; give one above 0, such as 310")
    return temperature_kelvin / TRAINING_TEMPERATURE_KELVIN


def centre_log_density(
    centres: NDArray[np.float64], n_atoms: int, com: CentreDensity, nm_per_unit: float, spread: float = 1.0
) -> NDArray[np.float64]:
    """log g(c) (n,) in nm^-3 of centres (n, 3) in normalised units; see the module.

    spread widens "gaussian" to the variance spread / atoms. Raises ValueError for another com.
    """
    if com == "gaussian":
        precision = n_atoms / spread
        value = -0.5 * precision * (centres**2).sum(axis=-1) + 1.5 * math.log(precision / (2 * math.pi))
    elif com == "published":
        value = com_energy_adjustment(np.repeat(centres[:, None], n_atoms, axis=1))
    else:
        raise ValueError(f"unknown centre-of-mass density {com!r}; known: gaussian, published")
    return value - 3 * math.log(nm_per_unit)


def _log_normal(z: NDArray[np.float64], variance: float = 1.0) -> NDArray[np.float64]:
    """log N(z; 0, variance) (n,) of z (n, atoms, 3)."""
    dimension = z.shape[1] * 3
    return -0.5 * (z**2).sum(axis=(1, 2)) / variance - 0.5 * dimension * math.log(2 * math.pi * variance)


def _log_volume(frames: NDArray[np.float64], nm_per_unit: float) -> float:
    """log |det| of the step from normalised units to nm."""
    return 3 * frames.shape[1] * math.log(nm_per_unit)
