"""Layers of a flow with weights prepared for one token of every frame at a time; see `prosebench.prose.inverse`."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prosebench.flows.device import tf32
from prosebench.prose.config import ProseConfig
from prosebench.prose.layers import AdaptiveLayer, Modulation, PlainLayer, SwiGLU
from prosebench.prose.network import Block

Precision = Literal["float32", "tf32", "bfloat16"]
"""The precision in which a GPU draws. With "tf32", products inside the layers round their factors to 10 bits
of mantissa; "bfloat16" also keeps keys and values in bfloat16. Maps between coordinates and channels are
always in float32. A CPU has no TF32, so its products are those of float32."""

_MKL = torch.backends.mkl.is_available() and hasattr(torch.ops.mkl, "_mkl_linear")


@dataclass(frozen=True)
class Cache:
    """Keys and values of one layer, (frames, tokens, heads, head_dim) each; filled from the front."""

    keys: Tensor
    values: Tensor

    @classmethod
    def empty(cls, z: Tensor, config: ProseConfig, precision: Precision) -> "Cache":
        shape = (len(z), z.shape[1] - 1, config.heads, config.head_dim)
        dtype = torch.bfloat16 if precision == "bfloat16" else z.dtype
        return cls(z.new_empty(shape, dtype=dtype), z.new_empty(shape, dtype=dtype))


@dataclass(frozen=True)
class Step:
    """Conditions of one token: what is added to its projected coordinates, and what each layer takes; (channels,) a
    vector."""

    start: Tensor
    layers: list[list[Modulation] | Tensor]


class PackedLinear:
    """h @ weight.T + bias for h (frames, in); weight (out, in).

    On the CPU, MKL takes weights that it has laid out beforehand for a number of rows a tenth faster (float32
    only).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight, self.bias = weight.detach(), bias
        self.packed: Tensor | None = None
        self.packed_rows = 0

    def pack(self, rows: int) -> None:
        """Lay the weight out for `rows` frames, where that is of use."""
        if _MKL and self.weight.device.type == "cpu" and self.weight.dtype == torch.float32:
            self.packed = torch.ops.mkl._mkl_reorder_linear_weight(self.weight, rows)
            self.packed_rows = rows

    def __call__(self, h: Tensor) -> Tensor:
        if self.packed is not None and len(h) == self.packed_rows:
            return torch.ops.mkl._mkl_linear(h, self.packed, self.weight, self.bias, self.packed_rows)
        return F.linear(h, self.weight, self.bias)


class PreparedBlock:
    """A block whose steps are undone token after token."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.layers = [_Layer(layer) for layer in block.layers]

    def steps(self, embedded: Tensor) -> list[Step]:
        """Conditions of each token of a peptide, from its embedded atoms (1, atoms, channels) in the block's
        order."""
        conditions = self.block.conditions(embedded)
        starts = conditions.positions[0] + self.block.project_in.bias
        return [
            Step(start, [_of_token(of_layer, k) for of_layer in conditions.layers])
            for k, start in enumerate(starts)
        ]

    def undo(
        self,
        x: Tensor,
        log_det: Tensor,
        steps: list[Step],
        caches: list[Cache],
        *,
        allow_tf32: bool = False,
    ) -> None:
        """Turn z into x (atoms, frames, 3) and add to log_det (frames,), both in place."""
        for k, step in enumerate(steps):
            h = F.linear(x[k], self.block.project_in.weight, step.start)
            with tf32(allow_tf32):
                for layer, of_layer, cache in zip(self.layers, step.layers, caches, strict=True):
                    h = layer.update(h, of_layer, cache, k)
            log_scale, shift = self.block.project_out(h).chunk(2, dim=-1)
            x[k + 1].mul_(log_scale.exp()).add_(shift)
            log_det += log_scale.sum(dim=-1)


class _Layer:
    """One layer, applied to one token of every frame: h (frames, channels)."""

    def __init__(self, layer: nn.Module) -> None:
        core = layer.core if isinstance(layer, AdaptiveLayer) else layer
        assert isinstance(core, PlainLayer)
        self.core = _Core(core)
        transition = getattr(layer, "transition", None)
        self.transition = _Transition(transition) if transition is not None else None
        self.linears = self.core.linears + (self.transition.linears if self.transition else [])

    def update(self, h: Tensor, modulations: list[Modulation] | Tensor, cache: Cache, k: int) -> Tensor:
        """The layer's output for token k, in place; a plain layer has a condition for modulations."""
        if isinstance(modulations, Tensor):
            return self.core.update(h.add_(modulations), cache, k)
        h.addcmul_(self.core.update(_modulated(h, modulations[0]), cache, k), modulations[0].output_scale)
        if self.transition is not None:
            h.addcmul_(self.transition(_modulated(h, modulations[1])), modulations[1].output_scale)
        return h


class _Core:
    """A plain layer: attention to the tokens so far, feed-forward.

    The weight of the key norm goes into the query norm. The bias of the key norm adds the same to every score
    of a query, which softmax does not see.
    """

    def __init__(self, layer: PlainLayer) -> None:
        attention, feed_forward = layer.attention, layer.feed_forward
        self.qkv = _folded(attention.norm, attention.qkv)
        self.query_weight = attention.query_norm.weight * attention.key_norm.weight
        self.query_bias = attention.query_norm.bias * attention.key_norm.weight
        self.out = PackedLinear(attention.out.weight, attention.out.bias)
        self.up = _folded(feed_forward.norm, feed_forward.up)
        self.down = PackedLinear(feed_forward.down.weight, feed_forward.down.bias)
        self.linears = [self.qkv, self.out, self.up, self.down]

    def update(self, h: Tensor, cache: Cache, k: int) -> Tensor:
        """h + attention, then h + feed-forward, in place; token k goes into the cache."""
        h += self.out(self._attended(_normed(h), cache, k))
        h += self.down(torch.ops.aten.gelu_(self.up(_normed(h))))
        return h

    def _attended(self, normed: Tensor, cache: Cache, k: int) -> Tensor:
        query, key, value = self.qkv(normed).chunk(3, dim=-1)
        query = F.layer_norm(query, query.shape[-1:], self.query_weight, self.query_bias).to(cache.keys.dtype)
        cache.keys[:, k] = _normed(key).view_as(cache.keys[:, k])
        cache.values[:, k] = value.unflatten(-1, cache.values.shape[2:])
        keys, values = cache.keys[:, : k + 1].transpose(1, 2), cache.values[:, : k + 1].transpose(1, 2)
        query = query.view_as(keys[:, :, 0])[:, :, None]
        return F.scaled_dot_product_attention(query, keys, values).flatten(1).to(normed.dtype)


class _Transition:
    """The SwiGLU part of a layer."""

    def __init__(self, transition: SwiGLU) -> None:
        self.up, self.down = PackedLinear(transition.up.weight), PackedLinear(transition.down.weight)
        self.linears = [self.up, self.down]

    def __call__(self, h: Tensor) -> Tensor:
        value, gate = self.up(h).chunk(2, dim=-1)
        return self.down(F.silu(gate).mul_(value))


def _normed(h: Tensor) -> Tensor:
    return F.layer_norm(h, h.shape[-1:])


def _modulated(h: Tensor, modulation: Modulation) -> Tensor:
    return F.layer_norm(h, h.shape[-1:], modulation.scale, modulation.shift)


def _folded(norm: nn.LayerNorm, linear: nn.Linear) -> PackedLinear:
    """A linear map that takes the place of layer norm's affine part and itself."""
    return PackedLinear(linear.weight * norm.weight, linear.weight @ norm.bias + linear.bias)


def _of_token(modulations: list[Modulation] | Tensor, k: int) -> list[Modulation] | Tensor:
    if isinstance(modulations, Tensor):
        return modulations[0, k]
    return [Modulation(m.scale[0, k], m.shift[0, k], m.output_scale[0, k]) for m in modulations]
