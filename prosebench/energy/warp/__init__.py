"""Energies, gradients and Langevin dynamics on a GPU: one warp of threads a replica, its state on the chip.

The kernels are written in NVIDIA Warp's subset of Python, which NVRTC compiles for a GPU, and LLVM for the CPU, where
tests run them. Read them in this order: molecule.py (parameters), replica.py (state), bonded.py, born.py, pairs.py
(energy), noise.py, kernels.py (dynamics), engine.py (batches). Warp comes with `pip install 'prosebench[gpu]'` and is
imported when an engine is made.
"""

import ctypes
from typing import TYPE_CHECKING

from prosebench.energy.parameters.terms import EnergyParameters

if TYPE_CHECKING:
    from prosebench.energy.warp.engine import WarpEnergy


class WarpUnavailable(RuntimeError):
    """Warp is not installed, or has no such device here; the message says what to do."""


def make_warp_energy(parameters: EnergyParameters, device: str = "cuda") -> "WarpEnergy":
    """The engine of a molecule on a device of Warp: "cuda", or "cpu" for tests.

    Raises WarpUnavailable, and UnsupportedForce for a solvent that the kernels' series do not reach.
    """
    reason = why_unavailable(device)
    if reason is not None:
        raise WarpUnavailable(reason)
    if parameters.gb is not None:
        parameters.gb.check_series(parameters.cutoff_nm)
    from prosebench.energy.warp.engine import WarpEnergy

    return WarpEnergy(parameters, device)


def why_unavailable(device: str = "cuda") -> str | None:
    """Why there are no energies on a device, and what to do about it; None where there are."""
    try:
        import warp
    except ImportError as error:
        return f"energies on a GPU need NVIDIA Warp ({error}); install it: pip install 'prosebench[gpu]'"
    problem = None if device == "cpu" else _driver_problem()
    if problem is None:
        warp.config.log_level = warp.LOG_ERROR
        warp.init()
        if device == "cpu" or warp.is_cuda_available():
            return None
        problem = f"Warp {warp.__version__} cannot use the driver, or there is no GPU"
    return (
        f"energies on device {device!r} need an NVIDIA GPU with its driver ({problem}); ask for a node with a GPU, "
        "where nvidia-smi shows it, or compute on the CPU: --set target.device=cpu"
    )


def _driver_problem() -> str | None:
    """Why the library of NVIDIA's driver does not load; None where it does."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return str(error)
    return None
