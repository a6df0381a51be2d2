"""The network: a causal transformer that says of each coordinate in which bin it is.

A frame is 3 atoms tokens: x, y, z of the first atom of the topology, then of the second, and so on. Token k is told the
bin of coordinate k - 1 (bin 0 at the beginning) and all that is known of coordinate k: atom index, axis, place in the
sequence, and the condition of its atom. One attention over the conditions of all atoms shows it the whole peptide; then
come causal blocks, each h + attention(norm(h)), then h + SwiGLU(norm(h)); then logits over the bins of coordinate k.
Shapes: h (frames, tokens, channels). Source: Rehman et al., arXiv 2606.27361.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mdtraj
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prosebench.flows.molecule.conditions import conditions
from prosebench.flows.sinusoid import sinusoid
from prosebench.robin.config import RobinConfig

NORM_EPSILON = 1e-6
"""The number that is added to mean squares before their root is taken, as in the published network."""

Pair = tuple[Tensor, Tensor]
"""The keys and the values, each of shape (frames | 1, heads, tokens, channels / heads)."""


@dataclass(frozen=True)
class Known:
    """What is known of a peptide before anything is drawn: start (3 atoms, channels), added to the embedded bins, and
    keys and values of its atoms."""

    start: Tensor
    atoms: Pair


class Conditions(nn.Module):
    """What is known of each atom -> (atoms, channels): types of atom and residue, place of the residue, length of the
    peptide, and index of the atom."""

    def __init__(self, config: RobinConfig) -> None:
        super().__init__()
        self.channels, self.base = config.channels, config.sinusoid_base
        self.atom = nn.Embedding(config.atom_rows, config.channels)
        self.residue = nn.Embedding(config.residue_rows, config.channels)
        self.mlp = nn.Sequential(
            nn.Linear(5 * config.channels, config.channels),
            nn.GELU(),
            nn.Linear(config.channels, config.channels),
        )

    def forward(self, topology: mdtraj.Topology) -> Tensor:
        codes, weight = conditions(topology), self.atom.weight
        arrays = (
            codes.atom_type,
            codes.residue_type,
            codes.residue_position,
            codes.length.repeat(topology.n_atoms),
            np.arange(topology.n_atoms),
        )
        atom, residue, *numbers = (torch.as_tensor(array, device=weight.device) for array in arrays)
        vectors = [self.atom(atom), self.residue(residue)]
        vectors += [sinusoid(one, self.channels, self.base, weight.dtype) for one in numbers]
        return self.mlp(torch.cat(vectors, dim=-1))


class Overview(nn.Module):
    """Attention from each token to the conditions of all atoms, before and behind."""

    def __init__(self, config: RobinConfig) -> None:
        super().__init__()
        self.heads, self.channels = config.heads, config.channels
        self.qkv = nn.Linear(config.channels, 3 * config.channels)
        self.out = nn.Linear(config.channels, config.channels)

    def keys_and_values(self, condition: Tensor) -> Pair:
        """The keys and values of the atoms of one peptide, from their conditions (atoms, channels)."""
        weight, bias = self.qkv.weight[self.channels :], self.qkv.bias[self.channels :]
        keys, values = F.linear(condition, weight, bias)[None].chunk(2, dim=-1)
        return split(keys, self.heads), split(values, self.heads)

    def forward(self, h: Tensor, atoms: Pair) -> Tensor:
        queries = F.linear(h, self.qkv.weight[: self.channels], self.qkv.bias[: self.channels])
        keys, values = (one.expand(len(h), -1, -1, -1) for one in atoms)
        attended = F.scaled_dot_product_attention(split(queries, self.heads), keys, values)
        return self.out(joined(attended))


class Cache:
    """Keys and values of the tokens so far of one block, in arrays that are made once."""

    def __init__(self, frames: int, tokens: int, config: RobinConfig, like: Tensor) -> None:
        """Room for as many tokens of as many frames, of the kind and on the device of `like`."""
        shape = (frames, config.heads, tokens, config.channels // config.heads)
        self.keys, self.values, self.filled = like.new_empty(shape), like.new_empty(shape), 0

    def grow(self, keys: Tensor, values: Tensor) -> Pair:
        """Add the keys and values of one more token, and return all of them so far."""
        self.keys[:, :, self.filled], self.values[:, :, self.filled] = keys[:, :, 0], values[:, :, 0]
        self.filled += 1
        return self.keys[:, :, : self.filled], self.values[:, :, : self.filled]


class Block(nn.Module):
    """h + causal attention(norm(h)), then h + SwiGLU(norm(h))."""

    def __init__(self, config: RobinConfig) -> None:
        super().__init__()
        channels, self.heads = config.channels, config.heads
        self.attention_norm = nn.RMSNorm(channels, eps=NORM_EPSILON)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)
        self.mlp_norm = nn.RMSNorm(channels, eps=NORM_EPSILON)
        self.gate = nn.Linear(channels, config.hidden, bias=False)
        self.value = nn.Linear(channels, config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, channels)

    def forward(self, h: Tensor, cache: Cache | None = None) -> Tensor:
        """All tokens at once; or, with a cache, one more token, which sees those before it and itself."""
        h = h + self._attention(self.attention_norm(h), cache)
        normed = self.mlp_norm(h)
        return h + self.down(F.silu(self.gate(normed)) * self.value(normed))

    def _attention(self, normed: Tensor, cache: Cache | None) -> Tensor:
        queries, keys, values = (split(one, self.heads) for one in self.qkv(normed).chunk(3, dim=-1))
        if cache is not None:
            keys, values = cache.grow(keys, values)
        attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=cache is None)
        return self.out(joined(attended))


class Network(nn.Module):
    """Bins of the coordinates before -> logits over the bins of each coordinate."""

    def __init__(self, config: RobinConfig) -> None:
        super().__init__()
        self.config = config
        self.bin = nn.Embedding(config.bins, config.channels)
        self.axis = nn.Embedding(3, config.channels)
        self.atom_index = nn.Embedding(config.max_atoms, config.channels)
        self.conditions = Conditions(config)
        self.overview = Overview(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.channels, eps=NORM_EPSILON)
        self.logits = nn.Linear(config.channels, config.bins, bias=False)

    def known(self, topology: mdtraj.Topology) -> Known:
        """What is known of a peptide. Raises ValueError for one with more atoms than were learned."""
        if topology.n_atoms > self.config.max_atoms:
            raise ValueError(
                f"the peptide has {topology.n_atoms} atoms, and these weights know {self.config.max_atoms}"
            )
        condition = self.conditions(topology)
        place = torch.arange(3 * topology.n_atoms, device=condition.device)
        start = condition.repeat_interleave(3, dim=0) + self.axis(place % 3) + self.atom_index(place // 3)
        start = start + sinusoid(place, self.config.channels, self.config.sinusoid_base, start.dtype)
        return Known(start, self.overview.keys_and_values(condition))

    def forward(
        self, before: Tensor, known: Known, caches: Sequence[Cache] | None = None, first: int = 0
    ) -> Tensor:
        """What goes into `logits`, (frames, tokens, channels), from the bins before each token (frames, tokens).

        With caches (one a block), before holds one token, the one at place `first`, and earlier ones are in the caches.
        """
        h = self.bin(before) + known.start[first : first + before.shape[1]]
        h = h + self.overview(h, known.atoms)
        for i, block in enumerate(self.blocks):
            h = block(h, caches[i] if caches else None)
        return self.norm(h)


def split(values: Tensor, heads: int) -> Tensor:
    """(frames, tokens, channels) -> (frames, heads, tokens, channels / heads)."""
    return values.unflatten(-1, (heads, -1)).transpose(1, 2)


def joined(values: Tensor) -> Tensor:
    """The reverse of `split`: (frames, heads, tokens, channels / heads) -> (frames, tokens, channels)."""
    return values.transpose(1, 2).flatten(2)
