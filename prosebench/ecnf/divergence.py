"""The divergence of the velocity field: exact, or by Hutchinson's estimate.

The exact one carries derivatives to all 3 atoms directions forward through the layers, next to the values. Three facts
make it much cheaper than as many backward passes. In the first layer, features do not depend on positions yet, so a
pair has one derivative, to its own distance. In the last, only the derivative of each atom to itself is wanted: one
pair in `atoms`. In between, how a message changes with the features of its sender is a matrix of its own for each
pair, and all of these, side by side, are one large matrix product with the derivatives of all features. That leaves
(layers - 2) x atoms^2 x 3 atoms x channels^2 multiplications in products that run at the full rate of the machine.

The velocity is centred, and does not change when the frame is shifted; so its divergence in all 3 atoms coordinates is
that in the 3 atoms - 3 of centred frames.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import jvp

from prosebench.ecnf.network import Edges, Layer, Pairs, VelocityField, centred, move, pairing
from prosebench.ecnf.nodes import Nodes

BLOCK_NUMBERS = {"cpu": 2**18, "cuda": 2**28}
"""The size of the largest temporary array in numbers, by kind of device; atoms are worked on in blocks to
keep to it. On a CPU this is what stays in a core's cache; on a GPU it is large, so that few launches do much
work each."""


class Slopes(NamedTuple):
    """Derivatives of a layer's edges (frames, i, j, channels) to `Edges.first`, in pieces.

    The pull changes by pull . change. The message changes by scale * (edge_out.weight (first * change))
    + raw (gate . change).
    """

    first: Tensor
    pull: Tensor
    scale: Tensor
    raw: Tensor
    gate: Tensor

    def message(self, change: Tensor, edge_out: Tensor) -> Tensor:
        """The change of the message, for one change (frames, i, j, channels) of `Edges.first`."""
        heard = self.scale * ((self.first * change) @ edge_out.T)
        return heard + self.raw * (self.gate * change).sum(dim=-1, keepdim=True)

    def matrices(self, edge_out: Tensor) -> Tensor:
        """The change of the message as matrices (frames, i, channels out, j, channels in), for any change of
        `Edges.first`."""
        weight = self.first[:, :, None] * edge_out[:, None]
        scale, raw = self.scale.transpose(2, 3)[..., None], self.raw.transpose(2, 3)[..., None]
        return torch.addcmul(weight * scale, raw, self.gate[:, :, None])


class Tangents(NamedTuple):
    """Derivatives to all directions: those of positions (frames, atoms, 3, directions), and those of features
    (frames, atoms, channels, directions), which are None while they are 0."""

    x: Tensor
    h: Tensor | None


def velocity_and_divergence(
    field: VelocityField, t: Tensor, x: Tensor, nodes: Nodes
) -> tuple[Tensor, Tensor]:
    """t (frames,), x (frames, atoms, 3) of one peptide -> velocities of the same shape and exact divergences (frames,).

    Under autograd, both can be differentiated.
    """
    n, atoms = len(x), x.shape[1]
    directions = torch.eye(3 * atoms, dtype=x.dtype, device=x.device).view(1, atoms, 3, 3 * atoms)
    h, y, paired = field.start(t, nodes), x, pairing(nodes.real, x.dtype)
    at_first = Pairs.of(x)
    tangents, trace = Tangents(directions, None), x.new_zeros(n)
    for layer in field.stack:
        pairs = Pairs.of(y)
        edges = layer.edges(h, pairs.squares, at_first.squares, paired)
        slopes = _slopes(layer, edges)
        if layer is field.stack[-1]:
            trace = _trace(tangents.x) - 3 * atoms
            trace = trace + _last_layer(layer, slopes, pairs, at_first, edges.pull, tangents)
        else:
            tangents = _next_tangents(layer, slopes, pairs, at_first, edges, tangents, h)
            h = h + layer.node_change(h, (edges.raw * edges.gate).sum(dim=2))
        y = y + move(pairs, edges.pull)
    return centred(y - x, nodes.real), trace


def hutchinson(
    field: VelocityField, t: Tensor, x: Tensor, nodes: Nodes, probe: Tensor
) -> tuple[Tensor, Tensor]:
    """Velocities, and the estimate probe . J probe of divergences for random signs (frames, atoms, 3).

    Its noise makes importance weights wrong, not just noisy: exp of an unbiased log-density is biased.
    """
    result: tuple[Tensor, Tensor] = jvp(lambda y: field(t, y, nodes), (x,), (probe,))  # type: ignore[assignment]
    velocity, change = result
    return velocity, (change * probe).sum(dim=(1, 2))


def _slope(x: Tensor) -> Tensor:
    """The derivative of the activation function silu."""
    s = torch.sigmoid(x)
    return s * (1.0 + x * (1.0 - s))


def _slopes(layer: Layer, edges: Edges) -> Slopes:
    flat = edges.pull[..., None] / layer.pull_range
    to_gated = (layer.pull_range * (1.0 - flat.square())) * (_slope(edges.third) * layer.pull_out.weight[0])
    to_gated = to_gated @ layer.pull_in.weight
    of_gate = edges.gate * (1.0 - edges.gate) * layer.gate.weight[0]
    to_raw = edges.gate * to_gated + (to_gated * edges.raw).sum(dim=-1, keepdim=True) * of_gate
    first, second, weight = _slope(edges.first), _slope(edges.second), layer.edge_out.weight
    return Slopes(
        first,
        first * ((to_raw * second) @ weight),
        edges.gate * second,
        edges.raw,
        first * ((of_gate * second) @ weight),
    )


def _next_tangents(
    layer: Layer, slopes: Slopes, pairs: Pairs, at_first: Pairs, edges: Edges, tangents: Tangents, h: Tensor
) -> Tangents:
    """The derivatives to all directions after a layer."""
    atoms, directions = tangents.x.shape[1], tangents.x.shape[3]
    receiver, sender, now, then = layer.edge_weights()
    weight = layer.edge_out.weight
    change = tangents.x[:, :, None] - tangents.x[:, None]
    squares = _of_squares(pairs.differences, change)
    if tangents.h is None:
        # In the first layer features do not change with positions, and both squared distances are the same.
        line = (now + then).expand_as(slopes.first)
        pull = (slopes.pull @ (now + then))[..., None] * squares
        heard = slopes.message(line, weight).transpose(2, 3) @ squares
    else:
        start = torch.eye(directions, dtype=h.dtype, device=h.device).view(1, atoms, 3, directions)
        squares_then = _of_squares(at_first.differences, start[:, :, None] - start[:, None])
        sent, own = sender @ tangents.h, receiver @ tangents.h
        pull = (slopes.pull @ now)[..., None] * squares + (slopes.pull @ then)[..., None] * squares_then
        pull = pull + slopes.pull @ own + (slopes.pull.transpose(1, 2) @ sent).transpose(1, 2)
        heard = slopes.message(now.expand_as(slopes.first), weight).transpose(2, 3) @ squares
        heard = heard + slopes.message(then.expand_as(slopes.first), weight).transpose(2, 3) @ squares_then
        heard = heard + _heard(slopes, weight, own, sent)
    step = 1.0 / (pairs.lengths + 1.0)
    share = edges.pull * step
    rate = pull * step[..., None] - squares * (share * step / (2.0 * pairs.lengths))[..., None]
    moved = pairs.differences.transpose(2, 3) @ rate + (share[..., None, None] * change).sum(dim=2)
    return Tangents(
        tangents.x + moved, _of_nodes(layer, h, (edges.raw * edges.gate).sum(dim=2), tangents.h, heard)
    )


def _heard(slopes: Slopes, edge_out: Tensor, own: Tensor, sent: Tensor) -> Tensor:
    """Change of the sums of messages for changes (frames, atoms, channels, directions) of `Edges.first` by receiver and
    by sender; block by block of receivers."""
    n, atoms, channels, directions = own.shape
    size = max(1, BLOCK_NUMBERS.get(own.device.type, BLOCK_NUMBERS["cpu"]) // (atoms * channels**2))
    parts: list[Tensor] = []
    for frame in range(n):
        for first in range(0, atoms, size):
            i = slice(first, first + size)
            matrices = Slopes(*(part[frame : frame + 1, i] for part in slopes)).matrices(edge_out)[0]
            by_sender = matrices.flatten(0, 1).flatten(1, 2) @ sent[frame].flatten(0, 1)
            parts.append(by_sender.view(-1, channels, directions) + matrices.sum(dim=2) @ own[frame, i])
    return torch.cat(parts).view_as(own)


def _of_squares(differences: Tensor, change: Tensor) -> Tensor:
    """Change of squared distances (frames, i, j, directions) for that of differences (frames, i, j, 3, directions)."""
    return 2.0 * (differences[..., None, :] @ change)[..., 0, :]


def _of_nodes(layer: Layer, h: Tensor, received: Tensor, of_h: Tensor | None, of_received: Tensor) -> Tensor:
    """Change of the features after a layer: (frames, atoms, channels, directions)."""
    of_own, of_heard = layer.node_in.weight.split(layer.channels, dim=1)
    slope = _slope(layer.node_in(torch.cat([h, received], dim=-1)))[..., None]
    inner = of_heard @ of_received
    if of_h is None:
        return layer.node_out.weight @ (slope * inner)
    return of_h + layer.node_out.weight @ (slope * (inner + of_own @ of_h))


def _last_layer(
    layer: Layer, slopes: Slopes, pairs: Pairs, at_first: Pairs, pull: Tensor, tangents: Tangents
) -> Tensor:
    """What the last layer's move adds to the trace (frames,): of all directions, atom i needs its own three."""
    n, atoms = pull.shape[:2]
    receiver, sender, now, then = layer.edge_weights()
    if tangents.h is None:
        # The only layer: positions are the start's, and x_i - x_j changes with x_i by the identity.
        squares, stretch = 2.0 * pairs.differences, pairs.differences.new_tensor(3.0)
        of_pull = (slopes.pull @ (now + then))[..., None] * squares
    else:
        # x[i, e, k, d] -> change of x_i - x_j in the directions of i: (frames, i, j, 3, 3).
        x = tangents.x.unflatten(3, (atoms, 3)).expand(n, -1, -1, -1, -1)
        change = x.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)[:, :, None] - x.permute(0, 3, 1, 2, 4)
        squares, stretch = _of_squares(pairs.differences, change), change.diagonal(dim1=3, dim2=4).sum(dim=-1)
        h = tangents.h.unflatten(3, (atoms, 3))
        own = receiver @ h.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
        sent = sender @ h.permute(0, 1, 3, 2, 4)
        of_pull = (slopes.pull @ now)[..., None] * squares
        of_pull = of_pull + (slopes.pull @ then)[..., None] * 2.0 * at_first.differences
        of_pull = of_pull + slopes.pull @ own + torch.einsum("nijc,njicd->nijd", slopes.pull, sent)
    step = 1.0 / (pairs.lengths + 1.0)
    share = pull * step
    rate = of_pull * step[..., None] - squares * (share * step / (2.0 * pairs.lengths))[..., None]
    return ((pairs.differences * rate).sum(dim=-1) + share * stretch).sum(dim=(1, 2))


def _trace(x: Tensor) -> Tensor:
    """Sum of the derivatives of all coordinates to themselves (frames | 1,)."""
    return x.flatten(1, 2).diagonal(dim1=1, dim2=2).sum(dim=-1)
