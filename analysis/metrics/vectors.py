"""Whether the metrics here are those of the published implementation, from its stored numbers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.metrics.score import distances
from prosebench.check.comparison import Check
from prosebench.energy.openmm import OpenMMEnergy
from prosebench.ensemble import Ensemble
from prosebench.frames.features import tica_features
from prosebench.frames.geometry import fix_chirality
from prosebench.frames.importance import com_energy_adjustment, ess, filter_top
from prosebench.frames.tica import TicaBasis
from prosebench.peptide import Peptide
from prosebench.peptide.labels import atom_labels
from prosebench.store.storage import read_arrays

VECTOR_FILTER_FRACTION = 0.02
"""The share of weights that the filter removes in the stored vectors. It is 2 %, so that the filter shows on
a few hundred weights."""

_W2_TOLERANCE = 1e-4
_JSD_TOLERANCE = 1e-6
_POSITIONS = ("reference_positions", "sample_positions", "sample_positions_mirrored", "com_x")

Arrays = Mapping[str, NDArray[Any]]


def check_metrics(path: str | Path) -> list[Check]:
    """Recompute everything in a `metrics_*.npz` file and compare.

    Errors are relative for energies and W2, absolute for divergences (JSD), features, ESS and log-densities,
    and counts of differences for flags. Raises DamagedFile for a file that cannot be read, KeyError for one
    that lacks an array.
    """
    arrays = read_arrays(Path(path))
    meta = json.loads(str(arrays["meta"]))
    peptide = Peptide.from_sequence(meta["sequence"])
    labels = atom_labels(peptide)
    if sorted(labels) != sorted(meta["atoms"]):
        return [Check("atom names that differ", float(len(set(labels) ^ set(meta["atoms"]))), 0.0)]
    order = np.array([meta["atoms"].index(label) for label in labels])
    arrays = {name: array[:, order] if name in _POSITIONS else array for name, array in arrays.items()}
    return [
        *_energy_checks(arrays, peptide),
        *_distance_checks(arrays, meta["metrics"], peptide),
        *_chirality_checks(arrays, peptide),
        *_weight_checks(arrays),
    ]


def _energy_checks(arrays: Arrays, peptide: Peptide) -> list[Check]:
    kt = float(arrays["kT_kj_mol"])
    oracle = OpenMMEnergy(peptide, platform="Reference")
    checks = []
    for side in ("reference", "sample"):
        stored = arrays[f"{side}_energy_kj_mol"] / kt
        error = _relative(oracle.energy(arrays[f"{side}_positions"]), stored)
        checks.append(Check(f"{side} energies", error, 1e-6))
    return checks


def _distance_checks(arrays: Arrays, stored: Mapping[str, float], peptide: Peptide) -> list[Check]:
    kt = float(arrays["kT_kj_mol"])
    sample, reference = (
        Ensemble(arrays[f"{side}_positions"], arrays[f"{side}_energy_kj_mol"] / kt)
        for side in ("sample", "reference")
    )
    basis = TicaBasis(arrays["tica_projection"], arrays["tica_mean"])
    features = tica_features(reference.positions_nm[:1], peptide.topology)[0]
    values = distances(sample, reference, basis, peptide.topology)
    checks = [Check("tica features", _largest(features, arrays["tica_features_first_frame"]), 1e-6)]
    for name, value in stored.items():
        absolute = name.endswith("jsd")
        error = abs(values[name] - value) if absolute else _relative(values[name], value)
        checks.append(Check(name, error, _JSD_TOLERANCE if absolute else _W2_TOLERANCE))
    return checks


def _chirality_checks(arrays: Arrays, peptide: Peptide) -> list[Check]:
    fixed, changed, _ = fix_chirality(
        arrays["sample_positions_mirrored"], peptide.topology, arrays["reference_positions"][0]
    )
    wrong = float((changed != arrays["chirality_changed"]).sum())
    return [
        Check("chirality flags", wrong, 0.0),
        Check("mirrored positions", _largest(fixed, arrays["sample_positions"]), 1e-6),
    ]


def _weight_checks(arrays: Arrays) -> list[Check]:
    weights = arrays["log_weights"]
    kept = set(filter_top(weights, VECTOR_FILTER_FRACTION).tolist())
    differing = kept ^ set(arrays["kept_after_removing_top_2_percent"].tolist())
    adjustment = com_energy_adjustment(arrays["com_x"])
    return [
        Check("ess", abs(ess(weights) - float(arrays["ess_normalized"])), 1e-6),
        Check("weight filter", float(len(differing)), 0.0),
        Check("centre-of-mass term", _largest(adjustment, arrays["com_energy_adjustment"]), 1e-5),
    ]


def _largest(value: NDArray[Any], stored: NDArray[Any]) -> float:
    if np.shape(value) != np.shape(stored):
        return float("inf")
    return float(np.abs(np.asarray(value, dtype=np.float64) - stored).max(initial=0.0))


def _relative(value: Any, stored: Any) -> float:
    return float((np.abs(np.asarray(value) - stored) / np.maximum(np.abs(stored), 1e-12)).max(initial=0.0))
