"""The flow: a stack of autoregressive blocks between coordinates x and latent z, with its log-determinant.

A block goes through the atoms in its own order. Tokens 0..k say how token k + 1 is shifted and scaled, z[k+1]
= (x[k+1] - shift) * exp(-log_scale); the first token stays as it is (TarFlow: Zhai et al., arXiv 2412.06329;
Prose: arXiv 2508.18175).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prosebench.flows.molecule.local_frames import to_local
from prosebench.flows.molecule.tokens import Tokens, take
from prosebench.flows.sinusoid import sinusoid
from prosebench.prose.config import ProseConfig
from prosebench.prose.layers import AdaptiveLayer, Embedding, Modulation, Past, PlainLayer

POSITION_SCALE = 0.01
"""The start value of the scale of the token positions."""


@dataclass(frozen=True)
class BlockConditions:
    """What a block knows of a peptide: positions (1, tokens, channels), added to the projected coordinates, and of each
    layer the modulations, or for a plain one the condition (peptides, tokens, channels) that is added before it."""

    positions: Tensor
    layers: list[list[Modulation] | Tensor]


class Block(nn.Module):
    """One autoregressive block. Its arguments are in its own order; the last token says nothing and is left
    out."""

    def __init__(self, config: ProseConfig) -> None:
        super().__init__()
        self.lookahead, self.base = config.lookahead, config.position_sinusoid_base
        channels = config.channels
        self.position_scale = nn.Parameter(torch.full((1,), POSITION_SCALE))
        self.project_in = nn.Linear(3, channels)
        self.project_condition: nn.Module = nn.Linear(channels, channels)
        if config.lookahead:
            self.project_condition = nn.Sequential(
                nn.Linear(2 * channels, channels), nn.GELU(), nn.Linear(channels, channels)
            )
        layer = PlainLayer if config.conditioning == "additive" else AdaptiveLayer
        self.layers = nn.ModuleList(layer(config) for _ in range(config.layers_per_block))
        self.project_out = nn.Linear(channels, 6)
        nn.init.zeros_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)

    def conditions(self, embedded: Tensor, first: int = 0) -> BlockConditions:
        """Conditions of tokens first, first + 1, ...; embedded is (peptides, tokens + 1, channels)."""
        own, following = embedded[:, :-1], embedded[:, 1:]
        condition = self.project_condition(torch.cat([own, following], dim=-1) if self.lookahead else own)
        positions = torch.arange(first, first + own.shape[1], device=own.device)
        of_positions = sinusoid(positions, embedded.shape[-1], self.base, self.position_scale.dtype)
        layers: Iterable[Any] = self.layers
        return BlockConditions(
            (self.position_scale * of_positions)[None], [layer.conditions(condition) for layer in layers]
        )

    def affine(
        self, x: Tensor, conditions: BlockConditions, past: list[Past] | None = None
    ) -> tuple[Tensor, Tensor]:
        """What tokens x (frames, tokens, 3) say of the next ones: log_scale and shift, of the shape of x.

        With a past (one a layer), x holds one token and earlier ones are in the past.
        """
        # Bond lengths spread by about one part in a hundred, so coordinates are never rounded to the type of
        # autocast.
        with torch.autocast(x.device.type, enabled=False):
            h = self.project_in(x)
        h = h + conditions.positions
        for i, layer in enumerate(self.layers):
            h = layer(h, conditions.layers[i], past=past[i] if past else None)
        with torch.autocast(x.device.type, enabled=False):
            log_scale, shift = self.project_out(h.to(x.dtype)).chunk(2, dim=-1)
        return log_scale, shift

    def forward(self, x: Tensor, embedded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (frames, atoms, 3) -> z of the same shape and log |det dz/dx| (frames,); padding stays as it
        is."""
        log_scale, shift = self.affine(x[:, :-1], self.conditions(embedded))
        real = mask[:, 1:, None]
        log_scale, shift = log_scale * real, shift * real
        moved = (x[:, 1:] - shift) * torch.exp(-log_scale)
        return torch.cat([x[:, :1], moved], dim=1), -log_scale.sum(dim=(1, 2))


class Network(nn.Module):
    """All blocks. x and z are in normalised units, (frames, atoms, 3), 0 where padded."""

    def __init__(self, config: ProseConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))

    def forward(self, x: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """z and log |det dz/dx| (frames,) of frames of the peptides in tokens (one for all frames, or one
        each)."""
        embedded = self.embedding(tokens)
        log_det = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        if self.config.coordinates == "local":
            x, change = to_local(x, tokens.placing_order, tokens.references, tokens.turns, tokens.mask)
            log_det = log_det + change
        for block, order in zip(self.blocks, tokens.orders, strict=True):
            z, change = block(take(x, order), take(embedded, order), take(tokens.mask, order))
            x, log_det = take(z, order.argsort(dim=-1)), log_det + change
        return x, log_det
