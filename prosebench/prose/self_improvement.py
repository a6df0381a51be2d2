"""Self-improvement: the flow is trained on its own proposals, drawn by their weights, and samples better for it.

Rounds of proposals, importance resampling and fine-tuning, then a last round of proposals, which is the result (Tan et
al., arXiv 2508.18175). Every proposal of every round is paid for out of the budget, in equal parts.
"""

import copy
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from prosebench.energy.meter import Meter
from prosebench.ensemble import Ensemble, concatenate
from prosebench.importance import clean_log_weights, ess, filter_top, resample
from prosebench.method import Carry, Chunk, Method, Run
from prosebench.peptide import Peptide
from prosebench.prose.flow import TRAINING_TEMPERATURE_KELVIN, CentreDensity, Prose, latent_spread
from prosebench.prose.network import Network
from prosebench.prose.snis import CONTRACT_SPREAD_NM, FlowSettings, LatentSettings, proposal_shares
from prosebench.prose.trainable import FlowLoss, augment
from prosebench.ranks import ALONE, Ranks
from prosebench.training.schedule import one_cycle

Frames = NDArray[np.float32]

PROPOSALS_AT_ONCE = 1000
PIECE_FRAMES = 64
"""A batch of fine-tuning is cut into pieces of so many frames, and their gradients are summed in order: ranks share
the pieces, and the sum is the same however many ranks there are."""


class TuningSettings(LatentSettings):
    """Fine-tuning of a round: steps of AdamW with a one-cycle learning rate, and how much the start model holds back.

    The loss is NLL / (3 atoms) + teacher * mean (log q - log q of the start model)^2, with the latent that the next
    proposals will have; see LatentSettings.
    """

    rounds: int = Field(4, ge=0)
    steps: int = Field(250, gt=0)
    tuning_batch: int = Field(256, gt=0)
    learning_rate: float = Field(5e-6, gt=0)
    weight_decay: float = Field(4e-4, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    teacher: float = Field(0.5, ge=0)


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
    if len({meter.temperature_kelvin for meter in meters}) > 1:
        raise ValueError("the meters are of several temperatures; improve a flow at one of them at a time")
    kelvin = settings.latent_kelvin(meters[0].temperature_kelvin)
    for peptide, meter in zip(peptides, meters, strict=True):
        if meter.budget <= settings.rounds:
            raise ValueError(
                f"a budget of {meter.budget} for {peptide.sequence} has no proposal for each of {settings.rounds} "
                "rounds and the last draw; give it more, or take fewer rounds"
            )
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


def draw_buffer(frames: Frames, log_weights: NDArray[np.float64], rng: np.random.Generator) -> Frames | None:
    """As many frames as there are, drawn by their weights after the published filter; None without a weight."""
    kept = filter_top(log_weights)
    if not np.isfinite(clean_log_weights(log_weights[kept])).any():
        return None
    return frames[kept[resample(log_weights[kept], len(frames), rng)]]


def fine_tune(
    network: Network,
    teacher: Network,
    buffers: Mapping[Peptide, Frames],
    settings: TuningSettings,
    rng: np.random.Generator,
    *,
    latent_kelvin: float = TRAINING_TEMPERATURE_KELVIN,
    ranks: Ranks = ALONE,
) -> float:
    """Train a network in place on frames (n, atoms, 3) in nm; batches are of one peptide, in turn. The last loss.

    latent_kelvin is the temperature at which the latent of the next proposals is drawn. Ranks share the batches of a
    network on a CPU; on GPUs, where passing gradients on takes longer than computing them, each does all.
    """
    spread = latent_spread(latent_kelvin)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=settings.weight_decay, fused=True
    )
    device = str(next(network.parameters()).device)
    shared = ranks if device == "cpu" else ALONE
    losses, held = FlowLoss(network.train(), spread=spread), FlowLoss(teacher, spread=spread)
    tokens = {peptide: Prose(teacher, device=device).tokens(peptide) for peptide in buffers}
    last = math.nan
    for step, peptide in zip(range(settings.steps), itertools.cycle(buffers), strict=False):
        chosen = buffers[peptide][rng.integers(len(buffers[peptide]), size=settings.tuning_batch)]
        atoms = np.full(len(chosen), peptide.n_atoms)
        x = torch.from_numpy(augment(chosen / network.config.nm_per_unit, atoms, rng, spread)).to(device)

        def backward(piece: Tensor, peptide: Peptide = peptide, whole: int = len(x)) -> float:
            nll = losses(piece, tokens[peptide])
            with torch.no_grad():
                held_nll = held(piece, tokens[peptide])
            difference = 3 * peptide.n_atoms * (nll - held_nll)
            loss = (nll.mean() + settings.teacher * difference.square().mean()) * (len(piece) / whole)
            loss.backward()
            return float(loss.detach())

        loss = _sum_gradients(backward, x.split(PIECE_FRAMES), list(network.parameters()), shared)
        norm = nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        if torch.isfinite(norm):
            for group in optimiser.param_groups:
                group["lr"] = one_cycle(step, settings.steps, settings.learning_rate)
            optimiser.step()
            last = loss
        optimiser.zero_grad(set_to_none=True)
    network.eval()
    return last


def _sum_gradients(
    backward: Callable[[Tensor], float],
    pieces: Sequence[Tensor],
    parameters: list[nn.Parameter],
    ranks: Ranks,
) -> float:
    """Leave the sum of the pieces' gradients, taken in their order, in .grad of the parameters; the sum of losses."""
    if ranks.size == 1:
        return sum(backward(piece) for piece in pieces)

    def gradients(piece: Tensor) -> tuple[float, list[NDArray[np.float32] | None]]:
        for parameter in parameters:
            parameter.grad = None
        loss = backward(piece)
        return loss, [None if one.grad is None else one.grad.numpy() for one in parameters]

    losses, found = zip(*ranks.map(gradients, pieces), strict=True)
    for parameter, parts in zip(parameters, zip(*found, strict=True), strict=True):
        there = [torch.from_numpy(part) for part in parts if part is not None]
        parameter.grad = functools.reduce(torch.add, there) if there else None
    return sum(losses)


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
