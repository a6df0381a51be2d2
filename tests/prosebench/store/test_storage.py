"""Files are whole or absent, equal content gives equal bytes, and damage is named."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from prosebench.store.storage import (
    DamagedFile,
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
