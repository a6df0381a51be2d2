"""Self-improvement: the flow is trained on its own proposals, drawn by their weights, and samples better for it.

Rounds of proposals, importance resampling and fine-tuning, then a last round of proposals, which is the result (Tan et
al., arXiv 2508.18175). Every proposal of every round is paid for out of the budget, in equal parts.
"""

import copy

import numpy as np
from pydantic import Field

from prosebench.ensemble import Ensemble
from prosebench.flows.diagnostics import proposal_shares
from prosebench.frames.importance import ess
from prosebench.method import Carry, Chunk, Method, Run
from prosebench.prose.fine_tuning import TuningSettings, draw_buffer, fine_tune, put_weights, weights_of
from prosebench.prose.flow import Prose
from prosebench.prose.snis import CONTRACT_SPREAD_NM, ProseSettings


class ProseSelfImprove(Method):
    """Prose, fine-tuned on its own weighted proposals of the peptide, then importance sampling."""

    class Settings(ProseSettings, TuningSettings):
        """See ProseSettings and TuningSettings; chunk_proposals are drawn and stored together."""

        chunk_proposals: int = Field(20_000, gt=0)

    settings: Settings
    # The budget decides how many proposals a round has.
    prefixes = False
    contract_settings = {
        "weights": "breathing",
        "rounds": 2,
        "steps": 3,
        "tuning_batch": 8,
        "chunk_proposals": 250,
    }
    contract_spread_nm = CONTRACT_SPREAD_NM

    def skip(self, run: Run) -> str | None:
        """A peptide that the flow was not made for."""
        return self.settings.reason_to_skip(run.peptide)

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """Some proposals of a round, or, when it has them all, its fine-tuning. The carry holds weights and round."""
        settings, done = self.settings, int(carry.get("round", np.array(0)))
        size, last = self._round_size(run), done == self._rounds(run)
        if not last and len(carry.get("log_weights", ())) == size:
            return self._tune(run, index, carry, done)
        number = run.meter.remaining if last else size - len(carry.get("log_weights", ()))
        proposals = _with_weights(settings.load(), carry).propose(
            run.peptide,
            min(settings.chunk_proposals, number),
            run.rng(index),
            temperature_kelvin=settings.latent_kelvin(run.meter.temperature_kelvin),
            batch=settings.batch,
            ranks=run.ranks,
        )
        first = run.meter.spent
        energies = run.meter.energy(proposals.frames_nm)
        log_weights = proposals.log_weights(energies, settings.com)
        numbers = proposal_shares(proposals, energies) | {
            "round": float(done),
            "ess-of-chunk": ess(log_weights),
        }
        if last:
            spent = first + np.arange(1, len(energies) + 1)
            return Chunk(
                Ensemble(proposals.frames_nm, energies, log_weights, spent), carry, diagnostics=numbers
            )
        grown: Carry = {"frames": proposals.frames_nm, "log_weights": log_weights}
        joined = {name: np.concatenate([carry.get(name, new[:0]), new]) for name, new in grown.items()}
        return Chunk(None, carry | joined, diagnostics=numbers)

    def _rounds(self, run: Run) -> int:
        """Rounds with fine-tuning: none where the budget has not one proposal for each round."""
        return self.settings.rounds if self._round_size(run) else 0

    def _round_size(self, run: Run) -> int:
        return run.budgets[-1] // (self.settings.rounds + 1)

    def _tune(self, run: Run, index: int, carry: Carry, done: int) -> Chunk:
        settings, rng = self.settings, run.rng(index)
        start = settings.load()
        tuned = copy.deepcopy(_with_weights(start, carry).network)
        drawn = draw_buffer(carry["frames"], carry["log_weights"], rng)
        numbers = {"round": float(done)}
        if drawn is not None:
            with run.meter.phase("training"):
                kelvin = settings.latent_kelvin(run.meter.temperature_kelvin)
                numbers["tuning-loss"] = fine_tune(
                    tuned,
                    start.network,
                    {run.peptide: drawn},
                    settings,
                    rng,
                    latent_kelvin=kelvin,
                    ranks=run.ranks,
                )
        kept = {
            name: value for name, value in carry.items() if name not in ("frames", "log_weights", "round")
        }
        return Chunk(None, kept | weights_of(tuned) | {"round": np.array(done + 1)}, diagnostics=numbers)


def _with_weights(start: Prose, carry: Carry) -> Prose:
    """The flow with the weights of the carry, or as it was loaded where there are none."""
    if not any(name.startswith("weights.") for name in carry):
        return start
    network = copy.deepcopy(start.network)
    put_weights(network, carry)
    return start.with_network(network)
