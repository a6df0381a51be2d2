"""Files that are whole or absent: written beside their final name, flushed to disk, then renamed.

Array files are `.npz` whose bytes depend on their content alone (fixed member dates, fixed order), so that equal
results are equal files.
"""

import hashlib
import io
import json
import os
import socket
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEMPORARY_SUFFIX = ".partial"
"""End of the names of files that are being written; before it stand the machine and the process that write."""


class DamagedFile(ValueError):
    """A file that is truncated or not of the expected kind; the message names it and the reason."""


def write_bytes(path: Path, content: bytes) -> None:
    """Put content at path so that a reader, at any moment and after any crash, sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder where it is not there. Raises ValueError where files could not be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"the folder {folder} cannot be made ({error.strerror}): give another name"
        ) from error
    if not os.access(folder, os.W_OK):
        raise ValueError(f"nothing can be written to {folder}: give another name")


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}{TEMPORARY_SUFFIX}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_bytes(content: Any) -> bytes:
    """JSON with sorted keys and a newline at the end: equal content gives equal bytes."""
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole (see `write_bytes`)."""
    write_bytes(path, json_bytes(content))


def read_json(path: Path) -> Any:
    """Read JSON. Raises DamagedFile where the file is not JSON."""
    try:
        return json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DamagedFile(
            f"{path} is not a JSON file ({error}); remove it or restore it from a copy"
        ) from error


def arrays_bytes(arrays: Mapping[str, NDArray[Any]], *, compress: bool = False) -> bytes:
    """The bytes of an `.npz` file with these arrays, in the order given."""
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = method
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asanyarray(array), allow_pickle=False)
            archive.writestr(member, content.getvalue())
    return buffer.getvalue()


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], *, compress: bool = False) -> str:
    """Write an `.npz` file whole and return the SHA-256 of its bytes."""
    content = arrays_bytes(arrays, compress=compress)
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an `.npz` file. Raises DamagedFile where it is truncated, altered or of another kind."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except Exception as error:
        # numpy and zipfile raise a dozen different types for a bad file; all of them mean the same here.
        raise DamagedFile(
            f"{path} is not a whole .npz file ({error}); remove it or restore it from a copy"
        ) from error


def text_array(text: str) -> NDArray[np.uint8]:
    """Text as an array of bytes, for storing JSON inside an `.npz` file."""
    return np.frombuffer(text.encode(), dtype=np.uint8)


def array_text(array: NDArray[Any]) -> str:
    """The text stored by `text_array`."""
    return bytes(np.asarray(array, dtype=np.uint8)).decode()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_once(path: Path, content: bytes) -> bool:
    """Put content at path unless something is there already; True where this call put it. Safe among processes."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    write_bytes(temporary, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    _sync_folder(path.parent)
    return True
