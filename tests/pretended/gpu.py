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
from collections import Counter

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from tests.pretended.answers import patches
from tests.pretended.graph import PretendedGraph
from tests.pretended.modes import Calls, Operators
from tests.pretended.sides import DeviceError, bare, line


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
        for patch in patches(self):
            self._stack.enter_context(patch)
        self._stack.enter_context(Operators(self))
        self._stack.enter_context(Calls(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def put(self, tensor: Tensor) -> Tensor:
        """Say that a tensor is on the device."""
        storage = bare(tensor).untyped_storage()
        if len(self._there) > 100_000:
            self._there = {key: ref for key, ref in self._there.items() if not ref.expired()}
        self._there[storage._cdata] = StorageWeakRef(storage)
        return tensor

    def take(self, tensor: Tensor) -> Tensor:
        """Say that a tensor is on the host."""
        self._there.pop(bare(tensor).untyped_storage()._cdata, None)
        return tensor

    def has(self, tensor: Tensor) -> bool:
        """Whether a tensor is on the device."""
        with torch._C.DisableTorchFunction():
            tensor = bare(tensor)
            if tensor.device.type != "cpu" or tensor.layout != torch.strided:
                return False
            ref = self._there.get(tensor.untyped_storage()._cdata)
            return ref is not None and not ref.expired()

    def wait(self) -> None:
        """The host waits for the device."""
        if self.graph:
            raise DeviceError(f"the host waits while a graph is recorded, at {line()}")
        self.waits[line()] += 1

    def upload(self) -> None:
        """Something is copied to the device."""
        if self.graph:
            raise DeviceError(f"the host's memory is read while a graph is recorded, at {line()}")
        self.uploads[line()] += 1

    def touch_random_state(self) -> Tensor:
        """The random state of the device is read or written."""
        self.random_states[line()] += 1
        return torch.zeros(16, dtype=torch.uint8)
