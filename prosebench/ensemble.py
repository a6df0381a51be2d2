"""Ensemble: frames with their energies; what a method returns and what a reference is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prosebench.store.storage import DamagedFile, read_arrays, write_arrays

_FIELDS = ("positions_nm", "energies_kt", "log_weights", "evaluations")


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Frames of one peptide.

    positions_nm (n, atoms, 3) float32; energies_kt (n,) float64, inf for a frame without a finite energy;
    log_weights (n,) float64 or None for an unweighted ensemble; evaluations (n,) int64 or None: how many energy
    evaluations of sampling had been spent when the frame was there. Raises ValueError where shapes disagree.
    """

    positions_nm: NDArray[Any]
    energies_kt: NDArray[Any]
    log_weights: NDArray[np.float64] | None = None
    evaluations: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        cast = object.__setattr__
        cast(self, "positions_nm", np.ascontiguousarray(self.positions_nm, dtype=np.float32))
        cast(self, "energies_kt", np.asarray(self.energies_kt, dtype=np.float64))
        if self.log_weights is not None:
            cast(self, "log_weights", np.asarray(self.log_weights, dtype=np.float64))
        if self.evaluations is not None:
            cast(self, "evaluations", np.asarray(self.evaluations, dtype=np.int64))
        shape = self.positions_nm.shape
        if len(shape) != 3 or shape[2] != 3:
            raise ValueError(f"positions_nm has shape {shape}; an ensemble needs (frames, atoms, 3)")
        for name in _FIELDS[1:]:
            array = getattr(self, name)
            if array is not None and array.shape != shape[:1]:
                raise ValueError(f"{name} has shape {array.shape}; {shape[0]} frames need ({shape[0]},)")

    def __len__(self) -> int:
        return len(self.positions_nm)

    def select(self, index: Any) -> "Ensemble":
        """The frames that a numpy index (slice, mask, integers) picks."""
        return Ensemble(
            self.positions_nm[index],
            self.energies_kt[index],
            None if self.log_weights is None else self.log_weights[index],
            None if self.evaluations is None else self.evaluations[index],
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that are there, by name."""
        return {name: getattr(self, name) for name in _FIELDS if getattr(self, name) is not None}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> "Ensemble":
        """The reverse of `arrays`. Raises KeyError where positions or energies are missing."""
        return cls(
            arrays["positions_nm"],
            arrays["energies_kt"],
            arrays.get("log_weights"),
            arrays.get("evaluations"),
        )

    def save(self, path: str | Path, *, compress: bool = False) -> str:
        """Write an `.npz` file and return its SHA-256."""
        return write_arrays(Path(path), self.arrays(), compress=compress)

    @classmethod
    def load(cls, path: str | Path) -> "Ensemble":
        """Read what `save` wrote. Raises DamagedFile where the file is not an ensemble."""
        arrays = read_arrays(Path(path))
        missing = [name for name in _FIELDS[:2] if name not in arrays]
        if missing:
            raise DamagedFile(
                f"{path} is not an ensemble: it lacks {', '.join(missing)} (it has {sorted(arrays)})"
            )
        return cls.from_arrays(arrays)


def concatenate(parts: Sequence[Ensemble]) -> Ensemble:
    """One ensemble from several, in order. An array is kept where every part has it."""
    if not parts:
        raise ValueError("there is nothing to concatenate: no parts were given")
    names = [name for name in _FIELDS if all(getattr(part, name) is not None for part in parts)]
    return Ensemble.from_arrays(
        {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )
