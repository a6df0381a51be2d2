"""What a method is, and how methods are found.

A method samples a peptide chunk by chunk. Chunk k may depend on the cell, on k and on what chunk k-1 handed over
(the carry), and on nothing else; so a cell that is killed continues and ends with the same numbers.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from prosebench.energy.meter import Meter
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.ranks import ALONE, Ranks

ENTRY_POINT_GROUP = "prosebench.methods"

Carry = dict[str, NDArray[Any]]
"""Arrays that a chunk hands to the next one; stored with the chunk."""


class MethodSettings(BaseModel):
    """Base of a method's settings: unknown keys are refused, values are checked, defaults are the published ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Run:
    """What a method is given: the peptide, the meter, what is asked of it, and its random streams.

    budgets are ascending marks; the largest is the budget of the meter. frames is how many frames are scored at each
    mark. reference_path is for control methods alone: a sampler that looks at the truth is no sampler. ranks are the
    processes that run this very method together: the meter shares its work out among them by itself, and `ranks.map`
    does so with any other.
    """

    cell_id: str
    peptide: Peptide
    meter: Meter
    budgets: tuple[int, ...]
    frames: int
    reference_path: Path | None = None
    ranks: Ranks = ALONE

    @cached_property
    def random_key(self) -> int:
        """A 64-bit key of this cell for counter-based generators."""
        return int.from_bytes(hashlib.sha256(self.cell_id.encode()).digest()[:8], "little")

    def rng(self, index: int) -> np.random.Generator:
        """The random stream of chunk `index`; the same on every rank and after every restart."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self.random_key, index])))


@dataclass(frozen=True)
class Chunk:
    """A piece of work: frames if there are any, the carry for the next chunk, and whether this was the last one.

    Frames must say in `ensemble.evaluations` how many evaluations of sampling had been spent when each was there.
    diagnostics are numbers by name, or lists of them where a chunk has several steps; the record has one list a name.
    """

    ensemble: Ensemble | None
    carry: Carry
    done: bool = False
    diagnostics: Mapping[str, float | Sequence[float]] = field(default_factory=dict)


def check_claims(chunk: Chunk, before: int, after: int) -> None:
    """Raise ValueError unless every frame claims evaluations spent within its chunk, which began and ended at these.

    A claim of fewer would put frames under budgets that did not pay for them.
    """
    if chunk.ensemble is None or len(chunk.ensemble) == 0:
        return
    claims = chunk.ensemble.evaluations
    if claims is None:
        raise ValueError("frames come without `evaluations`; see prosebench.method.Chunk")
    least, most = int(claims.min()), int(claims.max())
    if least < before or most > after:
        raise ValueError(
            f"frames claim {least} to {most} evaluations, but their chunk began at {before} and ended at {after}"
        )


class Method(ABC):
    """Something that samples. Subclasses set `Settings`, and `prefixes` where they differ.

    prefixes: a run with a small budget is the beginning of a run with a large one, so one cell serves all budgets
    of a suite. Set it to False where the budget changes what is done (annealing schedules). contract_settings: what
    `prosebench check` sets to keep its runs short. contract_spread_nm: None has the method checked on harmonic wells
    that are fixed in space at the start structure, as dynamics needs them. A method that proposes frames wherever it
    likes and weights them names the standard deviation of wells that move with the frame: 0.9 times that of its own
    proposals makes every error of a weight show and leaves a quarter of them as effective samples.
    """

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    prefixes: ClassVar[bool] = True
    contract_settings: ClassVar[Mapping[str, Any]] = {}
    contract_spread_nm: ClassVar[float | None] = None

    def __init__(self, settings: MethodSettings) -> None:
        self.settings = settings

    def skip(self, run: Run) -> str | None:
        """The reason why this method cannot do this run, or None. It becomes "n/a: reason" in tables."""
        return None

    def preparation(self, run: Run) -> int:
        """The most evaluations that this run may spend in the phase "preparation", outside the meter's budget."""
        return 0

    @abstractmethod
    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """Do piece `index` (0, 1, ...). The carry of the first one is empty. Keep a chunk to a few seconds."""


class UnknownMethod(ValueError):
    """No installed package offers this method."""


def method_entry_points() -> dict[str, EntryPoint]:
    """All methods that installed packages offer, by name, not yet imported."""
    return {
        point.name: point for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name)
    }


def load_method(name: str) -> type[Method]:
    """The class of a method. Raises UnknownMethod with the known names, TypeError where it is not a Method."""
    known = method_entry_points()
    if name not in known:
        raise UnknownMethod(f"unknown method {name!r}; known: {', '.join(known)}")
    loaded = known[name].load()
    if not (isinstance(loaded, type) and issubclass(loaded, Method)):
        raise TypeError(
            f"entry point {known[name].value!r} of method {name!r} is not a subclass of prosebench.method.Method"
        )
    return loaded
