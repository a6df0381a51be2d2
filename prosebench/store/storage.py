"""Files that are whole or absent: written beside their final name, flushed to disk, then renamed.

Array files are `.npz` whose bytes depend on their content alone (fixed member dates, fixed order), so that equal
results are equal files.
"""

import errno
import hashlib
import io
import json
import math
import os
import socket
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

MOST_JSON_BYTES = 2**26
"""The largest size in bytes of a JSON file that is read. The record of a million steps with ten numbers each
is smaller."""

TEMPORARY_SUFFIX = ".partial"
"""The ending of the names of files that are still being written. The name of the machine and the number of
the process that write stand before it."""


class DamagedFile(ValueError):
    """A file that is truncated or not of the expected kind; the message names it and the reason."""


class FileElsewhere(ValueError):
    """A file that settings name by its path is not on this machine: there is none, or another one at that path."""


def write_bytes(path: Path, content: bytes) -> None:
    """Put content at path so that a reader, at any moment and after any crash, sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        _write_flushed(temporary, content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _write_flushed(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


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


def open_regular(path: Path, most_bytes: int | None = None) -> io.BufferedReader:
    """Open a file to read. Raises DamagedFile for a pipe, a device or a folder, which could block or never end, and
    for a file of more than most_bytes; FileNotFoundError where there is none.
    """
    # Not to wait for a writer where the path is a pipe; on a regular file the flag means nothing.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    found = os.fstat(descriptor)
    wrong = ""
    if not stat.S_ISREG(found.st_mode):
        wrong = f"{path} is not a regular file; remove it or restore it from a copy"
    elif most_bytes is not None and found.st_size > most_bytes:
        wrong = f"{path} has {found.st_size:,} bytes; at most {most_bytes:,} can be right"
    if wrong:
        os.close(descriptor)
        raise DamagedFile(wrong)
    return os.fdopen(descriptor, "rb")


def read_text(path: Path) -> str:
    """Text in UTF-8, with or without a byte-order mark. Raises DamagedFile for what is no text, or no regular file."""
    with open_regular(path, MOST_JSON_BYTES) as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamagedFile(
            f"{path} is not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None


def read_json(path: Path) -> Any:
    """Read JSON. Raises DamagedFile where the file is not JSON, not a regular file, or absurdly large."""
    try:
        with open_regular(path, MOST_JSON_BYTES) as file:
            return parse_json(file.read(os.fstat(file.fileno()).st_size))
    except ValueError as error:
        if isinstance(error, DamagedFile):
            raise
        raise DamagedFile(
            f"{path} is not a JSON file ({error}); remove it or restore it from a copy"
        ) from error


def parse_json(content: bytes | str) -> Any:
    """What JSON holds. Raises ValueError for what is no JSON, for NaN and Infinity, which JSON does not know, and for
    what is nested too deeply.
    """
    try:
        return json.loads(content, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


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


class ArrayHead(NamedTuple):
    """Shape, kind of numbers, and bytes in memory of an array, as its file announces them."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """The size in memory."""
        return self.dtype.itemsize * math.prod(self.shape)


def array_heads(path: Path) -> dict[str, ArrayHead]:
    """What the arrays of an `.npz` file will be, before any is read: a small file may unpack to a full memory.

    Raises as `read_arrays` does; DamagedFile also where a member is larger or smaller than it announces.
    """
    heads = {}
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                with archive.open(info) as member:
                    head, begin = _head(member)
                if info.file_size != begin + head.bytes:
                    raise ValueError(f"{info.filename} is not as large as it says")
                heads[info.filename.removesuffix(".npy")] = head
    except (DamagedFile, MemoryError):
        raise
    except Exception as error:
        _raise_failed_read(error)
        raise DamagedFile(_not_whole(path, error)) from error
    return heads


def _head(member: IO[bytes]) -> tuple[ArrayHead, int]:
    """What an `.npy` file announces, and where its numbers begin."""
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array in version {version} of the format")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    if dtype.hasobject:
        raise ValueError("an array of objects")
    return ArrayHead(shape, dtype), member.tell()


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an `.npz` file. Raises DamagedFile where it is truncated, altered or of another kind.

    A file that could not be read, which says nothing of what is in it, raises the OSError or MemoryError of that.
    """
    try:
        with open_regular(path) as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except DamagedFile:
        raise
    except MemoryError:
        # Unless it is a damaged file that announces more numbers than it holds.
        array_heads(path)
        raise
    except Exception as error:
        _raise_failed_read(error)
        # numpy and zipfile raise a dozen different types for a bad file; all of them mean the same here.
        raise DamagedFile(_not_whole(path, error)) from error


def _raise_failed_read(error: BaseException) -> None:
    """Raise the OSError behind an error that kept a file from being read: disk, rights, network.

    zipfile says of some of them that the file is no archive. EINVAL comes of places that a damaged file names.
    """
    behind: BaseException | None = error
    while behind:
        if isinstance(behind, OSError) and behind.errno not in (None, errno.EINVAL):
            raise behind
        behind = behind.__cause__ or behind.__context__


def _not_whole(path: Path, error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    if "Object arrays" in said:
        return f"{path} holds Python objects instead of numbers; save arrays of one shape and type (not dtype=object)"
    return f"{path} is not a whole .npz file ({said}); remove it or restore it from a copy"


def text_array(text: str) -> NDArray[np.uint8]:
    """Text as an array of bytes, for storing JSON inside an `.npz` file."""
    return np.frombuffer(text.encode(), dtype=np.uint8)


def array_text(array: NDArray[Any]) -> str:
    """The text stored by `text_array`."""
    return bytes(np.asarray(array, dtype=np.uint8)).decode()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_once(path: Path, content: bytes) -> bool:
    """Put content at path unless something is there already; True where this call put it. Safe among processes."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        _write_flushed(temporary, content)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True
