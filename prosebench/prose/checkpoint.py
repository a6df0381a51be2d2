"""What `improve` has done so far, in a folder: after a kill, the same call goes on from there.

`arguments.json` says what the run is of; without it, nothing in the folder counts. `weights.npz` is the flow after the
last round that is finished; ROUND-PEPTIDE-BLOCK.npz are blocks of proposals of the round after it. Each file is whole
or absent.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prosebench.energy.meter import Ledger, Meter
from prosebench.ensemble import Ensemble
from prosebench.prose.fine_tuning import put_weights, weights_of
from prosebench.prose.network import Network
from prosebench.storage import (
    TEMPORARY_SUFFIX,
    array_text,
    json_bytes,
    read_arrays,
    read_json,
    text_array,
    write_arrays,
    write_once,
)

ARGUMENTS, WEIGHTS = "arguments.json", "weights.npz"
BLOCKS = "[0-9]*-[0-9]*-[0-9]*.npz"


@dataclass(frozen=True)
class Checkpoint:
    """The folder of a run that is not finished; None keeps nothing. See `open_checkpoint`."""

    folder: Path | None

    def block(
        self, done: int, peptide: int, block: int, meter: Meter, draw: Callable[[], Ensemble]
    ) -> Ensemble:
        """A block of proposals, and the meter as it was after it: from the folder, or else drawn and put there."""
        if self.folder is None:
            return draw()
        path = self.folder / f"{done}-{peptide}-{block:06d}.npz"
        if path.exists():
            arrays = read_arrays(path)
            meter.ledger = Ledger.model_validate_json(array_text(arrays.pop("ledger")))
            return Ensemble.from_arrays(arrays)
        ensemble = draw()
        ledger = text_array(meter.ledger.model_dump_json())
        write_arrays(path, {"ledger": ledger, **ensemble.arrays()})
        return ensemble

    def finish_round(self, done: int, network: Network, meters: Sequence[Meter]) -> None:
        """Keep the flow and the meters as they are after a round, and let go of its proposals."""
        if self.folder is None:
            return
        ledgers = text_array(json.dumps([meter.ledger.model_dump() for meter in meters]))
        kept = {"round": np.array(done + 1), "ledgers": ledgers, **weights_of(network)}
        write_arrays(self.folder / WEIGHTS, kept)
        self._drop_blocks(done + 1)

    def restore(self, network: Network, meters: Sequence[Meter]) -> int:
        """Put flow and meters back to the end of the last finished round; the number of the next one."""
        if self.folder is None or not (self.folder / WEIGHTS).exists():
            return 0
        arrays = read_arrays(self.folder / WEIGHTS)
        put_weights(network, arrays)
        for meter, ledger in zip(meters, json.loads(array_text(arrays["ledgers"])), strict=True):
            meter.ledger = Ledger.model_validate(ledger)
        self._drop_blocks(int(arrays["round"]))
        return int(arrays["round"])

    def _drop_blocks(self, before: int) -> None:
        assert self.folder is not None
        for path in self.folder.glob(BLOCKS):
            if int(path.name.partition("-")[0]) < before:
                path.unlink(missing_ok=True)


def begun(folder: Path) -> bool:
    """Whether a folder holds a run that is not finished."""
    return (folder / ARGUMENTS).exists()


def open_checkpoint(folder: Path | None, arguments: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of a run with these arguments (JSON), begun or to begin.

    Raises ValueError, which names what differs, where the folder holds a run with others.
    """
    if folder is None:
        return Checkpoint(None)
    if not begun(folder):
        _clear(folder)
    if not write_once(folder / ARGUMENTS, json_bytes(arguments)):
        was = read_json(folder / ARGUMENTS)
        different = [
            f"{name} was {was.get(name)} and is {value}"
            for name, value in arguments.items()
            if was.get(name) != value
        ]
        if different:
            raise ValueError(
                f"{folder} holds an unfinished run with other arguments: {'; '.join(different)}; repeat its command, "
                "give another folder, or remove it"
            )
    return Checkpoint(folder)


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint whose results are stored elsewhere; a folder that holds other files stays."""
    (folder / ARGUMENTS).unlink(missing_ok=True)
    _clear(folder)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _clear(folder: Path) -> None:
    for path in (folder / WEIGHTS, *folder.glob(BLOCKS), *folder.glob(f"*{TEMPORARY_SUFFIX}")):
        path.unlink(missing_ok=True)
