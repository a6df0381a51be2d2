"""What every flow is to its user: draws with exact densities, of any peptide that it knows.

    flow.sample("ARIP", 10_000)          # proposals with energies and log-weights
    flow.log_prob("ARIP", frames_nm)     # log-densities of any frames

Energies do not depend on the centre c of a frame (the plain mean of its atoms) or on its orientation, and flows have
densities of both. Frames are returned centred, and the densities of a `Placement` are taken out of the flow's: any
leave importance weights valid, and those that the flow has itself cost no effective samples.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prosebench.energy.settings import TargetSettings, make_target
from prosebench.energy.target import Target
from prosebench.ensemble import Ensemble, concatenate
from prosebench.flows.device import choose_device
from prosebench.flows.molecule.handedness import one_handed
from prosebench.flows.streams import Streams
from prosebench.flows.weights.files import HUB_REVISION
from prosebench.flows.weights.format import WeightFormat
from prosebench.frames.geometry import fix_chirality, random_rotations
from prosebench.frames.placement import Placement
from prosebench.names import check_kelvin
from prosebench.peptide import Peptide
from prosebench.ranks import ALONE, Ranks

TRAINING_TEMPERATURE_KELVIN = 310.0
CHUNK_FRAMES = 1024
"""The number of frames of `sample` that are drawn from one random stream."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Draws of a flow, one row a frame.

    frames_nm (n, atoms, 3) float32, centred, mirrored where `mirrored` says so; log_q_full (n,) float64, log-density in
    nm^-3atoms of the frame as it was drawn; centres_nm (n, 3), as drawn; log_placement (n,), log-density of the centre
    in nm^-3 and of the orientation. mirrored (n,): a chirality centre was wrong, and the frame was inverted;
    still_wrong (n,): and one is wrong even so.
    """

    frames_nm: NDArray[np.float32]
    log_q_full: NDArray[np.float64]
    centres_nm: NDArray[np.float64]
    log_placement: NDArray[np.float64]
    mirrored: NDArray[np.bool_]
    still_wrong: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        peptide: Peptide,
        drawn_nm: NDArray[np.float64],
        log_q_full: NDArray[np.float64],
        placement: Placement,
        *,
        mirror: bool = True,
        **more: Any,
    ) -> Self:
        """Make proposals of frames as they were drawn (n, atoms, 3), in float64, with their log-densities;
        more is what a subclass has.

        Mirroring is the published protocol: the density stays that of the frame before it.
        """
        centres = drawn_nm.mean(axis=1)
        frames = (drawn_nm - centres[:, None]).astype(np.float32)
        mirrored = still_wrong = np.zeros(len(frames), dtype=bool)
        if mirror:
            frames, mirrored, still_wrong = fix_chirality(frames, peptide.topology, peptide.start_nm)
        log_placement = -placement.energy_and_gradient(drawn_nm)[0]
        return cls(frames, log_q_full, centres, log_placement, mirrored, still_wrong, **more)

    def log_q(self) -> NDArray[np.float64]:
        """Log-density (n,) without centre and orientation, up to a constant of the number of atoms."""
        return self.log_q_full - self.log_placement

    def log_weights(self, energies_kt: NDArray[np.float64]) -> NDArray[np.float64]:
        """Importance weights -E - log q (n,); -inf where the energy or the density is not finite."""
        return finite_weights(energies_kt, self.log_q())


def finite_weights(energies_kt: NDArray[np.float64], log_q: NDArray[np.float64]) -> NDArray[np.float64]:
    """-E - log q (n,); -inf where either is not finite."""
    values = -np.asarray(energies_kt, dtype=np.float64) - log_q
    return np.where(np.isfinite(values), values, -np.inf)


Drawn = TypeVar("Drawn", bound=Proposals)
Weigh = Callable[[Drawn, NDArray[np.float64]], NDArray[np.float64]]
Watch = Callable[[Drawn, NDArray[np.float64]], None]


class UnknownPeptide(ValueError):
    """A flow was asked for a peptide that its training did not cover; the message says why, and how to
    insist."""


class Flow(ABC, Generic[Drawn]):
    """A trained flow. Not safe to share among threads; after training its network, make a new one.

    source says where its weights came from: file, SHA-256, and under "notes" what their maker wrote down.
    """

    weight_format: ClassVar[WeightFormat[Any, Any]]
    """The way in which the weights of this kind of flow are stored, and the places where they are found."""

    joins_streams: ClassVar[bool] = False
    """Whether `propose` draws only arrays with one row a proposal from its generator, by `standard_normal` or
    `integers`. If so, a GPU takes several random streams at once (`prosebench.flows.streams`)."""

    def __init__(
        self, network: nn.Module, source: dict[str, Any] | None = None, device: str | None = None
    ) -> None:
        self.device = choose_device(device)
        self.network = network.to(self.device).eval()
        self.source = source or {}

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        size: str | Path | None = None,
        revision: str = HUB_REVISION,
        cache: Path | None = None,
        device: str | None = None,
        **more: Any,
    ) -> Self:
        """A bundled model, published weights from the hub, or a file (our own `.npz`, or a published `.pth`, `.ckpt`
        or `.safetensors`); more is for the flow itself. See `WeightFormat.load`.

        Raises WeightsError, which says what is wrong and what to do.
        """
        weights = cls.weight_format.load(name_or_path, size=size, revision=revision, cache=cache)
        return cls(weights.network, weights.source, device, **more)

    @property
    @abstractmethod
    def config(self) -> Any:
        """Size and units of the network; its max_residues is the length that it was made for."""

    @abstractmethod
    def propose(
        self,
        peptide: str | Peptide,
        n: int,
        rng: np.random.Generator,
        *,
        temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN,
        mirror: bool = True,
        batch: int | None = None,
        ranks: Ranks = ALONE,
    ) -> Drawn:
        """n draws without energies; all random numbers come first from rng, so batches change nothing.

        Coordinates may be non-finite or clash; a target gives such frames the energy inf or a high one. ranks share the
        batches out among them; all must call this with the same arguments.
        """

    @abstractmethod
    def log_density(
        self, peptide: Peptide, frames_nm: Tensor, temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN
    ) -> Tensor:
        """Log-density (n,) float64, in nm^-3atoms, of frames (n, atoms, 3) float64 in nm on the flow's device."""

    @abstractmethod
    def placement(
        self, peptide: Peptide, temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN
    ) -> Placement:
        """The densities of centre and orientation that are taken out: those of the flow, as far as they are known."""

    def unknown(self, peptide: Peptide, *, any_length: bool = False) -> str | None:
        """What the flow was not trained on in a peptide, its length or some residues; None if it knows the
        peptide."""
        longest = self.config.max_residues
        if len(peptide.sequence) > longest and not any_length:
            return f"was made for peptides of up to {longest} residues"
        known = self.source.get("notes", {}).get("residues")
        new = [letter for letter in dict.fromkeys(peptide.sequence) if known and letter not in known]
        return f"has never seen {', '.join(new)}; it knows {known}" if new else None

    @property
    def one_handed(self) -> bool:
        """Whether the flow knows only labels of one handedness for equivalent hydrogens."""
        return False

    def as_drawn(
        self,
        peptide: Peptide,
        frames_nm: NDArray[np.floating],
        rng: np.random.Generator,
        temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN,
    ) -> NDArray[np.float64]:
        """Frames (n, atoms, 3) of a target as this flow would draw them: centres and orientations of its own densities,
        and labels of the handedness that it knows."""
        placement = self.placement(peptide, temperature_kelvin)
        frames: NDArray[Any] = np.asarray(frames_nm, dtype=np.float64)
        if self.one_handed:
            frames = one_handed(frames, [peptide.topology])
        frames = frames - frames.mean(axis=1, keepdims=True)
        orientation = placement.orientation
        turns = orientation.draw_turns(frames, rng) if orientation else random_rotations(rng, len(frames))
        return frames @ turns + placement.centre_std_nm * rng.standard_normal((len(frames), 1, 3))

    def log_q_of(
        self,
        peptide: Peptide,
        frames_nm: NDArray[np.floating],
        rng: np.random.Generator,
        temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN,
        *,
        batch: int = 256,
    ) -> NDArray[np.float64]:
        """Log-density (n,) of frames of a target, without centre and orientation: as `Proposals.log_q` of a draw."""
        frames = self.as_drawn(peptide, frames_nm, rng, temperature_kelvin)
        log_q = np.empty(len(frames))
        with torch.no_grad():
            for first in range(0, len(frames), batch):
                part = slice(first, first + batch)
                x = torch.as_tensor(frames[part], dtype=torch.float64, device=self.device)
                log_q[part] = self.log_density(peptide, x, temperature_kelvin).cpu().numpy()
        return log_q + self.placement(peptide, temperature_kelvin).energy_and_gradient(frames)[0]

    def check_known(self, peptide: Peptide, name: str = "this flow") -> None:
        """Raise UnknownPeptide for a peptide beyond what the flow was trained on: its proposals would be nonsense."""
        unknown = self.unknown(peptide)
        if unknown:
            raise UnknownPeptide(
                f"{peptide.sequence}: {name} {unknown}; take weights that were trained for it, or insist (insist=True, "
                "--insist) on proposals that will hardly be its own"
            )

    @classmethod
    def weights_file(cls, name_or_path: str | Path) -> Path | None:
        """The file of a bundled model, or the path of a file as it is; None where there is no such file."""
        return cls.weight_format.file(name_or_path)

    def sample(
        self,
        sequence: str | Peptide,
        n: int,
        temperature_kelvin: float = TRAINING_TEMPERATURE_KELVIN,
        seed: int = 0,
        *,
        target: Target | None = None,
        batch: int | None = None,
        watch: Watch[Drawn] = lambda proposals, energies_kt: None,
        insist: bool = False,
    ) -> Ensemble:
        """n proposals with energies (kT at the temperature) and log-weights, in the order drawn.

        The frames depend on (weights, sequence, seed) and not on n or batch: those of a smaller n are the first of a
        larger one. target is the published force field at the temperature unless given. watch sees each chunk of
        proposals with its energies. Raises ValueError for an n, a temperature or a seed that cannot be, UnknownPeptide
        for a peptide beyond what the flow was trained on, unless one insists.
        """
        peptide = as_peptide(sequence)
        if not insist:
            self.check_known(peptide)
        return self._sample(peptide, n, temperature_kelvin, seed, target, batch, watch, Proposals.log_weights)

    def _sample(
        self,
        peptide: Peptide,
        n: int,
        temperature_kelvin: float,
        seed: int,
        target: Target | None,
        batch: int | None,
        watch: Watch[Drawn],
        weigh: Weigh[Drawn],
    ) -> Ensemble:
        """What `sample` does, with the function that weighs proposals by their energies."""
        if n < 1:
            raise ValueError(f"{n} frames were asked for; ask for at least one")
        if seed < 0:
            raise ValueError(f"the seed is {seed}; give 0 or a larger whole number")
        check_kelvin(temperature_kelvin, "temperature_kelvin")
        target = target or make_target(peptide, TargetSettings(temperature_kelvin=temperature_kelvin))
        parts, streams, first = list[Ensemble](), Streams([], {}), 0
        while first < n:
            streams = self.streams(len(parts), streams.carry, CHUNK_FRAMES, n - first)
            rng = streams.generator(partial(_stream, seed))
            proposals = self.propose(
                peptide, streams.n, rng, temperature_kelvin=temperature_kelvin, batch=batch
            )
            energies = target.energy(proposals.frames_nm)
            watch(proposals, energies)
            spent = np.arange(first + 1, first + streams.n + 1)
            parts.append(Ensemble(proposals.frames_nm, energies, weigh(proposals, energies), spent, peptide))
            first += streams.n
        return concatenate(parts)

    def streams(self, index: int, carry: Mapping[str, NDArray[Any]], size: int, most: int) -> Streams:
        """Random streams of chunk `index`, of `size` proposals each; see `prosebench.flows.streams`."""
        return Streams.of(index, carry, size, most, self.device if self.joins_streams else "cpu")

    @torch.no_grad()
    def log_prob(
        self, sequence: str | Peptide, frames_nm: NDArray[np.floating], *, batch: int = 256
    ) -> NDArray[np.float64]:
        """Log-density (n,) in nm^-3atoms of frames (n, atoms, 3) in nm as they are, centre and orientation included.

        Raises ValueError for another shape.
        """
        peptide = as_peptide(sequence)
        frames = np.asarray(frames_nm, dtype=np.float64)
        if frames.ndim != 3 or frames.shape[1:] != (peptide.n_atoms, 3):
            raise ValueError(
                f"frames_nm has shape {frames.shape}; {peptide.sequence} needs (n, {peptide.n_atoms}, 3)"
            )
        log_q = np.empty(len(frames))
        for first in range(0, len(frames), batch):
            part = slice(first, first + batch)
            x = torch.as_tensor(frames[part], dtype=torch.float64, device=self.device)
            log_q[part] = self.log_density(peptide, x).cpu().numpy()
        return log_q


def _stream(seed: int, number: int) -> np.random.Generator:
    """A random stream of `Flow.sample`."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, number])))


def as_peptide(sequence: str | Peptide) -> Peptide:
    """A peptide from its sequence; a peptide as it is. Raises PeptideError for a sequence that is none."""
    return sequence if isinstance(sequence, Peptide) else Peptide.from_sequence(sequence)
