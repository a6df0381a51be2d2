"""What torch says of CUDA while the pretended GPU is there."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from tests.pretended.graph import PretendedGraph
from tests.pretended.modes import GPU, Calls

if TYPE_CHECKING:
    from tests.pretended.gpu import PretendedGpu


def patches(gpu: "PretendedGpu") -> Iterator[Any]:
    """What torch.cuda says of itself."""
    answers: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "init": lambda: None,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "synchronize": lambda device=None: gpu.wait(),
        "mem_get_info": lambda device=None: (gpu.memory_bytes, gpu.memory_bytes),
        "get_device_properties": lambda device=None: mock.Mock(total_memory=gpu.memory_bytes),
        "get_device_name": lambda device=None: "pretended GPU",
        "get_device_capability": lambda device=None: gpu.capability,
        "get_arch_list": lambda: ["sm_80", "sm_90"],
        "memory_stats": lambda device=None: {"allocation.all.allocated": sum(gpu.kernels.values())},
        "is_bf16_supported": lambda *args, **kwargs: True,
        "empty_cache": lambda: None,
        "manual_seed_all": lambda seed: gpu.touch_random_state(),
        "get_rng_state": lambda device=None: gpu.touch_random_state(),
        "set_rng_state": lambda state, device=None: gpu.touch_random_state(),
        "CUDAGraph": PretendedGraph,
        "graph": lambda graph, **kwargs: recording(gpu, graph),
        "Stream": mock.Mock,
        "stream": lambda stream: contextlib.nullcontext(),
        "current_stream": mock.Mock,
    }
    for name, answer in answers.items():
        yield mock.patch.object(torch.cuda, name, answer)
    yield mock.patch.object(torch.autograd.graph, "_engine_run_backward", _watched(gpu, torch.autograd.graph))
    yield mock.patch.object(torch.autograd, "_engine_run_backward", _watched(gpu, torch.autograd))
    # Checkpoints compare devices of what they compute twice, sometimes out of sight of the mode.
    checks = torch.utils.checkpoint._allowed_determinism_checks_to_fns
    yield mock.patch.dict(checks, {"default": lambda _: None})
    grouped = torch.nn.utils.clip_grad._group_tensors_by_device_and_dtype
    yield mock.patch.object(torch.nn.utils.clip_grad, grouped.__name__, _by_side(gpu, grouped))
    yield mock.patch.object(torch, "autocast", _Autocast)
    yield mock.patch.object(torch.amp, "autocast", _Autocast)


class _Autocast(torch.autocast):
    """That of the CPU under the name of CUDA."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu", *args, **kwargs)


def _watched(gpu: "PretendedGpu", where: Any) -> Callable[..., Any]:
    """A backward pass in sight of the mode, which torch takes off: checkpoints compute forward passes in it."""
    run = where._engine_run_backward

    def backward(*args: Any, **kwargs: Any) -> Any:
        with Calls(gpu):
            return run(*args, **kwargs)

    return backward


def _by_side(gpu: "PretendedGpu", grouped: Callable[..., Any]) -> Callable[..., Any]:
    """torch's grouping by device, which is done out of sight of the modes."""

    def group(tensors: Any, *args: Any) -> Any:
        there = all(gpu.has(one) for one in tensors[0])
        return {
            (GPU if there else device, dtype): rest
            for (device, dtype), rest in grouped(tensors, *args).items()
        }

    return group


@contextlib.contextmanager
def recording(gpu: "PretendedGpu", graph: PretendedGraph) -> Iterator[None]:
    gpu.graph = graph
    try:
        yield
    finally:
        gpu.graph = None
        graph.undo()
