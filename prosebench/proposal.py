"""Proposals: distributions of one peptide's frames that give draws, log-densities and their gradients.

Any method is a proposal for annealing that has a function `proposal(run, carry) -> Proposal` beside `chunk`; one that
must sample or train before is a `PreparedProposal`. A method that starts from proposals names it by its entry point,
with its settings nested:

    proposal = "prose-snis"
    proposal_settings = {weights = "prose-mini"}

"gaussian" names normals around the start structure: no method, but right for tests and as a worst case.

Placement. A log-density is that of all 3 atoms coordinates of the very frame it was asked for (nm^-3atoms): not
centred, not mirrored, and up to no constant, since estimates of log Z rest on it. A physical energy knows neither
centre, orientation nor handedness of a frame, so it has no normalised density in all coordinates. `placement` says what
is done about it.

- A `Placement`, the choice for flows: the target is multiplied by its densities of the centre c (the plain mean over
  the atoms) and of the orientation; the distribution of all else stays what it was. Any are right, and those of the
  proposal itself are best: placement then takes no part in the weights. A proposal of centred frames, whose density
  lives in 3 atoms - 3 dimensions, draws a centre from N(0, s^2) for each frame, and adds `centred_log_density`, which
  has the Jacobian too. Results may be centred and mirrored at the end, not before.
- None: the target is taken as it is, in all its coordinates, as for wells that are fixed in space.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from prosebench.energy.target import check_frames
from prosebench.frames.placement import Placement, centre_energy
from prosebench.method import Carry, Chunk, MethodSettings, Run, all_methods, load_method


class Draws(NamedTuple):
    """frames_nm (n, atoms, 3) float32; log_density (n,) float64, as it came with the draws; diagnostics, by name.

    Annealing takes densities from `log_density_and_gradient`; how far they are from these says what either is worth. A
    density that is not finite says that the draw has no weight: its frame may be an ordinary one, whose density is that
    of other draws. It still counts in the number of draws.
    """

    frames_nm: NDArray[np.float32]
    log_density: NDArray[np.float64]
    diagnostics: Mapping[str, float]


class Proposal(Protocol):
    """A normalised density of the frames of one peptide; see the module for its placement."""

    @property
    def n_atoms(self) -> int:
        """The number of atoms in a frame."""
        ...

    @property
    def placement(self) -> Placement | None:
        """Densities that the target's centre and orientation are given, or None."""
        ...

    @property
    def length_unit_nm(self) -> float:
        """Length of a normalised unit, in which published step sizes count."""
        ...

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        """n independent draws. All random numbers come from rng, so the same rng gives the same frames."""
        ...

    def as_drawn(self, frames_nm: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.floating]:
        """Frames (n, atoms, 3) of the target as a draw might show them: placed at random, by the densities of
        `placement`, and with the labels of equivalent hydrogens that the proposal knows."""
        ...

    def log_density(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Log-density (n,) of any frames (n, atoms, 3), -inf where it is not finite."""
        ...

    def log_density_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Log-density (n,) of any frames (n, atoms, 3), and its gradient (n, atoms, 3) in 1/nm.

        Where the density is not finite: -inf, and a gradient of 0.
        """
        ...


class ProposalMethod(Protocol):
    """What a method is that offers a proposal."""

    def skip(self, run: Run) -> str | None:
        """The reason why there is no proposal for this run, or None."""
        ...

    def proposal(self, run: Run, carry: Carry) -> Proposal:
        """The proposal for the peptide and temperature of a run. It must not evaluate the target.

        carry is what preparing it has left, empty where there is nothing to prepare.
        """
        ...


@runtime_checkable
class PreparedProposal(ProposalMethod, Protocol):
    """One that samples or trains before there is a proposal. What that evaluates is preparation, out of the budget."""

    def preparation(self, run: Run) -> int:
        """See `prosebench.method.Method.preparation`."""
        ...

    def prepared(self, carry: Carry) -> bool:
        """Whether nothing is left to prepare."""
        ...

    def prepare(self, run: Run, index: int, carry: Carry) -> Chunk:
        """A piece of the preparation, as in `prosebench.method.Method.chunk`, without frames."""
        ...


class UnknownProposal(ValueError):
    """No method of this name is a proposal."""


def load_proposal(name: str, settings: Mapping[str, Any]) -> ProposalMethod:
    """The method of a name, with its settings. Raises UnknownProposal, UnknownMethod, pydantic's ValidationError."""
    kind = _kind(name)
    return kind(kind.Settings(**settings))


def proposal_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a proposal, checked, and completed with their defaults. Raises as `load_proposal` does.

    Raises ValueError for a density of the centre other than the Gaussian of the proposal's placement.
    """
    completed = _kind(name).Settings(**settings).model_dump(mode="json")
    if completed.get("com", "gaussian") != "gaussian":
        raise ValueError(
            f"com = {completed['com']!r} has no meaning for a proposal: annealing gives the target the placement of "
            "the proposal, with a Gaussian density of the centre; leave com out"
        )
    return completed


def _kind(name: str) -> Any:
    kind: Any = NormalsAroundStart if name == NormalsAroundStart.name else load_method(name)
    if not hasattr(kind, "proposal"):
        raise UnknownProposal(
            f"method {name!r} gives no log-density and gradient, so it cannot be annealed from; "
            f"those that can: {', '.join(known_proposals())}"
        )
    return kind


def known_proposals() -> list[str]:
    """Names of all proposals."""
    return [
        NormalsAroundStart.name,
        *(name for name, method in all_methods().items() if hasattr(method, "proposal")),
    ]


def centred_log_density(
    frames_nm: NDArray[np.floating], centre_std_nm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a proposal of centred frames adds to its log-density for a centre drawn from N(0, s^2): (n,), and gradients.

    The density of a centred frame is that in an orthonormal basis of the 3 atoms - 3 dimensions of such frames. Its
    complement has the coordinates sqrt(atoms) c, whence log N(c; 0, s^2) - 3/2 log(atoms).
    """
    energies, gradients = centre_energy(frames_nm, centre_std_nm)
    return -energies - 1.5 * math.log(np.shape(frames_nm)[1]), -gradients


@dataclass(frozen=True)
class GaussianProposal:
    """Independent normals of every coordinate, with means mean_nm (atoms, 3) and one standard deviation.

    They have no unit of their own; that of the published flow stands in.
    """

    mean_nm: NDArray[np.float64]
    std_nm: float
    placement: Placement | None = None
    length_unit_nm: float = 0.35

    @property
    def n_atoms(self) -> int:
        """The number of atoms in a frame."""
        return len(self.mean_nm)

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        """See `Proposal.draw`."""
        noise = rng.standard_normal((n, self.n_atoms, 3))
        frames = (self.mean_nm + self.std_nm * noise).astype(np.float32)
        return Draws(frames, self.log_density_and_gradient(frames)[0], {})

    def as_drawn(self, frames_nm: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.floating]:
        """See `Proposal.as_drawn`: frames as they are, fixed in space."""
        return frames_nm

    def log_density(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """See `Proposal.log_density`."""
        return self.log_density_and_gradient(frames_nm)[0]

    def log_density_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `Proposal.log_density_and_gradient`."""
        with np.errstate(invalid="ignore", over="ignore"):
            shifts = (check_frames(frames_nm, self.n_atoms) - self.mean_nm) / self.std_nm
            squares = (shifts**2).sum(axis=(1, 2))
        constant = 1.5 * self.n_atoms * math.log(2 * math.pi * self.std_nm**2)
        return finite_or_nothing(-0.5 * squares - constant, -shifts / self.std_nm)


class NormalsAroundStart:
    """The proposal "gaussian": normals around the start structure, fixed in space."""

    name = "gaussian"

    class Settings(MethodSettings):
        """std_nm is the standard deviation of each coordinate."""

        std_nm: float = Field(0.05, gt=0)

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def skip(self, run: Run) -> str | None:
        """Nothing is refused."""
        return None

    def proposal(self, run: Run, carry: Carry) -> Proposal:
        """See `ProposalMethod.proposal`."""
        return GaussianProposal(run.peptide.start_nm, self.settings.std_nm)


def finite_or_nothing(
    log_density: NDArray[np.float64], gradients: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log-densities (n,) and gradients (n, atoms, 3) with -inf and 0 for frames where either is not finite."""
    good = np.isfinite(log_density) & np.isfinite(gradients).all(axis=(1, 2))
    return np.where(good, log_density, -np.inf), np.where(good[:, None, None], gradients, 0.0)
