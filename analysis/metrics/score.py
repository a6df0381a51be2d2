"""The score: every metric of an ensemble against a reference."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import mdtraj
import numpy as np
from numpy.typing import NDArray

from analysis.metrics.case import Case, ReferenceFrames, Views, right_handed, views
from analysis.metrics.frames import choose, usable_log_weights
from analysis.metrics.metric import Number
from analysis.metrics.registry import DISTANCES, QUALITIES
from analysis.metrics.weighting import FILTERED, PLAIN, SMOOTHED, UNWEIGHTED, Weighting
from prosebench.ensemble import Ensemble
from prosebench.frames.features import same_peptide_bonds
from prosebench.frames.tica import TicaBasis
from prosebench.reference import Reference

Key = tuple[str, Weighting]
"""The key of a number: the name of the metric, and the weighting under which it was measured."""


@dataclass(frozen=True)
class Score:
    """What an ensemble scores: numbers by metric and weighting, and how many distinct frames or draws they stand on."""

    numbers: Mapping[Key, Number]
    frames: int

    def value(self, name: str, weighting: Weighting | None = None) -> float:
        """The value of a metric, under the first weighting that has it where none is given. Raises KeyError."""
        for (metric, of), number in self.numbers.items():
            if metric == name and weighting in (None, of):
                return number.value
        raise KeyError(name)


def score(
    ensemble: Ensemble,
    reference: Reference,
    *,
    n_frames: int,
    seed: int,
    proposals: bool = False,
    of_reference: NDArray[np.float64] | None = None,
) -> Score:
    """All metrics of the registry, of an ensemble against the first n_frames of reference.scored.

    Atoms are in the order of the reference's peptide. Which frames stand for the ensemble is told in
    `analysis.metrics.frames`; seed is that of the resampling. Frames with a wrong chirality centre are mirrored first.
    proposals: whether a weighted ensemble is scored UNWEIGHTED too. of_reference: log-weights (m,) that its method
    gives to frames of the reference, on the scale of those of the ensemble, where they are known. An infinite energy
    among the scored frames makes the energy distances infinite, coordinates that are not finite make those of torsions
    and of TICA infinite.
    Raises ValueError for an ensemble of no frames, or without any finite weight.
    """
    if not len(ensemble):
        raise ValueError("the ensemble has no frames to score")
    truth = ReferenceFrames.of(reference, n_frames)
    weightings = (PLAIN,) if ensemble.log_weights is None else (SMOOTHED, FILTERED, *[UNWEIGHTED] * proposals)
    numbers: dict[Key, Number] = {}
    frames = 0
    for weighting in weightings:
        case = replace(make_case(ensemble, reference, weighting, n_frames, seed), of_reference=of_reference)
        numbers |= _numbers(case, truth, reference)
        frames = frames or case.n_frames
    return Score(numbers, frames)


def make_case(
    ensemble: Ensemble, reference: Reference, weighting: Weighting, n_frames: int, seed: int
) -> Case:
    """An ensemble with the frames that stand for it under a weighting."""
    places, used = choose(ensemble, weighting, n_frames, seed)
    chosen, mirrored, wrong = right_handed(ensemble.select(places), reference)
    turned = ~same_peptide_bonds(
        chosen.positions_nm, reference.peptide.topology, reference.scored.positions_nm[0]
    )
    return Case(
        ensemble, weighting, usable_log_weights(ensemble), used, places, chosen, mirrored, wrong, turned
    )


def _numbers(case: Case, truth: ReferenceFrames, reference: Reference) -> dict[Key, Number]:
    sample = views(case.chosen, reference.tica, reference.peptide.topology)
    found: dict[Key, Number] = {}
    for name, number in compared(sample, truth.views).items():
        distance = next(one for one in DISTANCES if one.name == name)
        error = distance.error(sample, truth, number.value)
        found[name, case.weighting] = number._replace(reference_error=error)
    for quality in QUALITIES:
        value = quality.of(case)
        if value is not None:
            found[quality.name, case.weighting if quality.by_weighting else PLAIN] = Number(value)
    return found


def compared(sample: Views, truth: Views) -> dict[str, Number]:
    """Every Distance between what is seen of two ensembles."""
    return {distance.name: distance.between(sample, truth) for distance in DISTANCES}


def distances(
    sample: Ensemble, reference: Ensemble, basis: TicaBasis, topology: mdtraj.Topology
) -> dict[str, float]:
    """Values of every Distance between two unweighted ensembles, whatever their sizes."""
    found = compared(*(views(side, basis, topology) for side in (sample, reference)))
    return {name: number.value for name, number in found.items()}
