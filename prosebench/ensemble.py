"""Ensemble: frames with their energies; what a method returns and what a reference is."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from prosebench.store.storage import (
    ArrayHead,
    DamagedFile,
    array_heads,
    file_sha256,
    read_arrays,
    write_arrays,
)

# What takes a while to import is imported where it works: most who read ensembles do without.
if TYPE_CHECKING:
    import mdtraj

    from prosebench.frames.averages import Estimate, Frames, Histogram
    from prosebench.peptide import Peptide

Weighting = Literal["smoothed", "filtered"]
Observable = Callable[["mdtraj.Trajectory"], Any] | NDArray[Any]
"""What is averaged: a function of an mdtraj trajectory that gives one number, or a row of numbers, for each
frame; or these numbers themselves."""

_FIELDS = ("positions_nm", "energies_kt", "log_weights", "evaluations")
_MOST_IN_FIRST_HALF = 0.6

FARTHEST_NM = 1e6
"""A coordinate in nm beyond this, a millimetre, is treated as one that is not finite."""

LARGEST_NUMBER = 1e150
"""The largest magnitude of energies in kT and of log-weights: the square of a larger number overflows."""

MOST_BYTES = 2**35
"""The largest size of an ensemble in memory, in bytes: a million frames of 2,800 atoms."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Frames of one peptide.

    positions_nm (n, atoms, 3) float32; energies_kt (n,) float64, inf for a frame without a finite energy;
    log_weights (n,) float64 or None for an unweighted ensemble; evaluations (n,) int64 or None: how many energy
    evaluations of sampling had been spent when the frame was there; peptide, whose frames they are, where that is
    known (see `of`). Raises ValueError where shapes disagree.

        ensemble.mean(mdtraj.compute_rg)                      # a mean with its standard error
        ensemble.free_energy(ensemble.phi_psi(2), bins=60)    # a map in kT, with errors
        ensemble.save("aa.xtc")                               # for other programs; "aa.npz" keeps weights, too
    """

    positions_nm: NDArray[Any]
    energies_kt: NDArray[Any]
    log_weights: NDArray[np.float64] | None = None
    evaluations: NDArray[np.int64] | None = None
    peptide: "Peptide | None" = None

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

        if self.peptide is not None and shape[1] != self.peptide.n_atoms:
            raise ValueError(
                f"{self.peptide.sequence} has {self.peptide.n_atoms} atoms, and these frames have {shape[1]}"
            )

    def __len__(self) -> int:
        return len(self.positions_nm)

    def __repr__(self) -> str:
        whose = "" if self.peptide is None else f" of {self.peptide.sequence}"
        weighted = "no weights" if self.log_weights is None else "log-weights"
        n, atoms, _ = self.positions_nm.shape
        return f"<Ensemble{whose}: {n:,} frames of {atoms} atoms, {weighted}>"

    def select(self, index: Any) -> "Ensemble":
        """The frames that a numpy index (slice, mask, integers) picks."""
        return Ensemble(
            self.positions_nm[index],
            self.energies_kt[index],
            None if self.log_weights is None else self.log_weights[index],
            None if self.evaluations is None else self.evaluations[index],
            self.peptide,
        )

    def of(self, peptide: "str | Peptide") -> "Ensemble":
        """The same frames, known to be of a peptide (or of one by its sequence), whose order their atoms have.

        Raises PeptideError for a sequence that is none, ValueError for another number of atoms.
        """
        from prosebench.peptide import Peptide

        return replace(self, peptide=Peptide.from_sequence(peptide) if isinstance(peptide, str) else peptide)

    @property
    def ess(self) -> float:
        """Effective sample size by Kish as a share of the frames, between 1/n and 1; frames that repeat count once,
        with their weights added up. Correlation in time is not in it: see `mean`."""
        from prosebench.frames.importance import ess

        with np.errstate(divide="ignore"):
            merged = np.log(np.bincount(self._frames.same_as, self._frames.weights, minlength=len(self)))
        return ess(merged)

    @property
    def k_hat(self) -> float:
        """Pareto k-hat of the weights (`prosebench.frames.importance.pareto_k`): from 0.7 on, averages are not to be
        trusted. -inf without weights."""
        from prosebench.frames.importance import pareto_k

        return -np.inf if self.log_weights is None else pareto_k(self.log_weights)

    def mean(self, f: Observable) -> "Estimate":
        """Mean of a quantity over the target, with its standard error.

        f is a function of an mdtraj trajectory, as `mdtraj.compute_rg`, or its values (n, ...), a frame each. The error
        knows unequal weights, frames that repeat, and the correlation of neighbours in a trajectory, interleaved
        ones included (`prosebench.frames.averages`); it cannot know of states that no frame has reached, nor of time
        where frames were shuffled (`Reference.in_time` puts those of a reference in order). Warns where k-hat says that
        a few frames carry nearly all the weight, and where frames stand closer together at the beginning. Raises
        ValueError for values that are not finite.
        """
        return self._frames.mean(self._values(f))

    def histogram(self, f: Observable, bins: Any = 50, limits: Any = None) -> "Histogram":
        """Shares and densities of a quantity, or of two, with their standard errors; `bins` and `limits` are as `bins`
        and `range` of numpy.histogramdd. f and warnings as for `mean`."""
        return self._frames.histogram(self._values(f), bins, limits)

    def free_energy(self, f: Observable, bins: Any = 50, limits: Any = None) -> "Histogram":
        """The same histogram, for its `free_energy_kt` and `free_energy_error_kt`: -log of the density in kT, 0 at the
        lowest bin. Of a yes-or-no quantity with bins=2, the free energies of the two states."""
        return self._frames.histogram(self._values(f), bins, limits)

    def phi_psi(self, residue: int) -> NDArray[np.float32]:
        """Backbone torsions phi and psi (n, 2) of one residue, numbered from 1, in rad within [-pi, pi].

        Raises ValueError for the first residue, which has no phi, and for the last, which has no psi.
        """
        from prosebench.frames.features import torsions

        peptide = self._known_peptide()
        length = len(peptide.sequence)
        if not 2 <= residue <= length - 1:
            which = f"2 to {length - 1}" if length > 2 else "none, since it has two residues alone"
            raise ValueError(f"residue {residue} of {peptide.sequence} has not both phi and psi; {which} do")
        phi, psi, _ = torsions(self.positions_nm, peptide.topology)
        return np.stack([phi[:, residue - 2], psi[:, residue - 1]], axis=1)

    def to_mdtraj(self) -> "mdtraj.Trajectory":
        """The frames as a trajectory of mdtraj. Raises ValueError where the peptide is not known (see `of`)."""
        import mdtraj

        return mdtraj.Trajectory(self.positions_nm, self._known_peptide().topology)

    def resampled(self, n: int | None = None, seed: int = 0, weighting: Weighting = "smoothed") -> "Ensemble":
        """n frames (as many as there are) drawn with replacement by their weights: samples of the target, unweighted.

        "smoothed" weights are Pareto-smoothed (`pareto_smooth`); "filtered" is the published way, in which the frames
        of the highest weights are left out. Raises ValueError for an ensemble without weights, or without a finite one.
        """
        from prosebench.frames.importance import filter_top, pareto_smooth, resample

        if self.log_weights is None:
            raise ValueError("the ensemble has no weights to draw by")
        n, rng = len(self) if n is None else n, np.random.default_rng(seed)
        if weighting == "smoothed":
            index = resample(pareto_smooth(self.log_weights)[0], n, rng)
        else:
            kept = filter_top(self.log_weights)
            index = kept[resample(self.log_weights[kept], n, rng)]
        return Ensemble(self.positions_nm[index], self.energies_kt[index], peptide=self.peptide)

    @cached_property
    def _frames(self) -> "Frames":
        """Weights and repeats; frames without finite coordinates have no weight where there are weights."""
        from prosebench.frames.averages import Frames, same_as_first
        from prosebench.frames.importance import normalise

        weights = normalise(np.zeros(len(self)) if self.log_weights is None else self.log_weights)
        return Frames(weights, same_as_first(self.positions_nm))

    def _values(self, f: Observable) -> NDArray[Any]:
        """Values (n, ...) of an observable, checked to be finite where there is weight.

        Its warnings name the line that called the method that calls this.
        """
        from prosebench.frames.importance import RELIABLE_PARETO_K, k_hat_text

        if (k_hat := self.k_hat) >= RELIABLE_PARETO_K:
            warnings.warn(
                f"k-hat of the weights is {k_hat_text(k_hat)}: a few frames carry nearly all the weight, and neither "
                "averages nor their errors are to be trusted",
                stacklevel=3,
            )
        if self._denser_at_first():
            warnings.warn(
                "these frames were kept more densely at the beginning of the run, which averages would prefer; "
                "`prosebench export` writes the evenly spaced ones of a cell",
                stacklevel=3,
            )
        values = np.asarray(f(self.to_mdtraj()) if callable(f) else f)
        if values.shape[:1] != (len(self),):
            raise ValueError(
                f"the quantity has shape {values.shape}; {len(self)} frames need ({len(self)}, ...)"
            )
        finite = np.isfinite(values.reshape(len(self), -1)).all(axis=1)
        if bad := int((~finite & (self._frames.weights > 0)).sum()):
            raise ValueError(f"the quantity is not finite for {bad:,} of {len(self):,} frames")
        return values

    def _denser_at_first(self) -> bool:
        """Whether far more than half of the frames are of a run's first half, as those kept for several budgets."""
        if self.log_weights is not None or self.evaluations is None or len(self) < 10:
            return False
        return float((2 * self.evaluations <= self.evaluations.max()).mean()) > _MOST_IN_FIRST_HALF

    def _known_peptide(self) -> "Peptide":
        if self.peptide is None:
            raise ValueError('nobody says whose frames these are: ensemble.of("ARIP") does, by the sequence')
        return self.peptide

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
        """Write a file and return its SHA-256: an `.npz` file with all arrays, or frames alone for other programs.

        The latter where the name ends in .xtc, .dcd or .pdb, the peptide is known and the file is not there yet; beside
        .xtc and .dcd stands a .pdb file that names the atoms. Weights cannot be written there: see `resampled`. Raises
        ValueError as `prosebench.frames.files.check_writable` (for any other end of the name, too), and where no frame
        can be written.
        """
        path = Path(path)
        if path.suffix == ".npz":
            return write_arrays(path, self.arrays(), compress=compress)
        from prosebench.frames.files import check_format, check_writable, write_frames

        check_format(path)
        topology = self._known_peptide().topology
        check_writable(path)
        if self.log_weights is not None:
            warnings.warn(
                f"{path} holds frames without their weights; for averages, save ensemble.resampled()",
                stacklevel=2,
            )
        write_frames(path, self.positions_nm, topology)
        return file_sha256(path)

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
    """What is wrong with the arrays of an ensemble by their shapes and types, before any is read."""
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
    return Ensemble(
        frames, np.where(usable, energies, np.inf), weights, ensemble.evaluations, ensemble.peptide
    )


def _far(frames_nm: NDArray[Any]) -> NDArray[np.bool_]:
    """Frames (n,) with a coordinate that is finite and beyond FARTHEST_NM."""
    largest = np.abs(frames_nm)
    return (np.isfinite(largest) & (largest > FARTHEST_NM)).any(axis=(1, 2))


def concatenate(parts: Sequence[Ensemble]) -> Ensemble:
    """One ensemble from several, in order. An array, or the peptide, is kept where every part has it."""
    if not parts:
        raise ValueError("there is nothing to concatenate: no parts were given")
    names = [name for name in _FIELDS if all(getattr(part, name) is not None for part in parts)]
    joined = Ensemble.from_arrays(
        {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )
    peptide = parts[0].peptide
    return replace(joined, peptide=peptide) if all(part.peptide is peptide for part in parts) else joined
