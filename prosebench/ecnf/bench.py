"""What a sample with an exact density costs: TBG beside Prose, same peptide, same machine, same run.

The ways take turns, round after round, and ratios are medians over rounds of ratios within a round. On the CPU, ratios
are of CPU time, which other processes disturb less.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from prosebench.ecnf.divergence import velocity_and_divergence
from prosebench.ecnf.flow import Ecnf
from prosebench.peptide import Peptide
from prosebench.prose.bench.inverse import Clock
from prosebench.prose.flow import Prose

Row = dict[str, str | int | float]


def bench_sampling(
    peptides: Sequence[str],
    *,
    prose: str = "prose-mini",
    tbg: str = "tbg-mini",
    samples: tuple[int, int] = (256, 16),
    rounds: int = 3,
    device: str | None = None,
) -> list[Row]:
    """Seconds per proposal with its log-density of a flow of each kind, by the name or path of its weights.

    samples are the batches of Prose and of TBG. Each row: peptide, atoms, device, threads, prose_seconds, tbg_seconds
    (wall, medians), ratio; field_evaluations of a proposal of TBG; divergence_over_velocity, what the exact divergence
    costs in evaluations of the velocity; backward_over_divergence, what a backward pass for each coordinate would cost
    beside it.
    """
    fast, slow = Prose.from_pretrained(prose, device=device), Ecnf.from_pretrained(tbg, device=device)
    clock = Clock(fast.device)
    return [_row(fast, slow, Peptide.from_sequence(one), samples, rounds, clock) for one in peptides]


def _row(
    prose: Prose, tbg: Ecnf, peptide: Peptide, samples: tuple[int, int], rounds: int, clock: Clock
) -> Row:
    evaluations: list[float] = []

    def propose() -> None:
        found = tbg.propose(peptide, samples[1], np.random.default_rng(0), batch=samples[1])
        evaluations.append(float(found.field_evaluations.mean()))

    ways: dict[str, Callable[[], Any]] = {
        "prose": lambda: prose.propose(peptide, samples[0], np.random.default_rng(0), batch=samples[0]),
        "tbg": propose,
        **divergence_ways(tbg, peptide, samples[1]),
    }
    counts = np.array([samples[0], *[samples[1]] * (len(ways) - 1)])
    times = np.array([[clock(run) for run in ways.values()] for _ in range(rounds + 1)])[1:] / counts[:, None]
    wall = dict(zip(ways, np.median(times[..., 0], axis=0), strict=True))
    busy = dict(zip(ways, times[..., 1].T, strict=True))
    coordinates = 3 * peptide.n_atoms
    return {
        "peptide": peptide.sequence,
        "atoms": peptide.n_atoms,
        "device": tbg.device,
        "threads": torch.get_num_threads(),
        "prose_seconds": float(wall["prose"]),
        "tbg_seconds": float(wall["tbg"]),
        "ratio": float(np.median(busy["tbg"] / busy["prose"])),
        "field_evaluations": evaluations[-1],
        "divergence_over_velocity": float(np.median(busy["divergence"] / busy["velocity"])),
        "backward_over_divergence": float(np.median(coordinates * busy["backward"] / busy["divergence"])),
    }


def divergence_ways(tbg: Ecnf, peptide: Peptide, frames: int) -> dict[str, Callable[[], Any]]:
    """Three ways for some frames: the velocity alone, the velocity with its exact divergence, and one
    backward pass."""
    nodes, dtype = tbg.nodes(peptide), next(tbg.field.parameters()).dtype
    x = torch.randn(frames, peptide.n_atoms, 3, dtype=dtype, device=tbg.device)
    t = torch.full((frames,), 0.5, dtype=dtype, device=tbg.device)
    start = x.clone().requires_grad_()
    output = tbg.field(t, start, nodes)[:, 0, 0].sum()
    return {
        "velocity": torch.no_grad()(lambda: tbg.field(t, x, nodes)),
        "divergence": torch.no_grad()(lambda: velocity_and_divergence(tbg.field, t, x, nodes)),
        "backward": lambda: torch.autograd.grad(output, start, retain_graph=True),
    }
