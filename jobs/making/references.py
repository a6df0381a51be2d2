"""Own references: parallel tempering to find all basins, then plain MD from its frames, and dynamics with a flow.

Plain trajectories from one start stay in its basin for longer than anyone waits. Tempering crosses between basins;
its coldest frames are equilibrium starts, and trajectories from them are equilibrium samples with real time in them,
which TICA needs. Where a flow knows the peptide, the frames of the reference come from `md-flow`: replicas that begin
at frames of tempering, and that the flow takes between basins, each move accepted or rejected by Metropolis. Plain MD
is then the second way to the same distribution, and what it says of the reference is stored with it. All are ordinary
cells: a reference that is killed continues.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.special import erfcinv

from baselines.md_flow import round_cost
from jobs.cells.display import Progress
from jobs.cells.launch import run_local
from jobs.cells.plan import lay_out
from prosebench.energy.dynamics import maxwell_velocities
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.energy.target import LangevinSettings, PhaseState
from prosebench.ensemble import Ensemble, concatenate
from prosebench.flows.snis import FlowSettings
from prosebench.frames.features import n_tica_features, same_peptide_bonds
from prosebench.frames.tica import tica_fault
from prosebench.machine.build_info import code_commit
from prosebench.method import load_method
from prosebench.peptide import Peptide, number_of_atoms
from prosebench.record import Cell, read_record
from prosebench.reference import Reference, build_reference
from prosebench.reference.fixed_point import rounded

TIME_STEP_FS = 2.0
HYDROGEN_MASS_DALTON = 3.0
"""The mass of hydrogens in dalton. With it a step of 2 fs is as good as one of 1 fs with normal masses
(tests/statistical/test_heavy_hydrogens.py)."""
STEPS_PER_NS = round(1e6 / TIME_STEP_FS)
FRAME_INTERVAL_PS = 10.0
"""The time in ps between two frames that are kept, as in the published references."""
FRICTION_PER_PS = 0.3
"""The friction of plain MD in 1/ps, as in the published dynamics: the frames of a reference have real time
between them."""
TEMPERING_FRICTION_PER_PS = 2.0
"""The friction in 1/ps of tempering and of dynamics with a flow. Neither keeps real time, so that it may be
higher than the published one: replicas warm up sooner with it."""
EXCHANGE_ACCEPTANCE = 0.3
"""The share of accepted exchanges between neighbouring levels that `levels_for` aims at."""
TEMPERING_FRAMES = 4096
FLOW_STEPS = 1000
"""The number of steps of dynamics between two rounds of draws from the flow. States that the flow misses are
reached by dynamics alone."""
_FLOW_WARM_UP = 1 / 6
"""The share of the rounds with a flow that pass before the first frame is kept."""
_TRIAL_STEPS, _TRIAL_DRAWS = 200, 256


class PlanError(ValueError):
    """A plan from which no reference could be made; the message says which of its numbers to change."""


@dataclass(frozen=True)
class ReferencePlan:
    """How a reference is made. Times are per replica, at TIME_STEP_FS a step.

    ladders x levels replicas temper for tempering_ns (levels None: as many as the size of the peptide asks for);
    then `replicas` trajectories of md_ns each start from the coldest frames. TICA is fitted on them at lag_ns
    (published: 1 ns). From the coldest frames start flow_replicas, too, in flow_rounds rounds of FLOW_STEPS steps and
    flow_draws draws each, of the flow whose weights `flow` names. n_frames are drawn for the reference, of which one
    half is scored against and the other is spare: from the replicas with the flow or, where `flow` is empty or does not
    know the peptide, from plain MD.
    """

    ladders: int = 16
    levels: int | None = None
    hottest_kelvin: float = 600.0
    tempering_ns: float = 1.0
    replicas: int = 64
    md_ns: float = 1.6
    lag_ns: float = 1.0
    n_frames: int = 20_000
    seed: int = 0
    flow: str = "arbg-small"
    flow_replicas: int = 256
    flow_rounds: int = 96
    flow_draws: int = 3

    def has_flow(self, sequence: str) -> bool:
        """Whether a reference of a peptide is made with the flow: whether that knows it."""
        return (
            bool(self.flow)
            and _flow_settings(self.flow).reason_to_skip(Peptide.from_sequence(sequence)) is None
        )

    def frames_to_draw_from(self, sequence: str) -> int:
        """Frames that are kept of the replicas with the flow, or of plain MD."""
        if not self.has_flow(sequence):
            return self.md_frames
        return self.flow_replicas * (self.flow_rounds - int(_FLOW_WARM_UP * self.flow_rounds))

    @property
    def flow_evaluations(self) -> int:
        """Energy evaluations of the replicas with the flow, all together."""
        return self.flow_replicas * self.flow_rounds * round_cost(FLOW_STEPS, self.flow_draws)

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
        for sequence in sequences:
            there = self.frames_to_draw_from(sequence)
            if not 2 <= self.n_frames <= there:
                raise PlanError(
                    f"{sequence}: a reference of {self.n_frames:,} frames cannot be drawn from {there:,}: "
                    f"{self._where_frames_come_from(sequence)}. Ask for at least 2 frames and at most those with "
                    "--frames, or make more"
                )
            topology = Peptide.from_sequence(sequence).topology
            fault = tica_fault(lengths, self.lag_frames, n_tica_features(topology))
            if fault:
                raise PlanError(f"{sequence}: {fault} (--md-ns, --replicas, --lag-ns)")

    def _where_frames_come_from(self, sequence: str) -> str:
        if self.has_flow(sequence):
            return (
                f"{self.flow_replicas} replicas with {self.flow} keep a frame a round, after the first sixth of "
                f"{self.flow_rounds} (--flow-rounds)"
            )
        return (
            f"plain MD keeps a frame every {FRAME_INTERVAL_PS:g} ps, and runs {self.replicas} x {self.md_ns:g} ns "
            "(--md-ns, --replicas)"
        )


def _flow_settings(weights: str) -> FlowSettings:
    settings = load_method("arbg-snis").Settings.model_validate({"weights": weights})
    assert isinstance(settings, FlowSettings)
    return settings


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
    """A reference with the trajectories that its frames are of, and what other ways to the same distribution gave, by
    name, to judge its convergence by."""

    reference: Reference
    trajectories: list[Ensemble]
    others: dict[str, Ensemble]


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
        if plan.has_flow(sequence):
            flow = _flow_settings(plan.flow).load()
            started = time.perf_counter()
            flow.propose(peptide, _TRIAL_DRAWS, np.random.default_rng(0))
            of_a_draw = (time.perf_counter() - started) / _TRIAL_DRAWS
            rounds = plan.flow_replicas * plan.flow_rounds
            total += rounds * (FLOW_STEPS / rate + plan.flow_draws * of_a_draw)
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
        waiting = [_Making.of(cell, plan, settings, ensemble_path(directory, cell)) for cell in ready]

        def look(waiting: list[_Making] = waiting) -> None:
            for made in [one for one in waiting if all(is_finished(directory, cell) for cell in one.cells)]:
                waiting.remove(made)
                finish(made.hot.peptide, _build(made, plan, directory))

        run_cells([cell for one in waiting for cell in one.cells], directory, workers, watch_cells, look)
        look()


@dataclass(frozen=True)
class _Making:
    """The cells of one reference: tempering, plain MD, and dynamics with the flow where it knows the peptide."""

    hot: Cell
    plain: Cell
    with_flow: Cell | None

    @classmethod
    def of(cls, hot: Cell, plan: ReferencePlan, settings: TargetSettings, starts: Path) -> "_Making":
        plain = _md_cell(hot.peptide, plan, settings, starts)
        with_flow = _flow_cell(hot.peptide, plan, settings, starts) if plan.has_flow(hot.peptide) else None
        return cls(hot, plain, with_flow)

    @property
    def cells(self) -> list[Cell]:
        """The cells that start at frames of tempering."""
        return [self.plain, *([self.with_flow] if self.with_flow else [])]


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
    return (_folder(cell, directory) / "record.json").exists()


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


def _flow_cell(sequence: str, plan: ReferencePlan, settings: TargetSettings, starts: Path) -> Cell:
    options = {
        "replicas": plan.flow_replicas,
        "discard": _FLOW_WARM_UP,
        "starts": str(starts),
        "friction_per_ps": TEMPERING_FRICTION_PER_PS,
        "proposal": "arbg-snis",
        "proposal_settings": {"weights": plan.flow},
        "md_steps": FLOW_STEPS,
        "proposals": plan.flow_draws,
        "chunk_evaluations": plan.flow_replicas * FLOW_STEPS,
    }
    frames = plan.frames_to_draw_from(sequence)
    return _cell(sequence, "md-flow", options, plan.flow_evaluations, frames, plan, settings)


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
            "chunk_evaluations": 5_000_000,
            **options,
            "time_step_fs": TIME_STEP_FS,
            "hydrogen_mass_dalton": HYDROGEN_MASS_DALTON,
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
    """The path of the frames of a finished cell."""
    return _folder(cell, directory) / "ensemble.npz"


def _build(made: _Making, plan: ReferencePlan, directory: Path) -> MadeReference:
    plain = made.plain
    peptide = Peptide.from_sequence(plain.peptide)
    tempered = _ensemble(made.hot, directory)
    # Frames with a peptide bond that the hot levels have turned are left out: no other way to the
    # distribution has them.
    others = {
        "tempering": tempered.select(
            same_peptide_bonds(tempered.positions_nm, peptide.topology, peptide.start_nm)
        )
    }
    target = make_target(peptide, plain.target)
    trajectories = _replicas(rounded(_ensemble(plain, directory), target.energy), plan.replicas)
    sampled, ways = trajectories, "parallel tempering, then plain MD from its coldest frames"
    if made.with_flow is not None:
        others["plain-md"] = concatenate(trajectories)
        sampled = _replicas(rounded(_ensemble(made.with_flow, directory), target.energy), plan.flow_replicas)
        ways += f"; frames of md-flow from them, with {plan.flow}"
    reference = build_reference(
        peptide,
        trajectories,
        sampled=sampled,
        frame_interval_ps=FRAME_INTERVAL_PS,
        lag_frames=plan.lag_frames,
        n_frames=plan.n_frames,
        seed=plan.seed,
        temperature_kelvin=plain.target.temperature_kelvin,
        force_field=plain.target.force_field,
        # The starts are equilibrium frames already: reweighting would only add its noise.
        koopman_reweighting=False,
        source={
            "made_by": ways,
            "plan": asdict(plan),
            "target": read_record(_folder(plain, directory)).target,
            "commit": code_commit(),
            "cells": {cell.method: cell.id for cell in (made.hot, *made.cells)},
            "total_evaluations": sum(cell.budgets[-1] for cell in (made.hot, *made.cells)),
        },
    )
    return MadeReference(reference, sampled, others)


def _folder(cell: Cell, directory: Path) -> Path:
    return directory / "cells" / cell.folder_name


def _ensemble(cell: Cell, directory: Path) -> Ensemble:
    return read_record(_folder(cell, directory)).load_ensemble(_folder(cell, directory))


def _replicas(ensemble: Ensemble, replicas: int) -> list[Ensemble]:
    """Frames of each replica: they are stored time by time, all replicas of one time together."""
    return [ensemble.select(slice(replica, None, replicas)) for replica in range(replicas)]
