"""Scores of weighted ensembles against closed forms: known proposal, known target, known distances.

Frames stand in one of two conformations, a share of them in each. Between shares p and r of the same two points, W2^2
is |p - r| times the squared distance of the points, and the Jensen-Shannon divergence is that of two coins.
"""

import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from analysis.metrics.frames import choose
from analysis.metrics.score import score
from analysis.metrics.weighting import FILTERED, UNWEIGHTED
from analysis.wasserstein import energy_w2, torus_w2
from prosebench.ensemble import Ensemble
from prosebench.frames.features import tica_features, torus_points
from prosebench.frames.importance import PUBLISHED_FILTER_FRACTION, filter_top, pareto_k
from prosebench.frames.tica import TicaBasis
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import system_hash
from prosebench.peptide.labels import atom_labels
from prosebench.reference import Reference

SCORED = 1000
STEP_KT = 3.0
"""Between the energies of the two conformations."""

PEPTIDE = Peptide.from_sequence("GG")


def conformations() -> np.ndarray:
    """The start structure, and the same with its second half turned about the bond from N to CA of residue 2."""
    start = PEPTIDE.start_nm
    names = [(atom.residue.index, atom.name) for atom in PEPTIDE.topology.atoms]
    origin, end = start[names.index((1, "N"))], start[names.index((1, "CA"))]
    axis, angle = (end - origin) / np.linalg.norm(end - origin), 2.0
    turned = start.copy()
    for i, (residue, name) in enumerate(names):
        if residue == 1 and name not in ("N", "H", "CA"):
            v = start[i] - end
            turned[i] = end + (
                v * math.cos(angle)
                + np.cross(axis, v) * math.sin(angle)
                + axis * (axis @ v) * (1.0 - math.cos(angle))
            )
    return np.stack([start, turned]).astype(np.float32)


TWO = conformations()


def mixture(number: int, share: float, log_weights: np.ndarray | None = None) -> Ensemble:
    """So many frames, the share of them in the second conformation, in random order where they are weighted."""
    state = (np.arange(number) < round(share * number)).astype(int)
    return Ensemble(TWO[state], STEP_KT * state, None if log_weights is None else log_weights[state])


def half_and_half() -> Reference:
    """A reference with half of its frames in each conformation, all of it scored against. One component tells them
    apart."""
    features = tica_features(TWO, PEPTIDE.topology)
    gap = features[1] - features[0]
    projection = np.stack([gap / (gap @ gap), np.roll(gap, 1) * 0.0], axis=1)
    return Reference(
        sequence="GG",
        atoms=atom_labels(PEPTIDE),
        ensemble=mixture(SCORED, 0.5),
        tica=TicaBasis(projection, features[0]),
        trajectory=np.zeros(SCORED, np.int32),
        frame=np.arange(SCORED),
        gate_energies_kj_mol=np.zeros(0),
        temperature_kelvin=310.0,
        force_field_hash=system_hash(PEPTIDE.system()),
        source={},
        n_scored=SCORED,
    )


def numbers(
    ensemble: Ensemble, reference: Reference, n_frames: int, *, proposals: bool = False
) -> dict[str, float]:
    """Scores by name, after the published filter; those of the proposals, where asked for, behind "proposal-"."""
    found = score(ensemble, reference, n_frames=n_frames, seed=1, proposals=proposals).numbers
    return {("proposal-" if of == UNWEIGHTED else "") + name: one.value for (name, of), one in found.items()}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return half_and_half()


@pytest.mark.parametrize(("proposed", "target"), [(0.5, 0.8), (0.3, 0.5), (0.2, 0.9)])
def test_scores_are_those_of_the_weighted_distribution(
    reference: Reference, proposed: float, target: float
) -> None:
    log_weights = np.log([(1.0 - target) / (1.0 - proposed), target / proposed])
    found = numbers(mixture(4000, proposed, log_weights), reference, SCORED)
    # Resampling draws a share around the target's; 4 standard errors of it.
    error = 4.0 * math.sqrt(target * (1.0 - target) / SCORED)
    torus = torus_points(TWO, PEPTIDE.topology)
    step = torus_w2(torus[:1], torus[1:])
    assert step > 1.0
    for share in (
        found["energy-w2"] ** 2 / STEP_KT**2,
        found["torus-w2"] ** 2 / step**2,
        found["tica-w2"] ** 2,
    ):
        assert abs(share - abs(target - 0.5)) < error
    # The nearer of the two shares within the error bounds the divergence.
    nearest, farthest = np.clip(abs(target - 0.5) + np.array([-error, error]), 0.0, 0.4999)
    low, high = (
        jensenshannon([0.5 + one, 0.5 - one], [0.5, 0.5], base=2) ** 2 for one in (nearest, farthest)
    )
    for name in ("torus-k-jsd", "tica-k-jsd"):
        assert low - 1e-9 <= found[name] <= high + 1e-9


def test_proposals_are_scored_without_their_weights(reference: Reference) -> None:
    found = numbers(mixture(4000, 0.2, np.array([0.0, 3.0])), reference, SCORED, proposals=True)
    assert found["proposal-energy-w2"] ** 2 / STEP_KT**2 == pytest.approx(0.3, abs=1e-3)


def test_a_normal_proposal_of_a_normal_target() -> None:
    """Energies N(0, 1) from a proposal N(0.5, 1.5^2): with half the log-weights they would be 0.23 away."""
    rng, n = np.random.default_rng(0), 20_000
    energies = rng.normal(0.5, 1.5, n)
    log_weights = -0.5 * energies**2 + 0.5 * ((energies - 0.5) / 1.5) ** 2
    frames = np.repeat(TWO[:1], n, axis=0)
    chosen = choose(Ensemble(frames, energies, log_weights), FILTERED, 10_000, seed=0).places
    # Two samples of 10,000 are 0.02 apart; the filter takes the heaviest 0.2 %.
    assert energy_w2(energies[chosen], rng.normal(size=10_000)) < 0.06


N = 10_000


def ramp(slope: float) -> Ensemble:
    """Frames whose log-weights rise evenly, and whose energies are their places in that order."""
    return Ensemble(np.repeat(TWO[:1], N, axis=0), np.arange(float(N)), slope * np.arange(N))


def test_the_filter_is_applied_once() -> None:
    """The 20 heaviest of 10,000 go, and no other: weights fall by a twentieth a place, so every neighbour is drawn."""
    chosen = choose(ramp(0.05), FILTERED, N, seed=0).places
    gone = round(PUBLISHED_FILTER_FRACTION * N)
    assert gone == 20
    assert set(range(N - gone - 40, N - gone)) <= set(chosen.tolist())
    assert chosen.max() == N - gone - 1


def test_ess_is_that_of_what_the_filter_leaves_once(reference: Reference) -> None:
    slope = 2e-3
    found = numbers(ramp(slope), reference, 20)
    left = N - round(PUBLISHED_FILTER_FRACTION * N)
    first, second = (-math.expm1(-power * slope * left) / -math.expm1(-power * slope) for power in (1, 2))
    assert found["ess"] == pytest.approx(first**2 / second / left, rel=1e-9)


@pytest.mark.parametrize("fraction", [0.0005, 0.001, 0.002, 0.01])
def test_any_fraction_is_filtered(fraction: float) -> None:
    left = filter_top(np.random.default_rng(0).permutation(N).astype(float), fraction)
    assert N - len(left) == round(fraction * N)


def test_k_hat_is_that_of_all_weights(reference: Reference) -> None:
    rng = np.random.default_rng(1)
    log_weights = np.log(rng.pareto(1.5, N) + 1.0)
    ensemble = Ensemble(np.repeat(TWO[:1], N, axis=0), np.zeros(N), log_weights)
    found = numbers(ensemble, reference, 20)["k-hat"]
    assert found == pytest.approx(pareto_k(log_weights), rel=1e-12)
    # Weights of a Pareto tail have its inverse exponent for a shape; without the heaviest, they seem lighter.
    assert found == pytest.approx(1 / 1.5, abs=0.15)
    assert pareto_k(log_weights[filter_top(log_weights)]) < found - 0.1
