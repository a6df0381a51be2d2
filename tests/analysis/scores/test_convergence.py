"""Convergence of references: correlation times that are known, spread, floor."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.metrics.registry import DISTANCE_NAMES
from analysis.scores.convergence import (
    ERRORS,
    assess,
    convergence,
    correlation_time,
    floor,
    spread_ratio,
    standard_errors,
    statement,
)
from analysis.scores.table import LARGEST_SPREAD
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.reference import Reference, build_reference


def _ar(n: int, coefficient: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(n)
    values = np.zeros(n)
    for i in range(1, n):
        values[i] = coefficient * values[i - 1] + noise[i]
    return values


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.9])
def test_correlation_time_of_an_autoregressive_process(coefficient):
    pieces = [_ar(20_000, coefficient, seed) for seed in range(4)]
    expected = (1 + coefficient) / (1 - coefficient)
    assert correlation_time(pieces) == pytest.approx(expected, rel=0.15)


def test_trajectories_that_stay_apart_are_correlated_over_their_length():
    together = [_ar(1000, 0.2, seed) for seed in range(4)]
    apart = [piece + 10.0 * i for i, piece in enumerate(together)]
    assert correlation_time(together) < 3.0
    assert correlation_time(apart) > 500.0


def test_constants_have_no_correlation():
    assert correlation_time([np.ones(50)]) == 1.0
    assert correlation_time([np.array([1.0]), np.array([2.0])]) == 1.0


def make():
    peptide = Peptide.from_sequence("AA")
    pieces = []
    for seed in range(3):
        noise = np.stack([_ar(300, 0.8, 100 * seed + i) for i in range(3 * peptide.n_atoms)], axis=1)
        frames = peptide.start_nm + 0.004 * noise.reshape(300, -1, 3)
        pieces.append(Ensemble(frames.astype(np.float32), np.random.default_rng(seed).gamma(30.0, size=300)))
    reference = build_reference(
        peptide, pieces, frame_interval_ps=1.0, lag_frames=2, n_frames=400, seed=0, source={}
    )
    return peptide, pieces, reference


@pytest.fixture(scope="module")
def made():
    return make()


def test_numbers_and_statement(made):
    peptide, pieces, reference = made
    found = convergence(pieces, reference.tica, peptide.topology, 150)
    assert found["trajectories"] == 3
    assert found["frames"] == 900
    assert set(found["spread"]) == set(DISTANCE_NAMES)
    assert all(0.0 <= entry["mean"] <= entry["max"] for entry in found["spread"].values())
    assert 20 < found["effective_frames"] < 400
    assert found["effective_frames"] * found["correlation_frames"] == pytest.approx(900)
    noise = floor(reference, 150)
    # Of three trajectories one is scored against, with its frames alone.
    assert noise["frames"] == min(150, len(reference.scored)) == 136
    assert all(noise[name] > 0.0 for name in DISTANCE_NAMES)
    text = statement(found, noise)
    assert "900 frames in 3 trajectories" in text
    assert all(name in text for name in DISTANCE_NAMES)


def test_a_reference_states_the_error_that_it_adds_to_a_score_at_its_floor(made):
    """With four times as many independent frames it is half as large, and the statement says it."""
    _, pieces, reference = made
    judged = assess(reference, pieces, {}, n_groups=3)
    errors = judged.convergence[ERRORS]
    assert set(errors) == set(DISTANCE_NAMES)
    assert all(0.0 < error < 3.0 * judged.floor[name] for name, error in errors.items())
    assert "adds a standard error of" in statement(judged.convergence, judged.floor)
    known = judged.convergence
    few, many = (
        standard_errors(
            judged.with_quality(known | {"effective_frames": number, "correlation_frames": 1.0}, judged.floor)
        )
        for number in (8.0, 32.0)
    )
    assert few["energy-w1"] == pytest.approx(2.0 * many["energy-w1"])
    assert few["torus-k-jsd"] == pytest.approx(2.0 * many["torus-k-jsd"])


def test_a_single_trajectory_has_no_spread(made):
    peptide, pieces, reference = made
    found = convergence(pieces[:1], reference.tica, peptide.topology, 100)
    assert found["spread"] == {}
    assert "single trajectory" in statement(found, floor(reference, 100))


def test_a_trajectory_from_elsewhere_shows(made):
    peptide, pieces, reference = made
    other = Ensemble(pieces[2].positions_nm, pieces[2].energies_kt + 50.0)
    found = convergence([*pieces[:2], other], reference.tica, peptide.topology, 100)
    assert found["spread"]["energy-w2"]["max"] > 40.0


def test_halves_that_stay_apart_are_told_from_halves_that_do_not(made):
    peptide, _, _ = made

    def built(mirrored: tuple[bool, ...]) -> Reference:
        parts = []
        for seed, is_mirrored in enumerate(mirrored):
            noise = np.random.default_rng(seed).normal(0.0, 0.004, (200, peptide.n_atoms, 3))
            frames = (peptide.start_nm + noise) * (-1.0 if is_mirrored else 1.0)
            parts.append(Ensemble(frames.astype(np.float32), np.zeros(200)))
        return build_reference(
            peptide, parts, frame_interval_ps=1.0, lag_frames=2, n_frames=800, seed=0, source={}
        )

    # Trajectories go to the halves in turn: alike halves of two kinds of frames, and halves of one kind each.
    alike, apart = built((False, False, True, True)), built((False, True, False, True))
    assert spread_ratio(alike, 300) < LARGEST_SPREAD < spread_ratio(apart, 300)
    assert np.isnan(spread_ratio(replace(apart, n_scored=400)))
