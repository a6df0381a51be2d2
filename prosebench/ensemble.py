"""Ensemble: frames with their energies; what a method returns and what a reference is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prosebench.store.storage import ArrayHead, DamagedFile, array_heads, read_arrays, write_arrays

_FIELDS = ("positions_nm", "energies_kt", "log_weights", "evaluations")

FARTHEST_NM = 1e6
"""A coordinate beyond this, a millimetre, says no more than one that is not finite."""

LARGEST_NUMBER = 1e150
"""Of energies in kT and log-weights: the square of a larger one overflows."""

MOST_BYTES = 2**35
"""Of an ensemble in memory: a million frames of 2,800 atoms."""


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
    def load(cls, path: str | Path, *, most_bytes: int = MOST_BYTES) -> "Ensemble":
        """Read what `save` wrote. Raises DamagedFile where it is no ensemble, or would take more than most_bytes."""
        path = Path(path)
        wrong = "; ".join(_wrong_heads(array_heads(path), most_bytes))
        if wrong:
            raise DamagedFile(f"{path} is not an ensemble: {wrong}")
        try:
            return cls.from_arrays(read_arrays(path))
        except ValueError as error:
            if isinstance(error, DamagedFile):
                raise
            raise DamagedFile(f"{path} is not an ensemble: {error}") from error


def _wrong_heads(heads: dict[str, ArrayHead], most_bytes: int) -> Iterator[str]:
    """What an ensemble's arrays cannot be, before they are read."""
    missing = [name for name in _FIELDS[:2] if name not in heads]
    unknown = [name for name in heads if name not in _FIELDS]
    if missing:
        yield f"it lacks {', '.join(missing)} (it has {sorted(heads)})"
    if unknown:
        yield f"unknown arrays {', '.join(unknown)}; known: {', '.join(_FIELDS)}"
    for name, head in heads.items():
        if name in _FIELDS and head.dtype.kind not in ("iu" if name == "evaluations" else "fiu"):
            yield f"{name} holds {head.dtype} and not {'whole' if name == 'evaluations' else 'real'} numbers"
    size = sum(head.bytes for head in heads.values())
    if size > most_bytes:
        yield f"its arrays take {size:,} bytes; at most {most_bytes:,} are read"


def value_faults(ensemble: Ensemble) -> Iterator[str]:
    """Numbers in an ensemble that nothing could be computed with, a text a kind; none in one that `tidied` made.

    A frame without a finite energy has the energy inf, one without a weight the log-weight -inf, and a coordinate
    that is no place is NaN or infinite.
    """
    energies, weights, frames = ensemble.energies_kt, ensemble.log_weights, ensemble.positions_nm
    known = np.isfinite(energies)
    bad = np.isnan(energies) | (energies == -np.inf) | (known & (np.abs(energies) > LARGEST_NUMBER))
    if bad.any():
        yield f"{bad.sum():,} of its energies cannot be; one that is not finite is inf"
    if weights is not None:
        known = np.isfinite(weights)
        bad = np.isnan(weights) | (weights == np.inf) | (known & (np.abs(weights) > LARGEST_NUMBER))
        if bad.any():
            yield f"{bad.sum():,} of its log-weights cannot be; that of a frame without weight is -inf"
    bad = _far(frames)
    if bad.any():
        yield f"{bad.sum():,} of its frames have coordinates beyond {FARTHEST_NM:g} nm; such a coordinate is NaN"


def tidied(ensemble: Ensemble) -> Ensemble:
    """The ensemble as a record holds it (see `value_faults`). A frame that is nowhere has no energy and no weight."""
    far = _far(ensemble.positions_nm)
    frames = ensemble.positions_nm
    if far.any():
        frames = np.where(np.abs(frames) > FARTHEST_NM, np.float32(np.nan), frames)
    energies = ensemble.energies_kt
    usable = np.isfinite(energies) & (np.abs(energies) <= LARGEST_NUMBER) & ~far
    weights = ensemble.log_weights
    if weights is not None:
        heavy = np.isfinite(weights) & (np.abs(weights) <= LARGEST_NUMBER) & ~far
        weights = np.where(heavy, weights, -np.inf)
    return Ensemble(frames, np.where(usable, energies, np.inf), weights, ensemble.evaluations)


def _far(frames_nm: NDArray[Any]) -> NDArray[np.bool_]:
    """Frames (n,) with a coordinate that is finite and beyond FARTHEST_NM."""
    largest = np.abs(frames_nm)
    return (np.isfinite(largest) & (largest > FARTHEST_NM)).any(axis=(1, 2))


def concatenate(parts: Sequence[Ensemble]) -> Ensemble:
    """One ensemble from several, in order. An array is kept where every part has it."""
    if not parts:
        raise ValueError("there is nothing to concatenate: no parts were given")
    names = [name for name in _FIELDS if all(getattr(part, name) is not None for part in parts)]
    return Ensemble.from_arrays(
        {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )
