"""What a method is, and how methods are found.

A method samples a peptide chunk by chunk. Chunk k may depend on the cell, on k and on what chunk k-1 handed over
(the carry), and on nothing else; so a cell that is killed continues and ends with the same numbers.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from prosebench.energy.meter import Meter
from prosebench.ensemble import Ensemble
from prosebench.machine.installed import method_entry_points
from prosebench.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from prosebench.peptide import Peptide

Carry = dict[str, NDArray[Any]]
"""The arrays, by name, that a chunk hands to the next one. They are stored with the chunk, so that a cell
that was killed can go on from there."""


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
    peptide: "Peptide"
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


def check_chunk(chunk: object, before: int, after: int, n_atoms: int) -> None:
    """Raise ValueError, in one sentence, unless a method returned a sound chunk of frames of so many atoms.

    Every frame must claim evaluations spent within its chunk, which began and ended at `before` and `after`: a claim of
    fewer would put frames under budgets that did not pay for them.
    """
    if not isinstance(chunk, Chunk):
        raise ValueError(f"chunk() returned {_kind(chunk)}; it must return a prosebench.method.Chunk")
    _check_carry(chunk.carry)
    if not isinstance(chunk.done, bool | np.bool_):
        raise ValueError(f"`done` of a chunk is {_kind(chunk.done)}, not True or False")
    if not isinstance(chunk.diagnostics, Mapping):
        raise ValueError(f"`diagnostics` of a chunk is {_kind(chunk.diagnostics)}, not numbers by name")
    if chunk.ensemble is None:
        return
    if not isinstance(chunk.ensemble, Ensemble):
        raise ValueError(f"`ensemble` of a chunk is {_kind(chunk.ensemble)}, not an Ensemble or None")
    if len(chunk.ensemble):
        _check_frames(chunk.ensemble, n_atoms)
        _check_claims(chunk.ensemble, before, after)


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _check_carry(carry: object) -> None:
    if not isinstance(carry, Mapping):
        raise ValueError(f"`carry` of a chunk is {_kind(carry)}, not arrays by name")
    for name, value in carry.items():
        try:
            stored = isinstance(name, str) and np.asarray(value).dtype.kind in "biufcSU"
        except ValueError:
            stored = False
        if not stored:
            raise ValueError(
                f"{name!r} in the carry is {_kind(value)}: only arrays of numbers or text can be stored"
            )


def _check_frames(ensemble: Ensemble, n_atoms: int) -> None:
    if ensemble.positions_nm.shape[1] != n_atoms:
        raise ValueError(f"frames have {ensemble.positions_nm.shape[1]} atoms; the peptide has {n_atoms}")
    for name, values in (("energies_kt", -ensemble.energies_kt), ("log_weights", ensemble.log_weights)):
        # An energy of +inf and a log-weight of -inf say that a frame counts for nothing; the rest is a mistake.
        wrong = np.isnan(values) | (values == np.inf) if values is not None else np.array(False)
        if wrong.any():
            bad = "NaN or -inf" if name == "energies_kt" else "NaN or +inf"
            raise ValueError(f"{name} of {int(wrong.sum())} of {len(ensemble)} frames is {bad}")


def _check_claims(ensemble: Ensemble, before: int, after: int) -> None:
    claims = ensemble.evaluations
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
    of a suite. Set it to False where the budget changes what is done (annealing schedules). needs_reference: a
    control that looks at the reference, so that its cells wait until there is one. batched: it asks for the energies of
    many frames at once, or moves many replicas. Set it to False where that is not so: then its energies are computed on
    the CPU also where the suite names a GPU, which is slower for one frame. contract_settings: what
    `prosebench check` sets to keep its runs short. contract_spread_nm: None has the method checked on harmonic wells
    that are fixed in space at the start structure, as dynamics needs them. A method that proposes frames wherever it
    likes and weights them names the standard deviation of wells that move with the frame: 0.9 times that of its own
    proposals makes every error of a weight show and leaves a quarter of them as effective samples.

    independent says that frame i of a run depends on nothing but row i % chunk_proposals, a setting, of the arrays of
    random numbers that the stream of chunk i // chunk_proposals gives: then a review draws any of them again.
    """

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    prefixes: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False
    batched: ClassVar[bool] = True
    contract_settings: ClassVar[Mapping[str, Any]] = {}
    contract_spread_nm: ClassVar[float | None] = None
    independent: ClassVar[bool] = False

    def __init__(self, settings: MethodSettings) -> None:
        self.settings = settings

    def skip(self, run: Run) -> str | None:
        """The reason why this method cannot do this run, or None. It becomes "n/a: reason" in tables."""
        return None

    def preparation(self, run: Run) -> int:
        """The most evaluations that this run may spend in the phase "preparation", outside the meter's budget."""
        return 0

    def marks(self, run: Run) -> NDArray[np.int64] | None:
        """What the frames of a whole run claim as evaluations, in order, where its settings decide that; else None.

        No frame of such a run repeats another. A review holds results of others to it.
        """
        return None

    @abstractmethod
    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """Do piece `index` (0, 1, ...). The carry of the first one is empty. Keep a chunk to a few seconds."""


class UnknownMethod(ValueError):
    """No installed package offers this method."""


class BrokenMethod(ValueError):
    """A package offers this method, but what it offers cannot be used; the message says why."""


def load_method(name: str) -> type[Method]:
    """The class of a method.

    Raises UnknownMethod with the known names, BrokenMethod where it cannot be imported or is not a Method.
    """
    known = method_entry_points()
    if name not in known:
        raise UnknownMethod(f"unknown method {name!r}; known: {', '.join(known)}")
    place = f"method {name!r} ({known[name].value})"
    try:
        loaded = known[name].load()
    except (Exception, SystemExit) as error:
        raise BrokenMethod(f"{place} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Method)):
        raise BrokenMethod(f"{place} is not a subclass of prosebench.method.Method")
    lacking = ", ".join(sorted(loaded.__abstractmethods__))
    if lacking:
        raise BrokenMethod(f"{place} does not define {lacking}")
    return loaded


def all_methods() -> dict[str, type[Method] | BrokenMethod]:
    """Every method that installed packages offer, by name, or why it cannot be used: one never hides the others."""
    found: dict[str, type[Method] | BrokenMethod] = {}
    for name in method_entry_points():
        try:
            found[name] = load_method(name)
        except BrokenMethod as broken:
            found[name] = broken
    return found
