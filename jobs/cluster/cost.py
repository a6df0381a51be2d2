"""How long a cell will take: from what finished cells took, or else from a rough guess."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from prosebench.peptide.residues import ONE_LETTER, residue_atoms
from prosebench.record import Cell, cell_folders, read_provenance, read_record
from prosebench.store.storage import DamagedFile

CELL_SECONDS = 1.0
"""What a cell takes besides evaluations: its topology, the gate, its files."""
GUESSED_SECONDS = 60e-6
"""An evaluation of TYPICAL_ATOMS on one core, before anything was measured."""
GUESSED_PREPARATION = 60_000
GUESSED_EXPONENT = 1.5
"""Between bonded terms (1) and all pairs (2)."""
TYPICAL_ATOMS = 40
_KIND = tuple[str, str, str]


@dataclass
class _Seen:
    """Finished cells of one kind: atoms, seconds an evaluation, evaluations of preparation."""

    atoms: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    preparation: list[int] = field(default_factory=list)


class CostModel:
    """Seconds of a cell on one rank = CELL_SECONDS + evaluations x c x atoms^p, where c and p are learned.

    c is the median over finished cells of the same kind (method, engine, platform); p is fitted where they have several
    sizes. Cells of a kind never seen are guessed.
    """

    def __init__(self) -> None:
        self._seen: dict[_KIND, _Seen] = defaultdict(_Seen)

    def learn(self, directories: Iterable[Path]) -> "CostModel":
        """Take in the finished cells of run folders."""
        for directory in directories:
            for folder in cell_folders(directory):
                self._learn_cell(folder)
        return self

    def seconds(self, cell: Cell) -> float:
        """Wall seconds of a whole cell on one worker."""
        seen = self._seen.get(_kind(cell), _Seen())
        preparation = float(np.median(seen.preparation)) if seen.preparation else GUESSED_PREPARATION
        return CELL_SECONDS + (cell.budgets[-1] + preparation) * _per_evaluation(
            seen, count_atoms(cell.peptide)
        )

    def knows(self, cell: Cell) -> bool:
        """Whether cells of this kind were seen, so that their time is no guess."""
        return bool(self._seen.get(_kind(cell), _Seen()).atoms)

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
        seen = self._seen[_kind(record.cell)]
        seen.atoms.append(count_atoms(record.cell.peptide))
        seen.seconds.append(seconds / evaluations)
        seen.preparation.append(ledger.preparation.evaluations)


def count_atoms(sequence: str) -> int:
    """Atoms of a peptide, from the tables of residues alone."""
    names = {letter: name for name, letter in ONE_LETTER.items()}
    last = len(sequence) - 1
    return sum(
        len(residue_atoms(names[letter], first=index == 0, last=index == last))
        for index, letter in enumerate(sequence)
    )


def _kind(cell: Cell) -> _KIND:
    return cell.method, cell.target.engine, cell.target.platform


def _per_evaluation(seen: _Seen, atoms: int) -> float:
    if not seen.atoms:
        return GUESSED_SECONDS * (atoms / TYPICAL_ATOMS) ** GUESSED_EXPONENT
    sizes, seconds = np.log(seen.atoms), np.log(seen.seconds)
    exponent = GUESSED_EXPONENT
    if len(set(seen.atoms)) > 2:
        exponent = float(np.clip(np.polyfit(sizes, seconds, 1)[0], 0.5, 2.5))
    constant = float(np.median(seconds - exponent * sizes))
    return math.exp(constant + exponent * math.log(atoms))
