"""The chain of chunks: whole files in order; what is damaged or foreign is set aside by name."""

from pathlib import Path

import numpy as np
import pytest

from jobs.cells.chunks import StoredChunk, read_chain, read_chunk, write_chunk
from prosebench.energy.meter import Counts, Ledger
from prosebench.ensemble import Ensemble
from prosebench.method import Chunk


def store(folder: Path, n: int, cell_id: str = "cell") -> None:
    for index in range(n):
        ensemble = Ensemble(np.full((2, 3, 3), index), np.full(2, float(index)), evaluations=np.array([1, 2]))
        chunk = Chunk(ensemble, {"x": np.array([index])}, diagnostics={"step": float(index)})
        ledger = Ledger(sampling=Counts(evaluations=index + 1))
        write_chunk(folder, cell_id, index, StoredChunk(chunk, ledger, {"sampling": 0.5}, "here"))


def test_a_chunk_comes_back_whole(tmp_path: Path) -> None:
    store(tmp_path, 2)
    stored = read_chunk(tmp_path, "cell", 1)
    assert stored.ledger.sampling.evaluations == 2
    assert stored.chunk.carry["x"] == 1
    assert stored.chunk.diagnostics == {"step": 1.0}
    assert stored.chunk.ensemble is not None
    np.testing.assert_array_equal(stored.chunk.ensemble.energies_kt, [1.0, 1.0])


def test_the_chain_ends_at_a_truncated_file_and_what_follows_is_set_aside(tmp_path: Path) -> None:
    folder, aside = tmp_path / "cell" / "chunks", tmp_path / "set-aside"
    store(folder, 5)
    path = folder / "000003.npz"
    path.write_bytes(path.read_bytes()[:200])
    chain, warnings = read_chain(folder, "cell", aside)
    assert len(chain) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["000000.npz", "000001.npz", "000002.npz"]
    assert len(list(aside.iterdir())) == 2
    assert "000003.npz is not a whole .npz file" in warnings[0]


def test_chunks_stay_where_they_are_when_one_cannot_be_read(tmp_path: Path) -> None:
    folder, aside = tmp_path / "cell" / "chunks", tmp_path / "set-aside"
    store(folder, 3)
    whole = (folder / "000001.npz").rename(tmp_path / "whole")
    # The first byte of a process's memory cannot be read: as on a disk that fails, the answer is EIO.
    (folder / "000001.npz").symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output error"):
        read_chain(folder, "cell", aside)
    assert len(list(folder.iterdir())) == 3
    assert not aside.exists()
    whole.replace(folder / "000001.npz")
    chain, warnings = read_chain(folder, "cell", aside)
    assert (len(chain), warnings) == (3, [])


def test_chunks_of_another_cell_are_foreign(tmp_path: Path) -> None:
    store(tmp_path / "c" / "chunks", 2, cell_id="other")
    chain, warnings = read_chain(tmp_path / "c" / "chunks", "cell", tmp_path / "aside")
    assert chain == []
    assert "of cell other" in warnings[0]


def test_foreign_files_are_set_aside(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "chunks"
    store(folder, 2)
    (folder / "notes.txt").write_text("mine")
    chain, warnings = read_chain(folder, "cell", tmp_path / "aside")
    assert len(chain) == 2
    assert "notes.txt" in warnings[0]


def test_no_folder_is_an_empty_chain(tmp_path: Path) -> None:
    assert read_chain(tmp_path / "chunks", "cell", tmp_path) == ([], [])
