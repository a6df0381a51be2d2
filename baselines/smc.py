"""Sequential Monte Carlo: particles drawn from a proposal are annealed to the target along a linear path.

A step raises the time t, reweights by what that changes of the density, resamples, and moves every particle by Langevin
dynamics (Del Moral, Doucet and Jasra, J. R. Stat. Soc. B 2006, 68, 411). `smc-ula` takes moves as they are, `smc-mala`
accepts or rejects them.

Cost: one evaluation a particle at the start and one a move, since the energy and gradient of a place serve its move,
its acceptance and its weight. So particles = budget // (1 + steps * moves), and what is left over stays unspent. What a
proposal spends on being prepared comes out of the budget first.

log Z, the log of the integral of exp(-E), is in the record as "log-z", a number a step, the last of them at t = 1. Its
exp is unbiased where moves leave the path invariant (MALA of a fixed step), and nearly so with short ULA moves. Where
the start is cut, by energy or by weight, what would have become of the draws left out is missing: the exp of
"log-z-at-least" is at most Z, on average. Draws that came without a density (their share is "without-density") are dead
from the start: a part of the proposal that gives no weight, and no cut. There is neither estimate where a schedule ends
before t = 1 (the record then has "no-log-z-before-t-1"), nor where the target knows no place and is given none
("no-log-z-without-centre").
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from baselines.annealing import (
    BLOCK,
    Points,
    State,
    blocks,
    evaluated,
    joined,
    langevin_move,
    next_time,
    nothing_left,
    reweighted,
    stream,
)
from baselines.resampling import Scheme, resample
from prosebench.ensemble import Ensemble
from prosebench.frames.geometry import fix_chirality, remove_center
from prosebench.frames.importance import ess, filter_top
from prosebench.method import Carry, Chunk, Method, MethodSettings, Run
from prosebench.proposal import (
    Draws,
    PreparedProposal,
    Proposal,
    ProposalMethod,
    load_proposal,
    proposal_settings,
)

MAX_CHUNKS = 20
"""The largest number of chunks of a run. Each stores all particles with two gradients: 22 MB for 10,000
particles of 60 atoms."""

PROPOSAL = "proposal."
"""The prefix of the names of arrays that the proposal hands from chunk to chunk."""

_DRAW, _RESAMPLE, _MOVE = 1, 2, 3
"""The numbers of the purposes for which random numbers are drawn. Each purpose has random streams of its own."""


class SMCSettings(MethodSettings):
    """What both kinds of SMC share.

    proposal: a method with samples, log-density and gradient (see prosebench.proposal). particles: None takes as many
    as the budget has. Times are evenly spaced from 1/steps to 1, or from 0 to 1 - 1/steps with published_schedule, or,
    with adaptive_ess, each as far from the last as leaves this share of the particles effective; steps that are left at
    t = 1 are moves there, and the last one goes there from wherever it is. A move has length h = epsilon / steps, in
    squares of length_unit_nm; None is the unit that the proposal is normalised by, as published. Particles are
    resampled when their effective share is below ess_threshold (1: at every step), and whenever one of them is dead. Of
    the draws, those live that have an energy below start_below_kt, but for the start_filter of them with the highest
    weights.
    """

    proposal: str = "prose-snis"
    proposal_settings: dict[str, Any] = {}
    particles: int | None = Field(None, gt=1)
    steps: int = Field(100, gt=0)
    moves: int = Field(1, gt=0)
    epsilon: float = Field(1e-5, gt=0)
    length_unit_nm: float | None = Field(None, gt=0)
    published_schedule: bool = False
    adaptive_ess: float | None = Field(None, gt=0, lt=1)
    resampling: Scheme = "systematic"
    ess_threshold: float = Field(1.0, ge=0, le=1)
    start_below_kt: float = 100.0
    start_filter: float = Field(0.002, ge=0, lt=1)
    chunk_evaluations: int = Field(5000, gt=0)

    @model_validator(mode="after")
    def _check(self) -> "SMCSettings":
        if self.published_schedule and self.adaptive_ess is not None:
            raise ValueError("published_schedule fixes the times that adaptive_ess is to find; leave one out")
        completed = proposal_settings(self.proposal, self.proposal_settings)
        object.__setattr__(self, "proposal_settings", completed)
        return self


class SMC(Method):
    """Annealing from a proposal to the target; the frames are the particles at the end."""

    settings: SMCSettings
    # The budget decides the number of particles.
    prefixes = False
    _metropolis: ClassVar[bool]

    def skip(self, run: Run) -> str | None:
        """No proposal for the peptide, or a budget too small for two particles."""
        least, cost, prepared = self.settings.particles or 2, self._cost, self.preparation(run)
        if run.budgets[-1] - prepared < least * cost:
            before = f", {prepared} of it for the proposal," if prepared else ""
            return f"a budget of {run.budgets[-1]}{before} is less than {least} particles times {cost} evaluations"
        return self._source.skip(run)

    def preparation(self, run: Run) -> int:
        """The preparation of the proposal."""
        source = self._source
        return source.preparation(run) if isinstance(source, PreparedProposal) else 0

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """What prepares the proposal, draws until all particles are there, steps. The carry holds what the proposal
        needs, the particles, and how far they are."""
        source = self._source
        theirs = {name.removeprefix(PROPOSAL): carry[name] for name in carry if name.startswith(PROPOSAL)}
        mine = {name: carry[name] for name in carry if not name.startswith(PROPOSAL)}
        if isinstance(source, PreparedProposal) and not source.prepared(theirs):
            chunk = source.prepare(run, index, theirs)
            theirs = chunk.carry
        else:
            chunk = self._chunk(run, source.proposal(run, theirs), mine)
            mine = chunk.carry
        return replace(chunk, carry=mine | {PROPOSAL + name: array for name, array in theirs.items()})

    def _chunk(self, run: Run, proposal: Proposal, carry: Carry) -> Chunk:
        evaluations = max(self.settings.chunk_evaluations, run.budgets[-1] // MAX_CHUNKS)
        if "scalars" not in carry:
            return self._draw(run, proposal, carry, evaluations)
        state, trace = State.of(carry), list[dict[str, float]]()
        while (
            state.step < self.settings.steps
            and len(trace) * len(state.points) * self.settings.moves < evaluations
        ):
            state, numbers = self._step(run, proposal, state)
            trace.append(numbers)
        diagnostics: dict[str, Any] = {name: [line[name] for line in trace] for name in trace[0]}
        if state.step < self.settings.steps:
            return Chunk(None, state.carry(), diagnostics=diagnostics)
        ensemble, shares = result(run, proposal, state)
        return Chunk(ensemble, {}, done=True, diagnostics=diagnostics | shares)

    @cached_property
    def _source(self) -> ProposalMethod:
        return load_proposal(self.settings.proposal, self.settings.proposal_settings)

    @property
    def _cost(self) -> int:
        """The number of evaluations that one particle costs."""
        return 1 + self.settings.steps * self.settings.moves

    def _draw(self, run: Run, proposal: Proposal, carry: Carry, evaluations: int) -> Chunk:
        """More draws, in whole blocks; once all are there, the state at t = 0."""
        left = run.budgets[-1] - run.meter.ledger.preparation.evaluations
        n = self.settings.particles or left // self._cost
        there = len(carry.get("log_q", ()))
        wanted = blocks(n, there)[: max(1, evaluations // BLOCK)]

        def draw(block: slice) -> Draws:
            return proposal.draw(block.stop - block.start, stream(run, _DRAW, 0, block.start))

        draws = run.ranks.map(draw, wanted)
        points, has_density = points_of(run, proposal, draws)
        diagnostics = {
            name: float(np.mean([drawn.diagnostics[name] for drawn in draws]))
            for name in draws[0].diagnostics
        }
        diagnostics["density-gap"] = density_gap(draws, points)
        diagnostics["without-density"] = 1.0 - float(has_density.mean())
        if there:
            points = joined([Points(**carry), points])
        if len(points) < n:
            return Chunk(None, points.arrays(), diagnostics=diagnostics)
        state = self._start(run, proposal, points)
        diagnostics["start-used"] = float(np.isfinite(state.log_weights).mean())
        missing = self._no_log_z(proposal, points)
        if missing:
            state = replace(state, log_z=math.nan)
            diagnostics[missing] = 1.0
        return Chunk(None, state.carry(), diagnostics=diagnostics)

    def _no_log_z(self, proposal: Proposal, points: Points) -> str | None:
        """Why there can be no estimate of log Z, as the name of a diagnostic, or None."""
        if self.settings.published_schedule:
            return "no-log-z-before-t-1"
        if proposal.placement is None and not points.knows_place():
            return "no-log-z-without-centre"
        return None

    def _start(self, run: Run, proposal: Proposal, points: Points) -> State:
        """The draws that live, with equal weights; their share of all that was drawn is the first part of log
        Z."""
        settings = self.settings
        usable = np.flatnonzero(points.alive & (points.energies_kt < settings.start_below_kt))
        kept = usable[filter_top(points.log_ratio[usable], settings.start_filter)]
        if len(kept) == 0:
            raise FloatingPointError(
                f"none of {len(points)} draws of {settings.proposal} for {run.peptide.sequence} has a density and an "
                f"energy below start_below_kt = {settings.start_below_kt:g}; raise it, or take a better proposal"
            )
        unit_nm = settings.length_unit_nm or proposal.length_unit_nm
        log_weights = np.full(len(points), -np.inf)
        log_weights[kept] = -math.log(len(kept))
        return State(
            points,
            log_weights,
            origins=np.arange(len(points)),
            step=0,
            t=0.0,
            log_z=math.log(len(kept) / len(points)),
            step_nm2=settings.epsilon / settings.steps * unit_nm**2,
            start_is_cut=len(kept) < points.alive.sum(),
        )

    def _step(self, run: Run, proposal: Proposal, state: State) -> tuple[State, dict[str, float]]:
        """Reweight, resample, move; the state after it, and what was seen."""
        settings, points = self.settings, state.points
        n, step = len(points), state.step + 1
        t = self._time(state)
        log_weights, growth = reweighted(state.log_weights, points.log_ratio, t - state.t)
        efficiency, origins = ess(log_weights), state.origins
        every = settings.ess_threshold == 1.0
        if every or efficiency < settings.ess_threshold or not np.isfinite(log_weights).all():
            chosen = resample(log_weights, n, settings.resampling, stream(run, _RESAMPLE, step, 0))
            points, origins = points.select(chosen), origins[chosen]
            log_weights = np.full(n, -math.log(n))
        moved = 0
        for move in range(settings.moves):
            normals, uniforms = _noise(run, step, move, points)
            points, accepted = langevin_move(
                points,
                t,
                state.step_nm2,
                partial(evaluated, run, proposal),
                normals,
                uniforms if self._metropolis else None,
            )
            moved += int(accepted.sum())
        log_z, acceptance = state.log_z + growth, moved / (n * settings.moves)
        numbers = {
            "t": t,
            "ess": efficiency,
            "step-nm2": state.step_nm2,
            "ancestors": len(np.unique(origins)) / n,
        }
        if math.isfinite(log_z):
            numbers["log-z-at-least" if state.start_is_cut else "log-z"] = log_z
        if self._metropolis:
            numbers["acceptance"] = acceptance
        step_nm2 = self._adapted(state.step_nm2, acceptance)
        return State(points, log_weights, origins, step, t, log_z, step_nm2, state.start_is_cut), numbers

    def _time(self, state: State) -> float:
        """The time of the next step."""
        settings = self.settings
        if settings.published_schedule:
            return state.step / settings.steps
        last = state.step + 1 == settings.steps
        if settings.adaptive_ess is not None and not last:
            return next_time(state.log_weights, state.points.log_ratio, state.t, settings.adaptive_ess)
        return (state.step + 1) / settings.steps

    def _adapted(self, step_nm2: float, acceptance: float) -> float:
        """The length of the next step's moves."""
        return step_nm2


_CONTRACT: dict[str, Any] = {
    "proposal": "gaussian",
    "proposal_settings": {"std_nm": 0.043},
    "steps": 10,
    "start_filter": 0.0,
    "chunk_evaluations": 100,
}


class SMCULA(SMC):
    """SMC with unadjusted Langevin moves: right up to an error that shrinks with epsilon."""

    class Settings(SMCSettings):
        """See SMCSettings. Published: 10,000 particles, 100 steps, epsilon 1e-5."""

    contract_settings = _CONTRACT | {"epsilon": 4e-3}
    _metropolis = False


class SMCMALA(SMC):
    """SMC with Metropolis-adjusted Langevin moves, whose length follows the acceptance."""

    class Settings(SMCSettings):
        """See SMCSettings. Moves grow by the factor `adapt` above an acceptance of `longer_above`, and shrink by it
        below `shorter_below`. Published: 10,000 particles, 50 steps, epsilon 5e-4, at two evaluations a move."""

        steps: int = Field(50, gt=0)
        epsilon: float = Field(5e-4, gt=0)
        adapt: float = Field(1.1, ge=1)
        longer_above: float = Field(0.6, ge=0, le=1)
        shorter_below: float = Field(0.55, ge=0, le=1)

        @model_validator(mode="after")
        def _ordered(self) -> "SMCMALA.Settings":
            if self.shorter_below > self.longer_above:
                raise ValueError(
                    f"shorter_below = {self.shorter_below:g} must be at most longer_above = {self.longer_above:g}: "
                    "moves of an acceptance between them would be both"
                )
            return self

    settings: Settings
    contract_settings = _CONTRACT | {"epsilon": 0.02}
    _metropolis = True

    def _adapted(self, step_nm2: float, acceptance: float) -> float:
        if acceptance > self.settings.longer_above:
            return step_nm2 * self.settings.adapt
        if acceptance < self.settings.shorter_below:
            return step_nm2 / self.settings.adapt
        return step_nm2


def points_of(run: Run, proposal: Proposal, draws: Sequence[Draws]) -> tuple[Points, NDArray[np.bool_]]:
    """Points of all draws, dead where they came without a density, and where (n,) they came with one; see `Draws`."""
    has_density = np.isfinite(np.concatenate([drawn.log_density for drawn in draws]))
    points = evaluated(run, proposal, np.concatenate([drawn.frames_nm for drawn in draws]))
    return points.alive_only(has_density), has_density


def density_gap(draws: Sequence[Draws], points: Points) -> float:
    """Largest difference between the log-density that came with a draw and that of the point made of it, in nats."""
    drawn = np.concatenate([draw.log_density for draw in draws])
    both = np.isfinite(drawn) & points.alive
    return float(np.abs(drawn - points.log_q)[both].max(initial=0.0))


def result(run: Run, proposal: Proposal, state: State) -> tuple[Ensemble, dict[str, float]]:
    """The particles as an ensemble, without weights where all are equal, and the shares of mirrored ones.

    Where the target knows neither centre nor handedness, frames are centred and, with a wrong chirality centre,
    mirrored: only now, since the proposal's density knows both. Raises FloatingPointError where no particle is alive.
    """
    if not state.points.alive.any():
        raise nothing_left(len(state.points))
    frames: NDArray[np.float32] = state.points.positions_nm
    shares: dict[str, float] = {}
    if proposal.placement is not None:
        frames, mirrored, wrong = fix_chirality(
            remove_center(frames), run.peptide.topology, run.peptide.start_nm
        )
        shares = {"mirrored": float(mirrored.mean()), "chirality-wrong": float(wrong.mean())}
    log_weights = np.where(state.points.alive, state.log_weights, -np.inf)
    equal = bool((log_weights == log_weights[0]).all())
    spent = np.full(len(frames), run.meter.spent)
    return Ensemble(frames, state.points.energies_kt, None if equal else log_weights, spent), shares


def _noise(run: Run, step: int, move: int, points: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normals (n, atoms, 3) and uniforms (n,) of a move; a block's depend on the cell, the move and the block alone."""
    normals, uniforms = np.empty(points.positions_nm.shape), np.empty(len(points))
    for block in blocks(len(points)):
        rng = stream(run, _MOVE + move, step, block.start)
        normals[block] = rng.standard_normal(normals[block].shape)
        uniforms[block] = rng.random(len(uniforms[block]))
    return normals, uniforms
