"""How fast training is: frames per second of whole steps, and their share of the machine's matrix rate.

The FLOP of a step are counted as it runs (matrix products and attention, forward and backward); the matrix rate is
that of a large square product in the same precision, measured before and after in the same run. On the CPU, the
share is of CPU time, which other processes disturb less.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from prosebench.flows.device import choose_device, is_gpu
from prosebench.peptide import Peptide
from prosebench.training.data import FrameBatch
from prosebench.training.optimiser import RunOptimiser
from prosebench.training.recipe import Recipe
from prosebench.training.schedule import Ema
from prosebench.training.trainable import Trainable, make_trainable

Row = dict[str, str | int | float]

MATRIX_ROWS = {"cpu": 2048, "cuda": 8192}
Precision = Literal["float32", "bfloat16"]


def bench_training(
    recipe: Recipe,
    models: Sequence[dict[str, Any]],
    peptides: Sequence[str] = ("AA",),
    batches: Sequence[int] = (256,),
    *,
    seconds: float = 10.0,
) -> list[Row]:
    """Time steps of the recipe's trainable with each of the models, as recipe.precision and compile say.

    Steps are whole: augmentation, forward, backward, clipping, AdamW, averaging, on frames of one peptide. Each row:
    model, parameters, peptide, atoms, batch, precision, compile, threads, first_seconds (the first step, compilation
    with it), frames_per_second (of the median step), frames_per_core_second (the same by CPU time), gflop_per_frame,
    matrix_gflops (the rate, FLOP/ns), share (of it that the steps reach). Raises ValueError where there is nothing to
    measure.
    """
    if not (models and peptides and batches and min(batches) > 0):
        raise ValueError(
            f"nothing to measure: models {models}, peptides {peptides}, batches {batches}; give one of each, and "
            "frames in a batch"
        )
    device = choose_device()
    rows: list[Row] = []
    for model in models:
        changed = recipe.model_copy(update={"model": model})
        for peptide in map(Peptide.from_sequence, peptides):
            for batch in batches:
                rows.append(
                    _describe(changed, peptide, batch) | _measure(changed, peptide, batch, seconds, device)
                )
    return rows


def _describe(recipe: Recipe, peptide: Peptide, batch: int) -> Row:
    """The first columns of a row: what is measured. The number of parameters is yet to come."""
    return {
        "model": ", ".join(Path(str(value)).stem for value in recipe.model.values()),
        "parameters": 0,
        "peptide": peptide.sequence,
        "atoms": peptide.n_atoms,
        "batch": batch,
        "precision": recipe.precision,
        "compile": recipe.compile,
        "threads": torch.get_num_threads(),
    }


def _measure(recipe: Recipe, peptide: Peptide, batch: int, seconds: float, device: str) -> Row:
    trainable = make_trainable(recipe, device)
    step = _step(trainable, recipe, peptide, batch)
    flop = _flop(recipe, peptide, batch, device)
    rates, times = [_matrix_rate(recipe.precision, device)], [_timed(step, device)]
    ended = time.perf_counter() + seconds
    while len(times) < 4 or time.perf_counter() < ended:
        times.append(_timed(step, device))
    rate = max(*rates, _matrix_rate(recipe.precision, device))
    # The second step still warms up caches and, compiled, guards.
    wall, busy = np.median(times[2:], axis=0)
    return {
        "parameters": sum(parameter.numel() for parameter in trainable.module.parameters()),
        "first_seconds": times[0][0],
        "frames_per_second": batch / float(wall),
        "frames_per_core_second": batch / float(busy),
        "gflop_per_frame": flop / batch / 1e9,
        "matrix_gflops": rate / 1e9,
        "share": flop / float(busy) / rate,
    }


def _step(trainable: Trainable, recipe: Recipe, peptide: Peptide, batch: int) -> Callable[[], None]:
    options = recipe.optimiser
    optimiser = RunOptimiser(trainable.module, options)
    ema, rng = Ema(trainable.module, options.ema), np.random.default_rng(0)
    frames = np.repeat(peptide.start_nm[None], batch, axis=0).astype(np.float32)

    def step() -> None:
        arguments = trainable.prepare(FrameBatch((peptide.sequence,) * batch, frames), lambda _: peptide, rng)
        trainable.module(*arguments).mean().backward()
        torch.nn.utils.clip_grad_norm_(trainable.module.parameters(), options.clip_norm)
        optimiser.step(1e-6)
        ema.update()
        optimiser.zero_grad()

    return step


def _flop(recipe: Recipe, peptide: Peptide, batch: int, device: str) -> float:
    """FLOP of a step without compilation, in which every product can be counted."""
    trainable = make_trainable(recipe.model_copy(update={"compile": "no"}), device)
    with FlopCounterMode(display=False) as counter:
        _step(trainable, recipe, peptide, batch)()
    return float(counter.get_total_flops())


def _matrix_rate(precision: Precision, device: str) -> float:
    """FLOP per second of a product of two large square matrices; the best of five."""
    rows = MATRIX_ROWS[torch.device(device).type]
    a, b = torch.randn(2, rows, rows, device=device).to(getattr(torch, precision))
    _timed(lambda: a @ b, device)
    return max(2 * rows**3 / _timed(lambda: a @ b, device)[1] for _ in range(5))


def _timed(run: Callable[[], object], device: str) -> tuple[float, float]:
    """Wall and CPU seconds; on a GPU, wall seconds twice."""
    if is_gpu(device):
        torch.cuda.synchronize(device)
    wall, busy = time.perf_counter(), time.process_time()
    run()
    if is_gpu(device):
        torch.cuda.synchronize(device)
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    return wall, busy if device == "cpu" else wall
