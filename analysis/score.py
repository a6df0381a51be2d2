"""The score: every metric of an ensemble against a reference.

Units: energy-w1 and energy-w2 in kT, torus-w2 in rad, tica-w2 in the unit of the TICA basis; the others are
shares between 0 and 1. Definitions: Tan et al., "Amortized Sampling with Transferable Normalizing Flows",
arXiv 2508.18175.
"""

import mdtraj
import numpy as np
from numpy.typing import NDArray

from analysis.jsd import kmeans_jsd
from analysis.wasserstein import energy_w1, energy_w2, euclidean_w2, torus_w2
from prosebench.ensemble import Ensemble
from prosebench.features import tica_features, torsion_features, torus_points
from prosebench.geometry import fix_chirality
from prosebench.importance import PUBLISHED_FILTER_FRACTION, clean_log_weights, ess, filter_top, resample
from prosebench.reference import Reference
from prosebench.tica import TicaBasis

DISTANCES = ("energy-w1", "energy-w2", "torus-w2", "tica-w2", "torus-k-jsd", "tica-k-jsd")
"""The metrics that compare two ensembles; smaller is better."""


def score(
    ensemble: Ensemble, reference: Reference, topology: mdtraj.Topology, *, n_frames: int, seed: int
) -> dict[str, float]:
    """All metrics of an ensemble against the first n_frames of reference.scored.

    Unweighted ensembles are thinned to n_frames (`thin`); weighted ones lose their highest 0.2 % of
    log-weights and are resampled with replacement. With fewer frames than n_frames, all there are get scored.
    Frames with a wrong chirality centre are mirrored first. Returned besides DISTANCES: `frames` (distinct
    frames or draws scored), `non-finite` (share of all frames of the ensemble without finite energy and
    coordinates), `mirrored` and, after mirroring, `chirality-wrong` (shares of the scored frames), and `ess`
    (weighted ensembles only: Kish, after the filter, as a share of the weights). An infinite energy among the
    scored frames makes the energy distances inf, coordinates that are not finite make torus-w2 and tica-w2
    inf. Raises ValueError for an ensemble of no frames, or without any finite weight.
    """
    if not len(ensemble):
        raise ValueError("the ensemble has no frames to score")
    index = select_scored(ensemble, n_frames, seed)
    chosen = ensemble.select(index)
    fixed, mirrored, still_wrong = fix_chirality(
        chosen.positions_nm, topology, reference.scored.positions_nm[0]
    )
    result = distances(
        Ensemble(fixed, chosen.energies_kt),
        reference.scored.select(slice(0, n_frames)),
        reference.tica,
        topology,
    )
    result["frames"] = float(len(index) if ensemble.log_weights is not None else len(np.unique(index)))
    result["non-finite"] = float(1.0 - _finite(ensemble).mean())
    result["mirrored"] = float(mirrored.mean())
    result["chirality-wrong"] = float(still_wrong.mean())
    if ensemble.log_weights is not None:
        weights = _weights(ensemble, ensemble.log_weights)
        result["ess"] = ess(weights[filter_top(weights)])
    return result


def distances(
    sample: Ensemble, reference: Ensemble, basis: TicaBasis, topology: mdtraj.Topology
) -> dict[str, float]:
    """The six DISTANCES between two unweighted ensembles, whatever their sizes."""
    sides = (sample.positions_nm, reference.positions_nm)
    points = [torus_points(frames, topology) for frames in sides]
    components = [basis.transform(tica_features(frames, topology)) for frames in sides]
    angles = [torsion_features(frames, topology) for frames in sides]
    return {
        "energy-w1": energy_w1(sample.energies_kt, reference.energies_kt),
        "energy-w2": energy_w2(sample.energies_kt, reference.energies_kt),
        "torus-w2": torus_w2(*points),
        "tica-w2": euclidean_w2(*components),
        "torus-k-jsd": kmeans_jsd(angles[1], angles[0]),
        "tica-k-jsd": kmeans_jsd(components[1], components[0]),
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
    if ensemble.evaluations is None:
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
