"""Own references: parallel tempering to find all basins, then plain MD from its frames for the truth and its dynamics.

Plain trajectories from one start stay in its basin for longer than anyone waits. Tempering crosses between basins;
its coldest frames are equilibrium starts, and trajectories from them are equilibrium samples with real time in them,
which TICA needs. Both are ordinary cells: a reference that is killed continues.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.special import erfcinv

from jobs.cells.display import Progress
from jobs.cells.launch import run_local
from jobs.cells.plan import lay_out
from prosebench.build_info import code_commit
from prosebench.energy.dynamics import maxwell_velocities
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.energy.target import LangevinSettings, PhaseState
from prosebench.ensemble import Ensemble
from prosebench.frames.features import n_tica_features
from prosebench.frames.tica import tica_fault
from prosebench.method import load_method
from prosebench.peptide import Peptide, number_of_atoms
from prosebench.record import Cell, read_record
from prosebench.reference import Reference, build_reference
from prosebench.reference.fixed_point import rounded

TIME_STEP_FS = 2.0
HYDROGEN_MASS_DALTON = 3.0
"""With hydrogens this heavy a step of 2 fs is as good as one of 1 fs (tests/statistical/test_heavy_hydrogens.py)."""
STEPS_PER_NS = round(1e6 / TIME_STEP_FS)
FRAME_INTERVAL_PS = 10.0
"""Time between kept frames, as in the published references."""
FRICTION_PER_PS = 0.3
"""That of the published dynamics: the frames of a reference have real time between them."""
TEMPERING_FRICTION_PER_PS = 2.0
"""Tempering keeps no time, and warms up sooner than with the published friction."""
EXCHANGE_ACCEPTANCE = 0.3
"""Share of exchanges between neighbouring levels that `levels_for` aims at."""
TEMPERING_FRAMES = 4096
_TRIAL_STEPS = 200


class PlanError(ValueError):
    """A plan from which no reference could be made; the message says which of its numbers to change."""


@dataclass(frozen=True)
class ReferencePlan:
    """How a reference is made. Times are per replica, at TIME_STEP_FS a step.

    ladders x levels replicas temper for tempering_ns (levels None: as many as the size of the peptide asks for);
    then `replicas` trajectories of md_ns each start from the coldest frames. TICA is fitted at lag_ns (published:
    1 ns); n_frames are drawn for the reference, of which one half is scored against and the other is spare.
    """

    ladders: int = 16
    levels: int | None = None
    hottest_kelvin: float = 600.0
    tempering_ns: float = 2.0
    replicas: int = 64
    md_ns: float = 3.2
    lag_ns: float = 1.0
    n_frames: int = 20_000
    seed: int = 0

    def levels_of(self, n_atoms: int, coldest_kelvin: float) -> int:
        """Levels of tempering for a peptide of so many atoms."""
        return self.levels or levels_for(n_atoms, coldest_kelvin, self.hottest_kelvin)

    def tempering_evaluations(self, n_atoms: int, coldest_kelvin: float) -> int:
        """Energy evaluations of tempering a peptide of so many atoms, all replicas together."""
        levels = self.levels_of(n_atoms, coldest_kelvin)
        return round(self.ladders * levels * self.tempering_ns * STEPS_PER_NS)

    @property
    def md_evaluations(self) -> int:
        """Energy evaluations of plain MD, all replicas together."""
        return round(self.replicas * self.md_ns * STEPS_PER_NS)

    @property
    def md_frames(self) -> int:
        """Frames kept of plain MD, all replicas together."""
        return self.replicas * round(self.md_ns * 1000 / FRAME_INTERVAL_PS)

    @property
    def lag_frames(self) -> int:
        """Lag of TICA in frames."""
        return round(self.lag_ns * 1000 / FRAME_INTERVAL_PS)

    def check(self, sequences: Sequence[str]) -> None:
        """Raise PlanError, before any dynamics, where its trajectories are too short for a reference of a peptide."""
        lengths = [self.md_frames // max(1, self.replicas)] * self.replicas
        if not 2 <= self.n_frames <= self.md_frames:
            raise PlanError(
                f"a reference of {self.n_frames:,} frames cannot be drawn from {self.md_frames:,}: plain MD keeps a "
                f"frame every {FRAME_INTERVAL_PS:g} ps, and runs {self.replicas} x {self.md_ns:g} ns. Ask for at least "
                "2 frames and at most those with --frames, or for more with --md-ns or --replicas"
            )
        for sequence in sequences:
            topology = Peptide.from_sequence(sequence).topology
            fault = tica_fault(lengths, self.lag_frames, n_tica_features(topology))
            if fault:
                raise PlanError(f"{sequence}: {fault} (--md-ns, --replicas, --lag-ns)")


def levels_for(n_atoms: int, coldest_kelvin: float, hottest_kelvin: float) -> int:
    """Levels, in geometric steps, of which neighbours exchange EXCHANGE_ACCEPTANCE of the times, at least.

    Neighbours whose temperatures differ by a factor exp(d) exchange with probability erfc(sqrt(C) d / 2), where C is
    the heat capacity of the potential energy in units of k (Kofke, J. Chem. Phys. 2002, 117, 6911, for normal
    energies); here that of harmonic motion, 3/2 an atom.
    """
    capacity = 1.5 * n_atoms
    step = 2.0 * erfcinv(EXCHANGE_ACCEPTANCE) / math.sqrt(capacity)
    return max(2, 1 + math.ceil(math.log(hottest_kelvin / coldest_kelvin) / step))


@dataclass(frozen=True)
class MadeReference:
    """A reference with the trajectories behind it and the coldest frames of tempering, to judge its convergence by."""

    reference: Reference
    trajectories: list[Ensemble]
    tempering: Ensemble


def estimate_seconds(sequences: Sequence[str], plan: ReferencePlan, settings: TargetSettings) -> float:
    """Core seconds that references of these peptides will take, from a short trial of each."""
    total = 0.0
    for sequence in sequences:
        peptide = Peptide.from_sequence(sequence)
        target = make_target(peptide, settings)
        temperatures = np.full(plan.replicas, settings.temperature_kelvin)
        velocities = maxwell_velocities(peptide, temperatures, np.random.default_rng(0))
        state = PhaseState(np.repeat(peptide.start_nm[None], plan.replicas, axis=0), velocities)
        nothing = np.array([], dtype=np.int64)
        started = time.perf_counter()
        target.langevin(state, _TRIAL_STEPS, LangevinSettings(settings.temperature_kelvin), 0, 0, nothing)
        rate = _TRIAL_STEPS * plan.replicas / (time.perf_counter() - started)
        tempering = plan.tempering_evaluations(peptide.n_atoms, settings.temperature_kelvin)
        total += (tempering + plan.md_evaluations) / rate
    return total


def make_references(
    sequences: Sequence[str],
    plan: ReferencePlan,
    settings: TargetSettings,
    directory: Path,
    *,
    workers: int,
    watch_cells: Callable[[list[Path]], Progress],
    finish: Callable[[str, MadeReference], None],
) -> None:
    """Run what is missing in a run folder; `finish` is given each reference as soon as its own cells are done.

    Raises PlanError before anything runs where the plan is too short for one of the peptides. Peptides are taken up
    `workers` at a time, small ones first: those of one group take about as long as each
    other, and an interrupted night leaves finished references.
    """
    plan.check(sequences)
    ordered = sorted(sequences, key=len)
    for start in range(0, len(ordered), workers):
        group = ordered[start : start + workers]
        tempering = [tempering_cell(sequence, plan, settings) for sequence in group]
        run_cells(tempering, directory, workers, watch_cells)
        ready = [cell for cell in tempering if is_finished(directory, cell)]
        md = [_md_cell(cell.peptide, plan, settings, ensemble_path(directory, cell)) for cell in ready]
        waiting = list(zip(ready, md, strict=True))

        def look(waiting: list[tuple[Cell, Cell]] = waiting) -> None:
            for hot, cold in [pair for pair in waiting if is_finished(directory, pair[1])]:
                waiting.remove((hot, cold))
                finish(cold.peptide, _build(hot, cold, plan, directory))

        run_cells(md, directory, workers, watch_cells, look)
        look()


def run_cells(
    cells: list[Cell],
    directory: Path,
    workers: int,
    watch_cells: Callable[[list[Path]], Progress],
    look: Callable[[], None] = lambda: None,
) -> None:
    """Run what is missing of some cells in a run folder; look is called a few times a second."""
    folders = lay_out(cells, directory)
    with watch_cells(folders) as progress:

        def watch() -> None:
            progress()
            look()

        run_local(folders, directory, workers=workers, watch=watch)


def is_finished(directory: Path, cell: Cell) -> bool:
    """Whether the record of a cell is there."""
    return (directory / "cells" / cell.folder_name / "record.json").exists()


def tempering_cell(
    sequence: str, plan: ReferencePlan, settings: TargetSettings, frames: int = TEMPERING_FRAMES
) -> Cell:
    """The cell of a plan that tempers a peptide and keeps about so many of its coldest frames."""
    n_atoms, coldest = number_of_atoms(sequence), settings.temperature_kelvin
    options = {
        "ladders": plan.ladders,
        "levels": plan.levels_of(n_atoms, coldest),
        "hottest_kelvin": plan.hottest_kelvin,
        "discard": 0.25,
        "friction_per_ps": TEMPERING_FRICTION_PER_PS,
    }
    budget = plan.tempering_evaluations(n_atoms, coldest)
    return _cell(sequence, "parallel-tempering", options, budget, frames, plan, settings)


def _md_cell(sequence: str, plan: ReferencePlan, settings: TargetSettings, starts: Path) -> Cell:
    options = {
        "replicas": plan.replicas,
        "discard": 0.0,
        "starts": str(starts),
        "friction_per_ps": FRICTION_PER_PS,
    }
    return _cell(sequence, "md-replicas", options, plan.md_evaluations, plan.md_frames, plan, settings)


def _cell(
    sequence: str,
    method: str,
    options: Mapping[str, object],
    budget: int,
    frames: int,
    plan: ReferencePlan,
    settings: TargetSettings,
) -> Cell:
    # Chunks of some seconds: these cells are a thousand times longer than those of a benchmark.
    full = load_method(method).Settings.model_validate(
        {
            **options,
            "time_step_fs": TIME_STEP_FS,
            "hydrogen_mass_dalton": HYDROGEN_MASS_DALTON,
            "chunk_evaluations": 5_000_000,
        }
    )
    return Cell(
        suite="reference",
        peptide=sequence,
        row=method,
        method=method,
        settings=full.model_dump(mode="json"),
        budgets=(budget,),
        frames=frames,
        seed=plan.seed,
        target=settings,
    )


def ensemble_path(directory: Path, cell: Cell) -> Path:
    """Where the frames of a finished cell lie."""
    return directory / "cells" / cell.folder_name / "ensemble.npz"


def _build(hot: Cell, cold: Cell, plan: ReferencePlan, directory: Path) -> MadeReference:
    record = read_record(directory / "cells" / cold.folder_name)
    ensemble = record.load_ensemble(directory / "cells" / cold.folder_name)
    peptide = Peptide.from_sequence(cold.peptide)
    ensemble = rounded(ensemble, make_target(peptide, cold.target).energy)
    # Frames are stored time by time, all replicas of one time together.
    trajectories = [ensemble.select(slice(replica, None, plan.replicas)) for replica in range(plan.replicas)]
    reference = build_reference(
        peptide,
        trajectories,
        frame_interval_ps=FRAME_INTERVAL_PS,
        lag_frames=plan.lag_frames,
        n_frames=plan.n_frames,
        seed=plan.seed,
        temperature_kelvin=cold.target.temperature_kelvin,
        force_field=cold.target.force_field,
        # The starts are equilibrium frames already: reweighting would only add its noise.
        koopman_reweighting=False,
        source={
            "made_by": "parallel tempering, then plain MD from its coldest frames",
            "plan": asdict(plan),
            "target": record.target,
            "commit": code_commit(),
            "cells": {"tempering": hot.id, "md": cold.id},
            "total_evaluations": hot.budgets[-1] + cold.budgets[-1],
        },
    )
    tempered = read_record(directory / "cells" / hot.folder_name).load_ensemble(
        directory / "cells" / hot.folder_name
    )
    return MadeReference(reference, trajectories, tempered)
