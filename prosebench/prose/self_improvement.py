"""Self-improvement: the flow is trained on its own proposals, drawn by their weights, and samples better for it.

Rounds of proposals, importance resampling and fine-tuning, then a last round of proposals, which is the result (Tan et
al., arXiv 2508.18175). Every proposal of every round is paid for out of the budget, in equal parts.
"""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from pydantic import Field

from prosebench.energy.meter import Meter
from prosebench.ensemble import Ensemble, concatenate
from prosebench.importance import ess
from prosebench.method import Carry, Chunk, Method, Run
from prosebench.peptide import Peptide
from prosebench.prose.diagnostics import proposal_shares
from prosebench.prose.fine_tuning import Frames, TuningSettings, draw_buffer, fine_tune
from prosebench.prose.flow import CentreDensity, Prose
from prosebench.prose.snis import CONTRACT_SPREAD_NM, FlowSettings

PROPOSALS_AT_ONCE = 1000


class ProseSelfImprove(Method):
    """Prose, fine-tuned on its own weighted proposals of the peptide, then importance sampling."""

    class Settings(FlowSettings, TuningSettings):
        """See FlowSettings and TuningSettings; chunk_proposals are drawn and stored together."""

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
        weights = {
            f"weights.{name}": value.detach().cpu().numpy() for name, value in tuned.named_parameters()
        }
        return Chunk(None, kept | weights | {"round": np.array(done + 1)}, diagnostics=numbers)


def improve(
    prose: Prose,
    peptides: Sequence[Peptide],
    meters: Sequence[Meter],
    settings: TuningSettings,
    *,
    seed: int = 0,
    com: CentreDensity = "gaussian",
    watch: Callable[[int, str, float], None] = lambda done, sequence, efficiency: None,
) -> tuple[Prose, list[Ensemble]]:
    """One flow, improved on several peptides together; each meter's budget is spent in equal parts on the rounds.

    Returns the tuned flow and the last round's proposals of each peptide. After the proposals of a round, watch is
    given its number, the sequence, and the ESS. Raises ValueError for a budget without a proposal for each round, and
    for meters of several temperatures.
    """
    _check_meters(peptides, meters, settings.rounds)
    kelvin = settings.latent_kelvin(meters[0].temperature_kelvin)
    tuned, last = Prose(copy.deepcopy(prose.network), prose.source, prose.device), []
    for done in range(settings.rounds + 1):
        buffers: dict[Peptide, Frames] = {}
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, done])))
        for peptide, meter in zip(peptides, meters, strict=True):
            final = done == settings.rounds
            size = meter.remaining if final else meter.budget // (settings.rounds + 1)
            ensemble = _propose(tuned, peptide, meter, size, rng, com, kelvin)
            assert ensemble.log_weights is not None
            watch(done, peptide.sequence, ess(ensemble.log_weights))
            drawn = None if final else draw_buffer(ensemble.positions_nm, ensemble.log_weights, rng)
            if final:
                last.append(ensemble)
            elif drawn is not None:
                buffers[peptide] = drawn
        if buffers:
            fine_tune(tuned.network, prose.network, buffers, settings, rng, latent_kelvin=kelvin)
            tuned = Prose(tuned.network, prose.source, prose.device)
    return tuned, last


def _check_meters(peptides: Sequence[Peptide], meters: Sequence[Meter], rounds: int) -> None:
    if len({meter.temperature_kelvin for meter in meters}) > 1:
        raise ValueError("the meters are of several temperatures; improve a flow at one of them at a time")
    for peptide, meter in zip(peptides, meters, strict=True):
        if meter.budget <= rounds:
            raise ValueError(
                f"a budget of {meter.budget} for {peptide.sequence} has no proposal for each of {rounds} "
                "rounds and the last draw; give it more, or take fewer rounds"
            )


def _propose(
    prose: Prose,
    peptide: Peptide,
    meter: Meter,
    size: int,
    rng: np.random.Generator,
    com: CentreDensity,
    latent_kelvin: float,
) -> Ensemble:
    parts = []
    for first in range(0, size, PROPOSALS_AT_ONCE):
        number = min(PROPOSALS_AT_ONCE, size - first)
        proposals = prose.propose(peptide, number, rng, temperature_kelvin=latent_kelvin)
        energies = meter.energy(proposals.frames_nm)
        spent = meter.spent - len(energies) + np.arange(1, len(energies) + 1)
        parts.append(Ensemble(proposals.frames_nm, energies, proposals.log_weights(energies, com), spent))
    return concatenate(parts)


@torch.no_grad()
def _with_weights(start: Prose, carry: Carry) -> Prose:
    """The flow with the weights of the carry, or as it was loaded where there are none."""
    weights = {
        name.removeprefix("weights."): value for name, value in carry.items() if name.startswith("weights.")
    }
    if not weights:
        return start
    network = copy.deepcopy(start.network)
    for name, value in network.named_parameters():
        value.copy_(torch.from_numpy(weights[name]))
    return Prose(network, start.source, start.device)
