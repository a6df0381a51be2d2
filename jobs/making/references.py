"""Own references: parallel tempering to find all basins, then plain MD from its frames, and dynamics with a flow.

Plain trajectories from one start stay in its basin for longer than anyone waits. Tempering crosses between basins;
its coldest frames are equilibrium starts, and trajectories from them are equilibrium samples with real time in them,
which TICA needs. Where a flow knows the peptide, the frames of the reference come from `md-flow`: replicas that begin
at frames of tempering, and that the flow takes between basins, each move accepted or rejected by Metropolis. Plain MD
is then the second way to the same distribution, and what it says of the reference is stored with it. All are ordinary
cells: a reference that is killed continues.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jobs.cells.display import Progress
from jobs.cells.launch import run_local
from jobs.cells.plan import lay_out
from jobs.making.reference_plan import (
    FLOW_STEPS,
    FLOW_WARM_UP,
    FRAME_INTERVAL_PS,
    TIME_STEP_FS,
    ReferencePlan,
)
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble, concatenate
from prosebench.frames.features import same_peptide_bonds
from prosebench.machine.build_info import code_commit
from prosebench.method import load_method
from prosebench.peptide import Peptide, number_of_atoms
from prosebench.record import Cell, read_record
from prosebench.reference import Reference, build_reference
from prosebench.reference.fixed_point import rounded

HYDROGEN_MASS_DALTON = 3.0
"""The mass of hydrogens in dalton. With it a step of 2 fs is as good as one of 1 fs with normal masses
(tests/statistical/test_heavy_hydrogens.py)."""
FRICTION_PER_PS = 0.3
"""The friction of plain MD in 1/ps, as in the published dynamics: the frames of a reference have real time
between them."""
TEMPERING_FRICTION_PER_PS = 2.0
"""The friction in 1/ps of tempering and of dynamics with a flow. Neither keeps real time, so that it may be
higher than the published one: replicas warm up sooner with it."""
TEMPERING_FRAMES = 4096
"""The number of frames of the coldest level that tempering keeps for a reference."""


@dataclass(frozen=True)
class MadeReference:
    """A reference with the trajectories that its frames are of, and what other ways to the same distribution gave, by
    name, to judge its convergence by."""

    reference: Reference
    trajectories: list[Ensemble]
    others: dict[str, Ensemble]


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
        "discard": FLOW_WARM_UP,
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
