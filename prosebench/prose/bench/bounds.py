"""What bounds the inverse on a device: arithmetic, memory traffic, or the launches of its kernels."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from prosebench.flows.device import is_gpu
from prosebench.prose.config import ProseConfig
from prosebench.prose.inverse import PeptideInverter
from prosebench.prose.prepared_layers import Precision

COPY_NUMBERS = 2**25
TINY_LAUNCHES = 2000
_NO_KERNEL = ("empty", "new_empty", "empty_like", "detach", "alias", "_unsafe_view", "lift_fresh")


class LaunchCount(TorchDispatchMode):
    """Counts operations that are no views: a GPU needs a launch for each, for some more."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        self.launches += not func.is_view and name not in _NO_KERNEL
        return func(*args, **(kwargs or {}))


def launches(inverter: PeptideInverter, atoms: int) -> int:
    """Launches of one batch, counted on two frames; their number does not depend on how many there are."""
    z = torch.zeros(2, atoms, 3, device=inverter.tokens.mask.device)
    inverter.inverter.pack(len(z))  # weights are laid out once, not for every batch
    anew = inverter.inverter.of(inverter.tokens)  # a GPU has recorded nothing for it
    with LaunchCount() as counted:
        anew(z, len(z))
    return counted.launches


def flop_a_frame(config: ProseConfig, weights: int, atoms: int) -> float:
    """The FLOP of one frame: those of the weights, and those of attention to the tokens before."""
    pairs = atoms * (atoms - 1) / 2
    return 2.0 * weights * atoms + 4.0 * config.channels * config.layers_per_block * config.blocks * pairs


def bytes_a_frame(
    config: ProseConfig, weights: int, atoms: int, batch: int, precision: Precision = "float32"
) -> float:
    """The memory traffic of one frame in bytes: all weights, read once a token for the whole batch, in
    float32, and keys and values of the tokens before."""
    pairs = atoms * (atoms - 1) / 2
    kept = 2.0 * config.channels * config.layers_per_block * config.blocks * pairs
    return 4.0 * weights * atoms / batch + (2 if precision == "bfloat16" else 4) * kept


def bytes_per_second(device: str) -> float:
    """Memory traffic of a copy, read and write together; the best of five."""
    a = torch.zeros(COPY_NUMBERS, device=device)
    b = torch.empty_like(a)
    return max(8 * COPY_NUMBERS / _seconds(lambda: b.copy_(a), device) for _ in range(5))


def launch_seconds(device: str) -> float:
    """The seconds that the host needs to launch one small operation; the best of five rounds."""
    a = torch.zeros(1, device=device)

    def many() -> None:
        for _ in range(TINY_LAUNCHES):
            a.add_(1.0)

    return min(_seconds(many, device) for _ in range(5)) / TINY_LAUNCHES


def _seconds(run: Callable[[], object], device: str) -> float:
    if is_gpu(device):
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    run()
    if is_gpu(device):
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun
