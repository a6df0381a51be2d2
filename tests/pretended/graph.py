"""CUDA graphs of the pretended GPU."""

from typing import Any

import torch

from tests.pretended.sides import tensors_in


class PretendedGraph:
    """Takes the place of torch.cuda.CUDAGraph: the operations of a recording, done again on the same tensors."""

    def __init__(self) -> None:
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def keep(self, operator: Any, args: Any) -> None:
        """Remember what an operation is about to write over: to record is not to do."""
        for argument, value in zip(operator._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for one in tensors_in(value):
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
                    for old, new in zip(tensors_in(before), tensors_in(again), strict=True):
                        old.copy_(new)
