"""Files are whole or absent, equal content gives equal bytes, and damage is named."""

import errno
import io
import multiprocessing
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prosebench.store.storage import (
    DamagedFile,
    array_heads,
    arrays_bytes,
    read_arrays,
    read_json,
    write_arrays,
    write_bytes,
    write_json,
    write_once,
)


def test_arrays_come_back(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.array(2.5)}
    write_arrays(tmp_path / "x.npz", arrays)
    back = read_arrays(tmp_path / "x.npz")
    assert list(back) == ["a", "b"]
    np.testing.assert_array_equal(back["a"], arrays["a"])


def test_equal_content_gives_equal_bytes_at_any_time() -> None:
    arrays = {"a": np.arange(1000.0)}
    first = arrays_bytes(arrays, compress=True)
    time.sleep(2.1)  # the resolution of dates in zip files is two seconds
    assert arrays_bytes(arrays, compress=True) == first


@pytest.mark.parametrize("cut", [0, 10, 100, -1])
def test_a_truncated_file_is_named(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(arrays_bytes({"a": np.arange(100)})[:cut])
    with pytest.raises(DamagedFile, match=r"x\.npz"):
        read_arrays(path)


def test_an_altered_file_is_named(tmp_path: Path) -> None:
    content = bytearray(arrays_bytes({"a": np.arange(100)}))
    content[300] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"x\.npz"):
        read_arrays(tmp_path / "x.npz")


class Failing(io.BufferedReader):
    """A file on a disk that fails from some read on."""

    reads = reads_left = 0

    def read(self, size: int | None = -1, /) -> bytes:
        Failing.reads += 1
        Failing.reads_left -= 1
        if Failing.reads_left < 0:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


@pytest.mark.parametrize("read", [read_arrays, array_heads])
def test_a_disk_that_fails_at_any_moment_is_no_damage(
    read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(arrays_bytes({"a": np.arange(100), "b": np.arange(3)}))
    monkeypatch.setattr("prosebench.store.storage.open_regular", lambda path: Failing(io.FileIO(path)))
    Failing.reads_left, Failing.reads = 10**9, 0
    read(path)
    assert Failing.reads > 5
    for before in range(Failing.reads):
        Failing.reads_left = before
        with pytest.raises(OSError, match="Input/output error"):
            read(path)


def test_too_little_memory_is_no_damage(tmp_path: Path) -> None:
    write_arrays(tmp_path / "x.npz", {"a": np.zeros(2**24)})
    code = (
        "import resource, sys; from pathlib import Path; from prosebench.store.storage import read_arrays\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**26,) * 2)\n"
        "try: read_arrays(Path(sys.argv[1]))\n"
        "except MemoryError: print('no memory')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.npz")], capture_output=True, text=True, check=False
    )
    assert done.stdout == "no memory\n", done.stderr


def test_an_array_that_announces_more_than_memory_holds_is_damaged(tmp_path: Path) -> None:
    head = io.BytesIO()
    announced = {"descr": "<f8", "fortran_order": False, "shape": (2**50,)}
    np.lib.format.write_array_header_1_0(head, announced)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", head.getvalue() + bytes(80))
    with pytest.raises(DamagedFile, match=r"a\.npy is not as large as it says"):
        read_arrays(tmp_path / "x.npz")


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    for read in (read_arrays, array_heads):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "x.npz")


def test_foreign_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{not json")
    with pytest.raises(DamagedFile, match=r"x\.json"):
        read_json(tmp_path / "x.json")


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "x.json", "not bytes")  # type: ignore[arg-type]
    assert read_json(tmp_path / "x.json") == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def _race(path: Path, number: int, queue: "multiprocessing.Queue[bool]") -> None:
    queue.put(write_once(path, str(number).encode()))


def test_one_of_many_writers_wins(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[bool] = context.Queue()
    processes = [context.Process(target=_race, args=(tmp_path / "x", i, queue)) for i in range(8)]
    for process in processes:
        process.start()
    won = [queue.get(timeout=20) for _ in processes]
    for process in processes:
        process.join()
    assert sum(won) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
