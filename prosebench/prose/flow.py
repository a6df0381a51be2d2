"""Prose for users: a trained flow that samples peptides with exact densities.

    Prose.from_pretrained("prose-up-to-8aa").sample("ARIP", 10_000)

Units and densities. The network works in normalised units u = x / nm_per_unit. Energies do not depend on the
centre c of a frame (the plain mean of its atoms), so frames are returned centred, and a density g(c) is taken
out of the flow's log-density; any g leaves importance weights valid. The same is done for the orientation, where a flow
is trained in a narrow density of it (`ProseConfig.orientation`). "gaussian", the default, is the density
that training gives the centre, N(c; 0, 1/atoms), as wide as the latent where that is scaled to a temperature;
"published" is the chi_3 density of |c|, which costs effective samples.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from prosebench.energy.settings import TargetSettings, make_target
from prosebench.energy.target import Target
from prosebench.ensemble import Ensemble, concatenate
from prosebench.flows.device import choose_device
from prosebench.flows.tokens import Tokens
from prosebench.frames.geometry import fix_chirality
from prosebench.frames.importance import com_energy_adjustment
from prosebench.peptide import Peptide
from prosebench.prose.config import ProseConfig
from prosebench.prose.inverse import Inverter
from prosebench.prose.network import Network
from prosebench.prose.weights import HUB_REVISION, Weights, load_weights
from prosebench.ranks import ALONE, Ranks

TRAINING_TEMPERATURE_KELVIN = 310.0
CHUNK_FRAMES = 1024
"""Frames of `sample` that share a random stream."""

CentreDensity = Literal["gaussian", "published"]


@dataclass(frozen=True, eq=False)
class Proposals:
    """Draws of the flow, one row a frame.

    frames_nm (n, atoms, 3) float32, centred, mirrored where `mirrored` says so; log_q_full (n,) float64,
    log-density in nm^-3atoms of the frame as it was drawn, with its centre; centres (n, 3) in normalised
    units; log_h (n,), log-density of the orientations in which the flow is trained, 0 where it is uniform.
    mirrored (n,): a chirality centre was wrong, and the frame was inverted; still_wrong (n,): and one is
    wrong even so. spread is the variance of the latent: T / 310 K, or 1.
    """

    frames_nm: NDArray[np.float32]
    log_q_full: NDArray[np.float64]
    centres: NDArray[np.float64]
    log_h: NDArray[np.float64]
    mirrored: NDArray[np.bool_]
    still_wrong: NDArray[np.bool_]
    nm_per_unit: float
    spread: float = 1.0

    def log_q(self, com: CentreDensity = "gaussian") -> NDArray[np.float64]:
        """Log-density (n,) without centre and orientation, up to a constant of (com, atoms)."""
        centre = centre_log_density(self.centres, self.frames_nm.shape[1], com, self.nm_per_unit, self.spread)
        return self.log_q_full - centre - self.log_h

    def log_weights(
        self, energies_kt: NDArray[np.float64], com: CentreDensity = "gaussian"
    ) -> NDArray[np.float64]:
        """Importance weights -E - log q (n,); -inf where the energy or the density is not finite."""
        values = -np.asarray(energies_kt, dtype=np.float64) - self.log_q(com)
        return np.where(np.isfinite(values), values, -np.inf)


class Prose:
    """A flow with its weights. Not safe to share among threads; after training its network, make a new
    one."""

    def __init__(
        self, network: Network, source: dict[str, Any] | None = None, device: str | None = None
    ) -> None:
        self.device = choose_device(device)
        self.network = network.to(self.device).eval()
        self.source = source or {}
        self._inverter: Inverter | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        size: str | Path | None = None,
        revision: str = HUB_REVISION,
        cache: Path | None = None,
        device: str | None = None,
    ) -> "Prose":
        """A bundled model, published weights from the hub, or a file (`.npz`, `.pth`, `.ckpt`,
        `.safetensors`).

        See `prosebench.prose.weights.load_weights`. Raises WeightsError, which says what is wrong and what to
        do.
        """
        weights: Weights = load_weights(name_or_path, size=size, revision=revision, cache=cache)
        return cls(weights.network, weights.source, device)

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
        watch: Callable[[Proposals, NDArray[np.float64]], None] = lambda proposals, energies_kt: None,
    ) -> Ensemble:
        """n proposals with energies (kT at the temperature) and log-weights, in the order drawn.

        Of another temperature than that of training, the latent is drawn from N(0, T / 310 K). The frames
        depend on (weights, sequence, seed) and not on n or batch: those of a smaller n are the first of a
        larger one. target is the published force field at the temperature unless given. watch sees each chunk
        of proposals with its energies. Raises ValueError for an n, a temperature or a seed that cannot be.
        """
        if n < 1:
            raise ValueError(f"{n} frames were asked for; ask for at least one")
        if seed < 0:
            raise ValueError(f"the seed is {seed}; give 0 or a larger whole number")
        latent_spread(temperature_kelvin)
        peptide = as_peptide(sequence)
        target = target or make_target(peptide, TargetSettings(temperature_kelvin=temperature_kelvin))
        parts = []
        for chunk, first in enumerate(range(0, n, CHUNK_FRAMES)):
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, chunk])))
            size = min(CHUNK_FRAMES, n - first)
            proposals = self.propose(peptide, size, rng, temperature_kelvin=temperature_kelvin, batch=batch)
            energies = target.energy(proposals.frames_nm)
            watch(proposals, energies)
            spent = np.arange(first + 1, first + size + 1)
            parts.append(Ensemble(proposals.frames_nm, energies, proposals.log_weights(energies, com), spent))
        return concatenate(parts)

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
        """n draws without energies; all random numbers come first from rng, so batches change nothing.

        temperature_kelvin scales the latent; leave it at 310 for the naive transfer, where weights alone know
        the temperature. Mirroring is the published protocol: the density stays that of the frame before it.
        Coordinates may be non-finite or clash; a target gives such frames the energy inf or a high one.
        ranks share the batches out among them; all must call this with the same arguments. Raises ValueError for
        a temperature that cannot be.
        """
        peptide = as_peptide(peptide)
        spread = latent_spread(temperature_kelvin)
        z = rng.standard_normal((n, peptide.n_atoms, 3)) * math.sqrt(spread)
        self._inverter = self._inverter or Inverter(self.network)
        start = torch.as_tensor(z, dtype=self._dtype, device=self.device)
        x, log_det = self._inverter.of(self.tokens(peptide))(start, batch, ranks)
        log_q = (
            _log_normal(z, spread) - log_det.double().cpu().numpy() - _log_volume(z, self.config.nm_per_unit)
        )
        u = x.double().cpu().numpy()
        centres = u.mean(axis=1)
        frames = ((u - centres[:, None]) * self.config.nm_per_unit).astype(np.float32)
        log_h = self._log_h(peptide, u, spread)
        mirrored = still_wrong = np.zeros(n, dtype=bool)
        if mirror:
            frames, mirrored, still_wrong = fix_chirality(frames, peptide.topology, peptide.start_nm)
        return Proposals(
            frames, log_q, centres, log_h, mirrored, still_wrong, self.config.nm_per_unit, spread
        )

    @torch.no_grad()
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
        of centre and orientation are taken out, as in `Proposals.log_q`. Raises ValueError for another shape.
        """
        peptide = as_peptide(sequence)
        frames = np.asarray(frames_nm, dtype=np.float64)
        if frames.ndim != 3 or frames.shape[1:] != (peptide.n_atoms, 3):
            raise ValueError(
                f"frames_nm has shape {frames.shape}; {peptide.sequence} needs (n, {peptide.n_atoms}, 3)"
            )
        u = frames / self.config.nm_per_unit
        tokens, log_q = self.tokens(peptide), np.empty(len(u))
        for first in range(0, len(u), batch):
            part = torch.as_tensor(u[first : first + batch], dtype=self._dtype, device=self.device)
            z, log_det = self.network(part, tokens)
            log_q[first : first + batch] = (
                _log_normal(z.double().cpu().numpy()) + log_det.double().cpu().numpy()
            )
        log_q -= _log_volume(u, self.config.nm_per_unit)
        if com is None:
            return log_q
        centre = centre_log_density(u.mean(axis=1), u.shape[1], com, self.config.nm_per_unit)
        return log_q - centre - self._log_h(peptide, u)

    def unknown(self, peptide: Peptide, *, any_length: bool = False) -> str | None:
        """What of a peptide lies beyond what the flow was trained on, or None: its length, or some residues."""
        longest, known = self.config.max_residues, self.source.get("notes", {}).get("residues")
        if len(peptide.sequence) > longest and not any_length:
            return f"was made for peptides of up to {longest} residues"
        new = [letter for letter in dict.fromkeys(peptide.sequence) if known and letter not in known]
        return f"has never seen {', '.join(new)}; it knows {known}" if new else None

    def tokens(self, peptide: Peptide) -> Tokens:
        """What the network is told of a peptide."""
        return Tokens.of([peptide.topology], self.config.block_orders).to(self.device)

    def _log_h(
        self, peptide: Peptide, frames: NDArray[np.float64], spread: float = 1.0
    ) -> NDArray[np.float64]:
        orientation = self.config.orientation([peptide.topology], spread)
        return orientation.log_density(frames) if orientation else np.zeros(len(frames))

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.network.parameters()).dtype


def as_peptide(sequence: str | Peptide) -> Peptide:
    """A peptide from its sequence; a peptide as it is. Raises PeptideError for a sequence that is none."""
    return sequence if isinstance(sequence, Peptide) else Peptide.from_sequence(sequence)


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
