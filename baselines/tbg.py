"""TBG: a transferable Boltzmann generator, proposals of a continuous flow with importance weights.

The flow is ECNF++ (Klein, Noe, arXiv 2406.14426; Tan et al., arXiv 2508.18175): an equivariant velocity field, whose
exact density costs the divergence of the field all along each trajectory. One proposal is one energy evaluation, as
for prose-snis; what a proposal costs in seconds is another matter, and `prosebench bench sampling` shows it. At another
temperature than that of training, the weights alone know it.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from prosebench.ecnf.flow import Ecnf, Integration
from prosebench.ecnf.proposal import EcnfProposal
from prosebench.ecnf.weights import FORMAT, PUBLISHED
from prosebench.flows.snis import weighted_chunk
from prosebench.flows.streams import Streams
from prosebench.flows.weights.files import HUB_REVISION, check_content, content_sha256
from prosebench.method import Carry, Chunk, Method, MethodSettings, Run
from prosebench.peptide import Peptide

GPU_CHUNK = 1024
"""The number of proposals of a chunk on a GPU. It is smaller than for other flows, since an exact divergence
takes long."""


class TBG(Method):
    """Proposals of a continuous flow with importance weights."""

    class Settings(MethodSettings):
        """weights is a bundled model, a published one, or the path of a file; size says what a published file holds
        where its name does not. weights_sha256 makes their content part of what identifies a cell: it is filled in here
        for files on this machine, and for published weights, which come from a revision of the hub, when a run is
        planned.

        steps equal ones, or, where 0, as many as each frame needs for the tolerance (the published solver). divergence
        "hutchinson" is fast and gives weights that are wrong; it is marked in the diagnostics. gradient_steps are those
        of a gradient of the log-density, where another method anneals from this one. batch frames are integrated
        together; chunk_proposals share a random stream, and are stored together. A GPU takes more of both at once.
        """

        weights: str = "tbg-mini"
        weights_sha256: str = ""
        size: str = ""
        revision: str = HUB_REVISION
        tolerance: float = Field(1e-4, gt=0)
        steps: int = Field(0, ge=0)
        divergence: Literal["exact", "hutchinson"] = "exact"
        gradient_steps: int = Field(12, gt=0)
        batch: int = Field(32, gt=0)
        chunk_proposals: int = Field(64, gt=0)

        @model_validator(mode="after")
        def _hash_weights(self) -> "TBG.Settings":
            if self.weights not in PUBLISHED:
                found = content_sha256(self.weights, FORMAT.file(self.weights), self.weights_sha256)
                object.__setattr__(self, "weights_sha256", found)
            return self

    settings: Settings
    independent = True
    contract_settings = {"weights": "breathing", "steps": 1, "batch": 250, "chunk_proposals": 250}
    contract_spread_nm = 0.9 * 0.35

    def skip(self, run: Run) -> str | None:
        """A peptide that the flow was not made for."""
        return self._reason_to_skip(run.peptide)

    def proposal(self, run: Run, carry: Carry) -> EcnfProposal:
        """The flow as a start for annealing; see prosebench.proposal."""
        return EcnfProposal(self._flow(), run.peptide, self.settings.gradient_steps, self.settings.batch)

    def marks(self, run: Run) -> NDArray[np.int64]:
        """See Method.marks: one proposal is one evaluation."""
        return np.arange(1, run.budgets[-1] + 1)

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """The next proposals, their energies and weights; the carry holds what the diagnostics so far need."""
        settings = self.settings
        flow = self._flow()
        streams = Streams.of(
            index, carry, settings.chunk_proposals, run.meter.remaining, flow.device, together=GPU_CHUNK
        )
        found = flow.propose(
            run.peptide, streams.n, streams.generator(run.rng), batch=settings.batch, ranks=run.ranks
        )
        numbers = {
            "field-evaluations": float(found.field_evaluations.mean()),
            "density-estimated": float(settings.divergence != "exact"),
        }
        chunk = weighted_chunk(run, carry, found, {"ess": found.log_weights}, numbers)
        return replace(chunk, carry={**chunk.carry, **streams.carry})

    def _flow(self) -> Ecnf:
        settings = self.settings
        flow = _load(settings.weights, settings.weights_sha256, settings.size, settings.revision)
        integration = Integration(settings.tolerance, settings.steps, settings.divergence)
        return Ecnf(flow.field, flow.source, flow.device, integration)

    def _reason_to_skip(self, peptide: Peptide) -> str | None:
        flow, sequence, name = self._flow(), peptide.sequence, self.settings.weights
        known = flow.source.get("notes", {}).get("residues")
        shortest, longest = flow.config.residues_min, flow.config.residues_max
        if not shortest <= len(sequence) <= longest:
            return f"{name} was made for peptides of {shortest} to {longest} residues"
        if sequence[0] == "P":
            return "the flow was trained without N-terminal proline"
        new = [letter for letter in dict.fromkeys(sequence) if known and letter not in known]
        return f"{name} has never seen {', '.join(new)}; it knows {known}" if new else None


@lru_cache(maxsize=1)
def _load(weights: str, sha256: str, size: str, revision: str) -> Ecnf:
    ecnf = Ecnf.from_pretrained(weights, size=cast(Any, size or None), revision=revision)
    check_content(weights, ecnf.source["sha256"], sha256)
    return ecnf
