"""How an own reference is made: the plan, what it costs, and whether a reference can come of it.

`jobs.making.references` says why it is done in these steps, and does them.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import erfcinv

from baselines.md_flow import round_cost
from prosebench.energy.dynamics import maxwell_velocities
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.energy.target import LangevinSettings, PhaseState, Stretch
from prosebench.flows.snis import FlowSettings
from prosebench.frames.features import n_tica_features
from prosebench.frames.tica import tica_fault
from prosebench.method import load_method
from prosebench.peptide import Peptide

TIME_STEP_FS = 2.0
STEPS_PER_NS = round(1e6 / TIME_STEP_FS)
FRAME_INTERVAL_PS = 10.0
"""The time in ps between two frames that are kept of plain MD, as in the published references."""
EXCHANGE_ACCEPTANCE = 0.3
"""The share of accepted exchanges between neighbouring levels that `levels_for` aims at."""
FLOW_STEPS = 1000
"""The number of steps of dynamics between two rounds of draws from the flow. States that the flow misses are
reached by dynamics alone."""
FLOW_WARM_UP = 1 / 6
"""The share of the rounds with a flow that pass before the first frame is kept."""
_TRIAL_STEPS, _TRIAL_DRAWS = 200, 256
"""Length of the trials that `estimate_seconds` times: a second or two for each peptide."""


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
            and flow_settings(self.flow).reason_to_skip(Peptide.from_sequence(sequence)) is None
        )

    def frames_to_draw_from(self, sequence: str) -> int:
        """Frames that are kept of the replicas with the flow, or of plain MD."""
        if not self.has_flow(sequence):
            return self.md_frames
        return self.flow_replicas * (self.flow_rounds - int(FLOW_WARM_UP * self.flow_rounds))

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


def flow_settings(weights: str) -> FlowSettings:
    """Settings of the row that draws from a flow with these weights."""
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


def estimate_seconds(sequences: Sequence[str], plan: ReferencePlan, settings: TargetSettings) -> float:
    """Core seconds that references of these peptides will take, from a short trial of each."""
    total = 0.0
    for sequence in sequences:
        peptide = Peptide.from_sequence(sequence)
        target = make_target(peptide, settings)
        temperatures = np.full(plan.replicas, settings.temperature_kelvin)
        velocities = maxwell_velocities(peptide, temperatures, np.random.default_rng(0))
        state = PhaseState(np.repeat(peptide.start_nm[None], plan.replicas, axis=0), velocities)
        started = time.perf_counter()
        target.langevin(state, Stretch(_TRIAL_STEPS, LangevinSettings(settings.temperature_kelvin), 0))
        rate = _TRIAL_STEPS * plan.replicas / (time.perf_counter() - started)
        tempering = plan.tempering_evaluations(peptide.n_atoms, settings.temperature_kelvin)
        total += (tempering + plan.md_evaluations) / rate
        if plan.has_flow(sequence):
            flow = flow_settings(plan.flow).load()
            started = time.perf_counter()
            flow.propose(peptide, _TRIAL_DRAWS, np.random.default_rng(0))
            of_a_draw = (time.perf_counter() - started) / _TRIAL_DRAWS
            rounds = plan.flow_replicas * plan.flow_rounds
            total += rounds * (FLOW_STEPS / rate + plan.flow_draws * of_a_draw)
    return total
