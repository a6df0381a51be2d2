"""What `improve` has done so far, in a folder: after a kill, the same call goes on from there.

`arguments.json` says what the run is of, and is there before all else. `weights.npz` is the flow after the last round
that is finished; ROUND-PEPTIDE-BLOCK.npz are blocks of proposals of the round after it. Each file is whole or absent.
`improve.lock` is locked by the process at work. When the results are stored elsewhere, `arguments.json` becomes
`finished-arguments.json`, which goes last: where it is, the rest is to be removed.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prosebench.energy.meter import Ledger, Meter
from prosebench.ensemble import Ensemble
from prosebench.prose.fine_tuning import put_weights, weights_of
from prosebench.prose.network import Network
from prosebench.store.locks import file_lock
from prosebench.store.storage import (
    TEMPORARY_SUFFIX,
    array_text,
    make_folder,
    read_arrays,
    read_json,
    text_array,
    write_arrays,
    write_json,
)

ARGUMENTS, FINISHED = "arguments.json", "finished-arguments.json"
WEIGHTS, LOCK = "weights.npz", "improve.lock"
BLOCKS, TEMPORARIES = "[0-9]*-[0-9]*-[0-9]*.npz", f".*{TEMPORARY_SUFFIX}"
SETUP = "setup"
"""The key, in the file of the arguments, of what can change only the last digits of results."""


@dataclass(frozen=True)
class Checkpoint:
    """The folder of a run that is not finished; None keeps nothing. From `open_checkpoint`."""

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
            meter.take_over(Ledger.model_validate_json(array_text(arrays.pop("ledger"))))
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
            meter.take_over(Ledger.model_validate(ledger))
        self._drop_blocks(int(arrays["round"]))
        return int(arrays["round"])

    def remove(self) -> None:
        """Remove what is kept, as its results are stored elsewhere; other files in the folder stay."""
        if self.folder is None:
            return
        (self.folder / ARGUMENTS).replace(self.folder / FINISHED)
        _remove_finished(self.folder)
        (self.folder / LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _drop_blocks(self, before: int) -> None:
        assert self.folder is not None
        for path in self.folder.glob(BLOCKS):
            if int(path.name.partition("-")[0]) < before:
                path.unlink(missing_ok=True)


def begun(folder: Path) -> bool:
    """Whether a folder holds a run that is not finished."""
    return (folder / ARGUMENTS).exists()


@contextlib.contextmanager
def open_checkpoint(
    folder: Path | None,
    arguments: Mapping[str, Any],
    setup: Mapping[str, Any],
    resumed: Callable[[str], None] = lambda caution: None,
) -> Iterator[Checkpoint]:
    """The checkpoint of a run with these arguments (JSON), begun or to begin; inside, no other process has it.

    Where it was begun, resumed is told what of the setup (JSON) is another now, in words, or "" where nothing is.
    Raises ValueError where another process works on the folder, or where it holds files that are not of a run, or a
    run with other arguments: it names what differs.
    """
    if folder is None:
        yield Checkpoint(None)
        return
    make_folder(folder)
    _check_files(folder)
    with _locked(folder):
        if begun(folder):
            resumed(_compare(folder, arguments, setup))
        else:
            _remove_finished(folder)
            write_json(folder / ARGUMENTS, {**arguments, SETUP: dict(setup)})
        yield Checkpoint(folder)


def _check_files(folder: Path) -> None:
    """Refuse a folder of something else; a process that was killed may have left a lock and temporary files alone."""
    names = sorted(
        {path.name for path in folder.iterdir()} - {path.name for path in folder.glob(TEMPORARIES)}
    )
    foreign = [name for name in names if name != LOCK]
    if foreign and not begun(folder) and not (folder / FINISHED).exists():
        raise ValueError(
            f"{folder} holds {foreign[0]} and no {ARGUMENTS}, so it is not of an unfinished run; give another folder, "
            "or move its files away"
        )


def _compare(folder: Path, arguments: Mapping[str, Any], setup: Mapping[str, Any]) -> str:
    """What in the setup differs from when the run was begun, in words, or "". Raises ValueError where
    arguments differ."""
    was = read_json(folder / ARGUMENTS)
    was = was if isinstance(was, dict) else {}
    different = _differences(was, arguments)
    if different:
        raise ValueError(
            f"{folder} holds an unfinished run with other arguments: {different}; repeat its command, give another "
            "folder, or remove it"
        )
    changed = _differences(was.get(SETUP, {}), setup)
    return f"{changed}: numbers may differ in their last digits" if changed else ""


def _differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name} was {was.get(name)} and is {value}" for name, value in now.items() if was.get(name) != value
    )


def _remove_finished(folder: Path) -> None:
    """Remove what is left of a run whose results are stored elsewhere, if there is one."""
    if not (folder / FINISHED).exists():
        return
    for path in (folder / WEIGHTS, *folder.glob(BLOCKS), *folder.glob(TEMPORARIES)):
        path.unlink(missing_ok=True)
    (folder / FINISHED).unlink()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; the kernel lets it go when the process ends. ValueError where another has it."""
    with file_lock(folder / LOCK) as mine:
        if not mine:
            raise ValueError(f"another process works on {folder}; wait for it or give another folder")
        yield
