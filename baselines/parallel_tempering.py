"""Parallel tempering: replicas at rising temperatures that exchange places; the coldest level is the sample.

Scheme: Sugita and Okamoto, Chem. Phys. Lett. 1999, 314, 141. Steps of every replica at every level are paid for.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.dynamics import DynamicsSettings
from prosebench.energy.dynamics import evenly_spaced, maxwell_velocities
from prosebench.energy.minimise import minimisation_limit, minimised
from prosebench.energy.target import LangevinResult, PhaseState, Stretch
from prosebench.ensemble import Ensemble, concatenate
from prosebench.method import Carry, Chunk, Method, Run


class ParallelTempering(Method):
    """Temperature replica exchange; frames of the coldest level after the first `discard` share of the budget."""

    class Settings(DynamicsSettings):
        """levels temperatures in geometric steps up to hottest_kelvin, in `ladders` independent ladders.

        The friction is not the published 0.3/ps of one long trajectory: replicas begin at a minimum, and in the few
        picoseconds that a small budget leaves each of them, a weak thermostat does not warm them up.
        """

        ladders: int = Field(1, gt=0)
        levels: int = Field(4, gt=1)
        hottest_kelvin: float = Field(600.0, gt=0)
        exchange_steps: int = Field(100, gt=0)
        friction_per_ps: float = Field(2.0, gt=0)
        discard: float = Field(0.1, ge=0, lt=1)
        chunk_evaluations: int = Field(200_000, gt=0)

    settings: Settings
    # What is discarded, and how often a frame is kept, depend on the budget.
    prefixes = False
    contract_settings = {"exchange_steps": 5, "chunk_evaluations": 200, "friction_per_ps": 200.0}

    def skip(self, run: Run) -> str | None:
        """A ladder must rise, and the budget must allow for one exchange."""
        if self.settings.hottest_kelvin <= run.meter.temperature_kelvin:
            return f"the hottest level, {self.settings.hottest_kelvin} K, is not above {run.meter.temperature_kelvin} K"
        round_cost = self._replicas * self.settings.exchange_steps
        if run.budgets[-1] < round_cost:
            return f"a budget of {run.budgets[-1]} is less than a round of {round_cost} evaluations"
        return None

    def preparation(self, run: Run) -> int:
        """The evaluations of the minimisation."""
        return minimisation_limit(self.settings.minimise_steps)

    def marks(self, run: Run) -> NDArray[np.int64]:
        """See Method.marks: all replicas pay for the frames of the coldest level of each ladder."""
        return np.repeat(self._schedule(run) * self._replicas, self.settings.ladders)

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """Rounds of dynamics and exchange, about chunk_evaluations of them; chunk 0 also makes the starts."""
        if carry:
            state = PhaseState(carry["positions_nm"], carry["velocities_nm_ps"])
            rounds_done = int(carry["rounds"])
        else:
            state, rounds_done = self._start(run, self._temperatures(run)), 0
        exchange_steps, schedule = self.settings.exchange_steps, self._schedule(run)
        total_rounds = -(-(run.budgets[-1] // self._replicas) // exchange_steps)
        rounds = max(1, self.settings.chunk_evaluations // (self._replicas * exchange_steps))
        last = min(rounds_done + rounds, total_rounds)
        parts, accepted, tried = list[Ensemble](), 0, 0
        for number in range(rounds_done + 1, last + 1):
            state, frames, hits, tries = self._round(run, number, state, schedule)
            parts += frames
            accepted, tried = accepted + hits, tried + tries
        return Chunk(
            ensemble=concatenate(parts) if parts else None,
            carry={
                "positions_nm": state.positions_nm,
                "velocities_nm_ps": state.velocities_nm_ps,
                "rounds": np.array(last),
            },
            done=last == total_rounds,
            diagnostics={"exchange-acceptance": accepted / tried} if tried else {},
        )

    def _round(
        self, run: Run, number: int, state: PhaseState, schedule: NDArray[np.int64]
    ) -> tuple[PhaseState, list[Ensemble], int, int]:
        """Round `number`, from 1: dynamics, then exchange. The state after it, frames of the coldest levels if any are
        due, and how many exchanges were accepted and tried."""
        temperatures = self._temperatures(run)
        done = (number - 1) * self.settings.exchange_steps
        steps = min(self.settings.exchange_steps, run.budgets[-1] // self._replicas - done)
        wanted = schedule[(schedule > done) & (schedule <= done + steps)] - done
        # Exchange needs the energies at the end of the round.
        keep = np.union1d(wanted, [steps])
        result = run.meter.langevin(
            state,
            Stretch(
                steps,
                self.settings.langevin(run.meter.temperature_kelvin),
                run.random_key,
                done,
                keep,
                temperatures_kelvin=temperatures,
            ),
        )
        if result.failed.any():
            raise FloatingPointError(
                f"{result.failed.sum()} of {self._replicas} replicas of {run.peptide.sequence} left finite numbers; "
                f"use a shorter time step than {self.settings.time_step_fs} fs or a lower hottest_kelvin"
            )
        frames = []
        if len(wanted):
            frames = [self._coldest(result, np.isin(keep, wanted), (done + wanted) * self._replicas)]
        order, hits, tries = self._exchange(result.energies_kt[-1], number, run.rng(number), run)
        # Whoever moves to another temperature takes its structure along, and velocities of that temperature.
        scale = np.sqrt(temperatures / temperatures[order])[:, None, None]
        moved = PhaseState(result.state.positions_nm[order], scale * result.state.velocities_nm_ps[order])
        return moved, frames, hits, tries

    def _temperatures(self, run: Run) -> NDArray[np.float64]:
        """Temperatures (replicas,): ladder by ladder, coldest level first."""
        ladder = np.geomspace(
            run.meter.temperature_kelvin, self.settings.hottest_kelvin, self.settings.levels
        )
        return np.tile(ladder, self.settings.ladders)

    def _start(self, run: Run, temperatures: NDArray[np.float64]) -> PhaseState:
        with run.meter.phase("preparation"):
            positions = minimised(run.meter, run.peptide.start_nm, self.settings.minimise_steps)
        return PhaseState(
            np.repeat(positions[None], len(temperatures), axis=0),
            maxwell_velocities(run.peptide, temperatures, run.rng(0), self.settings.hydrogen_mass_dalton),
        )

    @property
    def _replicas(self) -> int:
        return self.settings.ladders * self.settings.levels

    def _schedule(self, run: Run) -> NDArray[np.int64]:
        """Steps after which the coldest levels keep a frame: evenly over the part that is not discarded."""
        total = run.budgets[-1] // self._replicas
        discarded = int(self.settings.discard * total)
        return discarded + evenly_spaced(total - discarded, max(1, run.frames // self.settings.ladders))

    def _coldest(
        self, result: LangevinResult, chosen: NDArray[np.bool_], spent: NDArray[np.int64]
    ) -> Ensemble:
        """Frames of the coldest levels at the chosen ones of the kept steps, when so much had been spent."""
        frames = result.frames_nm[chosen, :: self.settings.levels]
        energies = result.energies_kt[chosen, :: self.settings.levels]
        return Ensemble(
            frames.reshape(-1, *frames.shape[2:]),
            energies.ravel(),
            evaluations=np.repeat(spent, self.settings.ladders),
        )

    def _exchange(
        self, energies_kt: NDArray[np.float64], round_: int, rng: np.random.Generator, run: Run
    ) -> tuple[NDArray[np.int64], int, int]:
        """The exchange of places: order (replicas,) of old places by new place, and the numbers of accepted
        and attempted exchanges.

        Neighbours i, i+1 exchange with probability min(1, exp((b_i - b_j)(E_i - E_j))), b = 1/kT; pairs (0,1),
        (2,3) ... in one round, (1,2), (3,4) ... in the next.
        """
        levels, ladders = self.settings.levels, self.settings.ladders
        # Energies are reduced at the run's temperature, so inverse temperatures are relative to it.
        inverse = run.meter.temperature_kelvin / self._temperatures(run)[:levels]
        order = np.arange(ladders * levels).reshape(ladders, levels)
        energies = energies_kt.reshape(ladders, levels)
        lower = np.arange(round_ % 2, levels - 1, 2)
        log_ratio = (inverse[lower] - inverse[lower + 1]) * (energies[:, lower] - energies[:, lower + 1])
        accept = np.log(rng.random(log_ratio.shape)) < log_ratio
        swapped = order.copy()
        swapped[:, lower] = np.where(accept, order[:, lower + 1], order[:, lower])
        swapped[:, lower + 1] = np.where(accept, order[:, lower], order[:, lower + 1])
        return swapped.ravel(), int(accept.sum()), accept.size
