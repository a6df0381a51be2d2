"""Finished chunks of a cell on disk: each file whole, in a chain from chunk 0 on."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prosebench.energy.meter import Ledger
from prosebench.ensemble import Ensemble
from prosebench.method import Carry, Chunk
from prosebench.store.storage import (
    TEMPORARY_SUFFIX,
    DamagedFile,
    array_text,
    arrays_bytes,
    read_arrays,
    text_array,
    write_once,
)


class Overtaken(RuntimeError):
    """Another worker is on the same cell and was faster. The worker that meets this leaves the cell to the
    other."""


@dataclass(frozen=True)
class StoredChunk:
    """A chunk with the meter's ledger after it, and the seconds it took by phase."""

    chunk: Chunk
    ledger: Ledger
    seconds: dict[str, float]
    sitting: str


def write_chunk(folder: Path, cell_id: str, index: int, stored: StoredChunk) -> None:
    """Write chunk `index` of a cell whole, and once: raises Overtaken where it is there already."""
    chunk = stored.chunk
    meta = {
        "cell_id": cell_id,
        "index": index,
        "done": chunk.done,
        "diagnostics": dict(chunk.diagnostics),
        "ledger": stored.ledger.model_dump(),
        "seconds": stored.seconds,
        "sitting": stored.sitting,
    }
    arrays: dict[str, Any] = {"meta": text_array(json.dumps(meta))}
    if chunk.ensemble is not None:
        arrays |= {f"ensemble.{name}": array for name, array in chunk.ensemble.arrays().items()}
    arrays |= {f"carry.{name}": array for name, array in chunk.carry.items()}
    if not write_once(_path(folder, index), arrays_bytes(arrays)):
        raise Overtaken(f"chunk {index} in {folder} is there already: another worker is on this cell")


def read_chunk(folder: Path, cell_id: str, index: int) -> StoredChunk:
    """Read chunk `index`. Raises FileNotFoundError; DamagedFile where it is truncated or of another cell."""
    path = _path(folder, index)
    arrays = read_arrays(path)
    try:
        meta = json.loads(array_text(arrays.pop("meta")))
        if (meta["cell_id"], meta["index"]) != (cell_id, index):
            raise DamagedFile(
                f"{path} is chunk {meta['index']} of cell {meta['cell_id']}, not chunk {index} of {cell_id}"
            )
        frames = _under("ensemble.", arrays)
        chunk = Chunk(
            ensemble=Ensemble.from_arrays(frames) if frames else None,
            carry=_under("carry.", arrays),
            done=meta["done"],
            diagnostics=meta["diagnostics"],
        )
        return StoredChunk(chunk, Ledger.model_validate(meta["ledger"]), meta["seconds"], meta["sitting"])
    except (KeyError, ValueError) as error:
        if isinstance(error, DamagedFile):
            raise
        raise DamagedFile(f"{path} is not a chunk file: {error!r}") from error


def read_chain(folder: Path, cell_id: str, set_aside: Path) -> tuple[list[StoredChunk], list[str]]:
    """All chunks from 0 up to the first that is missing or damaged, and a warning for each file that was set aside.

    Only the last has its carry (see `extend`). What follows a gap was never vouched for, so it is set aside too: it
    will be computed again, with the same numbers.
    """
    chain: list[StoredChunk] = []
    warnings = []
    try:
        while True:
            extend(chain, read_chunk(folder, cell_id, len(chain)))
    except FileNotFoundError:
        pass
    except DamagedFile as error:
        warnings.append(str(error))
    expected = {_path(folder, index).name for index in range(len(chain))}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name not in expected and not path.name.endswith(TEMPORARY_SUFFIX):
            warnings.append(
                f"{path} does not continue the chain of chunks; set aside as {move_aside(path, set_aside)}"
            )
    return chain, warnings


def extend(chain: list[StoredChunk], stored: StoredChunk) -> None:
    """Append a chunk. The carry of the one before it, which may be large, has been used and goes."""
    if chain:
        chain[-1] = replace(chain[-1], chunk=replace(chain[-1].chunk, carry={}))
    chain.append(stored)


def move_aside(path: Path, set_aside: Path) -> Path:
    """Move a file or folder out of the way without deleting it; returns its new place."""
    set_aside.mkdir(parents=True, exist_ok=True)
    place = set_aside / f"{path.parent.parent.name}-{path.name.lstrip('.')}-{time.time_ns()}"
    path.rename(place)
    return place


def _path(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.npz"


def _under(prefix: str, arrays: dict[str, Any]) -> Carry:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
