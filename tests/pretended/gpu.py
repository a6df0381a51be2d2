"""A pretended GPU, for machines that have none.

Inside `PretendedGpu()` torch seems to have one CUDA device. What is "on" it lies in this machine's memory and is
computed by the CPU, so numbers are real. A tensor's side is known by its storage. As on a GPU, operations on tensors of
both sides are refused, and so is numpy's view of a tensor that is there. Counted, by the line of prosebench that caused
them: kernels, waits of the host for the device, and copies to the device. CUDA graphs are recorded and replayed; while
one is recorded, waits and copies are refused.

It cannot show rounding or speed of real kernels, kernels that are missing, memory, streams, or NCCL. It uses private
calls of torch, whose version is pinned.
"""

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = str(Path(__file__).resolve().parents[2])
OWN = tuple(f"{ROOT}/{folder}/" for folder in ("prosebench", "baselines", "jobs"))
GPU = torch.device("cuda", 0)
WITHOUT_KERNEL = {
    "empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "detach", "alias", "lift_fresh",
    "_unsafe_view", "set_", "resize_", "_local_scalar_dense",
}  # fmt: skip
"""Operations that launch nothing, though their schema does not call them views."""
WAITING = {
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim",
    "unique_consecutive", "repeat_interleave",
}  # fmt: skip
"""Operations whose result the host must see before it can go on."""

_device, _is_cuda = Tensor.device.__get__, Tensor.is_cuda.__get__


class DeviceError(RuntimeError):
    """What CUDA would have refused."""


class PretendedGpu:
    """The context; see the module. kernels, waits and uploads are counted by operator or by line of prosebench."""

    def __init__(self, memory_bytes: int = 80 * 2**30) -> None:
        self.memory_bytes, self.capability = memory_bytes, (9, 0)
        self.kernels: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.uploads: Counter[str] = Counter()
        self.random_states: Counter[str] = Counter()
        self.graph: PretendedGraph | None = None
        self._there: dict[int, StorageWeakRef] = {}

    def __enter__(self) -> "PretendedGpu":
        self._stack = contextlib.ExitStack()
        for patch in _patches(self):
            self._stack.enter_context(patch)
        self._stack.enter_context(_Operators(self))
        self._stack.enter_context(_Calls(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def put(self, tensor: Tensor) -> Tensor:
        """Say that a tensor is on the device."""
        storage = _bare(tensor).untyped_storage()
        if len(self._there) > 100_000:
            self._there = {key: ref for key, ref in self._there.items() if not ref.expired()}
        self._there[storage._cdata] = StorageWeakRef(storage)
        return tensor

    def take(self, tensor: Tensor) -> Tensor:
        """Say that a tensor is on the host."""
        self._there.pop(_bare(tensor).untyped_storage()._cdata, None)
        return tensor

    def has(self, tensor: Tensor) -> bool:
        """Whether a tensor is on the device."""
        with torch._C.DisableTorchFunction():
            tensor = _bare(tensor)
            if tensor.device.type != "cpu" or tensor.layout != torch.strided:
                return False
            ref = self._there.get(tensor.untyped_storage()._cdata)
            return ref is not None and not ref.expired()

    def wait(self) -> None:
        """The host waits for the device."""
        if self.graph:
            raise DeviceError(f"the host waits while a graph is recorded, at {_line()}")
        self.waits[_line()] += 1

    def upload(self) -> None:
        """Something is copied to the device."""
        if self.graph:
            raise DeviceError(f"the host's memory is read while a graph is recorded, at {_line()}")
        self.uploads[_line()] += 1

    def touch_random_state(self) -> Tensor:
        """The random state of the device is read or written."""
        self.random_states[_line()] += 1
        return torch.zeros(16, dtype=torch.uint8)


class PretendedGraph:
    """Takes the place of torch.cuda.CUDAGraph: the operations of a recording, done again on the same tensors."""

    def __init__(self) -> None:
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def keep(self, operator: Any, args: Any) -> None:
        """Remember what an operation is about to write over: to record is not to do."""
        for argument, value in zip(operator._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for one in _tensors(value):
                    storage = one.untyped_storage()
                    self._before.setdefault(storage._cdata, (storage, storage.clone()))

    def undo(self) -> None:
        """Bring back all that the recording has written over."""
        for storage, before in self._before.values():
            storage.copy_(before)
        self._before = {}

    def pool(self) -> tuple[int, int]:
        """Of memory, which is not pretended."""
        return 0, 0

    def replay(self) -> None:
        """Do all operations again; results go where those of the recording lie."""
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch(), torch.no_grad():
            for operator, args, kwargs, before in self.operations:
                again = operator(*args, **kwargs)
                if not operator._schema.is_mutable:
                    for old, new in zip(_tensors(before), _tensors(again), strict=True):
                        old.copy_(new)


class _Calls(TorchFunctionMode):
    """Calls of torch from Python: devices by name, moves between the sides, and what the host looks at."""

    def __init__(self, gpu: PretendedGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        gpu, kwargs = self.gpu, dict(kwargs or {})
        own = args[0] if args and isinstance(args[0], Tensor) else None
        name, there = getattr(func, "__name__", ""), own is not None and gpu.has(own)
        if func == _device and there:
            return GPU
        if func == _is_cuda:
            return there
        if there and name in ("numpy", "__array__"):
            raise DeviceError(f"{name}() of a tensor on the device, at {_line()}")
        if there and name == "tolist":
            gpu.wait()
        if own is not None and name in ("to", "cuda", "cpu"):
            return self._move(own, func, name, args, kwargs)
        if _is_gpu(kwargs.get("device")):
            return self._make(func, args, kwargs)
        if there and name == "new_tensor":
            gpu.upload()
            return gpu.put(func(*args, **kwargs))
        if there and name in ("__getitem__", "__setitem__") and _has_host_index(args[1]):
            gpu.upload()
        return func(*args, **kwargs)

    def _make(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """A tensor that is made on the device, from values of the host or from none."""
        made = func(*args, **kwargs | {"device": "cpu"})
        if not isinstance(made, Tensor) or self.gpu.has(made):
            return made
        if func in (torch.as_tensor, torch.asarray, torch.tensor):
            self.gpu.upload()
            made = made.clone()
        return self.gpu.put(made)

    def _move(self, own: Tensor, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """Between the sides: a copy, in memory of its own."""
        gpu, here = self.gpu, not self.gpu.has(own)
        target = {"cuda": "cuda", "cpu": "cpu"}.get(name, kwargs.pop("device", None))
        rest = []
        for value in args[1:]:
            if isinstance(value, Tensor):
                target = "cuda" if gpu.has(value) else "cpu"
                rest.append(value.dtype)
            elif _is_device(value):
                target = value
                rest.append("cpu")
            else:
                rest.append(value)
        # "cuda" and "cpu" as names of methods have no dtype to go along.
        moved = own if name != "to" or not (rest or kwargs) else func(own, *rest, **kwargs)
        if target is None or _is_gpu(target) != here:
            return moved
        if here:
            gpu.upload()
        else:
            gpu.wait()
        crossed = _Crossing.apply(moved)
        return gpu.put(crossed) if here else gpu.take(crossed)


class _Crossing(torch.autograd.Function):
    """A copy that the count of operations does not see."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        with torch._C._DisableTorchDispatch():
            return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class _Operators(TorchDispatchMode):
    """Every operation, those of backward passes too."""

    def __init__(self, gpu: PretendedGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            return self._run(func, args, kwargs or {})

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        gpu, name = self.gpu, func._schema.name.removeprefix("aten::")
        given = [one for one in _tensors((args, kwargs)) if gpu.has(one) or not _is_nowhere(one)]
        there = [one for one in given if gpu.has(one)]
        if there:
            self._refuse_both_sides(func, name, given, args)
            self._count(func, name, args)
        if there and gpu.graph:
            gpu.graph.keep(func, args)
        result = func(*args, **kwargs)
        if there:
            for one in _tensors(result):
                if not gpu.has(one):
                    gpu.put(one)
            if gpu.graph and not func.is_view and name not in WITHOUT_KERNEL:
                gpu.graph.operations.append((func, args, kwargs, result))
        return result

    def _refuse_both_sides(self, func: Any, name: str, given: list[Tensor], args: Any) -> None:
        """But copies, single numbers of the host, and indices of the host, which travel."""
        gpu = self.gpu
        here = [one for one in given if not gpu.has(one)]
        if not here:
            return None
        if name == "copy_":
            return gpu.upload() if gpu.has(args[0]) else gpu.wait()
        if name.startswith(("index", "_index_put")) and gpu.has(args[0]) and len(args) > 1:
            indices = _tensors(args[1])
            if all(one.dim() == 0 or any(one is index for index in indices) for one in here):
                return gpu.upload()
        if (torch.Tag.pointwise in func.tags or name == "fill_") and all(one.dim() == 0 for one in here):
            return None
        raise DeviceError(f"{name} of tensors on the device and on the host, at {_line()}")

    def _count(self, func: Any, name: str, args: Any) -> None:
        if name in WAITING or _counts_a_mask(name, args):
            self.gpu.wait()
        if not func.is_view and name not in WITHOUT_KERNEL:
            self.gpu.kernels[str(func).removeprefix("aten.")] += 1


def _counts_a_mask(name: str, args: Any) -> bool:
    """Whether a boolean index has to be counted before the shape of the result is known; filling needs no count."""
    if (
        not name.startswith(("index", "_index_put"))
        or len(args) < 2
        or not isinstance(args[1], (list, tuple))
    ):
        return False
    if len(args) > 2 and isinstance(args[2], Tensor) and args[2].dim() == 0 and len(args[1]) == 1:
        return False
    return any(isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8) for one in args[1])


def _patches(gpu: PretendedGpu) -> Iterator[Any]:
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
        "graph": lambda graph, **kwargs: _recording(gpu, graph),
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


def _watched(gpu: PretendedGpu, where: Any) -> Callable[..., Any]:
    """A backward pass in sight of the mode, which torch takes off: checkpoints compute forward passes in it."""
    run = where._engine_run_backward

    def backward(*args: Any, **kwargs: Any) -> Any:
        with _Calls(gpu):
            return run(*args, **kwargs)

    return backward


def _by_side(gpu: PretendedGpu, grouped: Callable[..., Any]) -> Callable[..., Any]:
    """torch's grouping by device, which is done out of sight of the modes."""

    def group(tensors: Any, *args: Any) -> Any:
        there = all(gpu.has(one) for one in tensors[0])
        return {
            (GPU if there else device, dtype): rest
            for (device, dtype), rest in grouped(tensors, *args).items()
        }

    return group


@contextlib.contextmanager
def _recording(gpu: PretendedGpu, graph: PretendedGraph) -> Iterator[None]:
    gpu.graph = graph
    try:
        yield
    finally:
        gpu.graph = None
        graph.undo()


def _tensors(values: Any) -> list[Tensor]:
    return [one for one in tree_leaves(values) if isinstance(one, Tensor)]


def _bare(tensor: Tensor) -> Tensor:
    """Without the wrappers of torch.func."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def _is_nowhere(tensor: Tensor) -> bool:
    """Zeros that forward derivatives make of nothing: one number, expanded."""
    if tensor._is_zerotensor():
        return True
    bare = _bare(tensor)
    return (
        bare.dim() > 0 and not any(bare.stride()) and bare.untyped_storage().nbytes() == bare.element_size()
    )


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (
        isinstance(value, str) and value.split(":")[0] in ("cpu", "cuda")
    )


def _is_gpu(value: Any) -> bool:
    return _is_device(value) and str(value).startswith("cuda")


def _has_host_index(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(one, (list, range)) or type(one).__module__ == "numpy" for one in parts)


def _line() -> str:
    """The innermost line of prosebench on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(OWN):
            return f"{frame.f_code.co_filename.removeprefix(ROOT + '/')}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"
