"""The score: every metric of an ensemble against a reference.

Units: energy-w1 and energy-w2 in kT, torus-w2 in rad, tica-w2 in the unit of the TICA basis; the others are
shares between 0 and 1. Definitions: Tan et al., "Amortized Sampling with Transferable Normalizing Flows",
arXiv 2508.18175.
"""

from typing import NamedTuple

import mdtraj
import numpy as np
from numpy.typing import NDArray

from analysis.metrics.jsd import kmeans_jsd
from analysis.scores.reference_error import blocks_of, energy_errors, jsd_error, plane_error
from analysis.wasserstein import certified_w2, energy_w1, energy_w2
from prosebench.ensemble import Ensemble
from prosebench.frames.features import tica_features, torsion_features, torus_points
from prosebench.frames.geometry import fix_chirality
from prosebench.frames.importance import (
    PUBLISHED_FILTER_FRACTION,
    clean_log_weights,
    ess,
    filter_top,
    pareto_k,
    resample,
)
from prosebench.frames.tica import TicaBasis
from prosebench.reference import Reference

DISTANCES = ("energy-w1", "energy-w2", "torus-w2", "tica-w2", "torus-k-jsd", "tica-k-jsd")
"""The metrics that compare two ensembles; smaller is better."""

REFERENCE_ERROR = "-reference-error"
"""Ends the name of what the finite reference adds to the standard error of a metric."""

GAP = "-gap"
"""Ends the name of a distance's certificate: by how much, relatively, its square may be above the optimum."""

PROPOSAL = "proposal-"
"""Begins the name of a distance of a weighted ensemble's frames taken as they are, without the weights."""


class Views(NamedTuple):
    """What of an ensemble is compared: energies (n,), torus points, TICA components, torsion features (n, d)."""

    energies_kt: NDArray[np.float64]
    torus: NDArray[np.float32]
    tica: NDArray[np.float32]
    angles: NDArray[np.float32]


def score(
    ensemble: Ensemble,
    reference: Reference,
    *,
    n_frames: int,
    seed: int,
    proposals: bool = False,
) -> dict[str, float]:
    """All metrics of an ensemble against the first n_frames of reference.scored.

    Atoms are in the order of the reference's peptide. Unweighted ensembles are thinned to n_frames (`thin`);
    weighted ones lose their highest 0.2 % of log-weights and are
    resampled with replacement. With fewer frames than n_frames, all there are get scored.
    Frames with a wrong chirality centre are mirrored first. Returned besides DISTANCES: each of them with
    REFERENCE_ERROR, `frames` (distinct frames or draws scored), `non-finite` (share of all frames of the
    ensemble without finite energy and coordinates), `mirrored` and, after mirroring, `chirality-wrong` (shares
    of the scored frames), and torus-w2 and tica-w2 with GAP. Of weighted ensembles also `ess` (Kish, after the
    filter, as a share of the weights),
    `k-hat` (before it) and, where proposals are asked for, DISTANCES with PROPOSAL. An infinite energy among
    the scored frames makes the energy distances inf, coordinates that are not finite make torus-w2 and tica-w2
    inf. Raises ValueError for an ensemble of no frames, or without any finite weight.
    """
    if not len(ensemble):
        raise ValueError("the ensemble has no frames to score")
    topology = reference.peptide.topology
    index = select_scored(ensemble, n_frames, seed)
    fixed, mirrored, still_wrong = _fixed(ensemble.select(index), reference)
    truth = views(reference.scored.select(slice(0, n_frames)), reference.tica, topology)
    sample = views(fixed, reference.tica, topology)
    result = compared(sample, truth)
    errors = reference_errors(sample, truth, reference, result)
    result |= {name + REFERENCE_ERROR: error for name, error in errors.items()}
    result["frames"] = float(len(index) if ensemble.log_weights is not None else len(np.unique(index)))
    result["non-finite"] = float(1.0 - _finite(ensemble).mean())
    result["mirrored"] = float(mirrored.mean())
    result["chirality-wrong"] = float(still_wrong.mean())
    if ensemble.log_weights is not None:
        weights = _weights(ensemble, ensemble.log_weights)
        result["ess"] = ess(weights[filter_top(weights)])
        result["k-hat"] = pareto_k(weights)
        if proposals:
            plain = Ensemble(ensemble.positions_nm, ensemble.energies_kt, None, ensemble.evaluations)
            drawn, *_ = _fixed(plain.select(thin(plain, n_frames)), reference)
            found = compared(views(drawn, reference.tica, topology), truth)
            result |= {PROPOSAL + name: found[name] for name in DISTANCES}
    return result


def _fixed(chosen: Ensemble, reference: Reference) -> tuple[Ensemble, NDArray[np.bool_], NDArray[np.bool_]]:
    positions, mirrored, wrong = fix_chirality(
        chosen.positions_nm, reference.peptide.topology, reference.scored.positions_nm[0]
    )
    return Ensemble(positions, chosen.energies_kt), mirrored, wrong


def views(ensemble: Ensemble, basis: TicaBasis, topology: mdtraj.Topology) -> Views:
    """What of an ensemble is compared."""
    frames = ensemble.positions_nm
    return Views(
        ensemble.energies_kt,
        torus_points(frames, topology),
        basis.transform(tica_features(frames, topology)),
        torsion_features(frames, topology),
    )


def distances(
    sample: Ensemble, reference: Ensemble, basis: TicaBasis, topology: mdtraj.Topology
) -> dict[str, float]:
    """The six DISTANCES between two unweighted ensembles, whatever their sizes."""
    found = compared(*(views(side, basis, topology) for side in (sample, reference)))
    return {name: found[name] for name in DISTANCES}


def compared(sample: Views, reference: Views) -> dict[str, float]:
    """The six DISTANCES between what is seen of two ensembles, and the gaps of the two in a plane (GAP)."""
    torus = certified_w2(sample.torus, reference.torus, period=2.0 * np.pi)
    tica = certified_w2(sample.tica, reference.tica)
    return {
        "energy-w1": energy_w1(sample.energies_kt, reference.energies_kt),
        "energy-w2": energy_w2(sample.energies_kt, reference.energies_kt),
        "torus-w2": torus.value,
        "tica-w2": tica.value,
        "torus-k-jsd": kmeans_jsd(reference.angles, sample.angles),
        "tica-k-jsd": kmeans_jsd(reference.tica, sample.tica),
        "torus-w2" + GAP: torus.gap,
        "tica-w2" + GAP: tica.gap,
    }


def reference_errors(
    sample: Views, truth: Views, reference: Reference, values: dict[str, float]
) -> dict[str, float]:
    """Standard error of each of the DISTANCES (values) that comes from the finite reference behind truth.

    A reference that does not state its effective number of frames is taken as one of independent frames.
    """
    n = len(truth.energies_kt)
    quality = reference.convergence
    # Frames of the reference were drawn from all: those scored hold their share of the independent ones.
    effective = float(quality.get("effective_frames", n))
    blocks = blocks_of(
        reference.trajectory[:n], reference.frame[:n], float(quality.get("correlation_frames", 1.0))
    )
    known = (blocks, effective)
    return energy_errors(sample.energies_kt, truth.energies_kt, *known) | {
        "torus-w2": plane_error(sample.torus, truth.torus, *known, values["torus-w2"], period=2.0 * np.pi),
        "tica-w2": plane_error(sample.tica, truth.tica, *known, values["tica-w2"]),
        "torus-k-jsd": jsd_error(sample.angles, truth.angles, *known),
        "tica-k-jsd": jsd_error(sample.tica, truth.tica, *known),
    }


def select_scored(ensemble: Ensemble, n_frames: int, seed: int) -> NDArray[np.int64]:
    """Indices of the frames that stand for an ensemble in a score: `thin`, or resampling where it is
    weighted.
    """
    if ensemble.log_weights is None:
        return thin(ensemble, n_frames)
    weights = _weights(ensemble, ensemble.log_weights)
    kept = filter_top(weights, PUBLISHED_FILTER_FRACTION)
    return kept[resample(weights[kept], min(n_frames, len(kept)), np.random.default_rng(seed))]


def thin(ensemble: Ensemble, n_frames: int) -> NDArray[np.int64]:
    """Indices, ascending, of at most n_frames frames, evenly spaced.

    Spaced by index, or, where the ensemble knows its evaluations, by evaluations: a trajectory whose frames
    were kept more densely at first is thinned uniformly in time, and a frame that stands for a long stretch
    may count twice. Frames with equal evaluations (replicas side by side) share the stretch up to them
    evenly, each group starting one place later than the one before, so that no replica is preferred.
    """
    n = len(ensemble)
    if n <= n_frames:
        return np.arange(n)
    if ensemble.evaluations is None or not ensemble.evaluations.any():
        return (np.arange(n_frames) + 1) * n // n_frames - 1
    order = np.argsort(ensemble.evaluations, kind="stable")
    values, starts, counts = np.unique(ensemble.evaluations[order], return_index=True, return_counts=True)
    group = np.repeat(np.arange(len(values)), counts)
    place = (np.arange(n) - starts[group] + group) % counts[group]
    order = order[np.lexsort((place, group))]
    within = (np.arange(n) - starts[group] + 1) / counts[group]
    times = values[group] - np.diff(values, prepend=0)[group] * (1.0 - within)
    targets = (np.arange(n_frames) + 1) * (values[-1] / n_frames)
    after = np.searchsorted(times, targets).clip(1, n - 1)
    nearest = after - (targets - times[after - 1] < times[after] - targets)
    return np.sort(order[nearest])


def prefix(ensemble: Ensemble, budget: int) -> Ensemble:
    """The frames that were there when `budget` evaluations had been spent.

    Raises ValueError for an ensemble that does not know its evaluations.
    """
    if ensemble.evaluations is None:
        raise ValueError("this ensemble does not know when its frames were sampled: it has no prefixes")
    return ensemble.select(ensemble.evaluations <= budget)


def _finite(ensemble: Ensemble) -> NDArray[np.bool_]:
    return np.isfinite(ensemble.energies_kt) & np.isfinite(ensemble.positions_nm).all(axis=(1, 2))


def _weights(ensemble: Ensemble, log_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-weights with weight 0 for every frame that is not finite."""
    return np.where(_finite(ensemble), clean_log_weights(log_weights), -np.inf)
