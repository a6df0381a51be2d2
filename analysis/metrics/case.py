"""What metrics are measured on: an ensemble as it is scored, the reference beside it, and what a record has spent."""

from dataclasses import dataclass
from functools import cached_property

import mdtraj
import numpy as np
from numpy.typing import NDArray

from analysis.metrics.frames import finite_frames
from analysis.metrics.reference_error import Frames, blocks_of
from analysis.metrics.weighting import Weighting
from prosebench.energy.meter import Ledger
from prosebench.ensemble import Ensemble
from prosebench.frames.features import tica_features, torsion_features, torus_points
from prosebench.frames.geometry import fix_chirality
from prosebench.frames.tica import TicaBasis
from prosebench.record import Provenance
from prosebench.reference import Reference


@dataclass(frozen=True)
class Views:
    """What of an ensemble is compared: energies (n,), torus points, TICA components, torsion features (n, d)."""

    energies_kt: NDArray[np.float64]
    torus: NDArray[np.float32]
    tica: NDArray[np.float32]
    angles: NDArray[np.float32]


def views(ensemble: Ensemble, basis: TicaBasis, topology: mdtraj.Topology) -> Views:
    """What of an ensemble is compared."""
    frames = ensemble.positions_nm
    return Views(
        ensemble.energies_kt,
        torus_points(frames, topology),
        basis.transform(tica_features(frames, topology)),
        torsion_features(frames, topology),
    )


@dataclass(frozen=True)
class ReferenceFrames:
    """The frames of a reference that are scored against, and how independent they are of each other."""

    views: Views
    frames: Frames

    @classmethod
    def of(cls, reference: Reference, n_frames: int) -> "ReferenceFrames":
        """The first n_frames of the scored ones.

        A reference that does not state its effective number of frames is taken as one of independent frames.
        """
        scored = reference.scored.select(slice(0, n_frames))
        n, quality = len(scored), reference.convergence
        places = reference.halves[0][:n]
        blocks = blocks_of(
            reference.trajectory[places],
            reference.frame[places],
            float(quality.get("correlation_frames", 1.0)),
        )
        # The frames were drawn from all of the reference: they hold their share of the independent ones.
        effective = float(quality.get("effective_frames", n))
        return cls(views(scored, reference.tica, reference.peptide.topology), Frames(blocks, effective))


@dataclass(frozen=True)
class Case:
    """One ensemble that is scored: all of it, and the frames that stand for it, mirrored where that was needed.

    log_weights: of all frames, -inf for those that are not finite; None for an unweighted ensemble. used: those by
    which the chosen frames were drawn, None where they were not. mirrored, still_wrong, turned: of the chosen frames,
    which were mirrored, which have a wrong chirality centre even so, and which a peptide bond that is cis where the
    reference's is trans, or the reverse. of_reference: log-weights (m,) that the method gives
    to frames of the reference, where they are known.
    """

    ensemble: Ensemble
    weighting: Weighting
    log_weights: NDArray[np.float64] | None
    used: NDArray[np.float64] | None
    places: NDArray[np.int64]
    chosen: Ensemble
    mirrored: NDArray[np.bool_]
    still_wrong: NDArray[np.bool_]
    turned: NDArray[np.bool_]
    of_reference: NDArray[np.float64] | None = None

    @cached_property
    def finite(self) -> NDArray[np.bool_]:
        """Which frames of the whole ensemble have a finite energy and finite coordinates."""
        return finite_frames(self.ensemble)

    @property
    def n_frames(self) -> int:
        """Draws of a resampled ensemble, distinct frames of any other."""
        return len(self.places) if self.used is not None else len(np.unique(self.places))


def right_handed(
    chosen: Ensemble, reference: Reference
) -> tuple[Ensemble, NDArray[np.bool_], NDArray[np.bool_]]:
    """Frames with those of a wrong chirality mirrored; which were mirrored; which are wrong even so."""
    positions, mirrored, wrong = fix_chirality(
        chosen.positions_nm, reference.peptide.topology, reference.scored.positions_nm[0]
    )
    return Ensemble(positions, chosen.energies_kt, None, chosen.evaluations), mirrored, wrong


@dataclass(frozen=True)
class Spent:
    """What a record had spent at one of its budgets. provenance is None where it is not known.

    evaluations: of sampling at this budget; is_last: whether this is the largest budget of the cell; annealed_to: the
    time of the last step of a method that anneals, None of any other.
    """

    evaluations: int
    is_last: bool
    ledger: Ledger
    provenance: Provenance | None
    annealed_to: float | None = None

    @property
    def sampling_seconds(self) -> float | None:
        """The clock runs for a whole cell: at a smaller budget, its share pro rata of evaluations."""
        if self.provenance is None:
            return None
        whole = self.ledger.sampling.evaluations
        share = self.evaluations / whole if whole else 1.0
        return self.provenance.seconds.get("sampling", 0.0) * share

    @property
    def device_seconds(self) -> float | None:
        """Sampling seconds times the cores or accelerators that shared them."""
        where, seconds = self.provenance, self.sampling_seconds
        if where is None or seconds is None:
            return None
        return where.ranks * (where.threads if where.device == "cpu" else 1) * seconds

    @property
    def wall_seconds(self) -> float | None:
        """Seconds of sampling, preparation and training."""
        where, seconds = self.provenance, self.sampling_seconds
        if where is None or seconds is None:
            return None
        return seconds + sum(where.seconds.get(phase, 0.0) for phase in ("preparation", "training"))
