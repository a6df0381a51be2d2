"""From latent z to coordinates x: token by token, because each one needs those before it.

`Inverter` is the fast way. It does once what does not depend on the frames: the affine parts of layer norms
are folded into the linear maps behind them, weights are laid out for the matrix products, and the conditions
of a peptide are computed at batch 1, so that an adaptive layer norm is a plain layer norm whose weight and
bias are those of the token. Keys and values go into arrays made once. On a GPU, which would wait for the host
between so many small kernels, the launches of each block are recorded once for a peptide and a batch size, and
repeated as a whole (`prosebench.flows.recording`). `inverse_reference` is the straightforward way, against which it is
tested. What a layer does is in `prosebench.prose.prepared_layers`.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from prosebench.flows.device import is_gpu, memory_bytes
from prosebench.flows.molecule.local_frames import to_cartesian
from prosebench.flows.molecule.tokens import Tokens, take
from prosebench.flows.recording import Recording
from prosebench.prose.config import ProseConfig
from prosebench.prose.layers import Past
from prosebench.prose.network import Block, Network
from prosebench.prose.prepared_layers import Cache, Precision, PreparedBlock, Step
from prosebench.ranks import ALONE, Ranks

LARGEST_BATCH = 512
"""The largest batch on a CPU. In our measurements a larger one was no faster."""

GPU_BATCH = 2048
"""The number of frames that fill a GPU. The weights are read once for all of them, and the matrix products of
each token have this many rows."""

MEMORY_SHARE = 0.5
"""The share of memory that keys, values and activations may take: of the free memory on a CPU, of the whole
on a GPU."""


def inverse(network: Network, z: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """x (frames, atoms, 3) and log |det dx/dz| (frames,) of z for one peptide; prepares everything for this
    call."""
    return Inverter(network).of(tokens)(z)


def inverse_reference(network: Network, z: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """The same numbers as `inverse` in the straightforward way: a test oracle, and what benchmarks measure
    beside the fast way.

    The layers of the network on one token at a time, conditions computed for every frame, keys and values of
    the past grown by concatenation.
    """
    x, log_det = z, z.new_zeros(len(z))
    embedded = network.embedding(tokens).expand(len(z), -1, -1)
    for block, order in zip(reversed(network.blocks), tokens.orders.flip(0), strict=True):
        x, change = _undo_by_reference(block, take(x, order), take(embedded, order))
        x, log_det = take(x, order.argsort(dim=-1)), log_det + change
    return _placed(network.config, x, log_det, tokens)


def _placed(config: ProseConfig, x: Tensor, log_det: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """The positions x, and the log-determinant of everything, from what the blocks leave: local coordinates
    where a flow has them."""
    if config.coordinates == "cartesian":
        return x, log_det
    x, change = to_cartesian(x, tokens.placing, tokens.turns)
    return x, log_det + change


def _undo_by_reference(block: nn.Module, z: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:
    assert isinstance(block, Block)
    past = [Past() for _ in block.layers]
    x, log_det = z[:, :1], z.new_zeros(len(z))
    for k in range(z.shape[1] - 1):
        conditions = block.conditions(embedded[:, k : k + 2], first=k)
        log_scale, shift = block.affine(x[:, k : k + 1], conditions, past)
        x = torch.cat([x, z[:, k + 1 : k + 2] * log_scale.exp() + shift], dim=1)
        log_det = log_det + log_scale.sum(dim=(1, 2))
    return x, log_det


class Inverter:
    """A network prepared for inversion, with copies of its weights: make it anew when the weights have
    changed."""

    @torch.no_grad()
    def __init__(self, network: Network, precision: Precision = "float32") -> None:
        self.network, self.precision = network, precision
        self.blocks = [PreparedBlock(block) for block in network.blocks if isinstance(block, Block)]
        self.packed_for = 0

    def pack(self, frames: int) -> None:
        """Lay the weights out for batches of this size."""
        if frames != self.packed_for:
            for linear in (
                linear for block in self.blocks for layer in block.layers for linear in layer.linears
            ):
                linear.pack(frames)
        self.packed_for = frames

    @torch.no_grad()
    def of(self, tokens: Tokens) -> "PeptideInverter":
        """Ready for frames of one peptide. Raises ValueError for tokens of several, or with padding."""
        if len(tokens.mask) != 1 or not bool(tokens.mask.all()):
            raise ValueError("the inverse takes one peptide at a time, without padding")
        embedded = self.network.embedding(tokens)
        orders = [order[0] for order in tokens.orders]
        steps = [block.steps(embedded[:, order]) for block, order in zip(self.blocks, orders, strict=True)]
        return PeptideInverter(self, tokens, orders, steps)


class PeptideInverter:
    """z -> x for frames of one peptide."""

    def __init__(
        self, inverter: Inverter, tokens: Tokens, orders: list[Tensor], steps: list[list[Step]]
    ) -> None:
        self.inverter, self.tokens, self.orders, self.steps = inverter, tokens, orders, steps
        self._work: _Work | None = None
        self._recording: Recording | None = None

    @torch.no_grad()
    def __call__(self, z: Tensor, batch: int | None = None, ranks: Ranks = ALONE) -> tuple[Tensor, Tensor]:
        """x (frames, atoms, 3) and log |det dx/dz| (frames,) of z, `batch` frames at a time (by default, what
        fits); a GPU takes at least what fills it, and the last batch is filled up with zeros, so that a frame's numbers
        do not depend on how many there are. Ranks, which all have the same z, do a batch each, and get the whole
        result. Raises ValueError for a batch below 1."""
        if batch is not None and batch < 1:
            raise ValueError(f"the batch is {batch} frames; give at least one, or leave it out")
        size = self.frames_at_once(z, batch)
        if not is_gpu(z.device):
            self.inverter.pack(size)
        parts = ranks.map(partial(self._batch, size), z.split(size))
        return torch.cat([x for x, _ in parts]), torch.cat([log_det for _, log_det in parts])

    def frames_at_once(self, z: Tensor, batch: int | None) -> int:
        """Frames of a batch; see the call."""
        config = self.inverter.network.config
        if is_gpu(z.device):
            return max(batch or 1, gpu_batch(config, z.shape[1], z.device, z.element_size()))
        return min(batch or batch_that_fits(config, z), max(1, len(z)))

    def _batch(self, size: int, z: Tensor) -> tuple[Tensor, Tensor]:
        if not is_gpu(z.device):
            work = _Work.of(self.inverter.network.config, z, self.inverter.precision)
            for step in self._stages(work):
                step()
            return work.x, work.log_det
        if self._recording is None or self._work is None or len(self._work.log_det) != size:
            room = z.new_zeros(size, *z.shape[1:])
            self._work = _Work.of(self.inverter.network.config, room, self.inverter.precision)
            self._recording = Recording(self._stages(self._work))
        self._work.start(z)
        self._recording.run()
        return self._work.x[: len(z)].clone(), self._work.log_det[: len(z)].clone()

    def _stages(self, work: "_Work") -> list[Callable[[], None]]:
        """The stages that turn z into x, in place: block after block, then from local coordinates to
        positions."""

        def undo(block: PreparedBlock, order: Tensor, steps: list[Step]) -> None:
            moved = work.tokens[order]
            block.undo(
                moved, work.log_det, steps, work.caches, allow_tf32=self.inverter.precision != "float32"
            )
            work.tokens[order] = moved

        def place() -> None:
            x, log_det = _placed(
                self.inverter.network.config,
                work.tokens.transpose(0, 1).contiguous(),
                work.log_det,
                self.tokens,
            )
            work.x.copy_(x)
            work.log_det.copy_(log_det)

        backwards = zip(self.inverter.blocks[::-1], self.orders[::-1], self.steps[::-1], strict=True)
        return [*(partial(undo, *one) for one in backwards), place]


@dataclass(frozen=True)
class _Work:
    """Arrays that a batch is worked on in: tokens (atoms, frames, 3), so that a token is one piece of memory; x
    (frames, atoms, 3) and log_det (frames,), the result; keys and values of each layer."""

    tokens: Tensor
    x: Tensor
    log_det: Tensor
    caches: list[Cache]

    @classmethod
    def of(cls, config: ProseConfig, z: Tensor, precision: Precision) -> "_Work":
        """The arrays for a batch, filled with the latent z (frames, atoms, 3)."""
        caches = [Cache.empty(z, config, precision) for _ in range(config.layers_per_block)]
        tokens = z.transpose(0, 1).clone(memory_format=torch.contiguous_format)
        return cls(tokens, torch.empty_like(z), z.new_zeros(len(z)), caches)

    def start(self, z: Tensor) -> None:
        """Begin again with other frames, at most as many as there is room for; 0 behind them."""
        self.tokens[:, : len(z)] = z.transpose(0, 1)
        self.tokens[:, len(z) :].zero_()
        self.log_det.zero_()


def gpu_batch(config: ProseConfig, atoms: int, device: torch.device, element_size: int = 4) -> int:
    """Frames of a peptide that fill a GPU: 2,048, or the power of two that its memory holds. It goes by all of its
    memory, not by what is free, which would let rounding depend on who else is there."""
    room = int(MEMORY_SHARE * memory_bytes(device)) // (_values_a_frame(config, atoms) * element_size)
    return min(GPU_BATCH, 1 << max(0, room.bit_length() - 1))


def batch_that_fits(config: ProseConfig, z: Tensor) -> int:
    """Frames at a time for z (frames, atoms, 3) on a CPU: what half of the free memory holds, within limits."""
    fitting = int(MEMORY_SHARE * free_bytes()) // (_values_a_frame(config, z.shape[1]) * z.element_size())
    return max(1, min(fitting, LARGEST_BATCH, max(1, len(z))))


def _values_a_frame(config: ProseConfig, atoms: int) -> int:
    """Numbers that a frame needs while it is drawn: keys and values of a block, and activations of a token."""
    return config.channels * (2 * config.layers_per_block * atoms + 8 * config.expansion)


def free_bytes() -> int:
    """The free memory of this machine in bytes; if the machine does not say, a quarter of all it has."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
