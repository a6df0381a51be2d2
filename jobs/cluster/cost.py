"""How long a cell will take: from what finished cells took, or else from a rough guess."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import prosebench
from prosebench.peptide import number_of_atoms
from prosebench.record import Cell, cell_folders, read_provenance, read_record
from prosebench.store.storage import DamagedFile

CELL_SECONDS = 1.0
"""The seconds that a cell takes besides its evaluations: it makes its topology, passes the gate, and writes
its files."""
GUESSED_SECONDS = 60e-6
"""The guessed seconds of one energy evaluation of TYPICAL_ATOMS atoms on one core. It is used until cells of
the same kind have finished."""
GUESSED_PROPOSAL_FLOP_PER_SECOND = {"cpu": 5e10, "gpu": 2e13}
"""The guessed FLOP per second of a flow that draws, by kind of device; a proposal takes 2 FLOP for each
weight and atom. On a GPU it is a twentieth of what the GPU can do. It is used until cells of the same kind
have finished."""
GUESSED_WEIGHTS = 285_000_000
"""The number of weights that is taken for a flow without a weights file on this machine: that of the
published flows."""
GUESSED_PREPARATION = 60_000
GUESSED_EXPONENT = 1.5
"""The guessed power with which the time of an evaluation grows with the number of atoms. The bonded terms
grow with the power 1 and the sum over all pairs with 2, so the whole lies between them."""
TYPICAL_ATOMS = 40
_KIND = tuple[str, str, str, str, str]


@dataclass
class _Seen:
    """Finished cells of one kind: atoms, seconds an evaluation, evaluations of preparation."""

    atoms: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    preparation: list[int] = field(default_factory=list)


class CostModel:
    """Seconds of a cell on one rank = CELL_SECONDS + evaluations x c x atoms^p, where c and p are learned.

    c is the median over finished cells of the same kind (method, weights of its flow, engine, platform, and whether on
    a GPU); p is fitted where they have several sizes. Cells of a kind never seen are guessed.
    """

    def __init__(self) -> None:
        self._seen: dict[_KIND, _Seen] = defaultdict(_Seen)

    def learn(self, directories: Iterable[Path]) -> "CostModel":
        """Take in the finished cells of run folders."""
        for directory in directories:
            for folder in cell_folders(directory):
                self._learn_cell(folder)
        return self

    def seconds(self, cell: Cell, *, gpu: bool = False) -> float:
        """Wall seconds of a whole cell on one worker, with a GPU or without."""
        seen, atoms = self._seen.get(_kind(cell, gpu), _Seen()), number_of_atoms(cell.peptide)
        if not seen.atoms and _found(cell.settings, "weights"):
            return CELL_SECONDS + cell.budgets[-1] * _guessed_proposal(cell, atoms, gpu)
        preparation = float(np.median(seen.preparation)) if seen.preparation else GUESSED_PREPARATION
        return CELL_SECONDS + (cell.budgets[-1] + preparation) * _per_evaluation(seen, atoms)

    def knows(self, cell: Cell, *, gpu: bool = False) -> bool:
        """Whether cells of this kind were seen, so that their time is no guess."""
        return bool(self._seen.get(_kind(cell, gpu), _Seen()).atoms)

    def _learn_cell(self, folder: Path) -> None:
        try:
            record, provenance = read_record(folder), read_provenance(folder)
        except (DamagedFile, OSError):
            return
        ledger = record.ledger
        evaluations = ledger.sampling.evaluations + ledger.preparation.evaluations
        seconds = sum(provenance.seconds.get(phase, 0.0) for phase in ("sampling", "preparation", "training"))
        seconds *= provenance.ranks
        if record.status != "done" or not evaluations or seconds <= 0:
            return
        seen = self._seen[_kind(record.cell, provenance.device not in ("", "cpu"))]
        seen.atoms.append(number_of_atoms(record.cell.peptide))
        seen.seconds.append(seconds / evaluations)
        seen.preparation.append(ledger.preparation.evaluations)


def _kind(cell: Cell, gpu: bool) -> _KIND:
    return cell.method, _weights(cell), cell.target.engine, cell.target.platform, "gpu" if gpu else "cpu"


def _weights(cell: Cell) -> str:
    """What identifies the flow of a cell: the hash of its weights, or their name, or its size; empty for
    dynamics."""
    return (
        _found(cell.settings, "weights_sha256")
        or _found(cell.settings, "weights")
        or _found(cell.settings, "size")
    )


def _found(settings: Mapping[str, Any], name: str) -> str:
    """The first setting of that name in the settings of a method, or in those of its proposal."""
    inner = (_found(value, name) for value in settings.values() if isinstance(value, Mapping))
    return str(settings.get(name) or "") or next((value for value in inner if value), "")


def _guessed_proposal(cell: Cell, atoms: int, gpu: bool) -> float:
    """Seconds of a draw of a flow, from the size of the file of its weights where it is on this machine."""
    path = Path(_found(cell.settings, "weights"))
    for folder in (Path(), *(package / "models" for package in Path(prosebench.__path__[0]).iterdir())):
        file = folder / (path if path.suffix else f"{path}.npz")
        if file.is_file():
            weights = file.stat().st_size // 4
            break
    else:
        weights = GUESSED_WEIGHTS
    return 2 * weights * atoms / GUESSED_PROPOSAL_FLOP_PER_SECOND["gpu" if gpu else "cpu"]


def _per_evaluation(seen: _Seen, atoms: int) -> float:
    if not seen.atoms:
        return GUESSED_SECONDS * (atoms / TYPICAL_ATOMS) ** GUESSED_EXPONENT
    sizes, seconds = np.log(seen.atoms), np.log(seen.seconds)
    exponent = GUESSED_EXPONENT
    if len(set(seen.atoms)) > 2:
        exponent = float(np.clip(np.polyfit(sizes, seconds, 1)[0], 0.5, 2.5))
    constant = float(np.median(seconds - exponent * sizes))
    return math.exp(constant + exponent * math.log(atoms))
