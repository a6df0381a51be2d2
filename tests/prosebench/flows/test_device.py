"""Devices of torch: which one is chosen, which GPU has kernels, and settings that are put back."""

import contextlib

import pytest
import torch

from prosebench.flows.device import (
    DeviceError,
    choose_device,
    describe_device,
    is_gpu,
    repeatable,
    tf32,
    why_too_new_or_old,
)
from tests.pretended.gpu import PretendedGpu


def test_a_device_by_its_name_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROSEBENCH_DEVICE", "abacus")
    assert choose_device("cpu") == "cpu"
    with pytest.raises(DeviceError, match=r"there is no device 'abacus' here \(.*\); give cpu, or cuda"):
        choose_device()
    assert describe_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("own", "built", "fits"),
    [
        ((9, 0), ["sm_80", "sm_90"], True),
        # Binaries run on later minor versions of their own architecture alone.
        ((8, 6), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80"], False),
        # PTX is compiled for all that came later.
        ((12, 0), ["sm_90", "compute_90"], True),
        ((7, 0), ["sm_80", "compute_80"], False),
        # Variants with a letter behind the number.
        ((9, 0), ["sm_90a"], True),
        ((12, 1), ["sm_120f"], True),
        ((10, 3), ["sm_100", "sm_120"], True),
        ((12, 0), ["sm_100"], False),
        # Nothing is known of it: nobody is turned away for that.
        ((9, 0), [], True),
        ((9, 0), ["gfx90a"], True),
    ],
)
def test_kernels_fit_architectures(
    own: tuple[int, int], built: list[str], fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PretendedGpu() as gpu:
        gpu.capability = own
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)
        said = why_too_new_or_old("cuda:0")
    assert (said is None) == fits
    if said:
        assert f"sm_{own[0]}{own[1]}" in said
        assert ", ".join(built) in said


@pytest.mark.parametrize(
    ("device", "gpu"), [("cpu", False), ("cuda", True), ("cuda:3", True), (torch.device("cuda", 1), True)]
)
def test_gpus_are_told_by_their_kind(device: str, gpu: bool) -> None:
    assert is_gpu(device) == gpu


@pytest.mark.parametrize("allowed", [True, False])
def test_the_precision_of_products_is_put_back_whatever_happens(allowed: bool) -> None:
    before = torch.backends.cuda.matmul.fp32_precision
    with contextlib.suppress(ZeroDivisionError), tf32(allowed):
        assert torch.backends.cuda.matmul.fp32_precision == ("tf32" if allowed else "ieee")
        raise ZeroDivisionError
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_only_a_gpu_is_asked_for_sums_that_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with repeatable("cpu"):
        assert not torch.are_deterministic_algorithms_enabled()
    with contextlib.suppress(ZeroDivisionError), repeatable("cuda:0"):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        raise ZeroDivisionError
    assert not torch.are_deterministic_algorithms_enabled()
