"""Where tensors are, and which line of prosebench asks for them."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

ROOT = str(Path(__file__).resolve().parents[2])
OWN = tuple(f"{ROOT}/{folder}/" for folder in ("prosebench", "baselines", "jobs"))


class DeviceError(RuntimeError):
    """What CUDA would have refused."""


def tensors_in(values: Any) -> list[Tensor]:
    return [one for one in tree_leaves(values) if isinstance(one, Tensor)]


def bare(tensor: Tensor) -> Tensor:
    """Without the wrappers of torch.func."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def is_nowhere(tensor: Tensor) -> bool:
    """Zeros that forward derivatives make of nothing: one number, expanded."""
    if tensor._is_zerotensor():
        return True
    inner = bare(tensor)
    return (
        inner.dim() > 0
        and not any(inner.stride())
        and inner.untyped_storage().nbytes() == inner.element_size()
    )


def is_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (
        isinstance(value, str) and value.split(":")[0] in ("cpu", "cuda")
    )


def is_gpu(value: Any) -> bool:
    return is_device(value) and str(value).startswith("cuda")


def has_host_index(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(one, (list, range)) or type(one).__module__ == "numpy" for one in parts)


def line() -> str:
    """The innermost line of prosebench on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(OWN):
            return f"{frame.f_code.co_filename.removeprefix(ROOT + '/')}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"
