"""What the pretended GPU sees: calls of torch from Python, and every operation."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.pretended.sides import DeviceError, has_host_index, is_device, is_gpu, is_nowhere, line, tensors_in

if TYPE_CHECKING:
    from tests.pretended.gpu import PretendedGpu

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


class Calls(TorchFunctionMode):
    """Calls of torch from Python: devices by name, moves between the sides, and what the host looks at."""

    def __init__(self, gpu: "PretendedGpu") -> None:
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
            raise DeviceError(f"{name}() of a tensor on the device, at {line()}")
        if there and name == "tolist":
            gpu.wait()
        if own is not None and name in ("to", "cuda", "cpu"):
            return self._move(own, func, name, args, kwargs)
        if is_gpu(kwargs.get("device")):
            return self._make(func, args, kwargs)
        if there and name == "new_tensor":
            gpu.upload()
            return gpu.put(func(*args, **kwargs))
        if there and name in ("__getitem__", "__setitem__") and has_host_index(args[1]):
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
            elif is_device(value):
                target = value
                rest.append("cpu")
            else:
                rest.append(value)
        # "cuda" and "cpu" as names of methods have no dtype to go along.
        moved = own if name != "to" or not (rest or kwargs) else func(own, *rest, **kwargs)
        if target is None or is_gpu(target) != here:
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


class Operators(TorchDispatchMode):
    """Every operation, those of backward passes too."""

    def __init__(self, gpu: "PretendedGpu") -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            return self._run(func, args, kwargs or {})

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        gpu, name = self.gpu, func._schema.name.removeprefix("aten::")
        given = [one for one in tensors_in((args, kwargs)) if gpu.has(one) or not is_nowhere(one)]
        there = [one for one in given if gpu.has(one)]
        if there:
            self._refuse_both_sides(func, name, given, args)
            self._count(func, name, args)
        if there and gpu.graph:
            gpu.graph.keep(func, args)
        result = func(*args, **kwargs)
        if there:
            for one in tensors_in(result):
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
            indices = tensors_in(args[1])
            if all(one.dim() == 0 or any(one is index for index in indices) for one in here):
                return gpu.upload()
        if (torch.Tag.pointwise in func.tags or name == "fill_") and all(one.dim() == 0 for one in here):
            return None
        raise DeviceError(f"{name} of tensors on the device and on the host, at {line()}")

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
