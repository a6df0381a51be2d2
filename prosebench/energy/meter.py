"""The meter: the only handle on the target that a method gets. It counts every frame and stops at the budget."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from prosebench.energy.target import Description, LangevinResult, LangevinSettings, PhaseState, Target

Phase = Literal["sampling", "preparation", "training"]


class Counts(BaseModel):
    """What was asked of the target. One frame evaluated, energy or gradient or both, is one evaluation."""

    model_config = ConfigDict(extra="forbid")

    evaluations: int = 0
    energies: int = 0
    gradients: int = 0
    failures: int = 0


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
class Meter:
    """Counts evaluations of a target against a budget.

    Raises BudgetExhausted, exactly at the budget, from every call that asks for more.
    """

    _target: Target
    budget: int
    ledger: Ledger = field(default_factory=Ledger)
    clock: Clock = field(default_factory=Clock)
    _phase: Phase = "sampling"

    @property
    def n_atoms(self) -> int:
        """Atoms of a frame."""
        return self._target.n_atoms

    @property
    def temperature_kelvin(self) -> float:
        """Temperature at which energies are reduced."""
        return self._target.temperature_kelvin

    @property
    def spent(self) -> int:
        """Evaluations of sampling so far."""
        return self.ledger.sampling.evaluations

    @property
    def remaining(self) -> int:
        """Evaluations of sampling that are left."""
        return self.budget - self.spent

    def describe(self) -> Description:
        """What the target says of itself."""
        return self._target.describe()

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Clock what happens inside as this phase; in "preparation", count it apart from the budget too."""
        before, started, inner = self._phase, time.perf_counter(), self._clocked()
        self._phase = phase
        try:
            yield
        finally:
            self._phase = before
            elapsed = time.perf_counter() - started - (self._clocked() - inner)
            setattr(self.clock, phase, getattr(self.clock, phase) + elapsed)

    def energy(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Reduced energies (n,) in kT of frames (n, atoms, 3) in nm; inf where not finite, and counted as such."""
        granted = self._grant(len(frames_nm))
        with self._inside_target():
            energies = self._target.energy(frames_nm[:granted])
        self._charge(energies=granted, failures=int(np.isinf(energies).sum()))
        self._stop_unless(len(frames_nm), granted, energies)
        return energies

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Energies (n,) in kT and gradients (n, atoms, 3) in kT/nm; one evaluation a frame."""
        granted = self._grant(len(frames_nm))
        with self._inside_target():
            energies, gradients = self._target.energy_and_gradient(frames_nm[:granted])
        self._charge(energies=granted, gradients=granted, failures=int(np.isinf(energies).sum()))
        self._stop_unless(len(frames_nm), granted, (energies, gradients))
        return energies, gradients

    def langevin(
        self,
        state: PhaseState,
        n_steps: int,
        settings: LangevinSettings,
        random_key: int,
        first_step: int,
        keep_steps: NDArray[np.int64],
        *,
        temperatures_kelvin: NDArray[np.float64] | None = None,
    ) -> LangevinResult:
        """Langevin dynamics (see `Target.langevin`): one evaluation a step and replica."""
        replicas = len(state.positions_nm)
        steps = self._grant(n_steps * replicas) // replicas
        with self._inside_target():
            result = self._target.langevin(
                state,
                steps,
                settings,
                random_key,
                first_step,
                keep_steps[keep_steps <= steps],
                temperatures_kelvin=temperatures_kelvin,
            )
        self._charge(gradients=steps * replicas, failures=int(result.failed.sum()))
        self._stop_unless(n_steps * replicas, steps * replicas, result)
        return result

    def _clocked(self) -> float:
        return self.clock.sampling + self.clock.preparation + self.clock.training

    def _grant(self, asked: int) -> int:
        return asked if self._phase == "preparation" else min(asked, self.remaining)

    def _charge(self, *, energies: int = 0, gradients: int = 0, failures: int = 0) -> None:
        counts = self.ledger.preparation if self._phase == "preparation" else self.ledger.sampling
        counts.evaluations += max(energies, gradients)
        counts.energies += energies
        counts.gradients += gradients
        counts.failures += failures

    def _stop_unless(self, asked: int, granted: int, result: object) -> None:
        if granted < asked:
            raise BudgetExhausted(self.budget, asked, granted, result)

    @contextmanager
    def _inside_target(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.clock.target += time.perf_counter() - started
