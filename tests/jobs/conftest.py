"""Small suites on real physics, and the command that runs them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = """
name = "small"
peptides = ["AA"]
budgets = [300, 1500]
frames = 100
[target]
engine = "openmm"
[methods.md]
warm_up_ps = 0.2
minimise_steps = 5
chunk_steps = 100
[methods.slow]
method = "md"
friction_per_ps = 5.0
warm_up_ps = 0.2
minimise_steps = 5
chunk_steps = 100
"""


@pytest.fixture
def small_suite(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def command(suite: Path, directory: Path, *more: str) -> list[str]:
    """The command that a user types."""
    arguments = ["run", "--suite", str(suite), "--dir", str(directory), "--no-report", *more]
    return [sys.executable, "-m", "prosebench.cli", *arguments]


def run(*arguments: str, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and capture what it prints."""
    options.setdefault("env", os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"})
    try:
        return subprocess.run(arguments, check=check, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload]
    except subprocess.CalledProcessError as error:
        error.add_note(f"it said:\n{error.stdout[-3000:]}\n{error.stderr[-3000:]}")
        raise


def results(directory: Path) -> dict[str, bytes]:
    """What a run leaves that must not depend on what happened on the way, by path."""
    paths = sorted(directory.glob("cells/*/record.json")) + sorted(directory.glob("cells/*/ensemble.npz"))
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}
