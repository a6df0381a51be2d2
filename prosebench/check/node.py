"""What a compute node can do, tried and not asked: a kernel on every GPU, an energy on every OpenMM platform, a sum
over all GPUs, the MPI world. The last word is for which rows of a suite the node is ready, and which were not tried.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from prosebench.check.doctor import Finding

KERNEL_ROWS = 512
KERNEL_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.2}
"""The largest allowed deviation of a product of two random matrices of KERNEL_ROWS rows from the product in
double precision, relative to the spread of that product."""
ENERGY_TOLERANCE_KJ_MOL = 0.05
REDUCE_SECONDS = 120

Part = Literal["dynamics", "networks", "ranks"]
ROWS = {
    "dynamics": "md, md-replicas, parallel-tempering, references",
    "networks": "flows, annealing from them, training",
    "ranks": "cells over several ranks",
}
"""The rows of a suite, by the part of a node that they need."""


@dataclass(frozen=True)
class NodeFinding(Finding):
    """A finding with the rows that cannot run where it is "missing", and were not tried where it is "absent"."""

    part: Part | None = None


def examine_node() -> Iterator[NodeFinding]:
    """Examine this node, one finding after the other; nothing is written."""
    cores = len(os.sched_getaffinity(0))
    yield NodeFinding("node", "ok", f"{socket.gethostname()}: {cores} cores, {_memory_gb():.0f} GB")
    yield from _gpus()
    yield from _openmm()
    yield _native()
    yield _mpi()


def verdict(findings: Sequence[NodeFinding]) -> tuple[str, bool]:
    """The last line, and whether the node is ready for everything that was tried."""
    broken = {one.part: one for one in reversed(findings) if one.state == "missing" and one.part}
    untried = {one.part: one for one in findings if one.state == "absent" and one.part not in (None, *broken)}
    ready = [rows for part, rows in ROWS.items() if part not in broken and part not in untried]
    where = "GPU" if any(one.what.startswith("GPU ") and one.state == "ok" for one in findings) else "CPU"
    said = f"ready for {'; '.join(ready)} (networks on the {where})" if ready else "ready for nothing"
    lines = [f"not for {ROWS[part]}: {one.what}: {one.found}" for part, one in broken.items() if part]
    lines += [f"not tried: {ROWS[part]}: {one.what}: {one.found}" for part, one in untried.items() if part]
    return "; ".join([said, *lines]), not broken


def _memory_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _gpus() -> Iterator[NodeFinding]:
    import torch

    from prosebench.flows.device import DeviceError, choose_device, why_no_gpu
    from prosebench.flows.gpus import allotted_gpus, driver_version

    try:
        chosen = choose_device()
    except DeviceError as error:
        yield NodeFinding("GPUs", "missing", str(error), "networks")
        return
    if not torch.cuda.is_available():
        why = (
            f"none is allotted; {why_no_gpu()}"
            if not allotted_gpus()
            else f"left alone: networks on {chosen}"
        )
        yield NodeFinding("GPUs", "absent", why)
        return
    yield NodeFinding("driver", "ok", f"{driver_version() or 'unknown'}, torch for CUDA {torch.version.cuda}")
    for index in range(torch.cuda.device_count()):
        yield _kernel(f"cuda:{index}")
    yield _all_reduce("nccl", torch.cuda.device_count())


def _kernel(device: str) -> NodeFinding:
    """Matrix products in the precisions of networks, on one GPU, against double precision on the CPU."""
    import torch

    from prosebench.flows.device import DeviceError, choose_device

    what = f"GPU {device.removeprefix('cuda:')}"
    try:
        choose_device(device)
        deviations = {name: product_deviation(device, name) for name in KERNEL_TOLERANCE}
    except (DeviceError, RuntimeError) as error:
        return NodeFinding(what, "missing", str(error).splitlines()[0], "networks")
    free, total = torch.cuda.mem_get_info(device)
    major, minor = torch.cuda.get_device_capability(device)
    memory = f"{free / 2**30:.0f} of {total / 2**30:.0f} GB free"
    found = f"{torch.cuda.get_device_name(device)}, sm_{major}{minor}, {memory}"
    wrong = [name for name, value in deviations.items() if not value < KERNEL_TOLERANCE[name]]
    if wrong:
        return NodeFinding(what, "missing", f"{found}; its products in {wrong[0]} are wrong", "networks")
    return NodeFinding(what, "ok", found)


def product_deviation(device: str, dtype: str) -> float:
    """Largest deviation of a matrix product on a device from that in double precision, relative to its spread."""
    import torch

    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, KERNEL_ROWS, KERNEL_ROWS, generator=generator).to(getattr(torch, dtype))
    exact = a.double() @ b.double()
    found = (a.to(device) @ b.to(device)).cpu().double()
    return float((found - exact).abs().max() / exact.std())


def _all_reduce(backend: str, world: int) -> NodeFinding:
    """A sum over `world` processes of a GPU each, as training over several does it."""
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    try:
        done = subprocess.run(
            [*line, "-m", "prosebench.check.all_reduce", backend],
            capture_output=True,
            text=True,
            timeout=REDUCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return NodeFinding(
            "all-reduce", "missing", f"{backend} gave no sum in {REDUCE_SECONDS} s", "networks"
        )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return NodeFinding(
            "all-reduce", "missing", f"{backend} over {world} processes failed: {said}", "networks"
        )
    return NodeFinding("all-reduce", "ok", f"{backend} over {world} processes")


def _openmm() -> Iterator[NodeFinding]:
    """An energy on every platform against Reference's; and why plug-ins were not loaded."""
    import numpy as np
    import openmm

    from prosebench.energy.openmm import OpenMMEnergy, platforms
    from prosebench.energy.target import kt_kj_mol
    from prosebench.peptide import Peptide

    peptide = Peptide.from_sequence("AA")
    frames = peptide.start_nm[None]
    expected = OpenMMEnergy(peptide, platform="Reference").energy(frames)
    for name in platforms():
        try:
            target = OpenMMEnergy(peptide, platform=name)
            deviation = float(np.abs(target.energy(frames) - expected).max()) * kt_kj_mol(
                target.temperature_kelvin
            )
        except (openmm.OpenMMException, ValueError) as error:
            yield NodeFinding(f"OpenMM {name}", "absent", str(error).splitlines()[0])
            continue
        device = target.describe().get("device", "this machine's cores")
        if deviation > ENERGY_TOLERANCE_KJ_MOL:
            yield NodeFinding(
                f"OpenMM {name}", "missing", f"wrong by {deviation:.2g} kJ/mol on {device}", "dynamics"
            )
        else:
            yield NodeFinding(f"OpenMM {name}", "ok", f"{device}, within {deviation:.0e} kJ/mol of Reference")
    for failure in openmm.Platform.getPluginLoadFailures():
        if "libOpenMMCUDA.so" in failure.split(": ")[0] or "libOpenMMOpenCL.so" in failure.split(": ")[0]:
            yield NodeFinding("OpenMM plug-in", "absent", failure.rpartition("/")[2].splitlines()[0])


def _native() -> NodeFinding:
    from prosebench.energy.gate import GateClosed, make_gate, pass_gate
    from prosebench.energy.settings import TargetSettings, make_target
    from prosebench.peptide import Peptide

    peptide, settings = Peptide.from_sequence("AA"), TargetSettings()
    target = make_target(peptide, settings)
    try:
        deviation = pass_gate(make_gate(peptide, settings.force_field), target)
    except GateClosed as error:
        return NodeFinding("energies", "missing", str(error), "dynamics")
    said = ", ".join(str(value) for value in target.describe().values())
    return NodeFinding("energies", "ok", f"{said}, within {deviation:.1e} kJ/mol of Reference")


def task_number() -> int:
    """Number of this process among those that a launcher has started together; 0 where none has."""
    return _told(("SLURM_PROCID", "PMI_RANK", "OMPI_COMM_WORLD_RANK"), 0)


def _told(variables: Sequence[str], otherwise: int) -> int:
    """The number in the first of these environment variables that is set."""
    return int(next((os.environ[name] for name in variables if name in os.environ), otherwise))


def _mpi() -> NodeFinding:
    """The world that a launcher has made of this very command; one process where none has."""
    tasks = _told(("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"), 1)
    if find_spec("mpi4py") is None:
        state: Literal["absent", "missing"] = "missing" if tasks > 1 else "absent"
        return NodeFinding(
            "MPI", state, "mpi4py is not installed; pip install 'prosebench[cluster]'", "ranks"
        )
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        return NodeFinding("MPI", "missing" if tasks > 1 else "absent", str(error).splitlines()[0], "ranks")
    size, library = MPI.COMM_WORLD.size, MPI.Get_library_version().split("\n")[0].strip("\x00 ")[:60]
    if size != tasks:
        return NodeFinding("MPI", "missing", f"{tasks} tasks, but a world of {size} ({library})", "ranks")
    if size == 1:
        found = f"a world of 1 ({library}); start this command by srun or mpirun to try several"
        return NodeFinding("MPI", "absent", found, "ranks")
    return NodeFinding("MPI", "ok", f"a world of {size} ({library})")
