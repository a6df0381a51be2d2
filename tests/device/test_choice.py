"""The device of networks: never the CPU in silence where a GPU was given, and never a GPU without kernels for it."""

import pytest
import torch

from prosebench.flows.device import DeviceError, choose_device, describe_device
from prosebench.flows.gpus import allotted_gpus, bind_gpu, visible_gpus
from tests.pretended.gpu import PretendedGpu

WITHOUT_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU that works")


@WITHOUT_CUDA
@pytest.mark.parametrize("variable", ["CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS"])
def test_an_allotted_gpu_that_cannot_be_used_is_refused_with_the_reason(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "PROSEBENCH_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    assert choose_device() == "cpu"
    monkeypatch.setenv(variable, "2,3")
    with pytest.raises(DeviceError) as refused:
        choose_device()
    said = str(refused.value)
    assert "GPU 2,3 is allotted" in said
    assert "is built for CPUs alone" in said or "no NVIDIA driver" in said
    assert "PROSEBENCH_DEVICE=cpu" in said
    monkeypatch.setenv("PROSEBENCH_DEVICE", "cpu")
    assert choose_device() == "cpu"


@pytest.mark.parametrize("nothing", ["", "-1", "NoDevFiles"])
def test_no_gpu_is_allotted_where_the_scheduler_says_so(
    nothing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", nothing)
    monkeypatch.delenv("PROSEBENCH_DEVICE", raising=False)
    assert allotted_gpus() == visible_gpus() == []
    assert choose_device() == "cpu"


def test_workers_take_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    for index in range(3):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7f")
        bind_gpu(index)
        taken += visible_gpus()
    assert taken == ["4", "GPU-7f", "4"]


def test_a_gpu_that_torch_has_no_kernels_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROSEBENCH_DEVICE", raising=False)
    with PretendedGpu() as gpu:
        assert choose_device() == "cuda"
        assert describe_device("cuda:0").startswith("cuda: pretended GPU")
        gpu.capability = (7, 0)
        with pytest.raises(
            DeviceError, match=r"architecture sm_70, and torch .* has kernels for sm_80, sm_90"
        ):
            choose_device("cuda:0")
        gpu.capability = (8, 6)
        assert choose_device("cuda:0") == "cuda:0"
