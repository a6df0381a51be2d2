"""The layers of the flow. Shapes: tokens (frames, tokens, channels), conditions (frames | 1, tokens,
channels)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prosebench.flows.molecule.tokens import Tokens
from prosebench.flows.sinusoid import sinusoid
from prosebench.prose.config import ProseConfig

OUTPUT_SCALE_BIAS = -2.0
"""The start value of the bias of an output scale. With sigmoid(-2) = 0.12 a new layer changes its input only
a little."""


class Embedding(nn.Module):
    """Atom type, residue type, residue position and sequence length of each atom -> (peptides, atoms,
    channels)."""

    def __init__(self, config: ProseConfig) -> None:
        super().__init__()
        self.channels, self.base = config.channels, config.residue_sinusoid_base
        self.atom = nn.Embedding(config.atom_rows, self.channels)
        self.residue = nn.Embedding(config.residue_rows, self.channels)
        self.mlp = nn.Sequential(
            nn.Linear(4 * self.channels, self.channels), nn.GELU(), nn.Linear(self.channels, self.channels)
        )

    def forward(self, tokens: Tokens) -> Tensor:
        atom, residue = self.atom(tokens.atom_type), self.residue(tokens.residue_type)
        position = sinusoid(tokens.residue_position, self.channels, self.base, atom.dtype)
        length = sinusoid(tokens.length, self.channels, self.base, atom.dtype)
        return self.mlp(torch.cat([atom, residue, position, length.expand_as(position)], dim=-1))


@dataclass
class Past:
    """Keys and values of the tokens so far, (frames, heads, tokens, head_dim) each; grown by
    concatenation."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def grow(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of new tokens; all of them so far."""
        self.keys[:] = [torch.cat([*self.keys, keys], dim=2)]
        self.values[:] = [torch.cat([*self.values, values], dim=2)]
        return self.keys[0], self.values[0]


def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Tensor:
    """Scaled dot-product attention, (frames, heads, tokens, head_dim) each; on the CPU in float32 or higher.

    There, torch 2.13 takes five times as long for the backward pass in bfloat16 as in float32.
    """
    if v.device.type != "cpu":
        return F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=causal)
    with torch.autocast("cpu", enabled=False):
        dtype = torch.promote_types(v.dtype, torch.float32)
        return F.scaled_dot_product_attention(q.to(dtype), k.to(dtype), v.to(dtype), is_causal=causal)


class Attention(nn.Module):
    """Causal attention with layer norm before it, and on queries and keys (over all channels)."""

    def __init__(self, config: ProseConfig) -> None:
        super().__init__()
        channels, self.heads = config.channels, config.heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.query_norm = nn.LayerNorm(channels)
        self.key_norm = nn.LayerNorm(channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, h: Tensor, past: Past | None = None) -> Tensor:
        """All tokens at once; or, with a past, the one next token, which sees the past and itself."""
        q, k, v = self.qkv(self.norm(h)).chunk(3, dim=-1)
        q, k, v = self._split(self.query_norm(q)), self._split(self.key_norm(k)), self._split(v)
        if past is not None:
            k, v = past.grow(k, v)
        return self.out(attend(q, k, v, causal=past is None).transpose(1, 2).flatten(2))

    def _split(self, values: Tensor) -> Tensor:
        """(frames, tokens, channels) -> (frames, heads, tokens, head_dim)."""
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Linear, GELU, linear, with layer norm before."""

    def __init__(self, config: ProseConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.channels)
        self.up = nn.Linear(config.channels, config.expansion * config.channels)
        self.down = nn.Linear(config.expansion * config.channels, config.channels)

    def forward(self, h: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(self.norm(h))))


class SwiGLU(nn.Module):
    """Two linear maps in one, the first half times SiLU of the second, linear; without biases."""

    def __init__(self, config: ProseConfig) -> None:
        super().__init__()
        inner = config.expansion * config.channels
        self.up = nn.Linear(config.channels, 2 * inner, bias=False)
        self.down = nn.Linear(inner, config.channels, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        value, gate = self.up(h).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


class PlainLayer(nn.Module):
    """h + condition, if there is one, then h + attention, then h + feed-forward: a layer of the plain TarFlow, and,
    without a condition, the core of one of Prose."""

    def __init__(self, config: ProseConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)

    def conditions(self, condition: Tensor) -> Tensor:
        """The condition, unchanged."""
        return condition

    def forward(self, h: Tensor, condition: Tensor | None = None, past: Past | None = None) -> Tensor:
        if condition is not None:
            h = h + condition
        h = h + self.attention(h, past)
        return h + self.feed_forward(h)


@dataclass(frozen=True)
class Modulation:
    """What a condition does to a part of a layer: scale and shift of its normed input, scale of its
    output."""

    scale: Tensor
    shift: Tensor
    output_scale: Tensor

    def enter(self, h: Tensor) -> Tensor:
        """Adaptive layer norm: (h normed) * scale + shift."""
        return torch.addcmul(self.shift, F.layer_norm(h, h.shape[-1:]), self.scale)


class Adaption(nn.Module):
    """Conditions -> Modulation: sigmoids for the scales, a linear map for the shift."""

    def __init__(self, config: ProseConfig) -> None:
        super().__init__()
        channels = config.channels
        self.norm = nn.LayerNorm(channels)
        self.scale = nn.Linear(channels, channels)
        self.shift = nn.Linear(channels, channels, bias=False)
        self.output_scale = nn.Linear(channels, channels)
        nn.init.zeros_(self.output_scale.weight)
        nn.init.constant_(self.output_scale.bias, OUTPUT_SCALE_BIAS)

    def forward(self, condition: Tensor) -> Modulation:
        normed = self.norm(condition)
        return Modulation(
            self.scale(normed).sigmoid(), self.shift(normed), self.output_scale(condition).sigmoid()
        )


class AdaptiveLayer(nn.Module):
    """A layer of Prose: a plain layer and, unless left out, a SwiGLU transition, each between its
    modulations."""

    def __init__(self, config: ProseConfig) -> None:
        super().__init__()
        self.core = PlainLayer(config)
        self.core_adaption = Adaption(config)
        self.transition = SwiGLU(config) if config.transition else None
        self.transition_adaption = Adaption(config) if config.transition else None

    def conditions(self, condition: Tensor) -> list[Modulation]:
        """Modulations of the core and of the transition: all that depends on the peptide alone."""
        adaptions = [self.core_adaption, self.transition_adaption]
        return [adaption(condition) for adaption in adaptions if adaption is not None]

    def forward(self, h: Tensor, modulations: list[Modulation], past: Past | None = None) -> Tensor:
        core = modulations[0]
        h = h + core.output_scale * self.core(core.enter(h), past=past)
        if self.transition is None:
            return h
        transition = modulations[1]
        return h + transition.output_scale * self.transition(transition.enter(h))
