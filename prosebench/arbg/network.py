"""The density of a frame: a causal transformer over atoms in placing order, with the heads on top.

Token i is about to place atom i + 1 and has just been told where atom i is. Its input is what atom i + 1 is, the
internal coordinates of atom i and of the atoms that i + 1 is seen from; attention sees all placed atoms in the axes of
i + 1.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prosebench.arbg.config import ArbgConfig
from prosebench.arbg.heads import Heads
from prosebench.arbg.internal import axes, log_volume, to_cartesian
from prosebench.arbg.layers import Layer, Pairs
from prosebench.arbg.scaffold import N_KEYS, SEEN, TWINS, Scaffold

N_TOLD = 5
"""A token is told this many numbers of an atom: one for its distance, one for its angle, and three for its
dihedral (a deviation where it is stiff, a sine and a cosine where it turns)."""

UNDEFINED = 2
"""The number of first tokens that have no axes: they place the second and the third atom, and fewer than
three atoms span no axes."""


class Known(NamedTuple):
    """What the network knows of a peptide before any coordinate, computed once for all of its frames."""

    scaffold: Scaffold
    condition: Tensor
    """What the network knows of each atom, of shape (atoms, channels)."""
    pairs: Tensor | None
    """What it knows of each pair of atoms, of shape (tokens, tokens, hidden); None where the network does not
    look at pairs."""
    mean: Tensor
    std: Tensor
    """Like `mean`, of shape (atoms, 3): the standard deviation of each internal coordinate; 1 where no table
    standardises it."""
    turning: Tensor
    stiff: Tensor
    """Indices of tokens: `turning` has those whose dihedral turns freely, `stiff` those whose dihedral is
    stiff."""
    hidden: Tensor
    """What is added to attention logits, of shape (tokens, tokens): -inf where a token must not see another,
    else 0."""


@dataclass
class Table:
    """Mean and standard deviation (keys, 3) of internal coordinates by key; how often each was seen (keys,)."""

    mean: Tensor
    std: Tensor
    seen: Tensor


class Network(nn.Module):
    """See the module. Weights are drawn by torch's global generator.

    mean, std (keys, 3): the table that standardises internal coordinates.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ArbgConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.embeddings = nn.ModuleDict(
            {
                "atom_type": nn.Embedding(64, channels),
                "residue_type": nn.Embedding(32, channels),
                "twin": nn.Embedding(TWINS, channels),
                "place": nn.Embedding(33, channels),
                "length": nn.Embedding(33, channels),
                "ends": nn.Embedding(4, channels),
            }
        )
        self.condition = nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, channels)
        )
        self.of_placed = nn.Linear(N_TOLD, channels)
        self.of_seen = nn.Linear(SEEN * N_TOLD, channels)
        self.of_last = nn.Linear(channels, channels)
        self.pairs = Pairs(config) if config.pair_channels else None
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(channels)
        self.heads = Heads(channels, config.components, config.circle_components)
        self.register_buffer("mean", torch.zeros(N_KEYS, 3))
        self.register_buffer("std", torch.ones(N_KEYS, 3))

    def set_table(self, table: Table) -> None:
        """Means and widths that standardise internal coordinates; keys never seen keep 0 and 1."""
        seen = table.seen > 0
        self.mean[seen] = table.mean[seen].to(self.mean.dtype)
        self.std[seen] = table.std[seen].to(self.std.dtype)

    def know(self, scaffold: Scaffold) -> Known:
        """What is known of a peptide; see `Known`."""
        condition = self.condition(
            sum(module(getattr(scaffold, name)) for name, module in self.embeddings.items())
        )
        tokens = scaffold.n_atoms - 1
        mean, std = self.mean[scaffold.key].clone(), self.std[scaffold.key].clone()
        without = no_coordinate(scaffold)
        mean[without], std[without] = 0.0, 1.0
        pairs = None
        if self.pairs is not None:
            pairs = self.pairs.known(condition, scaffold.bonds_apart)[1:, :-1]
        ranks = torch.arange(tokens, device=condition.device)
        # The first three atoms have no dihedral.
        placed = ranks >= UNDEFINED
        return Known(
            scaffold,
            condition,
            pairs,
            mean,
            std,
            ranks[placed & scaffold.turns[1:]],
            ranks[placed & ~scaffold.turns[1:]],
            torch.full((tokens, tokens), -torch.inf, device=condition.device).triu(1),
        )

    def forward(self, internal: Tensor, known: Known, x: Tensor | None = None) -> Tensor:
        """log density (frames,) of shapes, given as internal coordinates (frames, atoms, 3) in nm and rad.

        With respect to d(distance) d(angle) d(dihedral) of all atoms. x: their positions where they are at hand.
        """
        scaffold = known.scaffold
        x = to_cartesian(internal, scaffold) if x is None else x
        v = standardised(internal, known)
        state = self.trunk(v, x, known)
        log_q = self.heads(state, v[:, 1:], known.turning, known.stiff).sum(dim=1)
        return log_q - known.std.log().sum()

    def trunk(self, v: Tensor, x: Tensor, known: Known) -> Tensor:
        """State (frames, tokens, channels) of each token; v, x (frames, atoms, 3)."""
        scaffold = known.scaffold
        tokens = slice(0, scaffold.n_atoms - 1)
        state = self.enter(F.pad(told(v, scaffold.turns), (0, 0, 0, 1)), known, tokens)
        pairs = self.see(x, known, tokens)
        for layer in self.layers:
            state = layer(state, known.condition[1:], pairs, known.hidden)
        return self.norm(state)

    def enter(self, told_of: Tensor, known: Known, tokens: slice) -> Tensor:
        """Input (frames, tokens, channels) of some tokens; told_of (frames, atoms + 1, N_TOLD), 0 in the last row."""
        following = slice(tokens.start + 1, tokens.stop + 1)
        seen_from = told_of[:, known.scaffold.context[following]].flatten(2)
        what = known.condition[following] + self.of_last(known.condition[tokens])
        return self.of_placed(told_of[:, tokens]) + self.of_seen(seen_from) + what

    def see(self, x: Tensor, known: Known, tokens: slice) -> Tensor | None:
        """The features (frames, tokens, placed, pair channels) of where placed atoms are, as seen from some
        tokens; None where the network does not look. The first tokens have no axes yet, and see 0. x (frames,
        atoms, 3) is in nm."""
        if self.pairs is None or known.pairs is None:
            return None
        first, scaffold = max(tokens.start, UNDEFINED), known.scaffold
        blind = min(tokens.stop, first) - tokens.start
        if first >= tokens.stop:
            channels = self.config.pair_channels
            return x.new_zeros(len(x), blind, tokens.stop, channels)
        following = slice(first + 1, tokens.stop + 1)
        basis = torch.stack(axes(x, scaffold, following), dim=-2)
        away = x[:, None, : tokens.stop] - x[:, scaffold.parent[following], None]
        with torch.autocast(x.device.type, enabled=False):
            seen = away @ basis.transpose(-1, -2)
        found = self.pairs(seen, known.pairs[first : tokens.stop, : tokens.stop])
        return F.pad(found, (0, 0, 0, 0, blind, 0))


def no_coordinate(scaffold: Scaffold) -> Tensor:
    """Which coordinates (atoms, 3) no table standardises: those that do not exist, and dihedrals that turn."""
    without = torch.zeros(scaffold.n_atoms, 3, dtype=torch.bool, device=scaffold.turns.device)
    without[:, 2] = scaffold.turns
    without[0], without[1, 1:], without[2, 2] = True, True, True
    return without


def standardised(internal: Tensor, known: Known) -> Tensor:
    """v = (value - mean) / std (frames, atoms, 3); stiff dihedrals as the nearest deviation, those that turn in rad."""
    v = internal - known.mean
    stiff = ~known.scaffold.turns
    wrapped = torch.remainder(v[..., 2] + torch.pi, 2 * torch.pi) - torch.pi
    v = torch.stack([v[..., 0], v[..., 1], torch.where(stiff, wrapped, internal[..., 2])], dim=-1)
    return v / known.std


def told(v: Tensor, turns: Tensor) -> Tensor:
    """What tokens are told of placed atoms (frames, atoms, N_TOLD), from standardised coordinates (frames,
    atoms, 3)."""
    dihedral = v[..., 2]
    zero = torch.zeros_like(dihedral)
    return torch.stack(
        [
            v[..., 0].clamp(-6, 6),
            v[..., 1].clamp(-6, 6),
            torch.where(turns, zero, dihedral.clamp(-6, 6)),
            torch.where(turns, dihedral.sin(), zero),
            torch.where(turns, dihedral.cos(), zero),
        ],
        dim=-1,
    )


def log_shape_density(network: Network, internal: Tensor, known: Known, x: Tensor | None = None) -> Tensor:
    """log density (frames,) float64 in nm^-(3 atoms - 3) of frames, centre left out: the density of the shape over the
    volume of its rotations. internal (frames, atoms, 3); x: positions in placing order, where they are at hand."""
    dtype = network.mean.dtype
    x = None if x is None else x.to(dtype)
    return network(internal.to(dtype), known, x).double() - log_volume(internal.double())
