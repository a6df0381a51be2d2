"""Self-normalised importance sampling from any flow: proposals of exact density, weighted by the target.

One proposal is one energy evaluation. Small budgets are prefixes of large ones. All proposals are kept with their
log-weights; the filter and the resampling of the published protocol are part of scoring.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from prosebench.ensemble import Ensemble
from prosebench.flows.diagnostics import (
    MirroredFrames,
    extend_tail,
    proposal_shares,
    tail_ess,
)
from prosebench.flows.flow import Flow, Proposals
from prosebench.flows.proposal import FlowProposal, SmoothFlow
from prosebench.flows.weights.files import HUB_REVISION, check_content, content_sha256
from prosebench.frames.importance import pareto_k
from prosebench.method import Carry, Chunk, Method, MethodSettings, Run
from prosebench.peptide import Peptide

LogWeights = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""A function from energies (n,) in kT to log-weights (n,)."""


class FlowSettings(MethodSettings):
    """Which flow a method draws from, and how. A subclass says of what kind it is, and gives weights a default.

    weights is a bundled model, a published one, or the path of a file; size says what a published file holds where
    its name does not. weights_sha256 makes their content part of what identifies a cell: it is filled in here for
    files on this machine, and for published weights, which come from a revision of the hub, when a run is planned.
    extrapolate admits peptides longer than the flow was made for. batch decides rounding, so it is a setting and not
    left to the free memory; networks of Prose take at least as many frames as fill a GPU where they draw on one.
    """

    kind: ClassVar[type[Flow[Any]]]

    weights: str
    weights_sha256: str = ""
    size: str = ""
    revision: str = HUB_REVISION
    extrapolate: bool = False
    batch: int = Field(256, gt=0)

    @model_validator(mode="after")
    def _hash_weights(self) -> "FlowSettings":
        if self.weights in self.kind.weight_format.published:
            return self
        found = content_sha256(self.weights, self.kind.weights_file(self.weights), self.weights_sha256)
        object.__setattr__(self, "weights_sha256", found)
        return self

    def load(self) -> Flow[Any]:
        """The flow, from memory where this process has it already. Raises WeightsError."""
        return _load(
            self.kind, self.weights, self.weights_sha256, self.size, self.revision, *self.loading().items()
        )

    def loading(self) -> dict[str, Any]:
        """Further arguments of `from_pretrained`."""
        return {}

    def reason_to_skip(self, peptide: Peptide) -> str | None:
        """Why the flow does not know a peptide, or None."""
        unknown = self.load().unknown(peptide, any_length=self.extrapolate)
        return unknown and f"{self.weights} {unknown}"


class FlowSNIS(Method):
    """Proposals of a flow with importance weights. A subclass names the kind of flow in its Settings."""

    class Settings(FlowSettings):
        """See FlowSettings; chunk_proposals share a random stream, and are drawn and stored together. On a GPU several
        streams are."""

        chunk_proposals: int = Field(1000, gt=0)

    settings: Settings
    independent = True

    def skip(self, run: Run) -> str | None:
        """Skip a peptide that the flow was not made for."""
        return self.settings.reason_to_skip(run.peptide)

    def frame_log_weights(
        self, peptide: Peptide, frames: Ensemble, temperature_kelvin: float
    ) -> NDArray[np.float64] | None:
        """Log-weights (n,) that given frames would have as proposals, on the scale of those of `chunk`.

        The flow is no function of centre and orientation: frames get those of its own densities, and labels of the
        handedness that it knows. temperature_kelvin is that of the target. None where a method weights its proposals
        in another way.
        """
        flow, rng, kelvin = self.settings.load(), np.random.default_rng(0), self.draws_at(temperature_kelvin)
        log_q = flow.log_q_of(peptide, frames.positions_nm, rng, kelvin, batch=self.settings.batch)
        return np.asarray(-frames.energies_kt - log_q, dtype=np.float64)

    def marks(self, run: Run) -> NDArray[np.int64]:
        """See Method.marks: one proposal is one evaluation."""
        return np.arange(1, run.budgets[-1] + 1)

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """The next proposals, their energies and weights; the carry holds what the diagnostics so far need."""
        return weighted_proposals(
            self.settings.load(),
            run,
            index,
            carry,
            stream_proposals=self.settings.chunk_proposals,
            most=run.meter.remaining,
            temperature_kelvin=self.draws_at(run.meter.temperature_kelvin),
            batch=self.settings.batch,
            weightings=self.weightings,
        )

    def draws_at(self, target_kelvin: float) -> float:
        """Temperature for which the flow draws, for a target at a temperature."""
        return target_kelvin

    def weightings(self, proposals: Any) -> Mapping[str, LogWeights]:
        """How proposals are weighted; see `weighted_chunk`."""
        return ess_alone(proposals)


class SmoothFlowSNIS(FlowSNIS):
    """The same of a flow whose log-density has a gradient: other methods can anneal from it."""

    def proposal(self, run: Run, carry: Carry) -> FlowProposal:
        """The flow as a start for annealing; see prosebench.proposal."""
        flow = cast(SmoothFlow[Any], self.settings.load())
        kelvin = self.draws_at(run.meter.temperature_kelvin)
        return FlowProposal(flow, run.peptide, kelvin, self.settings.batch)


def ess_alone(proposals: Proposals) -> Mapping[str, LogWeights]:
    """A single way of weighting proposals; its ESS is called ess."""
    return {"ess": proposals.log_weights}


def weighted_proposals(
    flow: Flow[Any],
    run: Run,
    index: int,
    carry: Carry,
    *,
    stream_proposals: int,
    most: int,
    temperature_kelvin: float,
    batch: int,
    weightings: Callable[[Any], Mapping[str, LogWeights]] = ess_alone,
) -> Chunk:
    """A chunk of at most so many proposals of a flow with energies and weights; its carry is what the next one's
    diagnostics need, and, where a chunk takes several random streams, the next one's first stream.

    weightings says of proposals how they are weighted; see `weighted_chunk`.
    """
    streams = flow.streams(index, carry, stream_proposals, most)
    proposals = flow.propose(
        run.peptide,
        streams.n,
        streams.generator(run.rng),
        temperature_kelvin=temperature_kelvin,
        batch=batch,
        ranks=run.ranks,
    )
    chunk = weighted_chunk(run, carry, proposals, weightings(proposals))
    return replace(chunk, carry={**chunk.carry, **streams.carry})


def weighted_chunk(
    run: Run,
    carry: Carry,
    proposals: MirroredFrames,
    weightings: Mapping[str, LogWeights],
    numbers: Mapping[str, float] | None = None,
) -> Chunk:
    """A chunk of proposals with their energies and weights; its carry is what the next one's diagnostics need.

    weightings say how proposals are weighted, by the name that the ESS so far has among the diagnostics; the first one
    gives the log-weights of the ensemble, and k-hat. numbers are further diagnostics. What is not finite is left out.
    """
    first = run.meter.spent
    energies = run.meter.energy(proposals.frames_nm)
    spent = first + np.arange(1, len(energies) + 1)
    log_weights = {name: weigh(energies) for name, weigh in weightings.items()}
    tails = {
        name: extend_tail(carry.get(name), values, run.budgets[-1]) for name, values in log_weights.items()
    }
    chosen, so_far = next(iter(weightings)), int(spent[-1])
    diagnostics = {
        **proposal_shares(proposals, energies),
        **{name: tail_ess(tail, so_far) for name, tail in tails.items()},
        "k-hat": pareto_k(tails[chosen][2:], so_far),
        **(numbers or {}),
    }
    ensemble = Ensemble(proposals.frames_nm, energies, log_weights[chosen], spent)
    finite = {name: value for name, value in diagnostics.items() if math.isfinite(value)}
    return Chunk(ensemble, tails, diagnostics=finite)


@lru_cache(maxsize=1)
def _load(
    kind: type[Flow[Any]], weights: str, sha256: str, size: str, revision: str, *more: tuple[str, Any]
) -> Flow[Any]:
    flow = kind.from_pretrained(weights, size=size or None, revision=revision, **dict(more))
    check_content(weights, flow.source["sha256"], sha256)
    return flow
