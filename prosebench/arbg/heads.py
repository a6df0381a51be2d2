"""Densities of one atom's distance, angle and dihedral, one after the other, each a mixture whose parameters the
network gives.

A stiff coordinate is standardised by a table, v = (value - mean) / std, and has a mixture of normals. A dihedral that
turns has a mixture of wrapped normals and of the uniform density on the circle: sum over images N(phi + 2 pi m; mu,
sigma), of which m = -1, 0, 1 around the nearest are kept; with sigma at most WIDEST_RAD the rest is below 1e-13.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
LOG_2PI = math.log(2 * math.pi)
WIDEST_RAD = 1.2
NARROWEST_RAD = 0.02
SMALLEST_LOG_SCALE, LARGEST_LOG_SCALE = -4.0, 2.5
FREQUENCIES = (0.5, 1.0, 2.0)
"""The frequencies of the sines and cosines of a standardised coordinate. These are features for the densities
of the coordinates after it."""

N_FEATURES = 1 + 2 * len(FREQUENCIES)


def features(v: Tensor) -> Tensor:
    """The features of a standardised coordinate that later coordinates see: (...,) -> (..., N_FEATURES)."""
    scaled = v[..., None] * v.new_tensor(FREQUENCIES)
    return torch.cat([v[..., None].clamp(-6, 6), scaled.sin(), scaled.cos()], dim=-1)


def normal_mixture(parameters: Tensor, v: Tensor) -> Tensor:
    """log density (...,) of v (...,) under mixtures of normals with parameters (..., 3 K)."""
    weight, mean, log_scale = _normals(parameters)
    z = (v[..., None] - mean) * torch.exp(-log_scale)
    return torch.logsumexp(weight - 0.5 * z.square() - log_scale, dim=-1) - LOG_SQRT_2PI


def draw_normal_mixture(parameters: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
    """v (...,) from mixtures of normals, out of one uniform and one normal number each."""
    weight, mean, log_scale = _normals(parameters)
    chosen = _component(weight, uniform)
    return mean.gather(-1, chosen)[..., 0] + log_scale.gather(-1, chosen)[..., 0].exp() * normal


def circle_mixture(parameters: Tensor, phi: Tensor) -> Tensor:
    """log density (...,) of angles phi (...,) in rad under wrapped normals and the uniform density, (..., 3 K + 1)."""
    weight, mean, scale = _wrapped(parameters)
    nearest = torch.remainder(phi[..., None] - mean + math.pi, 2 * math.pi) - math.pi
    images = torch.stack([nearest - 2 * math.pi, nearest, nearest + 2 * math.pi])
    normals = torch.logsumexp(-0.5 * (images / scale).square(), dim=0) - scale.log() - LOG_SQRT_2PI
    uniform = torch.full_like(normals[..., :1], -LOG_2PI)
    return torch.logsumexp(weight + torch.cat([normals, uniform], dim=-1), dim=-1)


def draw_circle_mixture(parameters: Tensor, uniform: Tensor, normal: Tensor, turn: Tensor) -> Tensor:
    """Angles (...,) in [-pi, pi), out of one uniform, one normal and one more uniform number each."""
    weight, mean, scale = _wrapped(parameters)
    chosen = _component(weight, uniform)
    inside = chosen.clamp(max=mean.shape[-1] - 1)
    wrapped = mean.gather(-1, inside) + scale.gather(-1, inside) * normal[..., None]
    anywhere = 2 * math.pi * turn[..., None].to(wrapped.dtype)
    phi = torch.where(chosen == mean.shape[-1], anywhere, wrapped)[..., 0]
    return torch.remainder(phi + math.pi, 2 * math.pi) - math.pi


def _normals(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    weight, mean, log_scale = _exact(parameters).chunk(3, dim=-1)
    return weight.log_softmax(dim=-1), mean, log_scale.clamp(SMALLEST_LOG_SCALE, LARGEST_LOG_SCALE)


def _wrapped(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    components = parameters.shape[-1] // 3
    weight, mean, width = _exact(parameters).split([components + 1, components, components], dim=-1)
    scale = NARROWEST_RAD + (WIDEST_RAD - NARROWEST_RAD) * torch.sigmoid(width)
    return weight.log_softmax(dim=-1), mean, scale


def _exact(parameters: Tensor) -> Tensor:
    """The values in float32 or better, since the products of a network may come in bfloat16."""
    return parameters.to(torch.promote_types(parameters.dtype, torch.float32))


def _component(log_weight: Tensor, uniform: Tensor) -> Tensor:
    """Index (..., 1) of the component that a uniform number (...,) in float64 falls into.

    In float32 the sum of the weights is wrong by 1e-7, and as often the last component is taken whatever its weight: a
    draw whose density is next to nothing, and whose importance weight is beyond all others.
    """
    edges = log_weight.double().exp().cumsum(dim=-1)
    return (uniform.double()[..., None] * edges[..., -1:] > edges[..., :-1]).sum(dim=-1, keepdim=True)


class Head(nn.Module):
    """Parameters of one coordinate's mixture, from the state of the network and the features of coordinates before
    it."""

    def __init__(self, channels: int, features_before: int, outputs: int, start: Tensor) -> None:
        super().__init__()
        self.state = nn.Linear(channels, channels)
        self.before = nn.Linear(features_before, channels, bias=False) if features_before else None
        self.out = nn.Linear(channels, outputs)
        nn.init.normal_(self.out.weight, std=0.02)
        with torch.no_grad():
            self.out.bias.copy_(start)

    def forward(self, state: Tensor, before: Tensor | None = None) -> Tensor:
        """state (..., channels), before (..., features) -> (..., outputs)."""
        hidden = self.state(state)
        if self.before is not None:
            hidden = hidden + self.before(before)
        return self.out(F.silu(hidden))


class Heads(nn.Module):
    """The three coordinates of an atom: distance, then angle, then dihedral."""

    def __init__(self, channels: int, components: int, circle_components: int) -> None:
        super().__init__()
        spread = torch.linspace(-1.0, 1.0, components) * (components > 1)
        normals = torch.cat([torch.zeros(components), spread, torch.zeros(components)])
        around = torch.linspace(-math.pi, math.pi, circle_components + 1)[:-1]
        wrapped = torch.cat([torch.zeros(circle_components), torch.full((1,), -3.0), around])
        wrapped = torch.cat([wrapped, torch.zeros(circle_components)])
        self.distance = Head(channels, 0, len(normals), normals)
        self.angle = Head(channels, N_FEATURES, len(normals), normals)
        self.stiff = Head(channels, 2 * N_FEATURES, len(normals), normals)
        self.circle = Head(channels, 2 * N_FEATURES, len(wrapped), wrapped)

    def forward(self, state: Tensor, v: Tensor, turning: Tensor, stiff: Tensor) -> Tensor:
        """log density (frames, tokens) of standardised coordinates v (frames, tokens, 3), dihedrals that turn in rad.

        turning, stiff: the tokens whose dihedral turns, and whose does not. The first token has a distance alone.
        """
        told = torch.cat([features(v[..., 0]), features(v[..., 1])], dim=-1)
        log_q = normal_mixture(self.distance(state), v[..., 0])
        angle = self.angle(state[:, 1:], told[:, 1:, :N_FEATURES])
        log_q = log_q + F.pad(normal_mixture(angle, v[:, 1:, 1]), (1, 0))
        of_stiff = normal_mixture(self.stiff(state[:, stiff], told[:, stiff]), v[:, stiff, 2])
        of_circle = circle_mixture(self.circle(state[:, turning], told[:, turning]), v[:, turning, 2])
        return log_q.index_add(1, stiff, of_stiff).index_add(1, turning, of_circle)
