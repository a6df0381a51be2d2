"""The velocity field of ECNF++: a graph network whose messages know distances alone, and which moves atoms along the
lines between them (Satorras et al., arXiv 2102.09844; Tan et al., arXiv 2508.18175).

So the velocity turns with the frame, does not change when it is shifted, and does not know left from right.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prosebench.ecnf.config import EcnfConfig
from prosebench.ecnf.nodes import Nodes

SOFTENING = 1e-8
"""A small number that is added to squared distances under the root, in squared normalised units, so that the
root has a derivative at 0."""
FIRST_PULL = 1e-3
"""The gain with which the last map of a pull is initialised. It is small, so that a new network hardly moves
the atoms."""


class Pairs(NamedTuple):
    """Geometry of all pairs of atoms: differences x_i - x_j (frames, i, j, 3); squares (frames, i, j) of their lengths;
    lengths, softened."""

    differences: Tensor
    squares: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, x: Tensor) -> "Pairs":
        """The geometry of all pairs at positions (frames, atoms, 3)."""
        differences = x[:, :, None] - x[:, None]
        squares = differences.square().sum(dim=-1)
        return cls(differences, squares, (squares + SOFTENING).sqrt())


class Edges(NamedTuple):
    """What a layer computes for each pair (frames, i, j, ...); i receives from j.

    first, second, third are inputs of activations; raw (channels) is the message before its gate (1), both 0 for pairs
    that are none; pull is how far i goes along the line to j, 0 likewise.
    """

    first: Tensor
    second: Tensor
    third: Tensor
    raw: Tensor
    gate: Tensor
    pull: Tensor


class Layer(nn.Module):
    """Messages between all atoms; each atom moves by them and, but in the last layer, changes its features."""

    def __init__(self, channels: int, pull_range: float, *, last: bool) -> None:
        super().__init__()
        self.channels, self.pull_range = channels, pull_range
        self.edge_in = nn.Linear(2 * channels + 2, channels)
        self.edge_out = nn.Linear(channels, channels)
        self.gate = nn.Linear(channels, 1)
        self.pull_in = nn.Linear(channels, channels)
        self.pull_out = nn.Linear(channels, 1, bias=False)
        nn.init.xavier_uniform_(self.pull_out.weight, gain=FIRST_PULL)
        if not last:
            self.node_in = nn.Linear(2 * channels, channels)
            self.node_out = nn.Linear(channels, channels)

    def edge_weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Parts of the first map: of the receiver (channels, channels), of the sender, of the squared distance
        (channels,), and of the squared distance at the first layer."""
        weight, c = self.edge_in.weight, self.channels
        return weight[:, :c], weight[:, c : 2 * c], weight[:, 2 * c], weight[:, 2 * c + 1]

    def edges(self, h: Tensor, squares: Tensor, squares_at_first: Tensor, paired: Tensor) -> Edges:
        """From features (frames, atoms, channels). paired (frames | 1, i, j, 1) is 1 for two different real atoms."""
        receiver, sender, now, then = self.edge_weights()
        first = (h @ receiver.T + self.edge_in.bias)[:, :, None] + (h @ sender.T)[:, None]
        first = first + squares[..., None] * now + squares_at_first[..., None] * then
        second = self.edge_out(F.silu(first))
        raw = F.silu(second) * paired
        gate = torch.sigmoid(self.gate(raw)) * paired
        third = self.pull_in(raw * gate)
        pull = self.pull_range * torch.tanh(self.pull_out(F.silu(third))) * paired
        return Edges(first, second, third, raw, gate, pull[..., 0])

    def node_change(self, h: Tensor, received: Tensor) -> Tensor:
        """Change of the features, from them and the sum of messages, both (frames, atoms, channels)."""
        return self.node_out(F.silu(self.node_in(torch.cat([h, received], dim=-1))))


class VelocityField(nn.Module):
    """dx/dt of atoms at x, at a time t between 0 (prior) and 1 (data), in normalised units."""

    def __init__(self, config: EcnfConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(config.features + 1, config.channels)
        self.layers = nn.ModuleList(
            Layer(config.channels, config.coordinate_range / config.layers, last=i + 1 == config.layers)
            for i in range(config.layers)
        )

    def forward(self, t: Tensor, x: Tensor, nodes: Nodes) -> Tensor:
        """t (frames,), x (frames, atoms, 3) -> velocities of the same shape, whose mean over the atoms is 0."""
        h, y, paired = self.start(t, nodes), x, pairing(nodes.real, x.dtype)
        at_first = Pairs.of(x).squares
        for layer in self.stack:
            pairs = Pairs.of(y)
            edges = layer.edges(h, pairs.squares, at_first, paired)
            y = y + move(pairs, edges.pull)
            if hasattr(layer, "node_in"):
                h = h + layer.node_change(h, (edges.raw * edges.gate).sum(dim=2))
        return centred(y - x, nodes.real)

    @property
    def stack(self) -> list[Layer]:
        """The layers, first to last."""
        return [cast(Layer, layer) for layer in self.layers]

    def start(self, t: Tensor, nodes: Nodes) -> Tensor:
        """Features (frames, atoms, channels) of the atoms at times (frames,)."""
        weight = self.embedding.weight
        known = nodes.features @ weight[:, :-1].T + self.embedding.bias
        return known + t[:, None, None] * weight[:, -1]


def pairing(real: Tensor, dtype: torch.dtype) -> Tensor:
    """1 for two different real atoms, else 0: (peptides, atoms) -> (peptides, i, j, 1)."""
    both = real[:, :, None] & real[:, None]
    return (both & ~torch.eye(real.shape[1], dtype=torch.bool, device=real.device)).to(dtype)[..., None]


def move(pairs: Pairs, pull: Tensor) -> Tensor:
    """Sum over j of pull_ij (x_i - x_j) / (|x_i - x_j| + 1): (frames, atoms, 3)."""
    return (pairs.differences * (pull / (pairs.lengths + 1.0))[..., None]).sum(dim=2)


def centred(v: Tensor, real: Tensor) -> Tensor:
    """Velocities (frames, atoms, 3) without their mean over the real atoms; 0 where padded."""
    mask = real[..., None].to(v.dtype)
    v = v * mask
    return (v - v.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True)) * mask
