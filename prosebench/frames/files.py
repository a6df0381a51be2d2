"""Frames as files that other programs read."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from numpy.typing import NDArray

from prosebench.store.storage import TEMPORARY_SUFFIX, make_folder

TRAJECTORIES = (".xtc", ".dcd", ".pdb")
FORMATS = (*TRAJECTORIES, ".npz")
"""The kinds of files that an ensemble can be written as. Only an .npz file holds energies and log-weights,
too."""

MOST_WRITABLE_NM = 900.0
"""The largest coordinate in nm that is written. No format holds every number: the columns of a PDB file end
before 1000 nm."""

_WRITE_ERRORS = {".xtc": (OSError, RuntimeError), ".dcd": (OSError, TypeError)}
"""The errors that mdtraj's writers raise if a disk is full. The writer of DCD files fails with a TypeError
while it makes the message of its OSError."""

_DCD_HEADER_BYTES = 276
"""The size in bytes of the three records with which a DCD file begins: numbers, title, number of atoms."""


def files_of(path: Path) -> list[Path]:
    """The files that `write_frames` writes for a name: beside an .xtc or .dcd file, a .pdb file names the atoms."""
    return [path, path.with_suffix(".pdb")] if path.suffix in (".xtc", ".dcd") else [path]


def check_format(path: Path) -> None:
    """Raises ValueError for a name that says no format; capitals and compression are not known."""
    if path.suffix not in FORMATS:
        raise ValueError(f"cannot write {path}: its name must end in one of {', '.join(FORMATS)}")


def check_writable(path: Path) -> None:
    """Make the folder of a file. Raises ValueError for a name that says no format, or a file that is there already."""
    check_format(path)
    for file in files_of(path):
        if file.exists():
            raise ValueError(f"{file} is there already: give another name, or remove it")
    make_folder(path.parent)


@contextlib.contextmanager
def folder_for_results(folder: Path) -> Iterator[bool]:
    """A folder that is made before the work, so that one that cannot be made costs none; yields whether it is new.

    Where the work ends in an error, what was made and is still empty is removed. Raises ValueError as `make_folder`.
    """
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    make_folder(folder)
    try:
        yield bool(new)
    except BaseException:
        for one in new:
            with contextlib.suppress(OSError):
                one.rmdir()
        raise


def write_frames(path: Path, frames_nm: NDArray[Any], topology: mdtraj.Topology) -> None:
    """Write frames (n, atoms, 3) as the name's end says, .xtc, .dcd or .pdb.

    Beside an .xtc or .dcd file stands a .pdb file with the first frame, which names the atoms. Frames that are not
    `writable` are left out. Raises ValueError where that leaves none.
    """
    frames = frames_nm[writable(frames_nm)]
    if not len(frames):
        raise ValueError(
            f"none of {len(frames_nm)} frames can be written: coordinates are not finite, or too large"
        )
    trajectory = mdtraj.Trajectory(frames, topology)
    _save_whole(trajectory, path)
    for beside in files_of(path)[1:]:
        _save_whole(trajectory[0], beside)


def _save_whole(trajectory: mdtraj.Trajectory, path: Path) -> None:
    """Write a file under another name, look whether all frames are in it, and only then give it its own name.

    Raises OSError where they are not: some writers do not notice that a disk is full.
    """
    partial = path.with_name(f".{path.stem}{TEMPORARY_SUFFIX}{path.suffix}")
    try:
        trajectory.save(str(partial))
        try:
            there = _frames_in(partial, trajectory.n_atoms)
        except Exception:
            # Readers have their own types for a file that ends too early.
            there = 0
        if there < trajectory.n_frames:
            raise OSError(f"only {there} of {trajectory.n_frames} frames were written")
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except _WRITE_ERRORS.get(path.suffix, OSError) as error:
        raise OSError(f"{path} could not be written ({error}); is the disk full?") from error
    finally:
        partial.unlink(missing_ok=True)


def _frames_in(path: Path, n_atoms: int) -> int:
    """The number of whole frames in a file. For a DCD file it comes from the size: mdtraj's reader prints to
    the terminal."""
    if path.suffix == ".dcd":
        return (path.stat().st_size - _DCD_HEADER_BYTES) // (3 * (4 * n_atoms + 8))
    with mdtraj.open(str(path)) as file:
        return len(file)


def writable(frames_nm: NDArray[Any]) -> NDArray[np.bool_]:
    """Which frames (n,) the formats of other programs can hold: all coordinates are within MOST_WRITABLE_NM of 0."""
    return (np.abs(frames_nm) < MOST_WRITABLE_NM).all(axis=(1, 2))
