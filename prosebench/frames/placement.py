"""Placement of a frame in space, which energies do not know, and the densities that a target is given of it.

Multiplied by any normalised density of the centre and of the orientation, a target keeps the distribution of all else.
The best densities are those that a proposal has itself: placement then takes no part in its weights.

The centre is the plain mean over the atoms. The orientation is the rotation from the fixed axes to those of the body:
the first from C to N of the middle peptide bond, the second in the plane of that bond and CA before it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import mdtraj
import numpy as np
from numpy.typing import NDArray

EnergiesAndGradients = tuple[NDArray[np.float64], NDArray[np.float64]]
_FIXED_AXES = np.eye(3)
_quiet = np.errstate(invalid="ignore", divide="ignore", over="ignore")
"""Numpy's warnings are off where a proposal's frames are computed on. A proposal may draw anything, and a
frame without finite numbers simply has no density."""


def middle_plane(topology: mdtraj.Topology) -> tuple[int, int, int]:
    """Indices of CA and C before the middle peptide bond, and of the N behind it."""
    residues = list(topology.residues)
    middle = (len(residues) - 1) // 2
    before, after = ({atom.name: atom.index for atom in one.atoms} for one in residues[middle : middle + 2])
    return before["CA"], before["C"], after["N"]


@dataclass(frozen=True, eq=False)
class Orientation:
    """A density of orientations around the fixed axes, with respect to the uniform measure of rotations.

    anchors (frames | 1, 3): indices of CA, C and N, see the module. std_rad: standard deviation of the angle of
    rotation about each axis, where it is small. With v the vector part of a rotation's unit quaternion, v is drawn from
    N(0, (std_rad / 2)^2) inside the unit ball; the uniform measure is dv / (pi^2 sqrt(1 - |v|^2)), the area of half of
    the unit sphere of quaternions, since q and -q are one rotation (Miles, Biometrika 1965, 52, 636).
    """

    anchors: NDArray[np.int64]
    std_rad: float

    @classmethod
    def of(cls, topologies: Sequence[mdtraj.Topology], std_rad: float) -> "Orientation":
        """The orientation density for frames of one topology, or with one topology for each frame."""
        return cls(np.array([middle_plane(topology) for topology in topologies]), std_rad)

    @_quiet
    def axes(self, frames: NDArray[np.floating]) -> NDArray[np.float64]:
        """Axes of the body (n, 3, 3), one a row, of frames (n, atoms, 3); NaN where they do not span a plane."""
        return _axes(*self._bonds(frames))

    def draw_turns(self, frames: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.float64]:
        """Matrices (n, 3, 3) that, as in frames @ turns, give frames (n, atoms, 3) orientations from the density."""
        return self.axes(frames).transpose(0, 2, 1) @ self._draw(rng, len(frames))

    def log_density(self, frames: NDArray[np.floating]) -> NDArray[np.float64]:
        """log h (n,) of the orientations of frames (n, atoms, 3); NaN where the axes are."""
        return self._log_density(_squares(self.axes(frames)))

    @_quiet
    def energy_and_gradient(self, frames_nm: NDArray[np.floating]) -> EnergiesAndGradients:
        """-log h (n,) and its gradient (n, atoms, 3) in 1/nm, 0 where h is 0 or NaN."""
        to_n, to_ca = self._bonds(frames_nm)
        axes = _axes(to_n, to_ca)
        squares = _squares(axes)
        slope = -0.25 * (0.5 / self._variance + 0.5 / (1.0 - squares))  # d(-log h) / d trace
        of_anchors = slope[:, None, None] * _trace_gradient(to_n, to_ca, axes)
        gradients = np.zeros(frames_nm.shape)
        rows = np.arange(len(frames_nm))[:, None]
        gradients[rows, self.anchors] = np.where((squares < 1.0)[:, None, None], of_anchors, 0.0)
        return -self._log_density(squares), gradients

    @property
    def _variance(self) -> float:
        return 0.25 * self.std_rad**2

    def _log_density(self, squares: NDArray[np.float64]) -> NDArray[np.float64]:
        std = math.sqrt(self._variance)
        in_ball = math.erf(1 / (std * math.sqrt(2))) - math.sqrt(2 / math.pi) / std * math.exp(-0.5 / std**2)
        constant = 2 * math.log(math.pi) - 1.5 * math.log(2 * math.pi * self._variance) - math.log(in_ball)
        with np.errstate(divide="ignore"):
            return constant - 0.5 * squares / self._variance + 0.5 * np.log(np.maximum(1.0 - squares, 0.0))

    def _bonds(self, frames: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Vectors from C to N and from C to CA (n, 3)."""
        index = np.broadcast_to(self.anchors, (len(frames), 3))[..., None]
        ca, c, n = np.moveaxis(np.take_along_axis(np.asarray(frames, dtype=np.float64), index, axis=1), 1, 0)
        return n - c, ca - c

    def _draw(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Rotation matrices (n, 3, 3) from the density."""
        v = rng.standard_normal((n, 3)) * math.sqrt(self._variance)
        while (outside := (v**2).sum(axis=1) >= 1.0).any():
            v[outside] = rng.standard_normal((outside.sum(), 3)) * math.sqrt(self._variance)
        w = np.sqrt(1.0 - (v**2).sum(axis=1))[:, None, None]
        cross = np.cross(v[:, None], np.eye(3))
        return (2 * w**2 - 1) * np.eye(3) + 2 * (v[:, :, None] * v[:, None] + w * cross)


@dataclass(frozen=True, eq=False)
class Placement:
    """Densities that a target is given: of the centre N(c; 0, centre_std_nm^2), and of the orientation, or uniform."""

    centre_std_nm: float
    orientation: Orientation | None = None

    def energy_and_gradient(self, frames_nm: NDArray[np.floating]) -> EnergiesAndGradients:
        """-log density (n,) of frames (n, atoms, 3), and its gradient (n, atoms, 3) in 1/nm."""
        energies, gradients = centre_energy(frames_nm, self.centre_std_nm)
        if self.orientation is None:
            return energies, gradients
        turned, gradients_turned = self.orientation.energy_and_gradient(frames_nm)
        return energies + turned, gradients + gradients_turned


@_quiet
def centre_energy(frames_nm: NDArray[np.floating], centre_std_nm: float) -> EnergiesAndGradients:
    """-log N(c; 0, s^2) (n,) of the centres c of frames (n, atoms, 3), and its gradient (n, atoms, 3) in 1/nm."""
    frames = np.asarray(frames_nm, dtype=np.float64)
    centres = frames.mean(axis=1)
    variance = centre_std_nm**2
    energies = 0.5 * (centres**2).sum(axis=1) / variance + 1.5 * math.log(2 * math.pi * variance)
    gradients = np.broadcast_to((centres / (variance * frames.shape[1]))[:, None], frames.shape)
    return energies, gradients


def _axes(to_n: NDArray[np.float64], to_ca: NDArray[np.float64]) -> NDArray[np.float64]:
    """Axes of the body (n, 3, 3) of the bonds from C (n, 3)."""
    first = _unit(to_n)
    second = _unit(to_ca - _dot(to_ca, first) * first)
    return np.stack([first, second, np.cross(first, second)], axis=1)


def _squares(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """|v|^2 = (3 - trace) / 4 (n,) of the rotations to axes of the body (n, 3, 3)."""
    return (3.0 - np.trace(axes, axis1=1, axis2=2)) / 4.0


def _trace_gradient(
    to_n: NDArray[np.float64], to_ca: NDArray[np.float64], axes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Gradient (n, 3, 3) of the trace of the axes with respect to CA, C and N: the chain rule, backwards."""
    first, second = axes[:, 0], axes[:, 1]
    height = to_ca - _dot(to_ca, first) * first
    by_first = _FIXED_AXES[0] + np.cross(second, _FIXED_AXES[2])
    by_second = _FIXED_AXES[1] + np.cross(_FIXED_AXES[2], first)
    by_height = (by_second - _dot(by_second, second) * second) / _length(height)
    by_ca = by_height - _dot(by_height, first) * first
    by_first = by_first - _dot(to_ca, first) * by_height - _dot(by_height, first) * to_ca
    by_n = (by_first - _dot(by_first, first) * first) / _length(to_n)
    return np.stack([by_ca, -by_ca - by_n, by_n], axis=1)


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return (a * b).sum(axis=-1, keepdims=True)


def _length(a: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(_dot(a, a))


def _unit(a: NDArray[np.float64]) -> NDArray[np.float64]:
    return a / _length(a)
