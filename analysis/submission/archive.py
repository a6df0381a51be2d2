"""The .tar file of a run that is sent: packed the same bytes each time, and looked at before it is unpacked."""

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prosebench.record import cell_folders
from prosebench.store.storage import DamagedFile

PACKED = ("cell.json", "record.json", "provenance.json", "failure.json", "ensemble.npz")
"""The names of the files of a cell that are packed."""

MOST_MEMBERS = 100_000


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The run folder that a path is or, for a .tar file that `pack` wrote, that it holds. Raises DamagedFile."""
    if path.is_dir():
        yield path
        return
    if not path.exists():
        raise FileNotFoundError(f"there is no run folder or .tar file {path}")
    with tempfile.TemporaryDirectory() as scratch:
        _unpack(path, Path(scratch))
        inside = sorted(Path(scratch).iterdir())
        if len(inside) != 1 or not inside[0].is_dir():
            raise DamagedFile(
                f"{path} does not hold one run folder; pack it with `prosebench submit-results`"
            )
        yield inside[0]


def _unpack(path: Path, folder: Path) -> None:
    if not path.is_file():
        raise DamagedFile(f"{path} is neither a run folder nor a regular file")
    try:
        # Not compressed: what it unpacks to is no larger than the file.
        with tarfile.open(path, "r:") as archive:
            _check_members(archive, path, shutil.disk_usage(folder).free)
            archive.extractall(folder, filter="data")
    except DamagedFile:
        raise
    except Exception as error:
        # tarfile raises many types for a bad file, and the names in it may be none for this disk.
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise DamagedFile(f"{path} is neither a run folder nor a .tar file of one ({said})") from error


def _check_members(archive: tarfile.TarFile, path: Path, room: int) -> None:
    """Raise DamagedFile for a file that `pack` does not write, before anything is unpacked."""
    size = 0
    for number, member in enumerate(archive, start=1):
        parts = member.name.split("/")
        is_packed = len(parts) == 4 and parts[1] == "cells" and parts[3] in PACKED
        is_packed &= not {"", ".", ".."} & set(parts) and member.name.isprintable()
        # A sparse file may claim any size.
        if not (member.isreg() and not member.issparse() and is_packed):
            name = member.name[:200] if member.name.isprintable() else repr(member.name[:200])
            raise DamagedFile(
                f"{path} holds {name}, which is no file of a cell; pack it with `prosebench submit-results`"
            )
        size += member.size
        if number > MOST_MEMBERS or size > room:
            raise DamagedFile(f"{path} holds more than can be unpacked: {number:,} files, {size:,} bytes")


def pack(directory: Path, path: Path, name: str) -> Path:
    """Write the cells of a run folder with their frames as a .tar file: equal cells give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
        for folder in cell_folders(directory):
            for file in (folder / one for one in PACKED):
                if file.exists():
                    member = tarfile.TarInfo(f"{name}/cells/{folder.name}/{file.name}")
                    member.size = file.stat().st_size
                    with file.open("rb") as content:
                        archive.addfile(member, content)
    partial.replace(path)
    return path
