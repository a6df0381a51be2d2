"""Attention that sees where placed atoms are, and the layer around it.

When an atom is to be placed, the positions of all atoms before it are known in its own axes. They add to the attention
logits and to what is attended to, so that directions and distances are seen without being learnt from coordinates.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prosebench.arbg.config import ArbgConfig
from prosebench.arbg.scaffold import FAR_BONDS

SHELLS = 16
NEAREST_NM, FARTHEST_NM = 0.08, 0.9


class Pairs(nn.Module):
    """The features that say where a placed atom is, as seen from an atom that is to be placed."""

    shells: Tensor

    def __init__(self, config: ArbgConfig) -> None:
        super().__init__()
        hidden = config.pair_hidden
        self.geometry = nn.Linear(4 + SHELLS, hidden)
        self.of_placed = nn.Linear(config.channels, hidden, bias=False)
        self.of_next = nn.Linear(config.channels, hidden, bias=False)
        self.of_bonds = nn.Embedding(FAR_BONDS + 1, hidden)
        self.out = nn.Linear(hidden, config.pair_channels)
        self.register_buffer("shells", torch.linspace(NEAREST_NM, FARTHEST_NM, SHELLS), persistent=False)

    def forward(self, seen: Tensor, known: Tensor) -> Tensor:
        """seen (frames, next, placed, 3): positions in nm in the axes of the next atom; known (next, placed, hidden):
        what is known of each pair without positions. Returns (frames, next, placed, pair channels)."""
        distance = seen.square().sum(dim=-1, keepdim=True).add(1e-6).sqrt()
        width = (FARTHEST_NM - NEAREST_NM) / SHELLS
        shells = torch.exp(-0.5 * ((distance - self.shells) / width).square())
        told = torch.cat([seen / distance, 1.0 / (1.0 + 5.0 * distance), shells], dim=-1)
        return self.out(F.silu(self.geometry(told) + known))

    def known(self, condition: Tensor, bonds_apart: Tensor) -> Tensor:
        """What is known of each pair (next, placed) without positions: both atoms, and the bonds between them.

        condition (atoms, channels), bonds_apart (atoms, atoms); next and placed are all atoms.
        """
        return self.of_next(condition)[:, None] + self.of_placed(condition)[None] + self.of_bonds(bonds_apart)


class Layer(nn.Module):
    """Causal attention and a gated feed-forward part, both after norms that the condition of the next atom adapts."""

    def __init__(self, config: ArbgConfig) -> None:
        super().__init__()
        channels, wide = config.channels, config.channels * config.expansion
        self.heads, self.head_dim = config.heads, config.head_dim
        self.attention_norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.forward_norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.adapt = nn.Linear(channels, 4 * channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.query_norm, self.key_norm = nn.LayerNorm(config.head_dim), nn.LayerNorm(config.head_dim)
        self.attended = nn.Linear(channels, channels)
        self.up = nn.Linear(channels, 2 * wide)
        self.down = nn.Linear(wide, channels)
        if config.pair_channels:
            self.bias = nn.Linear(config.pair_channels, config.heads, bias=False)
            self.attended_pairs = nn.Linear(config.heads * config.pair_channels, channels, bias=False)
        for start in (self.adapt.weight, self.adapt.bias, self.attended.bias, self.down.bias):
            nn.init.zeros_(start)
        for small in (self.attended, self.down):
            nn.init.normal_(small.weight, std=0.02)

    def forward(
        self,
        state: Tensor,
        condition: Tensor,
        pairs: Tensor | None,
        hidden: Tensor,
        past: "Past | None" = None,
    ) -> Tensor:
        """state (frames, tokens, channels), condition (tokens, channels), pairs (frames, tokens, seen, pair channels),
        hidden (tokens, seen): -inf where a token must not be seen, else 0. With a past, keys and values of these tokens
        are added to it, and what is seen is all of it; without one, the tokens see each other."""
        scale, shift, forward_scale, forward_shift = self.adapt(condition).chunk(4, dim=-1)
        x = self.attention_norm(state) * (1 + scale) + shift
        state = state + self._attend(x, pairs, hidden, past)
        gate, value = self.up(self.forward_norm(state) * (1 + forward_scale) + forward_shift).chunk(2, dim=-1)
        return state + self.down(F.silu(gate) * value)

    def _attend(self, x: Tensor, pairs: Tensor | None, hidden: Tensor, past: "Past | None") -> Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, self.head_dim)).unbind(dim=2)
        query, key = self.query_norm(query).transpose(1, 2), self.key_norm(key).transpose(1, 2)
        value = value.transpose(1, 2)
        if past is not None:
            key, value = past.add(key, value)
        logits = query @ key.transpose(-1, -2) / math.sqrt(self.head_dim) + hidden
        if pairs is not None:
            logits = logits + self.bias(pairs).permute(0, 3, 1, 2)
        attention = logits.softmax(dim=-1)
        found = self.attended((attention @ value).transpose(1, 2).flatten(2))
        if pairs is not None:
            of_pairs = attention.transpose(1, 2) @ pairs
            found = found + self.attended_pairs(of_pairs.flatten(2))
        return found


class Past:
    """Keys and values of the tokens so far, in memory that is there from the beginning."""

    def __init__(self, frames: int, tokens: int, config: ArbgConfig, like: Tensor) -> None:
        shape = (2, frames, config.heads, tokens, config.head_dim)
        self._kept, self._length = torch.empty(shape, dtype=like.dtype, device=like.device), 0

    def add(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values of new tokens. Returns all of them (frames, heads, tokens so far,
        head_dim), the new ones last."""
        end = self._length + key.shape[2]
        self._kept[0, :, :, self._length : end], self._kept[1, :, :, self._length : end] = key, value
        self._length = end
        return self._kept[0, :, :, :end], self._kept[1, :, :, :end]
