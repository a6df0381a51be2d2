"""Local coordinates: each atom as seen from atoms placed before it, so that stiff bonds are narrow in fixed directions.

Atoms are placed along the bonds, outwards from C of the middle peptide bond. An atom's coordinates are those of the
bond from its parent, in axes built on the parent and two atoms placed earlier: the first axis towards the atom that
the parent was placed from, the second in the plane with a sister placed before, or, for a first daughter, with the
atom across that makes a dihedral. So only first daughters turn with a dihedral, and all else is narrow. An atom that
closes a ring has its first axis towards the other neighbour, so that both its bonds are narrow. N and CA of the middle
bond, placed first, have the fixed axes in place of what is missing.

A first daughter has cylindrical coordinates: along the first axis, the distance from it, and the dihedral as t with
dihedral = pi (2 Phi(t) - 1) from trans, where Phi is the distribution function of normals: a uniform dihedral is a
standard normal, and the cut is at cis, which is just where omega before proline has its second form. The distance is
above 0 and |t| at most 4.89, where the dihedral is 3e-6 rad from the cut: a draw beyond has no density, and no weight.
Frames nearer to the cut are taken as if they were that far from it.

The first atom's coordinates are instead the centre of the frame times sqrt(atoms): independent standard normals, by
the augmentation of training. Shifts and rotations by what came before leave volumes as they are.

Losses are no measure of one kind of coordinates against the other: in local ones, a negative log-likelihood holds the
entropy of the narrow orientation, and is 7.0 nats a frame lower. A latent scaled to a temperature T widens t as it does
lengths, though uniform dihedrals stay uniform: weights are right, but each such dihedral costs effective samples, the
factor sqrt(2 - 1/s) / sqrt(s) with s = T / 310 K.
"""

import math
from dataclasses import dataclass

import mdtraj
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prosebench.frames.geometry import neighbours
from prosebench.frames.placement import middle_plane

FIXED = 3
"""A reference of this number, or above, is an atom: atom i has the reference i + FIXED. The references 0, 1
and 2 are points beside the first atom, along the fixed axes."""

NO_REFERENCES = (0, 1, 2)
"""The references of the first atom and of padding, whose coordinates need none: any three that give axes will
do."""

CUT = 1.0 - 1e-6
"""The largest dihedral that is taken, as a part of a half turn. The coordinate t is infinite at 1."""

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
SQRT_2 = math.sqrt(2)


@dataclass(frozen=True)
class Placing:
    """order (atoms,): atoms as they are placed. references (atoms, 3): of each atom, its parent and two more, + FIXED.
    turns (atoms,): whether an atom turns with a dihedral of its own."""

    order: NDArray[np.int64]
    references: NDArray[np.int64]
    turns: NDArray[np.bool_]


def placing(topology: mdtraj.Topology) -> Placing:
    """The placing of a peptide's atoms; needs a topology with bonds."""
    bonded = neighbours(topology)
    is_hydrogen = [atom.element.symbol == "H" for atom in topology.atoms]
    third, root, second = middle_plane(topology)
    order, parent = [root, second, third], {root: second, second: root, third: root}
    first_daughter = {root: third}
    references = np.tile(np.array(NO_REFERENCES), (topology.n_atoms, 1))
    references[second] = root + FIXED, 0, 1
    references[third] = root + FIXED, second + FIXED, 1
    for atom in order:  # grows on the way
        for new in sorted(bonded[atom], key=lambda i: (is_hydrogen[i], i)):
            if new not in parent:
                behind, sister = parent[atom], first_daughter.setdefault(atom, new)
                across = (third if atom == second else second) if behind == root else parent[behind]
                closing = [i for i in bonded[new] if i in parent and i != atom]
                if closing:
                    behind, sister = closing[0], behind
                seen_from = atom, behind, across if sister == new else sister
                references[new] = np.array(seen_from) + FIXED
                parent[new] = atom
                order.append(new)
    turning = [
        new for old, new in first_daughter.items() if old != root and not _in_ring(old, parent[old], bonded)
    ]
    return Placing(np.array(order), references, np.isin(np.arange(topology.n_atoms), turning))


def _in_ring(one: int, other: int, bonded: list[list[int]]) -> bool:
    """Whether a bond is part of a ring, so that nothing can turn about it freely."""
    seen, front = {one}, [i for i in bonded[one] if i != other]
    while front and other not in seen:
        seen.update(front)
        front = [i for atom in front for i in bonded[atom] if i not in seen]
    return other in seen


def to_local(
    x: Tensor, order: Tensor, references: Tensor, turns: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Local coordinates y (frames, atoms, 3) of x, 0 where padded, and log |det dy/dx| (frames,); both in normalised
    units, but for t, which has none.

    order, turns, mask (peptides, atoms) and references (peptides, atoms, 3) are of one peptide for all
    frames, or of one a frame.
    """
    first = order[:, :1, None].expand(len(x), 1, 3)
    points = torch.cat([x.gather(1, first) + _fixed_axes(x), x], dim=1)
    parent, behind, beside = (_gather(points, references[..., i]) for i in range(3))
    bond = x - parent
    y = torch.stack([(bond * axis).sum(dim=-1) for axis in _axes(behind - parent, beside - parent)], dim=-1)
    turned, change = _to_cylinder(y.where(turns[..., None], y.new_ones(())))
    y = torch.where(turns[..., None], turned, y) * mask[..., None]
    atoms = mask.sum(dim=1).to(x.dtype)
    centre = (x * mask[..., None]).sum(dim=1, keepdim=True) / atoms.sqrt()[:, None, None]
    return y.scatter(1, first, centre), (change * turns).sum(dim=1) + 1.5 * atoms.log()


def to_cartesian(
    y: Tensor, placing: tuple[list[int], list[list[int]]], turns: Tensor
) -> tuple[Tensor, Tensor]:
    """x (frames, atoms, 3) of local coordinates y of one peptide without padding, and log |det dx/dy| (frames,), NaN
    where y has no density; both in normalised units, but for t, which has none.

    placing is `Tokens.placing`, numbers of the host: a GPU would have to be waited for to read them.
    """
    atoms = y.shape[1]
    turned, change = _from_cylinder(y.where(turns[..., None], y.new_ones(())))
    local = torch.where(turns[..., None], turned, y)[..., None]
    points = [axis.expand(len(y), 3) for axis in _fixed_axes(y)] + [y.new_zeros(len(y), 3)] * atoms
    placed, seen_from = placing
    for atom in placed[1:]:
        parent, behind, beside = (points[i] for i in seen_from[atom])
        axes = _axes(behind - parent, beside - parent)
        points[FIXED + atom] = parent + sum(axis * local[:, atom, i] for i, axis in enumerate(axes))
    x = torch.stack(points[FIXED:], dim=1)
    centre = y[:, placed[0] : placed[0] + 1] / math.sqrt(atoms)
    return x - x.mean(dim=1, keepdim=True) + centre, (change * turns).sum(dim=1) - 1.5 * math.log(atoms)


def _to_cylinder(y: Tensor) -> tuple[Tensor, Tensor]:
    """(along, radius, t) (frames, atoms, 3) of y in normalised units, t without unit, and log |det| (frames, atoms)."""
    radius = y[..., 1:].square().sum(dim=-1).sqrt()
    angle = torch.atan2(-y[..., 2], -y[..., 1])
    t = SQRT_2 * torch.erfinv((angle / math.pi).clamp(-CUT, CUT))
    return torch.stack([y[..., 0], radius, t], dim=-1), 0.5 * t.square() - LOG_SQRT_2PI - radius.log()


def _from_cylinder(y: Tensor) -> tuple[Tensor, Tensor]:
    """The reverse of `_to_cylinder`, in the same units; NaN for the log-determinant where there is no density."""
    along, radius, t = y.unbind(dim=-1)
    part = torch.erf(t / SQRT_2)
    angle = math.pi * part
    back = torch.stack([along, -radius * angle.cos(), -radius * angle.sin()], dim=-1)
    change = LOG_SQRT_2PI - 0.5 * t.square() + radius.log()
    return back, change.where(_has_density(radius, part), math.nan)


def _has_density(radius: Tensor, part: Tensor) -> Tensor:
    """Whether `_to_cylinder` leads to a radius and a dihedral, as a part of a half turn; (frames, atoms) all."""
    return (radius > 0) & (part.abs() <= CUT)


def _axes(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Orthonormal axes (..., 3): the first along a vector, the second in the plane with another."""
    one = first / first.square().sum(dim=-1, keepdim=True).sqrt()
    height = second - (second * one).sum(dim=-1, keepdim=True) * one
    two = height / height.square().sum(dim=-1, keepdim=True).sqrt()
    return one, two, torch.linalg.cross(one, two)


def _gather(points: Tensor, index: Tensor) -> Tensor:
    return points.gather(1, index[..., None].expand(len(points), -1, 3))


def _fixed_axes(like: Tensor) -> Tensor:
    return torch.eye(3, dtype=like.dtype, device=like.device)
