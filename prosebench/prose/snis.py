"""Prose with self-normalised importance sampling: exact-density proposals of the flow, weighted by the target.

One proposal is one energy evaluation. Small budgets are prefixes of large ones. All proposals are kept with their
log-weights; the filter and the resampling of the published protocol are part of scoring.
"""

from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from pydantic import Field, model_validator

from prosebench.ensemble import Ensemble
from prosebench.flows.diagnostics import ess_so_far, extend_tail, proposal_shares
from prosebench.flows.weight_files import check_content, content_sha256
from prosebench.method import Carry, Chunk, Method, MethodSettings, Run
from prosebench.peptide import Peptide
from prosebench.prose.flow import TRAINING_TEMPERATURE_KELVIN, CentreDensity, Prose
from prosebench.prose.proposal import FlowProposal
from prosebench.prose.weights import HUB_REVISION, PUBLISHED, weights_file

CONTRACT_SPREAD_NM = 0.9 * 0.35
"""Of the wells on which flows are checked: nine tenths of the median width of what "breathing" proposes."""


class LatentSettings(MethodSettings):
    """temperature "scaled" draws the latent from N(0, T / 310 K), "naive" as at 310 K."""

    temperature: Literal["scaled", "naive"] = "scaled"

    def latent_kelvin(self, target_kelvin: float) -> float:
        """Temperature at which the latent is drawn for a target."""
        return target_kelvin if self.temperature == "scaled" else TRAINING_TEMPERATURE_KELVIN


class FlowSettings(LatentSettings):
    """Which flow a method draws from, and how; see LatentSettings for temperatures.

    weights is a bundled model, a published one, or the path of a file; size says what a published file holds where
    its name does not. weights_sha256 makes their content part of what identifies a cell: it is filled in here for
    files on this machine, and for published weights, which come from a revision of the hub, when a run is planned. com
    is the density of the centre that is taken out of the flow's. extrapolate admits peptides longer than the flow was
    made for. batch decides rounding, so it is a setting and not left to the free memory.
    """

    weights: str = "prose-mini"
    weights_sha256: str = ""
    size: str = ""
    revision: str = HUB_REVISION
    com: CentreDensity = "gaussian"
    extrapolate: bool = False
    batch: int = Field(256, gt=0)

    @model_validator(mode="after")
    def _hash_weights(self) -> "FlowSettings":
        if self.weights in PUBLISHED:
            return self
        found = content_sha256(self.weights, weights_file(self.weights), self.weights_sha256)
        object.__setattr__(self, "weights_sha256", found)
        return self

    def load(self) -> Prose:
        """The flow, from memory where this process has it already. Raises WeightsError."""
        return _load(self.weights, self.weights_sha256, self.size, self.revision)

    def reason_to_skip(self, peptide: Peptide) -> str | None:
        """Why the flow does not know a peptide, or None."""
        unknown = self.load().unknown(peptide, any_length=self.extrapolate)
        return unknown and f"{self.weights} {unknown}"


class ProseSNIS(Method):
    """Proposals of the flow with importance weights."""

    class Settings(FlowSettings):
        """See FlowSettings; chunk_proposals are drawn and stored together."""

        chunk_proposals: int = Field(1000, gt=0)

    settings: Settings
    contract_settings = {"weights": "breathing", "chunk_proposals": 250}
    contract_spread_nm = CONTRACT_SPREAD_NM

    def skip(self, run: Run) -> str | None:
        """A peptide that the flow was not made for."""
        return self.settings.reason_to_skip(run.peptide)

    def proposal(self, run: Run, carry: Carry) -> FlowProposal:
        """The flow as a start for annealing; see prosebench.proposal."""
        kelvin = self.settings.latent_kelvin(run.meter.temperature_kelvin)
        return FlowProposal(self.settings.load(), run.peptide, kelvin, self.settings.batch)

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """The next proposals, their energies and weights; the carry holds what the diagnostics so far need."""
        settings = self.settings
        return weighted_proposals(
            settings.load(),
            run,
            index,
            carry,
            number=min(settings.chunk_proposals, run.meter.remaining),
            latent_kelvin=settings.latent_kelvin(run.meter.temperature_kelvin),
            com=settings.com,
            batch=settings.batch,
        )


def weighted_proposals(
    prose: Prose,
    run: Run,
    index: int,
    carry: Carry,
    *,
    number: int,
    latent_kelvin: float,
    com: CentreDensity,
    batch: int,
) -> Chunk:
    """A chunk of proposals of a flow with energies and weights; its carry is what the next one's diagnostics need."""
    proposals = prose.propose(
        run.peptide, number, run.rng(index), temperature_kelvin=latent_kelvin, batch=batch, ranks=run.ranks
    )
    first = run.meter.spent
    energies = run.meter.energy(proposals.frames_nm)
    spent = first + np.arange(1, len(energies) + 1)
    tails = {
        name: extend_tail(carry.get(name), proposals.log_weights(energies, name), run.budgets[-1])
        for name in get_args(CentreDensity)
    }
    return Chunk(
        Ensemble(proposals.frames_nm, energies, proposals.log_weights(energies, com), spent),
        tails,
        diagnostics=proposal_shares(proposals, energies) | ess_so_far(tails, com, int(spent[-1])),
    )


@lru_cache(maxsize=1)
def _load(weights: str, sha256: str, size: str, revision: str) -> Prose:
    prose = Prose.from_pretrained(weights, size=size or None, revision=revision)
    check_content(weights, prose.source["sha256"], sha256)
    return prose
