"""The meter: the only handle on the target that a method gets. It counts every frame and stops at the budget.

No attribute of a meter leads to the target, the budget or the account: they live in the variables of functions
(`_sealed`), and whatever is called there is counted. What Python cannot prevent, such as a method that builds an
energy of its own, no meter sees.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, NoReturn, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from prosebench.energy.target import (
    Description,
    LangevinResult,
    PhaseState,
    Stretch,
    Target,
)
from prosebench.store.fields import Count

Phase = Literal["sampling", "preparation", "training"]


class Counts(BaseModel):
    """What was asked of the target. One frame evaluated, energy or gradient or both, is one evaluation."""

    model_config = ConfigDict(extra="forbid")

    evaluations: Count = 0
    energies: Count = 0
    gradients: Count = 0
    failures: Count = 0


class Ledger(BaseModel):
    """Counts by phase. The budget limits sampling; preparation (minimisation, warm-up) stands apart.

    Evaluations made while training are sampling: they are paid for out of the same budget.
    """

    model_config = ConfigDict(extra="forbid")

    sampling: Counts = Counts()
    preparation: Counts = Counts()


@dataclass
class Clock:
    """Wall seconds by phase, and the part of them spent inside the target."""

    sampling: float = 0.0
    preparation: float = 0.0
    training: float = 0.0
    target: float = 0.0


class BudgetExhausted(Exception):
    """A method asked for more evaluations than were left.

    The frames that the budget still covered were evaluated and charged. `result` holds what they gave, in the form
    of the call that was made (energies; energies and gradients; a LangevinResult), or None for no frame at all.
    """

    def __init__(self, budget: int, asked: int, granted: int, result: object) -> None:
        super().__init__(
            f"the budget of {budget} evaluations is spent: {asked} were asked for, {granted} were left"
        )
        self.granted = granted
        self.result = result


@dataclass
class Account:
    """The side of a meter that belongs to whoever made it: what was spent, in how many seconds. No method gets it."""

    ledger: Ledger = field(default_factory=Ledger)
    clock: Clock = field(default_factory=Clock)
    phase: Phase = "sampling"


class _Calls(NamedTuple):
    """Everything that a meter can do: functions that share a target and an account, and show neither of them."""

    facts: tuple[int, float, int]
    energy: Callable[..., NDArray[np.float64]]
    energy_and_gradient: Callable[..., tuple[NDArray[np.float64], NDArray[np.float64]]]
    langevin: Callable[..., LangevinResult]
    describe: Callable[[], Description]
    spent: Callable[[], int]
    ledger: Callable[[], Ledger]
    clock: Callable[[], Clock]
    phase: Callable[[Phase], Any]
    take_over: Callable[[Ledger], None]


class Meter:
    """Counts evaluations of a target against a budget.

    Raises BudgetExhausted, exactly at the budget, from every call that asks for more. Nothing about it can be set:
    `ledger` and `clock` are copies of those of the account.
    """

    __slots__ = ("_calls",)
    _calls: _Calls

    def __init__(self, target: Target, budget: int, account: Account | None = None) -> None:
        object.__setattr__(self, "_calls", _sealed(target, budget, account or Account()))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} of a meter cannot be set: budget and ledger belong to who made it")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name} of a meter cannot be removed")

    @property
    def n_atoms(self) -> int:
        """The number of atoms in a frame."""
        return self._calls.facts[0]

    @property
    def temperature_kelvin(self) -> float:
        """Temperature at which energies are reduced."""
        return self._calls.facts[1]

    @property
    def budget(self) -> int:
        """The most evaluations of sampling."""
        return self._calls.facts[2]

    @property
    def spent(self) -> int:
        """The evaluations of sampling so far."""
        return self._calls.spent()

    @property
    def remaining(self) -> int:
        """Evaluations of sampling that are left."""
        return self.budget - self.spent

    @property
    def ledger(self) -> Ledger:
        """A copy of what was spent."""
        return self._calls.ledger()

    @property
    def clock(self) -> Clock:
        """A copy of how long it took."""
        return self._calls.clock()

    def describe(self) -> Description:
        """What the target says of itself."""
        return self._calls.describe()

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Clock what happens inside as this phase; in "preparation", count it apart from the budget too.

        Raises ValueError for another phase than "sampling", "preparation" and "training".
        """
        if phase not in get_args(Phase):
            raise ValueError(f"unknown phase {phase!r}; known: {', '.join(get_args(Phase))}")
        with self._calls.phase(phase):
            yield

    def take_over(self, ledger: Ledger) -> None:
        """Go on from what an earlier sitting spent. Raises ValueError where that is less than was spent already."""
        self._calls.take_over(ledger)

    def energy(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Reduced energies (n,) in kT of frames (n, atoms, 3) in nm; inf where not finite, and counted as such."""
        return self._calls.energy(frames_nm)

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Energies (n,) in kT and gradients (n, atoms, 3) in kT/nm; one evaluation a frame."""
        return self._calls.energy_and_gradient(frames_nm)

    def langevin(self, state: PhaseState, stretch: Stretch) -> LangevinResult:
        """Langevin dynamics (see `Target.langevin`): one evaluation a step and replica."""
        return self._calls.langevin(state, stretch)


def _sealed(target: Target, budget: int, account: Account) -> _Calls:
    """What a meter does. Each call of the target is charged to the account here, where nothing can come between."""

    def grant(asked: int) -> int:
        return asked if account.phase == "preparation" else min(asked, budget - spent())

    def charge(
        asked: int, granted: int, result: object, failed: NDArray[np.bool_], *, energy: bool, gradient: bool
    ) -> None:
        counts = account.ledger.preparation if account.phase == "preparation" else account.ledger.sampling
        counts.evaluations += granted
        counts.energies += granted * energy
        counts.gradients += granted * gradient
        counts.failures += int(failed.sum())
        if granted < asked:
            raise BudgetExhausted(budget, asked, granted, result)

    def energy(frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        # An object that only looks like an array could report a length that is not its own.
        frames = np.asarray(frames_nm)
        granted = grant(len(frames))
        with _clocked_as_target(account):
            found = target.energy(frames[:granted])
        charge(len(frames), granted, found, np.isinf(found), energy=True, gradient=False)
        return found

    def energy_and_gradient(
        frames_nm: NDArray[np.floating],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        frames = np.asarray(frames_nm)
        granted = grant(len(frames))
        with _clocked_as_target(account):
            found = target.energy_and_gradient(frames[:granted])
        charge(len(frames), granted, found, np.isinf(found[0]), energy=True, gradient=True)
        return found

    def langevin(state: PhaseState, stretch: Stretch) -> LangevinResult:
        state = PhaseState(np.asarray(state.positions_nm), np.asarray(state.velocities_nm_ps))
        replicas, asked = max(1, len(state.positions_nm)), stretch.n_steps
        steps = grant(asked * replicas) // replicas
        granted = replace(stretch, n_steps=steps, keep_steps=stretch.keep_steps[stretch.keep_steps <= steps])
        with _clocked_as_target(account):
            found = target.langevin(state, granted)
        charge(asked * replicas, steps * replicas, found, found.failed, energy=False, gradient=True)
        return found

    def spent() -> int:
        return account.ledger.sampling.evaluations

    def take_over(ledger: Ledger) -> None:
        for kind in ("sampling", "preparation"):
            here, there = (getattr(one, kind).evaluations for one in (account.ledger, ledger))
            if there < here:
                raise ValueError(
                    f"{here} evaluations of {kind} were spent here; a ledger of {there} takes some back"
                )
        account.ledger = ledger.model_copy(deep=True)

    return _Calls(
        facts=(target.n_atoms, target.temperature_kelvin, budget),
        energy=energy,
        energy_and_gradient=energy_and_gradient,
        langevin=langevin,
        describe=lambda: target.describe(),
        spent=spent,
        ledger=lambda: account.ledger.model_copy(deep=True),
        clock=lambda: replace(account.clock),
        phase=lambda phase: _clocked_as(account, phase),
        take_over=take_over,
    )


@contextmanager
def _clocked_as(account: Account, phase: Phase) -> Iterator[None]:
    """Within this context, time is counted for this phase; a phase inside it has its seconds for itself."""
    clock = account.clock
    before, started, inner = account.phase, time.perf_counter(), _all_phases(clock)
    account.phase = phase
    try:
        yield
    finally:
        account.phase = before
        elapsed = time.perf_counter() - started - (_all_phases(clock) - inner)
        setattr(clock, phase, getattr(clock, phase) + elapsed)


@contextmanager
def _clocked_as_target(account: Account) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        account.clock.target += time.perf_counter() - started


def _all_phases(clock: Clock) -> float:
    return clock.sampling + clock.preparation + clock.training


def count_calls(target: Target) -> tuple[Target, Callable[[], int]]:
    """The same target, and a function that tells how many evaluations it has been asked for: one a frame, or
    a step of a replica.

    A worker compares this count with its account: they differ where a method got at the target beside the meter.
    """
    asked = 0

    class Counted:
        n_atoms = target.n_atoms
        temperature_kelvin = target.temperature_kelvin
        describe = staticmethod(target.describe)

        def energy(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
            nonlocal asked
            found = target.energy(frames_nm)
            asked += len(frames_nm)
            return found

        def energy_and_gradient(
            self, frames_nm: NDArray[np.floating]
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            nonlocal asked
            found = target.energy_and_gradient(frames_nm)
            asked += len(frames_nm)
            return found

        def langevin(self, state: PhaseState, stretch: Stretch) -> LangevinResult:
            nonlocal asked
            found = target.langevin(state, stretch)
            asked += stretch.n_steps * len(state.positions_nm)
            return found

    return Counted(), lambda: asked
