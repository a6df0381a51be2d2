"""Draws: one atom after the other, with keys and values of the tokens before it kept.

All random numbers of a frame are drawn before, so that frames do not depend on how many are drawn together.
"""

import torch
from torch import Tensor

from prosebench.arbg.heads import (
    circle_mixture,
    draw_circle_mixture,
    draw_normal_mixture,
    features,
    normal_mixture,
)
from prosebench.arbg.internal import place
from prosebench.arbg.layers import Past
from prosebench.arbg.network import N_TOLD, Known, Network, told

UNIFORMS, NORMALS = 4, 3
"""How many random numbers of each kind an atom takes: one of both kinds for each of its three coordinates,
and one more uniform number for a dihedral that turns through the whole circle."""


@torch.no_grad()
def draw(network: Network, known: Known, uniforms: Tensor, normals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Frames of one peptide out of uniforms (frames, atoms, UNIFORMS) and normals (frames, atoms, NORMALS).

    Returns internal coordinates (frames, atoms, 3), positions (frames, atoms, 3) in nm with the first atom at 0, both
    in placing order, and the log density (frames,) of the internal coordinates, NaN for a draw without one.
    """
    scaffold, frames = known.scaffold, len(uniforms)
    like = network.mean
    internal = like.new_zeros(frames, scaffold.n_atoms, 3)
    x, log_q = torch.zeros_like(internal), like.new_zeros(frames)
    told_of = like.new_zeros(frames, scaffold.n_atoms + 1, N_TOLD)
    turns = scaffold.turns.tolist()
    pasts = [Past(frames, scaffold.n_atoms - 1, network.config, like) for _ in network.layers]
    for token in range(scaffold.n_atoms - 1):
        rank, tokens = token + 1, slice(token, token + 1)
        state = _state(network, known, pasts, told_of, x, tokens)
        v, log_density = _coordinates(network, state, rank, turns[rank], uniforms[:, rank], normals[:, rank])
        log_q += log_density
        away = v * known.std[rank]
        # A normal on the line reaches beyond the circle. A draw out there is another dihedral, of another density.
        log_q = log_q.where(away[:, 2].abs() <= torch.pi, torch.nan)
        internal[:, rank] = away + known.mean[rank]
        told_of[:, rank] = told(v[:, None], scaffold.turns[rank : rank + 1])[:, 0]
        x[:, rank] = place(internal[:, rank], x, scaffold, rank)
    return internal, x, log_q - known.std.log().sum()


def _state(
    network: Network, known: Known, pasts: list[Past], told_of: Tensor, x: Tensor, tokens: slice
) -> Tensor:
    """State (frames, channels) of one token."""
    state = network.enter(told_of, known, tokens)
    pairs = network.see(x, known, tokens)
    following = known.condition[tokens.start + 1 : tokens.stop + 1]
    hidden = known.hidden[tokens, : tokens.stop]
    for layer, past in zip(network.layers, pasts, strict=True):
        state = layer(state, following, pairs, hidden, past)
    return network.norm(state)[:, 0]


def _coordinates(
    network: Network, state: Tensor, rank: int, turns: bool, uniforms: Tensor, normals: Tensor
) -> tuple[Tensor, Tensor]:
    """Standardised coordinates (frames, 3) of one atom, a dihedral that turns in rad, and their log density
    (frames,)."""
    heads = network.heads
    parameters = heads.distance(state)
    distance = draw_normal_mixture(parameters, uniforms[:, 0], normals[:, 0])
    log_q, zero = normal_mixture(parameters, distance), torch.zeros_like(distance)
    if rank == 1:
        return torch.stack([distance, zero, zero], dim=-1), log_q
    known_so_far = features(distance)
    parameters = heads.angle(state, known_so_far)
    angle = draw_normal_mixture(parameters, uniforms[:, 1], normals[:, 1])
    log_q = log_q + normal_mixture(parameters, angle)
    if rank == 2:
        return torch.stack([distance, angle, zero], dim=-1), log_q
    known_so_far = torch.cat([known_so_far, features(angle)], dim=-1)
    if turns:
        parameters = heads.circle(state, known_so_far)
        dihedral = draw_circle_mixture(parameters, uniforms[:, 2], normals[:, 2], uniforms[:, 3])
        log_q = log_q + circle_mixture(parameters, dihedral)
    else:
        parameters = heads.stiff(state, known_so_far)
        dihedral = draw_normal_mixture(parameters, uniforms[:, 2], normals[:, 2])
        log_q = log_q + normal_mixture(parameters, dihedral)
    return torch.stack([distance, angle, dihedral], dim=-1), log_q
