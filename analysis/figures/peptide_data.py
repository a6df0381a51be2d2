"""What the figures and the page of one peptide are made of: its reference and the scored frames of its cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np
from numpy.typing import NDArray

from analysis.figures.peptide import Sample
from analysis.metrics.case import right_handed
from analysis.metrics.frames import choose
from analysis.metrics.jsd import kmeans
from analysis.metrics.weighting import FILTERED, PLAIN
from analysis.scores.convergence import observable
from analysis.scores.run import at_budget, scoring_seed
from prosebench.ensemble import Ensemble, concatenate
from prosebench.frames.features import tica_features
from prosebench.frames.importance import ess, filter_top
from prosebench.record import read_record
from prosebench.reference import Reference
from prosebench.store.storage import DamagedFile

N_MAP_STATES = 6
"""The number of states in the figures of populations. They are few enough to have names."""

_TRACE_POINTS = 40
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class CellFrames:
    """The scored frames of a cell at a budget, in the order in which they were sampled, mirrored where needed.

    one_walker: frames follow each other in one trajectory; ess_trace: numbers of samples and ESS among the first so
    many, of weighted cells; diagnostics: numbers a chunk, by name.
    """

    row: str
    budget: int
    seed: int
    frames: Ensemble
    one_walker: bool
    ess_trace: tuple[Floats, Floats] | None
    diagnostics: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class PeptideData:
    """One peptide: its topology, reference, and cells; damaged: why the frames of others could not be read."""

    sequence: str
    topology: mdtraj.Topology
    reference: Reference
    cells: tuple[CellFrames, ...]
    n_frames: int
    damaged: tuple[str, ...] = ()

    @property
    def truth(self) -> Ensemble:
        """The reference frames that the cells were scored against."""
        return self.reference.scored.select(slice(0, self.n_frames))

    @property
    def samples(self) -> list[Sample]:
        """The frames of each row and budget, seeds together."""
        parts: dict[tuple[str, int], list[Ensemble]] = {}
        for cell in self.cells:
            parts.setdefault((cell.row, cell.budget), []).append(cell.frames)
        return [Sample(row, budget, concatenate(of)) for (row, budget), of in parts.items()]

    def components(self, frames: Ensemble) -> NDArray[np.float64]:
        """TICA components (n, 2) of frames."""
        return self.reference.tica.transform(tica_features(frames.positions_nm, self.topology)).astype(
            np.float64
        )

    @property
    def slowest(self) -> str:
        """Name of the slowest observable of the reference; of the first TICA component where it names none."""
        return str(self.reference.convergence.get("slowest", "the first TICA component"))

    def walk(self, frames: Ensemble) -> NDArray[np.float64]:
        """The slowest observable (n,) of frames: TICA of a short peptide may have nothing slow to find."""
        return observable(self.slowest, frames, self.reference.tica, self.topology).astype(np.float64)

    @property
    def last(self) -> list[CellFrames]:
        """The cells of each row at the largest budget it has."""
        largest = {
            row: max(c.budget for c in self.cells if c.row == row) for row in {c.row for c in self.cells}
        }
        return [cell for cell in self.cells if cell.budget == largest[cell.row]]


def load_peptide(
    sequence: str, reference: Reference, cells: Sequence[tuple[str, int, str]], folders: Mapping[str, Path]
) -> PeptideData:
    """Read the cells (row, budget, cell id) of a peptide.

    Those whose frames were not kept are left out, those whose frames are damaged too, which `damaged` says.
    """
    topology = reference.peptide.topology
    found = []
    damaged: dict[str, None] = {}
    n_frames = 0
    for row, budget, cell_id in cells:
        record = read_record(folders[cell_id])
        try:
            ensemble = record.load_ensemble(folders[cell_id])
        except FileNotFoundError:  # scores outlive ensembles: records may be kept without their frames
            continue
        except (DamagedFile, OSError) as error:
            damaged[f"{record.cell.folder_name}: {_reason(error)}"] = None
            continue
        there = at_budget(ensemble, budget, record.cell)
        weighting = PLAIN if there.log_weights is None else FILTERED
        chosen = choose(there, weighting, record.cell.frames, scoring_seed(record.cell))
        frames, _, _ = right_handed(there.select(chosen.places), reference)
        found.append(
            CellFrames(
                row=row,
                budget=budget,
                seed=record.cell.seed,
                frames=frames,
                one_walker=_one_walker(there),
                ess_trace=_ess_trace(there),
                diagnostics=record.diagnostics,
            )
        )
        n_frames = max(n_frames, record.cell.frames)
    return PeptideData(
        sequence, topology, reference, tuple(found), n_frames or len(reference.scored), tuple(damaged)
    )


def _reason(error: Exception) -> str:
    """What an error says, without the folder in which it happened to be."""
    return str(error).splitlines()[0].rpartition("/")[2]


def _one_walker(ensemble: Ensemble) -> bool:
    """Whether frames came one by one, unweighted: then their order is that of a trajectory."""
    when = ensemble.evaluations
    return ensemble.log_weights is None and when is not None and bool((np.diff(when) > 0).all())


def _ess_trace(ensemble: Ensemble) -> tuple[Floats, Floats] | None:
    if ensemble.log_weights is None or len(ensemble) < 10:
        return None
    numbers = np.unique(np.geomspace(min(100, len(ensemble)), len(ensemble), _TRACE_POINTS).astype(int))
    values = []
    for number in numbers:
        weights = ensemble.log_weights[:number]
        values.append(ess(weights[filter_top(weights)]))
    return numbers.astype(float), np.array(values)


@dataclass(frozen=True)
class States:
    """K-means states over the TICA components of a reference, the most populated first.

    centres (states, 2); reference (states,): shares; error (states,): their standard errors, from the reference's
    effective number of frames.
    """

    centres: NDArray[np.float64]
    reference: NDArray[np.float64]
    error: NDArray[np.float64]

    def shares(self, components: Floats) -> NDArray[np.float64]:
        """Share (states,) of frames in each state; frames that are not finite are in none."""
        counts = np.bincount(
            self.labels(components[np.isfinite(components).all(axis=1)]), minlength=len(self.centres)
        )
        return counts / max(len(components), 1)

    def labels(self, components: Floats) -> NDArray[np.int64]:
        """State of each point (n, 2): the nearest centre."""
        distances = ((np.asarray(components, dtype=np.float64)[:, None] - self.centres) ** 2).sum(axis=-1)
        return distances.argmin(axis=1)


def find_states(data: PeptideData, n_states: int = N_MAP_STATES) -> States:
    """States of a peptide's reference."""
    components = data.components(data.truth)
    centres = kmeans(components, min(n_states, len(components))).cluster_centers_.astype(np.float64)
    unsorted = States(centres, np.zeros(len(centres)), np.zeros(len(centres)))
    shares = unsorted.shares(components)
    order = np.argsort(-shares, kind="stable")
    effective = float(data.reference.convergence.get("effective_frames", len(components)))
    shares = shares[order]
    return States(centres[order], shares, np.sqrt(shares * (1.0 - shares) / max(effective, 1.0)))


def energy_overlap(sample: Floats, reference: Floats) -> float:
    """Share of two energy histograms that lies in both: 1 for equal ones, 0 for disjoint ones.

    Bins are the twentieths of the reference, with one below and one above; energies that are not finite lie in none.
    """
    edges = np.quantile(reference[np.isfinite(reference)], np.linspace(0.0, 1.0, 21))
    sides = []
    for values in (sample, reference):
        places = np.searchsorted(edges[1:-1], values[np.isfinite(values)], side="right")
        outside = np.where(values[np.isfinite(values)] > edges[-1], 20, places)
        outside = np.where(values[np.isfinite(values)] < edges[0], 21, outside)
        sides.append(np.bincount(outside, minlength=22) / max(len(values), 1))
    return float(np.minimum(*sides).sum())


@dataclass(frozen=True)
class Cores:
    """Two ends of the slowest observable of a reference; between them a walker is on its way."""

    low: float
    high: float

    def round_trips(self, values: Floats) -> float:
        """Times that a walker went from one core to the other and back; half of the number of crossings."""
        where = np.where(values <= self.low, -1, np.where(values >= self.high, 1, 0))
        visited = where[where != 0]
        return float((np.diff(visited) != 0).sum()) / 2.0


def find_cores(values: Floats) -> Cores:
    """Cores of an observable of the reference (n,): the outer thirds of its range, without its last 0.1 % at each end.

    A rarely visited state is a core of its own, which k-means would not make it.
    """
    low, high = np.quantile(values, [0.001, 0.999])
    return Cores(float(low + (high - low) / 3.0), float(high - (high - low) / 3.0))
