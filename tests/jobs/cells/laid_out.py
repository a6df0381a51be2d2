"""Cells as they lie on the disk, and the signs of life of workers, written by hand."""

import os
import socket
import time
from pathlib import Path
from typing import Any

from prosebench.record import Cell
from prosebench.store.storage import write_json
from tests.prosebench.test_record import CELL


def lay_out_cell(directory: Path, **changes: Any) -> tuple[Path, Cell]:
    """A cell that nobody has started, with its folder."""
    cell = CELL.model_copy(update=changes)
    folder = directory / "cells" / cell.folder_name
    write_json(folder / "cell.json", cell.model_dump(mode="json"))
    return folder, cell


def write_beat(folder: Path, age: float = 0.0, **changes: Any) -> None:
    """A sign of life of this process, so many seconds old."""
    now = time.time() - age
    content: dict[str, Any] = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "job": "",
        "session": "s",
        "started": now - 20.0,
        "first_chunk": 0,
        "first_sampling": 10,
        "budget": 100,
        "time": now,
        "chunks": 3,
        "sampling": 50,
        "preparation": 5,
        "stopped": False,
    }
    write_json(folder / "heartbeat.json", content | changes)


def write_chunks(folder: Path, number: int) -> None:
    """So many chunks of a cell; what is in them does not matter to whoever counts."""
    (folder / "chunks").mkdir(exist_ok=True)
    for index in range(number):
        (folder / "chunks" / f"{index}.npz").touch()
