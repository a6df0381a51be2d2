"""From shards to batches: a stream that is a function of the seed and the position alone.

Shards are taken in a random order, a window of them at a time; all frames of a window are shuffled in memory and cut
into batches. To continue at a position, its window is read again; nothing else is kept.
"""

import io
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prosebench.peptide import Peptide
from prosebench.reference import peptide_from_text
from prosebench.reference.published import dataset_files
from prosebench.training.shards import SHARDS, TOPOLOGIES, Frames, read_shard

PUBLISHED_SHARDS = 5000
PUBLISHED = "published"

Mix = Literal["peptide", "mixed"]


Cut = Callable[[], "FrameBatch"]
"""A function that puts a batch together when it is needed."""


class TrainingDataError(ValueError):
    """Training data that cannot be used; the message says what is missing."""


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """Frames (n, atoms, 3) in nm, 0 behind the atoms of smaller peptides, and the sequence of each."""

    sequences: tuple[str, ...]
    positions_nm: Frames

    @property
    def peptides(self) -> tuple[str, ...]:
        """The sequence, if all frames are of one peptide; else one sequence a frame."""
        return self.sequences[:1] if len(set(self.sequences)) == 1 else self.sequences


@dataclass(frozen=True)
class Position:
    """The position of the next batch in a stream."""

    epoch: int = 0
    window: int = 0
    batch: int = 0


class TrainingData:
    """Shards and topologies in a folder of the published layout, or the published ones (source "published").

    Those are in the folder that PROSEBENCH_DATA names, else on the hub: from there, shards are fetched when they come
    up, and kept in the cache of huggingface_hub. Peptides with more than longest residues are passed over. faults
    names what was left out, with the reason. Raises TrainingDataError for a folder without shards or topologies.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        longest: int | None = None,
        revision: str = "main",
        cache: Path | None = None,
    ) -> None:
        self.source, self.longest = str(source), longest
        if self.source != PUBLISHED and not Path(source).is_dir():
            raise TrainingDataError(
                f"there is no folder {source} with training data: `prosebench reference --training` makes one, and "
                f"data.source={PUBLISHED} takes the published data"
            )
        self._fetch = dataset_files(None if str(source) == PUBLISHED else Path(source), revision, cache)
        folder: Path | None = getattr(self._fetch, "folder", None)
        self.shards = (
            sorted(f"{SHARDS}/{path.name}" for path in (folder / SHARDS).glob("*.tar"))
            if folder
            else [f"{SHARDS}/{i:04d}.tar" for i in range(PUBLISHED_SHARDS)]
        )
        if not self.shards:
            raise TrainingDataError(
                f"there are no shards {SHARDS}/*.tar in {source}; `prosebench reference --training` makes some"
            )
        self._topology_file = self._find_topologies()
        self.faults: dict[str, str] = {}
        self._peptides: dict[str, Peptide] = {}

    def peptide(self, sequence: str) -> Peptide:
        """A peptide with its atoms in the order of the frames. Raises TrainingDataError for one without a topology."""
        if sequence not in self._peptides:
            member = self._topologies.get(f"{sequence}.pdb")
            if member is None:
                raise TrainingDataError(f"{self.source}: {TOPOLOGIES} has no {sequence}.pdb")
            with tarfile.open(self._topology_file) as archive:
                text = (archive.extractfile(member) or io.BytesIO()).read().decode()
            self._peptides[sequence] = peptide_from_text(sequence, text)
        return self._peptides[sequence]

    @property
    def residues(self) -> str:
        """One-letter codes, sorted, of all residues that occur in the peptides that have topologies."""
        sequences = (name.removesuffix(".pdb") for name in self._topologies)
        return "".join(sorted({letter for one in sequences for letter in one if self._wanted(one)}))

    def _wanted(self, sequence: str) -> bool:
        return self.longest is None or len(sequence) <= self.longest

    def read(self, shard: str) -> dict[str, Frames]:
        """Frames of each wanted peptide in a shard."""
        path = self._fetch(shard)
        if path is None:
            self.faults[shard] = "there is no such file"
            return {}
        return read_shard(path, self._peptide, self.faults)

    def _peptide(self, sequence: str) -> Peptide | None:
        return self.peptide(sequence) if self._wanted(sequence) else None

    def _find_topologies(self) -> Path:
        path = self._fetch(TOPOLOGIES)
        if path is None:
            raise TrainingDataError(
                f"{self._fetch.name} lacks {TOPOLOGIES}, which fixes the order of the atoms; give a whole copy of the "
                "data: data.source=FOLDER"
            )
        return path

    @cached_property
    def _topologies(self) -> dict[str, tarfile.TarInfo]:
        with tarfile.open(self._topology_file) as archive:
            return {Path(member.name).name: member for member in archive}


class BatchStream:
    """Batches without end.

    mix "peptide" gives batches of one peptide each, whose conditions are computed once; "mixed" of any. What does not
    fill a batch at the end of a window is left out. Each of `world` ranks takes its own shards. Raises
    TrainingDataError where there are fewer shards than ranks, or a window gives no batch.
    """

    def __init__(
        self,
        data: TrainingData,
        *,
        batch: int,
        mix: Mix,
        window_shards: int = 1,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if len(data.shards) < world:
            raise TrainingDataError(
                f"{data.source} has {len(data.shards)} shards, fewer than {world} processes"
            )
        self.data, self.batch, self.mix, self.seed = data, batch, mix, seed
        self.window_shards, self.rank, self.world = window_shards, rank, world
        self._kept: tuple[tuple[str, ...], dict[str, Frames]] | None = None

    def batches(self, start: Position = Position()) -> Iterator[tuple[FrameBatch, Position]]:
        """Batches from a position on, each with the position of the one after it."""
        epoch, window, skip, barren = start.epoch, start.window, start.batch, 0
        with ThreadPoolExecutor(max_workers=1) as reader:
            coming = reader.submit(self._window, epoch, window)
            while True:
                following = self._after(epoch, window)
                batches, coming = coming.result(), self._submit(reader, following)
                for index in range(skip, len(batches)):
                    last = index + 1 == len(batches)
                    after = Position(*following) if last else Position(epoch, window, index + 1)
                    yield batches[index](), after
                barren = 0 if batches else barren + 1
                if barren > self._n_windows:
                    raise TrainingDataError(self._barren())
                (epoch, window), skip = following, 0

    def _barren(self) -> str:
        of_one = " of one peptide" if self.mix == "peptide" else ""
        first = next((f", the first: {place}: {reason}" for place, reason in self.data.faults.items()), "")
        return (
            f"{self.data.source} has no window of {self.window_shards} shards with {self.batch} usable "
            f"frames{of_one}; {len(self.data.faults)} faults{first}"
        )

    def _submit(self, reader: ThreadPoolExecutor, place: tuple[int, int]) -> Future[list[Cut]]:
        return reader.submit(self._window, *place)

    @property
    def _n_windows(self) -> int:
        mine = len(range(self.rank, len(self.data.shards), self.world))
        return -(-mine // self.window_shards)

    def _after(self, epoch: int, window: int) -> tuple[int, int]:
        return (epoch, window + 1) if window + 1 < self._n_windows else (epoch + 1, 0)

    def _window(self, epoch: int, window: int) -> list[Cut]:
        """The batches of a window, each to be made when it is needed."""
        order = self._rng(0, epoch).permutation(len(self.data.shards))[self.rank :: self.world]
        chosen = order[window * self.window_shards : (window + 1) * self.window_shards]
        frames = self._read(tuple(self.data.shards[i] for i in sorted(chosen)))
        rng = self._rng(1, epoch, window, self.rank)
        cut = _cut_by_peptide if self.mix == "peptide" else _cut_mixed
        return cut(frames, self.batch, rng)

    def _read(self, names: tuple[str, ...]) -> dict[str, Frames]:
        """Frames of some shards, joined by peptide; kept until others are asked for."""
        if self._kept is None or self._kept[0] != names:
            parts: dict[str, list[Frames]] = {}
            for name in names:
                for sequence, frames in self.data.read(name).items():
                    parts.setdefault(sequence, []).append(frames)
            self._kept = names, {sequence: np.concatenate(parts[sequence]) for sequence in sorted(parts)}
        return self._kept[1]

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, *key])))


def _cut_by_peptide(frames: dict[str, Frames], size: int, rng: np.random.Generator) -> list[Cut]:
    chunks: list[tuple[str, NDArray[np.int64]]] = []
    for sequence, array in frames.items():
        order = rng.permutation(len(array))
        chunks += [(sequence, order[i : i + size]) for i in range(0, len(order) - size + 1, size)]
    return [partial(_of_one, frames, *chunks[i]) for i in rng.permutation(len(chunks))]


def _of_one(frames: dict[str, Frames], sequence: str, index: NDArray[np.int64]) -> FrameBatch:
    return FrameBatch((sequence,) * len(index), frames[sequence][index])


def _cut_mixed(frames: dict[str, Frames], size: int, rng: np.random.Generator) -> list[Cut]:
    places = [(sequence, i) for sequence, array in frames.items() for i in range(len(array))]
    order = rng.permutation(len(places))
    return [
        partial(_of_many, frames, [places[i] for i in order[first : first + size]])
        for first in range(0, len(order) - size + 1, size)
    ]


def _of_many(frames: dict[str, Frames], places: list[tuple[str, int]]) -> FrameBatch:
    atoms = max(frames[sequence].shape[1] for sequence, _ in places)
    positions = np.zeros((len(places), atoms, 3), dtype=np.float32)
    for row, (sequence, i) in enumerate(places):
        positions[row, : frames[sequence].shape[1]] = frames[sequence][i]
    return FrameBatch(tuple(sequence for sequence, _ in places), positions)
