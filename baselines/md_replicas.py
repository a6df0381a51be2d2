"""Replicas: many short trajectories side by side in one batch. The steps of all of them are paid for."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from baselines.dynamics import DynamicsSettings
from prosebench.energy.dynamics import evenly_spaced, maxwell_velocities
from prosebench.energy.minimise import minimisation_limit, minimised
from prosebench.energy.target import LangevinResult, PhaseState, Stretch
from prosebench.ensemble import Ensemble
from prosebench.frames.features import same_peptide_bonds
from prosebench.method import Carry, Chunk, Method, Run
from prosebench.store.storage import FileElsewhere, file_sha256


class MDReplicas(Method):
    """Independent Langevin trajectories from one start, or from the frames of an ensemble file."""

    class Settings(DynamicsSettings):
        """discard is the share of each trajectory that is thrown away as warm-up; it is paid for all the same.

        The friction is that of parallel-tempering, and for the same reason: short trajectories must warm up soon.

        starts is an ensemble file (.npz) from whose frames the starts are drawn, but for those with a peptide bond
        cis that is trans in the peptide, or the reverse; starts_sha256, which is filled
        in, makes its content, wherever it lies, part of what identifies a cell.
        """

        replicas: int = Field(16, gt=0)
        friction_per_ps: float = Field(2.0, gt=0)
        discard: float = Field(0.2, ge=0, lt=1)
        starts: str = ""
        starts_sha256: str = ""
        chunk_evaluations: int = Field(200_000, gt=0)

        @model_validator(mode="before")
        @classmethod
        def _hash_starts(cls, values: dict[str, object]) -> dict[str, object]:
            path = values.get("starts")
            if not path:
                return values
            if not Path(str(path)).is_file():
                raise FileElsewhere(f"there is no ensemble file {path} to start from")
            found = file_sha256(Path(str(path)))
            if values.get("starts_sha256") not in (None, "", found):
                raise FileElsewhere(f"{path} has changed since this cell was planned")
            return values | {"starts_sha256": found}

    settings: Settings
    # Which share is discarded, and how often a frame is kept, depend on the budget.
    prefixes = False
    contract_settings = {"chunk_evaluations": 200, "friction_per_ps": 200.0}

    def skip(self, run: Run) -> str | None:
        """The frames of a file of starts must have as many atoms as the peptide."""
        if not self.settings.starts:
            return None
        atoms = Ensemble.load(self.settings.starts).positions_nm.shape[1]
        return None if atoms == run.peptide.n_atoms else f"{self.settings.starts} has frames of {atoms} atoms"

    def preparation(self, run: Run) -> int:
        """The evaluations of the minimisation, if starts do not come from a file."""
        return 0 if self.settings.starts else minimisation_limit(self.settings.minimise_steps)

    def marks(self, run: Run) -> NDArray[np.int64] | None:
        """See Method.marks: all replicas keep a frame after the same steps."""
        replicas = min(self.settings.replicas, run.budgets[-1])
        return np.repeat(self._schedule(run, run.budgets[-1] // replicas, replicas) * replicas, replicas)

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """A stretch of all trajectories, about chunk_evaluations long; chunk 0 also makes the starts."""
        if carry:
            state, done = PhaseState(carry["positions_nm"], carry["velocities_nm_ps"]), int(carry["step"])
        else:
            state, done = self._start(run), 0
        replicas = len(state.positions_nm)
        total = run.budgets[-1] // replicas
        steps = min(max(1, self.settings.chunk_evaluations // replicas), total - done)
        schedule = self._schedule(run, total, replicas)
        keep = schedule[(schedule > done) & (schedule <= done + steps)] - done
        result = self._stretch(run, state, steps, done, keep)
        frames = result.frames_nm.reshape(-1, run.peptide.n_atoms, 3)
        evaluations = np.repeat((done + keep) * replicas, replicas)
        return Chunk(
            ensemble=Ensemble(frames, result.energies_kt.ravel(), evaluations=evaluations)
            if len(keep)
            else None,
            carry={
                "positions_nm": result.state.positions_nm,
                "velocities_nm_ps": result.state.velocities_nm_ps,
                "step": np.array(done + steps),
            },
            done=done + steps == total,
        )

    def _stretch(
        self, run: Run, state: PhaseState, steps: int, done: int, keep: NDArray[np.int64]
    ) -> LangevinResult:
        """Dynamics of all replicas after `done` steps. Raises FloatingPointError where one leaves finite numbers."""
        result = run.meter.langevin(
            state,
            Stretch(
                steps,
                self.settings.langevin(run.meter.temperature_kelvin),
                run.random_key,
                done,
                keep,
            ),
        )
        if result.failed.any():
            raise FloatingPointError(
                f"{result.failed.sum()} of {len(result.failed)} trajectories of {run.peptide.sequence} left finite "
                f"numbers; use a shorter time step than {self.settings.time_step_fs} fs"
            )
        return result

    def _schedule(self, run: Run, total: int, replicas: int) -> NDArray[np.int64]:
        """Steps after which all trajectories keep a frame: evenly over the part that is not discarded."""
        discarded = int(self.settings.discard * total)
        per_replica = max(1, run.frames // replicas)
        return discarded + evenly_spaced(total - discarded, per_replica)

    def _usable_starts(self, run: Run) -> NDArray[np.float32]:
        """Frames (n, atoms, 3) of the file with peptide bonds as in the start structure; dynamics turns none."""
        frames = Ensemble.load(self.settings.starts).positions_nm
        usable = same_peptide_bonds(frames, run.peptide.topology, run.peptide.start_nm)
        if not usable.any():
            raise ValueError(
                f"no frame of {self.settings.starts} has the peptide bonds of {run.peptide.sequence}, cis or trans"
            )
        return frames[usable]

    def _start(self, run: Run) -> PhaseState:
        # A budget below one step a replica is spent on fewer replicas.
        replicas = min(self.settings.replicas, run.budgets[-1])
        temperatures = np.full(replicas, run.meter.temperature_kelvin)
        rng = run.rng(0)
        if self.settings.starts:
            starts = self._usable_starts(run)
            chosen = rng.choice(len(starts), replicas, replace=len(starts) < replicas)
            positions = starts[chosen].astype(np.float64)
        else:
            with run.meter.phase("preparation"):
                positions = minimised(run.meter, run.peptide.start_nm, self.settings.minimise_steps)
            positions = np.repeat(positions[None], replicas, axis=0)
        return PhaseState(
            positions, maxwell_velocities(run.peptide, temperatures, rng, self.settings.hydrogen_mass_dalton)
        )
