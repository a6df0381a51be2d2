"""The continuous flow for users: a velocity field that carries normals to frames of a peptide, with exact densities.

Units and densities. The field works in normalised units u = x / nm_per_unit, between a prior at t = 0 and data at
t = 1. Prior and frames have their centre (the plain mean of the atoms) at 0, so a density here is one in an orthonormal
basis of the 3 atoms - 3 dimensions of such frames: log q(x) = log N(z; 0, 1) - integral of the divergence. Energies do
not depend on the centre either; so exp(-E) / q is the importance weight, and there is no density of a centre to take
out, as there is for Prose. The field does not know left from right: q(x) = q(-x), as with energies, and frames may be
mirrored without a change of weight.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from prosebench.ecnf.config import EcnfConfig
from prosebench.ecnf.divergence import hutchinson, velocity_and_divergence
from prosebench.ecnf.integrator import Parts, Rate, Solution, integrate, integrate_fixed
from prosebench.ecnf.network import VelocityField
from prosebench.ecnf.nodes import Nodes
from prosebench.ecnf.weights import load_weights
from prosebench.energy.target import check_frames
from prosebench.flows.device import choose_device, is_gpu, memory_bytes
from prosebench.flows.weights.files import HUB_REVISION
from prosebench.frames.geometry import fix_chirality, remove_center
from prosebench.peptide import Peptide
from prosebench.ranks import ALONE, Ranks

GPU_BATCH = 256
"""The number of frames that fill a GPU. It is small because derivatives to all coordinates are carried along
for each frame."""
ARRAYS_KEPT = 8
"""The number of arrays with derivatives of all features that are in memory at once, beside those of all
pairs. The batch that fits into a GPU is estimated with it."""


@dataclass(frozen=True)
class Integration:
    """How trajectories and log-densities are found. The defaults are the published ones.

    steps equal ones of order 5, or, where 0, as many as each frame needs for the tolerance, absolute and relative, of
    coordinates and of the log-density. divergence "hutchinson" is a noisy estimate: fast, and weights are wrong by it.
    """

    tolerance: float = 1e-4
    steps: int = 0
    divergence: Literal["exact", "hutchinson"] = "exact"


@dataclass(frozen=True, eq=False)
class CentredProposals:
    """Draws of the flow, one row a frame.

    frames_nm (n, atoms, 3) float32, centred, mirrored where `mirrored` says so; log_q (n,) float64, log-density in
    nm^-(3 atoms - 3). mirrored (n,): a chirality centre was wrong, and the frame was inverted; still_wrong (n,): and
    one is wrong even so. field_evaluations (n,): of the velocity field. What could not be integrated is NaN.
    """

    frames_nm: NDArray[np.float32]
    log_q: NDArray[np.float64]
    mirrored: NDArray[np.bool_]
    still_wrong: NDArray[np.bool_]
    field_evaluations: NDArray[np.int64]

    def log_weights(self, energies_kt: NDArray[np.float64]) -> NDArray[np.float64]:
        """Importance weights -E - log q (n,); -inf where the energy or the density is not finite."""
        values = -np.asarray(energies_kt, dtype=np.float64) - self.log_q
        return np.where(np.isfinite(values), values, -np.inf)


class Ecnf:
    """A velocity field with its weights, and how it is integrated. After training its field, make a new one."""

    def __init__(
        self,
        field: VelocityField,
        source: dict[str, Any] | None = None,
        device: str | None = None,
        integration: Integration = Integration(),
    ) -> None:
        self.device = choose_device(device)
        self.field = field.to(self.device).eval()
        self.source = source or {}
        self.integration = integration

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        size: str | Path | None = None,
        revision: str = HUB_REVISION,
        device: str | None = None,
        integration: Integration = Integration(),
    ) -> "Ecnf":
        """A bundled model, published weights from the hub, or a file; see `prosebench.ecnf.weights.load_weights`.

        Raises WeightsError, which says what is wrong and what to do.
        """
        weights = load_weights(name_or_path, size=size, revision=revision)
        return cls(weights.network, weights.source, device, integration)

    @property
    def config(self) -> EcnfConfig:
        """Size and units of the field."""
        return self.field.config

    def propose(
        self,
        peptide: Peptide,
        n: int,
        rng: np.random.Generator,
        *,
        mirror: bool = True,
        batch: int = 32,
        ranks: Ranks = ALONE,
    ) -> CentredProposals:
        """n draws without energies; all random numbers come first from rng, so batches change nothing but rounding.

        A GPU takes at least as many frames together as fill it. ranks share the batches out among them; all must call
        this with the same arguments.
        """
        z = self._tensor(remove_center(rng.standard_normal((n, peptide.n_atoms, 3))))
        signs = self._tensor(2.0 * rng.integers(0, 2, tuple(z.shape)) - 1.0)
        batch = (
            max(batch, gpu_batch(self.config, peptide.n_atoms, self.device)) if is_gpu(self.device) else batch
        )
        nodes = self.nodes(peptide)

        def carried(part: tuple[Tensor, Tensor]) -> list[NDArray[Any]]:
            found = self._integrate(nodes, part[0], _log_normal(part[0]), part[1], 0.0, 1.0)
            return [value.cpu().numpy() for value in (*found.parts[:2], found.evaluations)]

        pieces = ranks.map(carried, list(zip(z.split(batch), signs.split(batch), strict=True)))
        u, log_q, evaluations = (np.concatenate(values) for values in zip(*pieces, strict=True))
        frames = (remove_center(u.astype(np.float64)) * self.config.nm_per_unit).astype(np.float32)
        log_q -= (3 * peptide.n_atoms - 3) * math.log(self.config.nm_per_unit)
        mirrored = still_wrong = np.zeros(len(frames), dtype=bool)
        if mirror:
            frames, mirrored, still_wrong = fix_chirality(frames, peptide.topology, peptide.start_nm)
        return CentredProposals(frames, log_q, mirrored, still_wrong, evaluations)

    def log_prob(
        self, peptide: Peptide, frames_nm: NDArray[np.floating], *, batch: int = 64
    ) -> NDArray[np.float64]:
        """Log-density (n,) in nm^-(3 atoms - 3) of frames (n, atoms, 3) in nm; their centres do not matter.

        Raises ValueError for another shape, or where the divergence is estimated.
        """
        frames = check_frames(frames_nm, peptide.n_atoms)
        log_q = np.empty(len(frames))
        with torch.no_grad():
            for first in range(0, len(frames), batch):
                part = slice(first, first + batch)
                values = self.log_density(peptide, self._tensor(frames[part]))
                log_q[part] = values.cpu().numpy()
        return log_q

    def log_density(self, peptide: Peptide, frames_nm: Tensor) -> Tensor:
        """The log-density (n,) of a tensor of frames. With equal steps, autograd can go through it, and keeps
        the states of all steps."""
        if self.integration.divergence != "exact":
            raise ValueError("a density that is asked for must be exact; set divergence = 'exact'")
        u = (frames_nm - frames_nm.mean(dim=1, keepdim=True)) / self.config.nm_per_unit
        zero = u.new_zeros(len(u), dtype=torch.float64)
        z, gain, _ = self._integrate(self.nodes(peptide), u, zero, torch.zeros_like(u), 1.0, 0.0).parts
        return _log_normal(z) - gain - (3 * peptide.n_atoms - 3) * math.log(self.config.nm_per_unit)

    def nodes(self, peptide: Peptide) -> Nodes:
        """What the field is told of a peptide. Raises ValueError for a peptide that is too short or too long."""
        return Nodes.of(peptide.topology, self.config).to(self.device, self._dtype)

    def _integrate(
        self, nodes: Nodes, x: Tensor, log_density: Tensor, probe: Tensor, start: float, end: float
    ) -> Solution:
        """Positions and log-densities along the flow; the probe rides along unchanged."""
        how = self.integration
        rate = self._rate(nodes, differentiable=x.requires_grad)
        parts = (x, log_density, probe)
        if how.steps and x.requires_grad:
            return integrate_fixed(rate, parts, start, end, steps=how.steps)
        with torch.no_grad():
            if how.steps:
                return integrate_fixed(rate, parts, start, end, steps=how.steps)
            return integrate(rate, parts, start, end, absolute=how.tolerance, relative=how.tolerance)

    def _rate(self, nodes: Nodes, *, differentiable: bool) -> Rate:
        def rate(t: Tensor, parts: Parts) -> Parts:
            x, log_density, probe = parts
            time = t.to(x.dtype)
            if self.integration.divergence == "hutchinson":
                velocity, divergence = hutchinson(self.field, time, x, nodes, probe)
            elif differentiable:
                velocity, divergence = checkpoint(
                    velocity_and_divergence, self.field, time, x, nodes, use_reentrant=False
                )
            else:
                velocity, divergence = velocity_and_divergence(self.field, time, x, nodes)
            return velocity, -divergence.to(log_density.dtype), torch.zeros_like(probe)

        return rate

    def _tensor(self, values: NDArray[np.floating]) -> Tensor:
        return torch.as_tensor(values, dtype=self._dtype, device=self.device)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.field.parameters()).dtype


def gpu_batch(config: EcnfConfig, atoms: int, device: str) -> int:
    """Frames of a peptide that fill a GPU: 256, or the power of two that its memory holds."""
    numbers = ARRAYS_KEPT * config.channels * atoms * (3 * atoms + atoms)
    room = memory_bytes(device) // 2 // (4 * numbers)
    return min(GPU_BATCH, 1 << max(0, room.bit_length() - 1))


def _log_normal(z: Tensor) -> Tensor:
    """log N(z; 0, 1) (n,) float64 of centred z (n, atoms, 3), in the 3 atoms - 3 dimensions of such frames."""
    dimension = 3 * z.shape[1] - 3
    return -0.5 * z.double().square().sum(dim=(1, 2)) - 0.5 * dimension * math.log(2 * math.pi)
