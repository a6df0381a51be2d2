"""One flow, improved on several peptides together; a run that is killed goes on with the same numbers.

Rounds of proposals, importance resampling and fine-tuning as in `prosebench.prose.self_improvement`. A block of
proposals is a function of the flow and of (seed, round, peptide, block), and so are draws and fine-tuning of (seed,
round); so what is kept of them in a folder is what would be computed again.
"""

import copy
import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prosebench.energy.meter import Meter
from prosebench.ensemble import Ensemble, concatenate
from prosebench.frames.importance import ess
from prosebench.peptide import Peptide
from prosebench.prose.checkpoint import Checkpoint, open_checkpoint
from prosebench.prose.fine_tuning import Frames, TuningSettings, draw_buffer, fine_tune, weights_of
from prosebench.prose.flow import CentreDensity, Prose

BLOCK_PROPOSALS = 1000
"""The number of proposals in a block: they share a random stream, and are stored together."""
BATCH = 500
"""The number of proposals that are drawn together. It decides rounding, so it is fixed and does not depend on
the free memory."""

Watch = Callable[[int, str, float], None]
Store = Callable[[Prose, list[Ensemble]], None]


def warn_if_any(caution: str) -> None:
    """Give a warning with this text, unless it is empty."""
    if caution:
        warnings.warn(caution, stacklevel=2)


def improve(
    prose: Prose,
    peptides: Sequence[Peptide],
    meters: Sequence[Meter],
    settings: TuningSettings,
    *,
    seed: int = 0,
    com: CentreDensity = "gaussian",
    folder: Path | None = None,
    watch: Watch = lambda done, sequence, efficiency: None,
    resumed: Callable[[str], None] = warn_if_any,
    store: Store | None = None,
) -> tuple[Prose, list[Ensemble]]:
    """Improve a flow on several peptides; each meter's budget is spent in equal parts on the rounds.

    Returns the tuned flow and the last round's proposals of each peptide. After the proposals of a round, watch is
    given its number, the sequence, and the ESS. What is done is kept in folder, where one is given; the same call, with
    new meters, goes on from there, bit for bit with as many threads: resumed is then told what may change the last
    digits (threads, device or version are others), or "". store is given what is returned; after it, what is kept in
    the folder is removed, which stays where there is no store.

    Raises ValueError for meters that have spent something, are of several temperatures, or have no proposal for each
    round, and for a folder that another process works on, that holds other files, or is of another call (targets are
    not compared).
    """
    _check_meters(peptides, meters, settings.rounds)
    kelvin = settings.latent_kelvin(meters[0].temperature_kelvin)
    arguments = _arguments(prose, peptides, meters, settings, seed, com)
    with open_checkpoint(folder, arguments, _setup(prose), resumed) as checkpoint:
        draws = _Draws(peptides, meters, settings.rounds, seed, com, kelvin, checkpoint, watch)
        tuned, ensembles = _all_rounds(prose, settings, draws)
        if store is not None:
            store(tuned, ensembles)
            checkpoint.remove()
    return tuned, ensembles


def _all_rounds(prose: Prose, settings: TuningSettings, draws: "_Draws") -> tuple[Prose, list[Ensemble]]:
    """The tuned flow and the last proposals, from where the checkpoint is."""
    tuned = prose.with_network(copy.deepcopy(prose.network))
    for done in range(draws.checkpoint.restore(tuned.network, draws.meters), settings.rounds):
        rng, buffers = _rng(draws.seed, 1, done), dict[Peptide, Frames]()
        for peptide, ensemble in zip(draws.peptides, draws.round(tuned, done), strict=True):
            assert ensemble.log_weights is not None
            drawn = draw_buffer(ensemble.positions_nm, ensemble.log_weights, rng)
            if drawn is not None:
                buffers[peptide] = drawn
        if buffers:
            kelvin = draws.latent_kelvin
            fine_tune(tuned.network, prose.network, buffers, settings, rng, latent_kelvin=kelvin)
            tuned = prose.with_network(tuned.network)
        draws.checkpoint.finish_round(done, tuned.network, draws.meters)
    return tuned, draws.round(tuned, settings.rounds)


@dataclass(frozen=True, eq=False)
class _Draws:
    """How the proposals of all rounds are drawn."""

    peptides: Sequence[Peptide]
    meters: Sequence[Meter]
    rounds: int
    seed: int
    com: CentreDensity
    latent_kelvin: float
    checkpoint: Checkpoint
    watch: Watch

    def round(self, prose: Prose, done: int) -> list[Ensemble]:
        """The proposals of a round, of each peptide."""
        return [self._of_peptide(prose, done, index) for index in range(len(self.peptides))]

    def _of_peptide(self, prose: Prose, done: int, index: int) -> Ensemble:
        meter, blocks = self.meters[index], list[Ensemble]()
        each = meter.budget // (self.rounds + 1)
        size = each if done < self.rounds else meter.budget - self.rounds * each
        for block, first in enumerate(range(0, size, BLOCK_PROPOSALS)):
            number, rng = min(BLOCK_PROPOSALS, size - first), _rng(self.seed, 0, done, index, block)
            draw = partial(self._draw, prose, index, number, rng)
            blocks.append(self.checkpoint.block(done, index, block, meter, draw))
        ensemble = concatenate(blocks)
        assert ensemble.log_weights is not None
        self.watch(done, self.peptides[index].sequence, ess(ensemble.log_weights))
        return ensemble

    def _draw(self, prose: Prose, index: int, number: int, rng: np.random.Generator) -> Ensemble:
        peptide, meter = self.peptides[index], self.meters[index]
        proposals = prose.propose(peptide, number, rng, temperature_kelvin=self.latent_kelvin, batch=BATCH)
        energies = meter.energy(proposals.frames_nm)
        spent = meter.spent - len(energies) + np.arange(1, len(energies) + 1)
        log_weights = proposals.log_weights(energies, self.com)
        return Ensemble(proposals.frames_nm, energies, log_weights, spent)


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *key])))


def _check_meters(peptides: Sequence[Peptide], meters: Sequence[Meter], rounds: int) -> None:
    if len({meter.temperature_kelvin for meter in meters}) > 1:
        raise ValueError("the meters are of several temperatures; improve a flow at one of them at a time")
    for peptide, meter in zip(peptides, meters, strict=True):
        if meter.spent:
            raise ValueError(
                f"the meter for {peptide.sequence} has spent {meter.spent} of its budget of {meter.budget} already, "
                "and the rounds need all of it; give a new meter"
            )
        if meter.budget <= rounds:
            raise ValueError(
                f"a budget of {meter.budget} for {peptide.sequence} has no proposal for each of {rounds} "
                "rounds and the last draw; give it more, or take fewer rounds"
            )


def _arguments(
    prose: Prose,
    peptides: Sequence[Peptide],
    meters: Sequence[Meter],
    settings: TuningSettings,
    seed: int,
    com: CentreDensity,
) -> dict[str, Any]:
    """What decides the numbers, by the names that a user knows."""
    budgets = list(dict.fromkeys(meter.budget for meter in meters))
    return {
        "peptides": " ".join(peptide.sequence for peptide in peptides),
        "budget": budgets[0] if len(budgets) == 1 else [meter.budget for meter in meters],
        "temperature_kelvin": meters[0].temperature_kelvin,
        "SHA-256 of the weights": _sha256(prose),
        "precision": prose.precision,
        "seed": seed,
        "com": com,
        **settings.model_dump(mode="json"),
    }


def _setup(prose: Prose) -> dict[str, Any]:
    """What changes the last digits of the numbers."""
    return {"threads": torch.get_num_threads(), "device": prose.device, "prosebench": version("prosebench")}


def _sha256(prose: Prose) -> str:
    """The SHA-256 of config and weights. It is not that of a file: files with other names, descriptions or
    precisions may hold the same flow."""
    digest = hashlib.sha256(prose.config.model_dump_json(exclude={"description"}).encode())
    for array in weights_of(prose.network).values():
        digest.update(array.tobytes())
    return digest.hexdigest()
