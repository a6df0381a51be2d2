"""The device of torch that a network computes on: chosen, checked by a real kernel, and described for the record."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from prosebench.flows.gpus import allotted_gpus, driver_version

DEVICE_VARIABLE = "PROSEBENCH_DEVICE"
"""The environment variable that names the device of all networks of a process, unless a caller names one.
"cpu" leaves GPUs unused that were allotted to the process."""


class DeviceError(ValueError):
    """A device that cannot be used; the message says why, and what to do."""


def choose_device(name: str | None = None) -> str:
    """A device by its name, such as cpu or cuda:1; without one, that of PROSEBENCH_DEVICE, or else the first GPU.

    The CPU where there is no GPU. Raises DeviceError for a device that is not there or runs no kernel, and for GPUs
    that were allotted to this process but cannot be used: to compute on the CPU all the same, ask for it.
    """
    name = name or os.environ.get(DEVICE_VARIABLE) or _first_device()
    try:
        kind = torch.device(name).type
        works = float(torch.ones(2, device=name).add(1.0).sum()) == 4.0
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # torch built without CUDA raises an AssertionError.
        reason = why_no_gpu() if str(name).startswith("cuda") else str(error).splitlines()[0][:80]
        raise DeviceError(
            f"there is no device {name!r} here ({reason}); give cpu, or cuda on a machine with a GPU"
        ) from error
    if not works:
        raise DeviceError(f"device {name!r} adds 1 and 1 to something else than 2; do not use it")
    if kind == "cuda" and (unfit := why_too_new_or_old(name)):
        raise DeviceError(f"device {name!r} cannot be used: {unfit}")
    return name


def _first_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    if allotted := allotted_gpus():
        raise DeviceError(
            f"GPU {','.join(allotted)} is allotted to this process, but cannot be used: {why_no_gpu()}. To compute on "
            f"the CPU all the same, set {DEVICE_VARIABLE}=cpu (in a cluster profile: under `environment`)"
        )
    return "cpu"


def why_no_gpu() -> str:
    """The reason why torch cannot use a GPU here: its wheel, the driver, or what CUDA says."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built for CPUs alone; install its wheel for CUDA"
    if not driver_version():
        return f"there is no NVIDIA driver on this machine (torch is built for CUDA {torch.version.cuda})"
    try:
        torch.cuda.init()
        count = torch.cuda.device_count()
    except RuntimeError as error:
        said = str(error).splitlines()[0]
        return f"driver {driver_version()}, torch for CUDA {torch.version.cuda}: {said}"
    return f"CUDA sees {count} devices (driver {driver_version()}, torch for CUDA {torch.version.cuda})"


def why_too_new_or_old(device: str) -> str | None:
    """Why torch has no kernels for the architecture of a GPU, or None where it has."""
    major, minor = torch.cuda.get_device_capability(device)
    built = torch.cuda.get_arch_list()
    known = [one.partition("_") for one in built if one.partition("_")[2].rstrip("af").isdigit()]
    numbers = [(kind, divmod(int(number.rstrip("af")), 10)) for kind, _, number in known]
    # Binaries run on later minor versions of their architecture; PTX is compiled for all later ones.
    fits = [
        (kind == "sm" and own[0] == major and own[1] <= minor)
        or (kind == "compute" and own <= (major, minor))
        for kind, own in numbers
    ]
    if any(fits) or not numbers:
        return None
    return (
        f"it is of architecture sm_{major}{minor}, and torch {torch.__version__} has kernels for {', '.join(built)}; "
        "install a torch that is built for it"
    )


def describe_device(device: str) -> str:
    """A device with its name and driver, for the record: "cpu", or "cuda: NVIDIA H100, driver 550.54, CUDA 12.8"."""
    if not is_gpu(device):
        return device
    driver = f", driver {driver_version()}" if driver_version() else ""
    return f"cuda: {torch.cuda.get_device_name(device)}{driver}, CUDA {torch.version.cuda}"


def is_gpu(device: str | torch.device) -> bool:
    """Whether a device is a GPU."""
    return torch.device(device).type == "cuda"


def memory_bytes(device: str | torch.device) -> int:
    """The whole memory of a GPU in bytes. What is free now would make numbers depend on who else uses it."""
    return int(torch.cuda.get_device_properties(device).total_memory)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Within this context, float32 matrix products on a GPU may, or may not, round their factors to 10 bits
    of mantissa."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32" if allowed else "ieee"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


@contextmanager
def repeatable(device: str | torch.device) -> Iterator[None]:
    """Within this context, kernels of a GPU give the same sums every time, where torch has such kernels; it
    warns where not."""
    if not is_gpu(device):
        yield
        return
    # cuBLAS reads this when it first makes a handle.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before, warned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
