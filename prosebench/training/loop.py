"""The loop that trains: one for every trainable, on one process or, through torchrun, on many.

Step k is a function of the recipe, the data and the state after step k - 1: its random numbers are derived from
(seed, process, k), so a run that was stopped continues with the same numbers.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from prosebench.ensemble import Ensemble
from prosebench.flows.device import is_gpu
from prosebench.peptide import Peptide
from prosebench.reference import MissingReferenceError, Reference, find_reference
from prosebench.store.storage import make_folder
from prosebench.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from prosebench.training.curve import LOSSES, Row, write_curve
from prosebench.training.data import BatchStream, Position, TrainingData
from prosebench.training.optimiser import RunOptimiser
from prosebench.training.processes import Processes
from prosebench.training.recipe import Recipe, ValidationRecipe
from prosebench.training.schedule import Ema, one_cycle
from prosebench.training.trainable import Trainable, make_trainable

CHECKPOINT = "checkpoint.pt"
MODEL = "model.npz"
MOST_SKIPPED = 20
"""A run ends if more steps in a row than this have no finite gradient."""


T = TypeVar("T")
Prepared = tuple[tuple[Any, ...], int, Position]
"""A batch ready for the module: its arguments, the number of frames, and the position of the stream of
batches after it."""


@dataclass
class Training:
    """A training run in a folder. After each stretch `watch` is given the curve's new row.

    `run` returns when the steps are done, when a step at or after stop_step or stop_seconds (of this sitting) is
    reached, or when should_stop says so; what was done is in the checkpoint then.
    """

    recipe: Recipe
    directory: Path
    processes: Processes = field(default_factory=Processes.from_environment)
    watch: Callable[[Row], None] = lambda row: None
    should_stop: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        recipe = self.recipe
        self.validation = validation_frames(recipe.validation)
        self.data = TrainingData(
            recipe.data.source, longest=recipe.data.longest, revision=recipe.data.revision
        )
        self.stream = BatchStream(
            self.data,
            batch=recipe.data.batch,
            mix=recipe.data.mix,
            window_shards=recipe.data.window_shards,
            seed=recipe.seed,
            rank=self.processes.rank,
            world=self.processes.world,
        )
        make_folder(self.directory)
        self.trainable: Trainable = make_trainable(recipe, self.processes.device)
        module = self.trainable.module
        self.optimiser = RunOptimiser(module, recipe.optimiser)
        self.ema = Ema(module, recipe.optimiser.ema)
        self.progress = TrainingState([Position()] * self.processes.world)
        if self.checkpoint.exists():
            self.progress = load_checkpoint(self.checkpoint, recipe, module, self.ema, self.optimiser)
            if len(self.progress.positions) != self.processes.world:
                raise ValueError(
                    f"{self.checkpoint} was made by {len(self.progress.positions)} processes and needs as many; "
                    f"there are {self.processes.world}"
                )
            self.data.faults |= self.progress.faults
        self._module = self.processes.wrap(module)

    @property
    def checkpoint(self) -> Path:
        """The file from which the run continues."""
        return self.directory / CHECKPOINT

    def run(self, stop_step: int | None = None, stop_seconds: float = math.inf) -> TrainingState:
        """Train; see the class."""
        progress, recipe, started = self.progress, self.recipe, time.perf_counter()
        batches = self._prepared()
        if is_gpu(self.processes.device):
            batches = ahead(batches)
        last, in_a_row, ending = min(recipe.steps, stop_step or recipe.steps), 0, False
        while progress.step < last and not ending:
            in_a_row = 0 if self._step(batches) else in_a_row + 1
            if in_a_row > MOST_SKIPPED:
                raise FloatingPointError(
                    f"the gradient is not finite since step {progress.step - in_a_row}; lower the learning rate, or "
                    f"train in float32. {self.checkpoint} holds what came before"
                )
            validating = progress.step % recipe.validation.every == 0 or progress.step == recipe.steps
            if progress.step % recipe.log_every == 0 or validating:
                self._log(validating)
            ending = self.processes.any(self.should_stop() or time.perf_counter() - started > stop_seconds)
            if progress.step % recipe.checkpoint_every == 0 or progress.step == last or ending:
                self._save()
        if progress.step == recipe.steps:
            self._leave()
        return progress

    def _prepared(self) -> Iterator[Prepared]:
        """The batches from here on, each made ready for the module, with its number of frames and the
        position after it."""
        recipe, rank, step = self.recipe, self.processes.rank, self.progress.step
        batches = self.stream.batches(self.progress.positions[rank])
        while True:
            rng = np.random.default_rng([recipe.seed, 2, rank, step])
            for batch, position in itertools.islice(batches, recipe.data.batches):
                arguments = self.trainable.prepare(batch, self.data.peptide, rng, part=step / recipe.steps)
                yield arguments, len(batch.sequences), position
            step += 1

    def _step(self, batches: Iterator[Prepared]) -> bool:
        """One step of the optimiser; False where it was left out because the gradient is not finite."""
        recipe, progress, rank, started = self.recipe, self.progress, self.processes.rank, time.perf_counter()
        total = torch.zeros((), device=self.processes.device)
        for _ in range(recipe.data.batches):
            arguments, frames, progress.positions[rank] = next(batches)
            loss = self._module(*arguments).mean()
            (loss / recipe.data.batches).backward()
            total += loss.detach() / recipe.data.batches
            progress.frames += frames * self.processes.world
        norm = float(nn.utils.clip_grad_norm_(self._module.parameters(), recipe.optimiser.clip_norm))
        finite = math.isfinite(norm)
        if finite:
            self.optimiser.step(self._rate(progress.step))
            self.ema.update()
        self.optimiser.zero_grad()
        progress.losses.append(self.processes.mean(float(total)))
        progress.norms.append(norm)
        progress.skipped += not finite
        progress.step += 1
        progress.seconds += time.perf_counter() - started
        return finite

    def _rate(self, step: int) -> float:
        options = self.recipe.optimiser
        return one_cycle(
            step, self.recipe.steps, options.learning_rate, warm_up=options.warm_up, divisor=options.divisor
        )

    def _log(self, validating: bool) -> None:
        """Close a row of the curve."""
        progress = self.progress
        before = progress.rows[-1] if progress.rows else {"frames": 0.0, "seconds": 0.0}
        row = {
            "step": float(progress.step),
            "frames": float(progress.frames),
            "seconds": progress.seconds,
            "loss": float(np.mean(progress.losses)),
            "learning_rate": self._rate(progress.step - 1),
            "gradient_norm": float(np.mean(progress.norms)),
            "frames_per_second": (progress.frames - before["frames"])
            / (progress.seconds - before["seconds"]),
        }
        weight = self.recipe.dispersion.at(progress.step / self.recipe.steps)
        if weight:
            row["dispersion_weight"] = weight
        progress.losses, progress.norms = [], []
        if validating and self.processes.first:
            with self.ema.swapped_in():
                row |= validate(self.trainable, self.validation, self.recipe.validation.proposals)
        progress.rows.append(row)
        if self.processes.first:
            self.watch(row)

    def _save(self) -> None:
        positions = self.processes.gather(self.progress.positions[self.processes.rank])
        self.progress.positions = positions
        for faults in self.processes.gather(dict(self.data.faults)):
            self.progress.faults |= faults
        if self.processes.first:
            save_checkpoint(
                self.checkpoint, self.recipe, self.progress, self.trainable.module, self.ema, self.optimiser
            )
            write_curve(self.progress.rows, self.directory)
        self.processes.wait()

    def _leave(self) -> None:
        if self.processes.first:
            with self.ema.swapped_in():
                self.trainable.save(self.directory / MODEL, self.notes())

    def notes(self) -> dict[str, Any]:
        """What is written into the weights file: the recipe, how far the run is, its last numbers."""
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "steps": self.progress.step,
            "frames": self.progress.frames,
            "seconds": round(self.progress.seconds, 1),
            "steps_skipped": self.progress.skipped,
            "faults": len(self.progress.faults),
            "residues": self.data.residues,
            "last": self.progress.rows[-1] if self.progress.rows else {},
        }


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made by a thread while the one before it is worked on, so that a GPU need not wait
    for it."""
    with ThreadPoolExecutor(max_workers=1) as maker:
        coming = maker.submit(next, items)
        while True:
            item = coming.result()
            coming = maker.submit(next, items)
            yield item


Validation = list[tuple[Peptide, Ensemble | None]]
"""The validation peptides, each with frames of its reference if it has one."""


def validation_frames(recipe: ValidationRecipe) -> Validation:
    """The frames to validate on. Raises PeptideError for a sequence that is none."""
    return [_peptide_and_frames(sequence, recipe) for sequence in recipe.peptides]


def validate(trainable: Trainable, validation: Validation, proposals: int) -> Row:
    """Means over the validation peptides, and each peptide's numbers behind its name."""
    row: Row = {}
    for peptide, frames in validation:
        numbers = trainable.validate(peptide, frames, proposals, seed=0)
        row |= {f"{name}-{peptide.sequence}": value for name, value in numbers.items()}
    for name in (*LOSSES, "spread", "ess", "median-energy"):
        values = [value for key, value in row.items() if key.startswith(f"{name}-")]
        if values:
            row[name] = float(np.mean(values) if name in LOSSES else np.median(values))
    return row


def _peptide_and_frames(sequence: str, recipe: ValidationRecipe) -> tuple[Peptide, Ensemble | None]:
    try:
        reference = Reference.load(find_reference(sequence, [Path(recipe.references)]))
    except MissingReferenceError:
        return Peptide.from_sequence(sequence), None
    return reference.peptide, reference.scored.select(slice(0, recipe.frames))
