"""Parallel tempering: replicas at rising temperatures that exchange places; the coldest level is the sample.

Scheme: Sugita and Okamoto, Chem. Phys. Lett. 1999, 314, 141. Steps of every replica at every level are paid for.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from prosebench.dynamics import maxwell_velocities, minimisation_limit, minimised
from prosebench.energy.target import LangevinSettings, PhaseState
from prosebench.ensemble import Ensemble, concatenate
from prosebench.method import Carry, Chunk, Method, MethodSettings, Run


class ParallelTempering(Method):
    """Temperature replica exchange; frames of the coldest level after the first `discard` share of the budget."""

    class Settings(MethodSettings):
        """levels temperatures in geometric steps up to hottest_kelvin, in `ladders` independent ladders."""

        ladders: int = Field(1, gt=0)
        levels: int = Field(4, gt=1)
        hottest_kelvin: float = Field(600.0, gt=0)
        exchange_steps: int = Field(100, gt=0)
        friction_per_ps: float = Field(0.3, gt=0)
        time_step_fs: float = Field(1.0, gt=0)
        minimise_steps: int = Field(200, ge=0)
        discard: float = Field(0.1, ge=0, lt=1)
        chunk_evaluations: int = Field(200_000, gt=0)

    settings: Settings
    # What is discarded, and how often a frame is kept, depend on the budget.
    prefixes = False
    contract_settings = {"exchange_steps": 5, "chunk_evaluations": 200, "friction_per_ps": 20.0}

    def skip(self, run: Run) -> str | None:
        """A ladder must rise, and the budget must allow for one exchange."""
        if self.settings.hottest_kelvin <= run.meter.temperature_kelvin:
            return f"the hottest level, {self.settings.hottest_kelvin} K, is not above {run.meter.temperature_kelvin} K"
        round_cost = self.settings.ladders * self.settings.levels * self.settings.exchange_steps
        if run.budgets[-1] * (1 - self.settings.discard) < round_cost:
            return f"a budget of {run.budgets[-1]} is less than a round of {round_cost} evaluations"
        return None

    def preparation(self, run: Run) -> int:
        """Minimisation."""
        return minimisation_limit(self.settings.minimise_steps)

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """Rounds of dynamics and exchange, about chunk_evaluations of them; chunk 0 also makes the starts."""
        temperatures = self._temperatures(run)
        if carry:
            state = PhaseState(carry["positions_nm"], carry["velocities_nm_ps"])
            rounds_done = int(carry["rounds"])
        else:
            state, rounds_done = self._start(run, temperatures), 0
        replicas = len(temperatures)
        settings = LangevinSettings(
            run.meter.temperature_kelvin, self.settings.friction_per_ps, self.settings.time_step_fs
        )
        parts, accepted, tried = [], 0, 0
        keep_every = self._keep_every(run)
        first_kept = round(self.settings.discard * run.budgets[-1])
        rounds = max(1, self.settings.chunk_evaluations // (replicas * self.settings.exchange_steps))
        for _ in range(rounds):
            steps = min(self.settings.exchange_steps, run.meter.remaining // replicas)
            if steps == 0:
                break
            result = run.meter.langevin(
                state,
                steps,
                settings,
                run.random_key,
                rounds_done * self.settings.exchange_steps,
                np.array([steps], dtype=np.int64),
                temperatures_kelvin=temperatures,
            )
            if result.failed.any():
                raise FloatingPointError(
                    f"{result.failed.sum()} of {replicas} replicas of {run.peptide.sequence} left finite numbers; "
                    f"use a shorter time step than {self.settings.time_step_fs} fs or a lower hottest_kelvin"
                )
            rounds_done += 1
            if rounds_done % keep_every == 0 and run.meter.spent > first_kept:
                parts.append(self._coldest(result.frames_nm[0], result.energies_kt[0], run.meter.spent))
            rng = run.rng(rounds_done)
            order, hits, tries = self._exchange(result.energies_kt[0], rounds_done, rng, run)
            accepted, tried = accepted + hits, tried + tries
            # Whoever moves to another temperature takes its structure along, and velocities of that temperature.
            scale = np.sqrt(temperatures / temperatures[order])[:, None, None]
            state = PhaseState(result.state.positions_nm[order], scale * result.state.velocities_nm_ps[order])
        return Chunk(
            ensemble=concatenate(parts) if parts else None,
            carry={
                "positions_nm": state.positions_nm,
                "velocities_nm_ps": state.velocities_nm_ps,
                "rounds": np.array(rounds_done),
            },
            done=run.meter.remaining < replicas,
            diagnostics={"exchange-acceptance": accepted / tried} if tried else {},
        )

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
            maxwell_velocities(run.peptide, temperatures, run.rng(0)),
        )

    def _keep_every(self, run: Run) -> int:
        """Rounds between kept frames, such that about run.frames are kept in all."""
        replicas = self.settings.ladders * self.settings.levels
        rounds = (1 - self.settings.discard) * run.budgets[-1] / (replicas * self.settings.exchange_steps)
        return max(1, int(rounds * self.settings.ladders / run.frames))

    def _coldest(self, frames: NDArray[np.float32], energies: NDArray[np.float64], spent: int) -> Ensemble:
        level = slice(0, None, self.settings.levels)
        return Ensemble(frames[level], energies[level], evaluations=np.full(self.settings.ladders, spent))

    def _exchange(
        self, energies_kt: NDArray[np.float64], round_: int, rng: np.random.Generator, run: Run
    ) -> tuple[NDArray[np.int64], int, int]:
        """Who goes where: order (replicas,) of old places by new place, accepted and attempted exchanges.

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
