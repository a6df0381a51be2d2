"""Which prosebench this is: version, commit, and what computes here. Nothing heavy is imported."""

import contextlib
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_HOME = Path(__file__).resolve().parents[2]

COMMIT_FILE = "commit.txt"
"""The name of the file in which setup.py writes the commit into a built package. An installed package has no
git to ask."""


def code_commit(home: Path = _HOME) -> str:
    """Commit that prosebench is from, "-dirty" behind it where a source tree has other files; or its version.

    home is that tree. An installed package may lie within a repository of something else: its commit is not ours.
    """
    if _git(home, "rev-parse", "--show-toplevel") == str(home):
        described = _git(home, "describe", "--always", "--dirty", "--abbrev=12")
        if described:
            return described
    written = home / "prosebench" / COMMIT_FILE
    return written.read_text().strip() if written.is_file() else f"prosebench {version('prosebench')}"


def _git(folder: Path, *words: str) -> str:
    """What git says in a folder; empty where it says nothing."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def describe() -> list[str]:
    """Lines about what is installed: prosebench, what it stands on, and its compiled kernels."""
    from prosebench.energy.compiled import NativeUnavailable, instruction_set

    try:
        kernels = f"compiled, {instruction_set()} on this CPU"
    except NativeUnavailable as error:
        kernels = f"none: {error}"
    packages = ", ".join(f"{name} {_version(name)}" for name in ("torch", "openmm", "mdtraj", "numpy"))
    return [
        f"prosebench {_version('prosebench')}, commit {code_commit()}",
        f"Python {platform.python_version()}, {packages}",
        f"kernels for energies and transport: {kernels}",
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def instructions() -> str:
    """By which instruction sets this process computes on the CPU: "energies avx512; torch AVX512".

    What it has not loaded took no part in its numbers, and is left out.
    """
    found = []
    if native := sys.modules.get("prosebench.energy.compiled"):
        with contextlib.suppress(native.NativeUnavailable):
            found.append(f"energies {native.instruction_set()}")
    if torch := sys.modules.get("torch"):
        found.append(f"torch {torch.backends.cpu.get_cpu_capability()}")
    return "; ".join(found)
