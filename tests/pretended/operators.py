"""Operators of torch that flows and training use on a GPU, and operators that have a kernel there.

`operators.txt` lists the former: every scenario is held to it on the pretended GPU, backward passes and optimisers
included. Energies are not among them: on a GPU they are kernels of Warp, compiled when they are first used. Which
operators have a kernel is read from native_functions.yaml, the file from which torch's own table of kernels is
generated. Each wheel of torch brings it, and it is the same in those for CPUs and for CUDA. That an operator has a
kernel says nothing of each kind of number: some have none for bfloat16.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import torchgen
from torchgen.gen import parse_native_yaml
from torchgen.model import DispatchKey

from tests.pretended.gpu import PretendedGpu

LIST = Path(__file__).with_name("operators.txt")
ATTENTION = "_scaled_dot_product_flash_attention"
IN_PLACE_OF = {
    f"{ATTENTION}_for_cpu": (ATTENTION, "_scaled_dot_product_efficient_attention"),
    f"{ATTENTION}_for_cpu_backward": (
        f"{ATTENTION}_backward",
        "_scaled_dot_product_efficient_attention_backward",
    ),
}
"""What torch calls on a CPU alone, for attention, and what on a GPU instead."""


def listed() -> set[str]:
    """Operators of the list: name, or name.overload."""
    return {line for line in LIST.read_text().splitlines() if line and not line.startswith("#")}


def used(gpu: PretendedGpu) -> set[str]:
    """Operators that were launched on the pretended GPU; those outside of aten with the name of their library."""
    return {name.removesuffix(".default") for name in gpu.kernels}


def on_cuda(operators: set[str]) -> set[str]:
    """The operators that are called on a GPU where these are called on a CPU."""
    return {other for one in operators for other in IN_PLACE_OF.get(one, (one,))}


@cache
def has_kernel(device: Literal["CPU", "CUDA"]) -> Mapping[str, bool]:
    """Of each operator of aten, whether this version of torch has a kernel for it on a kind of device: an own one, one
    that it shares with a variant of the operator (`structured_delegate`), or one made of other operators."""
    folder = Path(torchgen.__file__).parent / "packaged/ATen/native"
    parsed = parse_native_yaml(str(folder / "native_functions.yaml"), str(folder / "tags.yaml"))
    own = parsed.backend_indices[DispatchKey.parse(device)]
    return {
        str(one.func.name): bool(own.has_kernel(one) or one.structured_delegate or one.has_composite_kernel)
        for one in parsed.native_functions
    }
