"""The GPUs of this machine as scheduler and driver name them, seen without torch, which takes seconds to load."""

import os
import sys
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
_ALLOTTED = (VISIBLE, "SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
"""The environment variables in which a scheduler says which GPUs a process may use. The first one that is set
counts."""
_NONE = ("", "-1", "none", "nodevfiles")
_DRIVER, _DRIVER_VERSION = Path("/proc/driver/nvidia/gpus"), Path("/sys/module/nvidia/version")


def allotted_gpus() -> list[str]:
    """Names of the GPUs that a scheduler, or whoever set CUDA_VISIBLE_DEVICES, gave this process; none where nothing
    says so."""
    for variable in _ALLOTTED:
        if variable in os.environ:
            found = [one.strip() for one in os.environ[variable].split(",")]
            return [] if found[0].lower() in _NONE else found
    return []


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process sees, as CUDA_VISIBLE_DEVICES takes them: those that it has, or all."""
    if VISIBLE in os.environ:
        return allotted_gpus()
    return [str(index) for index, _ in enumerate(sorted(_DRIVER.glob("*")))]


def bind_gpu(index: int) -> None:
    """Leave one GPU visible to this process. The worker or rank with index 0 gets the first one, the next
    gets another, as far as they go."""
    found = visible_gpus()
    if found:
        os.environ[VISIBLE] = found[index % len(found)]


def driver_version() -> str:
    """Version of the NVIDIA driver; empty where there is none."""
    return _DRIVER_VERSION.read_text().strip() if _DRIVER_VERSION.exists() else ""


def allocations() -> list[int]:
    """Allocations of torch on each GPU so far; none where torch is not loaded, or has not touched a GPU yet."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return []
    found = [torch.cuda.memory_stats(index) for index in range(torch.cuda.device_count())]
    return [int(one.get("allocation.all.allocated", 0)) for one in found]


def used_since(before: list[int]) -> list[int]:
    """The GPUs on which torch has allocated memory since `allocations` gave these numbers."""
    earlier = before + [0] * len(allocations())
    return [index for index, number in enumerate(allocations()) if number > earlier[index]]
