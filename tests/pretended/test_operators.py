"""What flows and training call on a GPU exists there: their operators have kernels in torch's build for CUDA."""

import pytest
import torch

from tests.pretended.operators import ATTENTION, has_kernel, listed, on_cuda


@pytest.mark.parametrize("device", ["CPU", *(["CUDA"] if torch.version.cuda else [])])
def test_kernels_are_those_that_torch_has_registered(device: str) -> None:
    """As this process has them: for CUDA where torch is built for it, with or without a GPU."""
    registered = torch._C._dispatch_has_computed_kernel_for_dispatch_key
    found = has_kernel(device)
    assert [name for name in found if found[name] != registered(f"aten::{name}", device)] == []


def test_every_operator_that_is_used_has_a_kernel_on_cuda() -> None:
    lacking = [name for name in sorted(on_cuda(listed())) if not has_kernel("CUDA").get(name)]
    assert not lacking, f"torch {torch.__version__} has no kernels for CUDA of {lacking}"


@pytest.mark.parametrize("name", [f"{ATTENTION}_for_cpu", "mkldnn_linear", "mkl._mkl_linear"])
def test_an_operator_of_cpus_alone_is_found_out(name: str) -> None:
    assert not has_kernel("CUDA").get(name)
