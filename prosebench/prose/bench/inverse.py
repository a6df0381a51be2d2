"""How fast the inverse is: samples per second, and time over what the matrix products alone would need.

The bound is 2 FLOP per weight and token at the matrix rate measured in the same run, with all weights counted, those
of the conditions too. The matrix product, the fast way and the straightforward way take turns, round after round, and
ratios are medians over rounds of ratios within a round. On the CPU, ratios are of CPU time, which other processes
disturb less. On a GPU, batches are those that draws have there, and the first ones, which launch and record, are not
counted.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from prosebench.flows.device import choose_device, is_gpu, tf32
from prosebench.flows.molecule.tokens import Tokens
from prosebench.peptide import Peptide
from prosebench.prose.bench.bounds import (
    bytes_a_frame,
    bytes_per_second,
    flop_a_frame,
    launch_seconds,
    launches,
)
from prosebench.prose.config import ProseConfig, load_size
from prosebench.prose.inverse import Inverter, PeptideInverter, inverse_reference
from prosebench.prose.network import Network
from prosebench.prose.prepared_layers import Precision

Row = dict[str, str | int | float]

MATRIX = {"cpu": 1536, "cuda": 8192}
"""The number of rows of the square matrices whose product measures the matrix rate, by kind of device."""

GPU_WARM_UP = 3
"""The number of batches on a GPU before the first one that is timed: one is launched, one recorded, one
repeated."""


@dataclass(frozen=True)
class Clock:
    """Wall and CPU seconds of a call, on a device."""

    device: str

    def __call__(self, run: Callable[[], object]) -> tuple[float, float]:
        self._wait()
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        self._wait()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return wall, cpu if self.device == "cpu" else wall

    def _wait(self) -> None:
        if is_gpu(self.device):
            torch.cuda.synchronize(self.device)


def bench_inverse(
    sizes: Sequence[str] = ("prose-8aa",),
    peptides: Sequence[str] = ("AA", "ARIP", "ISKCKNGE"),
    batches: Sequence[int] = (64, 256),
    *,
    rounds: int = 3,
    blocks: int | None = None,
    layers: int | None = None,
    reference: bool = True,
    device: str | None = None,
    precision: Precision = "float32",
) -> list[Row]:
    """Time the inverse of flows with random weights.

    blocks and layers cut the network down for a short measurement: time goes with the weights, and the samples per
    second are those of the whole network. precision is that of the fast way and of the matrix product on a GPU; the
    straightforward way is in float32, and the density that "bfloat16" computes once more is not timed. Each row: size,
    peptide, atoms, batch (on a GPU, at least what fills it), device, precision, threads, samples_per_second,
    matrix_gflops (the rate, FLOP/ns), over_bound (time over the bound; 1 is the rate of the matrix product), and with
    reference, reference_over_bound and speedup (of the fast way over the straightforward one). Then, of the whole
    network, launches of a batch as they come (a GPU's graphs take them away), FLOP and memory traffic of a frame, the
    least seconds of a batch by each of the three, and which binds.
    Raises ValueError where there is nothing to measure.
    """
    if not (sizes and peptides and batches and min(batches) > 0):
        raise ValueError(
            f"nothing to measure: sizes {sizes}, peptides {peptides}, batches {batches}; give one of each, and frames "
            "in a batch"
        )
    device = choose_device(device)
    return [
        row
        for size in sizes
        for row in _bench_size(
            size, peptides, batches, rounds, (blocks, layers), reference, device, precision
        )
    ]


def _bench_size(
    size: str,
    peptides: Sequence[str],
    batches: Sequence[int],
    rounds: int,
    cut: tuple[int | None, int | None],
    reference: bool,
    device: str,
    precision: Precision,
) -> list[Row]:
    whole = load_size(size)
    blocks, layers = min(cut[0] or whole.blocks, whole.blocks), cut[1] or whole.layers_per_block
    config = whole.model_copy(update={"blocks": blocks, "layers_per_block": layers})
    network = _random_network(config, device)
    rows: list[Row] = []
    for sequence in peptides:
        tokens = Tokens.of([Peptide.from_sequence(sequence).topology], config.block_orders).to(device)
        inverter, atoms = Inverter(network, precision).of(tokens), tokens.mask.shape[1]
        for batch in dict.fromkeys(_frames_at_once(inverter, atoms, batch, device) for batch in batches):
            measured = _measure(network, inverter, tokens, batch, rounds, reference, device)
            bound = 2 * n_block_weights(config) * atoms * batch
            scale = n_block_weights(whole) / n_block_weights(config)
            head: Row = {"size": size, "peptide": sequence, "atoms": atoms, "batch": batch, "device": device}
            head |= {"precision": precision, "threads": torch.get_num_threads()} | _numbers(
                measured, bound, batch / scale
            )
            rate = float(np.median(measured["matrix"]))
            rows.append(head | _bounds(whole, inverter, atoms, batch, scale, rate, device))
    return rows


def _frames_at_once(inverter: PeptideInverter, atoms: int, batch: int, device: str) -> int:
    return inverter.frames_at_once(torch.empty(batch, atoms, 3, device=device), batch)


def _bounds(
    config: ProseConfig,
    inverter: PeptideInverter,
    atoms: int,
    batch: int,
    scale: float,
    rate: float,
    device: str,
) -> Row:
    """What a batch of the whole network needs at least, in seconds, and which of the three binds."""
    weights = n_block_weights(config)
    number = round(launches(inverter, atoms) * scale)
    flop = flop_a_frame(config, weights, atoms)
    traffic = bytes_a_frame(config, weights, atoms, batch, inverter.inverter.precision)
    seconds = {
        "arithmetic": batch * flop / rate,
        "memory": batch * traffic / bytes_per_second(device),
        "launches": number * launch_seconds(device),
    }
    row: Row = {"launches": number, "gflop_a_frame": flop / 1e9, "mb_a_frame": traffic / 1e6}
    row |= {f"{name}_seconds": value for name, value in seconds.items()}
    return row | {"binds": max(seconds, key=lambda name: seconds[name])}


def _numbers(measured: dict[str, np.ndarray], bound: float, samples: float) -> Row:
    """The numbers of a row, from the seconds (rounds, [wall, CPU]) of each way, the FLOP of the bound, and
    the samples per call."""
    fast, flops = measured["fast"], measured["matrix"]
    numbers: Row = {
        "samples_per_second": samples / float(np.median(fast[:, 0])),
        "matrix_gflops": float(np.median(flops)) / 1e9,
        "over_bound": float(np.median(fast[:, 1] * flops / bound)),
    }
    if "reference" in measured:
        slow = measured["reference"]
        numbers["reference_over_bound"] = float(np.median(slow[:, 1] * flops / bound))
        numbers["speedup"] = float(np.median(slow[:, 1] / fast[:, 1]))
    return numbers


@torch.no_grad()
def _measure(
    network: Network,
    inverter: PeptideInverter,
    tokens: Tokens,
    batch: int,
    rounds: int,
    reference: bool,
    device: str,
) -> dict[str, np.ndarray]:
    z = torch.randn(batch, tokens.mask.shape[1], 3, device=device)
    ways: dict[str, Callable[[], object]] = {"fast": lambda: inverter(z, batch)}
    if reference:
        ways["reference"] = lambda: inverse_reference(network, z, tokens)
    clock, times, flops = Clock(device), [], []
    for _ in range(GPU_WARM_UP if is_gpu(device) else 0):
        inverter(z, batch)
    for _ in range(rounds):
        rates = [_matrix_rate(clock, inverter.inverter.precision)]
        times.append([clock(run) for run in ways.values()])
        flops.append(max(*rates, _matrix_rate(clock, inverter.inverter.precision)))
    by_way = np.array(times).transpose(1, 0, 2)
    return dict(zip(ways, by_way, strict=True)) | {"matrix": np.array(flops)}


def _matrix_rate(clock: Clock, precision: Precision) -> float:
    """FLOP per second of a product of two large square matrices, as products inside the layers are; best of three."""
    rows = MATRIX[torch.device(clock.device).type]
    a, b = torch.randn(2, rows, rows, device=clock.device)
    with tf32(precision != "float32"):
        return max(2 * rows**3 / clock(lambda: a @ b)[1] for _ in range(3))


def n_block_weights(config: ProseConfig) -> int:
    """Weights of all blocks: what a token meets (the embedding is computed once per peptide in every way)."""
    with torch.device("meta"):
        blocks = Network(config).blocks
    return sum(parameter.numel() for parameter in blocks.parameters())


def _random_network(config: ProseConfig, device: str) -> Network:
    torch.manual_seed(0)
    network = Network(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "project_out.weight" in name:
                parameter.normal_(std=1e-3)
    return network.to(device).eval()
