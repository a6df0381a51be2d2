"""How good a flow is on a peptide whose reference is at hand: how far its density is from the Boltzmann one, and its
draws."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from prosebench.energy.settings import TargetSettings, make_target
from prosebench.flows.diagnostics import clashing
from prosebench.flows.flow import Flow
from prosebench.frames.importance import ess, filter_top, pareto_k
from prosebench.reference import Reference
from prosebench.training.dispersion import spread


@dataclass(frozen=True)
class FlowQuality:
    """Numbers of a flow on one peptide.

    spread: Var(log q + U) an atom over reference frames, in nats^2. Of proposals: ess, ess_filtered (Kish, as shares of
    all proposals, and after the published filter), k_hat, unseen (share of reference frames whose weight is above that
    of every proposal), clashing (share), above_kt (median energy above that of the reference), milliseconds of one core
    each.
    """

    sequence: str
    atoms: int
    spread: float
    ess: float
    ess_filtered: float
    k_hat: float
    unseen: float
    clashing: float
    above_kt: float
    milliseconds: float


def flow_quality(
    flow: Flow[Any], reference: Reference, *, frames: int, proposals: int, seed: int = 0
) -> FlowQuality:
    """Measure a flow on the first `frames` scored frames of a reference, and on so many proposals."""
    peptide, rng = reference.peptide, np.random.default_rng(seed)
    scored = reference.scored.select(slice(0, frames))
    energies = make_target(peptide, TargetSettings()).energy(scored.positions_nm)
    log_q = flow.log_q_of(peptide, scored.positions_nm, rng)
    started = time.process_time()
    drawn = flow.sample(peptide, proposals, seed=seed)
    seconds = time.process_time() - started
    assert drawn.log_weights is not None
    log_weights = drawn.log_weights
    return FlowQuality(
        peptide.sequence,
        peptide.n_atoms,
        spread(log_q, energies, peptide.n_atoms),
        ess(log_weights),
        ess(log_weights[filter_top(log_weights)]),
        pareto_k(log_weights),
        float((-energies - log_q > log_weights.max()).mean()),
        float(clashing(drawn.positions_nm).mean()),
        float(np.median(drawn.energies_kt) - np.median(energies)),
        1000.0 * seconds / proposals,
    )
