"""Molecular dynamics: one Langevin trajectory from the minimised start structure, as in the published protocol.

One step is one energy evaluation. Minimisation and warm-up are preparation; the budget counts what follows.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.dynamics import DynamicsSettings
from prosebench.energy.dynamics import evenly_spaced, maxwell_velocities
from prosebench.energy.minimise import minimisation_limit, minimised
from prosebench.energy.target import PhaseState, Stretch
from prosebench.ensemble import Ensemble
from prosebench.method import Carry, Chunk, Method, Run

MAX_CHUNKS = 1000


class MD(Method):
    """One trajectory, frames kept so that every budget of the suite is served by the same run."""

    class Settings(DynamicsSettings):
        """Published protocol: LangevinMiddle, 0.3/ps, 1 fs, 50 ps of warm-up."""

        warm_up_ps: float = Field(50.0, ge=0)
        chunk_steps: int = Field(10_000, gt=0)

    settings: Settings
    batched = False
    contract_settings = {"warm_up_ps": 5.0, "chunk_steps": 100, "friction_per_ps": 200.0}

    def preparation(self, run: Run) -> int:
        """The evaluations of minimisation and warm-up."""
        return minimisation_limit(self.settings.minimise_steps) + self._warm_up_steps

    def marks(self, run: Run) -> NDArray[np.int64]:
        """See Method.marks: one step is one evaluation."""
        return kept_steps(run.budgets, run.frames)

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """Chunk 0 minimises; then warm-up and sampling in stretches of equal length."""
        if not carry:
            with run.meter.phase("preparation"):
                return Chunk(ensemble=None, carry=self._start(run))
        steps_done = int(carry["step"])
        if steps_done < self._warm_up_steps:
            length = min(self._stretch(run), self._warm_up_steps - steps_done)
            with run.meter.phase("preparation"):
                return self._advance(run, carry, length, np.array([], dtype=np.int64))
        sampled = steps_done - self._warm_up_steps
        length = min(self._stretch(run), run.budgets[-1] - sampled)
        schedule = kept_steps(run.budgets, run.frames)
        keep = schedule[(schedule > sampled) & (schedule <= sampled + length)] - sampled
        return self._advance(run, carry, length, keep)

    @property
    def _warm_up_steps(self) -> int:
        return round(self.settings.warm_up_ps * 1000 / self.settings.time_step_fs)

    def _stretch(self, run: Run) -> int:
        return max(self.settings.chunk_steps, run.budgets[-1] // MAX_CHUNKS)

    def _start(self, run: Run) -> Carry:
        positions = minimised(run.meter, run.peptide.start_nm, self.settings.minimise_steps)
        velocities = maxwell_velocities(
            run.peptide,
            np.array([run.meter.temperature_kelvin]),
            run.rng(0),
            self.settings.hydrogen_mass_dalton,
        )
        return {"positions_nm": positions[None], "velocities_nm_ps": velocities, "step": np.array(0)}

    def _advance(self, run: Run, carry: Carry, length: int, keep: NDArray[np.int64]) -> Chunk:
        step = int(carry["step"])
        result = run.meter.langevin(
            PhaseState(carry["positions_nm"], carry["velocities_nm_ps"]),
            Stretch(
                length,
                self.settings.langevin(run.meter.temperature_kelvin),
                run.random_key,
                step,
                keep,
            ),
        )
        if result.failed[0]:
            raise FloatingPointError(
                f"the trajectory of {run.peptide.sequence} left finite numbers within steps {step} to {step + length}; "
                f"use a shorter time step than {self.settings.time_step_fs} fs"
            )
        return Chunk(
            ensemble=Ensemble(
                result.frames_nm[:, 0],
                result.energies_kt[:, 0],
                evaluations=step - self._warm_up_steps + keep,
            )
            if len(keep)
            else None,
            carry={
                "positions_nm": result.state.positions_nm,
                "velocities_nm_ps": result.state.velocities_nm_ps,
                "step": np.array(step + length),
            },
        )


def kept_steps(budgets: Sequence[int], frames: int) -> NDArray[np.int64]:
    """Steps (ascending) after which a frame is kept: for each budget `frames` of them, evenly spaced, or every step."""
    return np.unique(np.concatenate([evenly_spaced(budget, frames) for budget in budgets]))
