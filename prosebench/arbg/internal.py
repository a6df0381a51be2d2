"""Internal coordinates: distance, angle and dihedral of each atom, as seen from three atoms placed before it.

With e1 the direction from an atom's parent to the atom behind it, e2 orthogonal to it in the plane with the atom
beside, and e3 = e1 x e2, the bond from the parent is

    r (cos(angle) e1 - sin(angle) (cos(dihedral) e2 + sin(dihedral) e3)),

so that a dihedral of 0 is trans. In these coordinates bonded energies are sums of functions of one coordinate each, and
atoms move independently of where the molecule is. The first three atoms have one distance, then a distance and an
angle: the six numbers that are missing are the place and the orientation of the frame, which have no part in its shape.

The volume element is d(shape) 8 pi^2 prod r^2 prod sin(angle): 8 pi^2 is the volume of all rotations.
"""

import math

import torch
from torch import Tensor

from prosebench.arbg.scaffold import Scaffold

LOG_ROTATIONS = math.log(8 * math.pi**2)


def to_internal(x: Tensor, scaffold: Scaffold) -> Tensor:
    """(distance, angle, dihedral) (frames, atoms, 3), in the unit of x and rad, of x (frames, atoms, 3) in placing
    order.

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
    """x (frames, atoms, 3) in placing order of internal coordinates; the first atom is at 0, the second on the first
    axis, the third in the plane of the first two axes. Atoms of one level are placed together. Differentiable."""
    local = _local(internal)
    first = [_first_place(internal[:, rank], rank) for rank in range(3)]
    placed = torch.stack(first, dim=1)
    where = torch.full((scaffold.n_atoms,), -1, device=internal.device)
    where[:3] = torch.arange(3, device=internal.device)
    for level in scaffold.levels:
        parent, behind, beside = (
            placed[:, where[index[level]]] for index in (scaffold.parent, scaffold.behind, scaffold.beside)
        )
        new = _along(local[:, level], parent, behind, beside)
        where[level] = torch.arange(placed.shape[1], placed.shape[1] + len(level), device=where.device)
        placed = torch.cat([placed, new], dim=1)
    return placed[:, where]


def place(internal: Tensor, x: Tensor, scaffold: Scaffold, rank: int) -> Tensor:
    """The position (frames, 3) of the atom of a rank, from its internal coordinates (frames, 3) and the atoms
    before it."""
    if rank < 3:
        return _first_place(internal, rank)
    # A slice of one: an index of no dimension would make the host wait for the device.
    one = slice(rank, rank + 1)
    parent, behind, beside = (
        x[:, index[one]][:, 0] for index in (scaffold.parent, scaffold.behind, scaffold.beside)
    )
    return _along(_local(internal), parent, behind, beside)


def _first_place(internal: Tensor, rank: int) -> Tensor:
    """The position (frames, 3) of one of the first three atoms: at 0, on the first axis, or in the plane of
    the first two."""
    distance, angle = internal[:, 0], internal[:, 1]
    zero = torch.zeros_like(distance)
    if rank < 2:
        return torch.stack([distance if rank else zero, zero, zero], dim=-1)
    return torch.stack([distance * angle.cos(), distance * angle.sin(), zero], dim=-1)


def _local(internal: Tensor) -> Tensor:
    """Components (..., 3) of a bond along the axes that its atom is seen in."""
    distance, angle, dihedral = internal.unbind(dim=-1)
    across = distance * angle.sin()
    return torch.stack([distance * angle.cos(), -across * dihedral.cos(), -across * dihedral.sin()], dim=-1)


def _along(local: Tensor, parent: Tensor, behind: Tensor, beside: Tensor) -> Tensor:
    """The end of a bond that starts at the parent: parent + bond, all (..., 3)."""
    one, two, three = _axes(behind - parent, beside - parent)
    return parent + local[..., :1] * one + local[..., 1:2] * two + local[..., 2:] * three


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
    """Orthonormal axes: the first along a vector, the second in the plane with another, the third orthogonal
    to both."""
    one = first / _length(first)[..., None]
    height = second - _dot(second, one)[..., None] * one
    two = height / _length(height)[..., None]
    return one, two, torch.linalg.cross(one, two)


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """The angle in rad between two vectors, exact also where they are nearly parallel."""
    return torch.atan2(_length(torch.linalg.cross(a, b.expand_as(a))), _dot(a, b))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=-1)


def _length(a: Tensor) -> Tensor:
    return _dot(a, a).sqrt()
