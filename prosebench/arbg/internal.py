"""Internal coordinates: distance, angle and dihedral of each atom, as seen from three atoms placed before it.

With e1 the direction from an atom's parent to the atom behind it, e2 orthogonal to it in the plane with the atom beside,
and e3 = e1 x e2, the bond from the parent is

    r (cos(angle) e1 - sin(angle) (cos(dihedral) e2 + sin(dihedral) e3)),

so that a dihedral of 0 is trans. In these coordinates bonded energies are sums of functions of one coordinate each, and
atoms move independently of where the molecule is. The first three atoms have one distance, then a distance and an angle:
the six numbers that are missing are the place and the orientation of the frame, which have no part in its shape.

The volume element is d(shape) 8 pi^2 prod r^2 prod sin(angle): 8 pi^2 is the volume of all rotations.
"""

import math

import torch
from torch import Tensor

from prosebench.arbg.scaffold import Scaffold

LOG_ROTATIONS = math.log(8 * math.pi**2)


def to_internal(x: Tensor, scaffold: Scaffold) -> Tensor:
    """(distance, angle, dihedral) (frames, atoms, 3), in the unit of x and rad, of x (frames, atoms, 3) in placing order.

    0 where the first three atoms have no coordinate.
    """
    bond = x - x[:, scaffold.parent]
    one, two, three = axes(x, scaffold, slice(3, None))
    third = bond[:, 3:]
    angle = _angle(third, one)
    dihedral = torch.atan2(-_dot(third, three), -_dot(third, two))
    internal = x.new_zeros(x.shape)
    internal[:, 1:, 0] = _length(bond[:, 1:])
    internal[:, 2, 1] = _angle(bond[:, 2], x[:, 1] - x[:, 0])
    internal[:, 3:, 1], internal[:, 3:, 2] = angle, dihedral
    return internal


def to_cartesian(internal: Tensor, scaffold: Scaffold) -> Tensor:
    """x (frames, atoms, 3) in placing order of internal coordinates; the first atom is at 0, the second on the first axis,
    the third in the plane of the first two axes. Differentiable."""
    distance, angle, dihedral = internal.unbind(dim=-1)
    along = distance * angle.cos()
    across = distance * angle.sin()
    local = torch.stack([along, -across * dihedral.cos(), -across * dihedral.sin()], dim=-1)
    zero = torch.zeros_like(distance[:, 0])
    second = torch.stack([distance[:, 1], zero, zero], dim=-1)
    third = torch.stack([along[:, 2], across[:, 2], zero], dim=-1)
    placed, ranks = torch.stack([torch.zeros_like(second), second, third], dim=1), torch.arange(3)
    where = torch.full((scaffold.n_atoms,), -1, device=internal.device)
    where[:3] = ranks.to(internal.device)
    for level in scaffold.levels:
        parent, behind, beside = (
            placed[:, where[index[level]]] for index in (scaffold.parent, scaffold.behind, scaffold.beside)
        )
        one, two, three = _axes(behind - parent, beside - parent)
        y = local[:, level, :, None]
        new = parent + y[:, :, 0] * one + y[:, :, 1] * two + y[:, :, 2] * three
        where[level] = torch.arange(placed.shape[1], placed.shape[1] + len(level), device=where.device)
        placed = torch.cat([placed, new], dim=1)
    return placed[:, where]


def log_volume(internal: Tensor) -> Tensor:
    """log of the volume element (frames,), orientation included; NaN where a distance or an angle cannot be."""
    distance, angle = internal[:, 1:, 0], internal[:, 2:, 1]
    logs = 2 * distance.log().sum(dim=1) + angle.sin().log().sum(dim=1) + LOG_ROTATIONS
    possible = (distance > 0).all(dim=1) & ((angle > 0) & (angle < math.pi)).all(dim=1)
    return logs.where(possible, math.nan)


def axes(x: Tensor, scaffold: Scaffold, ranks: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Orthonormal axes (frames, ranks, 3) that the atoms of some ranks, 3 or higher, are seen in."""
    parent, behind, beside = (
        x[:, index[ranks]] for index in (scaffold.parent, scaffold.behind, scaffold.beside)
    )
    return _axes(behind - parent, beside - parent)


def _axes(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first along a vector, the second in the plane with another, the third orthogonal to both."""
    one = first / _length(first)[..., None]
    height = second - _dot(second, one)[..., None] * one
    two = height / _length(height)[..., None]
    return one, two, torch.linalg.cross(one, two)


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle between vectors, exact also where they are nearly parallel."""
    return torch.atan2(_length(torch.linalg.cross(a, b.expand_as(a))), _dot(a, b))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=-1)


def _length(a: Tensor) -> Tensor:
    return _dot(a, a).sqrt()
