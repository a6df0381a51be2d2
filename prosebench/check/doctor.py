"""What this machine can do for prosebench: versions, devices, engines, hub; each with its remedy."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from prosebench.check.comparison import Check

_PACKAGES = ("prosebench", "numpy", "scipy", "scikit-learn", "torch", "openmm", "mdtraj", "deeptime", "POT")

Checker = Callable[[Path], list[Check]]


@dataclass(frozen=True)
class Finding:
    """One line of the report: needed things are "ok" or "missing", optional ones "ok" or "absent"."""

    what: str
    state: Literal["ok", "absent", "missing"]
    found: str


def examine() -> Iterator[Finding]:
    """Everything worth knowing about this machine, one finding after the other."""
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")
    for package in _PACKAGES:
        yield _package(package)
    yield Finding("cores", "ok", f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}")
    yield _gpus()
    yield _openmm_platforms()
    yield _native_kernel()
    yield _gpu_energies()
    yield _exact_transport()
    yield _openmm_energy()
    yield _mpi()
    yield _hub()
    yield _published_data()


def check_vectors(folder: Path, checkers: Mapping[str, Checker]) -> Iterator[tuple[Path, list[Check] | None]]:
    """Compare every conformance file of a folder; None for a kind of file that no checker knows.

    checkers maps the beginning of a file's name to the function that checks such files. Raises FileNotFoundError
    where the folder holds no such file.
    """
    paths = sorted(path for path in folder.iterdir() if path.name.endswith((".npz", ".json", ".json.gz")))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no conformance file (.npz, .json, .json.gz)")
    for path in paths:
        checker = next((check for kind, check in checkers.items() if path.name.startswith(kind)), None)
        yield path, checker(path) if checker else None


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "missing", f"install it: pip install {name}")


def _gpus() -> Finding:
    if find_spec("torch") is None:
        return Finding("gpu", "absent", "torch is not installed")
    import torch

    if not torch.cuda.is_available():
        return Finding("gpu", "absent", "torch sees no CUDA device; everything runs on the CPU")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding("gpu", "ok", f"{len(names)}: {', '.join(names)} (torch for CUDA {torch.version.cuda})")


def _openmm_platforms() -> Finding:
    from prosebench.energy.openmm import platforms

    return Finding("OpenMM platforms", "ok", ", ".join(platforms()))


def _native_kernel() -> Finding:
    from prosebench.energy import native

    if native.available():
        return Finding("native energy kernel", "ok", native.instruction_set())
    return Finding(
        "native energy kernel",
        "absent",
        f"{native.why_unavailable()}; OpenMM computes instead, some 200 times slower",
    )


def _gpu_energies() -> Finding:
    from prosebench.energy import warp

    reason = warp.why_unavailable()
    return Finding("energies on a GPU", "absent" if reason else "ok", reason or "by NVIDIA Warp")


def _exact_transport() -> Finding:
    from prosebench import transport
    from prosebench.energy import native

    if transport.available():
        return Finding("native exact transport", "ok", native.instruction_set())
    reason = transport.why_unavailable()
    return Finding(
        "native exact transport", "absent", f"{reason}; POT's network simplex is used, which is slower"
    )


def _openmm_energy() -> Finding:
    """Real physics, once: the default engine against OpenMM's Reference platform."""
    from prosebench.energy.gate import GateClosed, make_gate, pass_gate
    from prosebench.energy.settings import TargetSettings, make_target
    from prosebench.peptide import Peptide

    peptide, settings = Peptide.from_sequence("AA"), TargetSettings()
    try:
        deviation = pass_gate(make_gate(peptide, settings.force_field), make_target(peptide, settings))
    except GateClosed as error:
        return Finding("energy of AA", "missing", str(error))
    return Finding("energy of AA", "ok", f"within {deviation:.1e} kJ/mol of OpenMM's Reference platform")


def _mpi() -> Finding:
    if find_spec("mpi4py") is None:
        return Finding(
            "MPI", "absent", "mpi4py is not installed (pip install 'prosebench[cluster]'); one rank a cell"
        )
    launcher = next(
        (name for name in ("srun", "mpiexec", "mpirun") if shutil.which(name)), "no launcher on PATH"
    )
    return Finding("MPI", "ok", f"mpi4py {version('mpi4py')}, {launcher}")


def _hub() -> Finding:
    from huggingface_hub import constants

    from prosebench.store.hub import hub_problem

    endpoint, problem = constants.ENDPOINT, hub_problem()
    if problem:
        remedy = "fetch where it can be reached (`prosebench fetch`), and set PROSEBENCH_DATA to a copy of the folder"
        return Finding("hub", "absent", f"{endpoint} is out of reach ({problem}); {remedy}")
    return Finding("hub", "ok", f"{endpoint} answers")


def _published_data() -> Finding:
    """What is in the folder that PROSEBENCH_DATA names."""
    from prosebench.store.hub import DATA_VARIABLE, HubError, data_folder
    from prosebench.store.manifest import read_manifest
    from prosebench.store.places import PUBLISHED_WEIGHTS
    from prosebench.store.storage import DamagedFile

    what = "published data"
    try:
        folder = data_folder()
        if folder is None:
            return Finding(
                what,
                "absent",
                f"{DATA_VARIABLE} is not set; `prosebench fetch --suite NAME --to DIR` fills a folder for it",
            )
        verified = len(read_manifest(folder).files)
    except (HubError, DamagedFile) as error:
        return Finding(what, "missing", str(error))
    frames = len(list(folder.glob("trajectories_subsampled/*/*/*_subsampled.npz")))
    weights = sorted(name for name, file in PUBLISHED_WEIGHTS.items() if (folder / file.place).is_file())
    return Finding(
        what,
        "ok",
        f"{folder}: frames of {frames} peptides, weights {', '.join(weights) or 'none'}; {verified} files verified",
    )
