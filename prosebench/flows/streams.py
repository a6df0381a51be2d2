"""Random streams of a chunk of proposals: one on a CPU, several at once on a GPU, the same proposals on both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from prosebench.flows.device import is_gpu

GPU_CHUNK = 16_384
"""The number of proposals of a chunk on a GPU. It gives some seconds of work, and a full batch to each of
eight ranks."""


@dataclass(frozen=True)
class Streams:
    """The number of each stream, and how many proposals it gives; carry says with which stream the next chunk begins.

    On a CPU, chunk k has stream k. A GPU takes several at once, so that it, or the GPUs of several ranks, have enough
    to do: proposals are the same on both, up to rounding.
    """

    sizes: list[tuple[int, int]]
    carry: dict[str, NDArray[np.int64]]

    @classmethod
    def of(
        cls,
        index: int,
        carry: Mapping[str, NDArray[Any]],
        size: int,
        most: int,
        device: str,
        together: int = GPU_CHUNK,
    ) -> "Streams":
        """The streams of chunk `index`, after a carry: each gives `size` proposals, all of them `most` at
        most, and on a GPU about as many as `together` says."""
        first = int(carry.get("stream", np.array(index)))
        if not is_gpu(device):
            return cls([(first, min(size, most))], {})
        starts = range(0, min(most, max(size, together // size * size)), size)
        sizes = [(first + k, min(size, most - start)) for k, start in enumerate(starts)]
        return cls(sizes, {"stream": np.array(first + len(starts))})

    @property
    def n(self) -> int:
        """Proposals of all streams."""
        return sum(n for _, n in self.sizes)

    def generator(self, of_stream: Callable[[int], np.random.Generator]) -> np.random.Generator:
        """The generator that proposals are drawn with; the arrays that it is asked for have one row a
        proposal."""
        if len(self.sizes) == 1:
            return of_stream(self.sizes[0][0])
        return cast(np.random.Generator, _Joined([(of_stream(number), n) for number, n in self.sizes]))


@dataclass(frozen=True)
class _Joined:
    """The part of a generator that draws for frames, with rows from one stream after the other."""

    parts: list[tuple[np.random.Generator, int]]

    def standard_normal(self, size: tuple[int, ...]) -> NDArray[np.float64]:
        return np.concatenate([rng.standard_normal((n, *size[1:])) for rng, n in self.parts])

    def integers(self, low: int, high: int, size: tuple[int, ...]) -> NDArray[np.int64]:
        return np.concatenate([rng.integers(low, high, (n, *size[1:])) for rng, n in self.parts])
