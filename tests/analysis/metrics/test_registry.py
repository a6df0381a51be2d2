"""Every metric: its words are complete, its function gives the number that its words promise."""

import math
from typing import Any, cast

import numpy as np
import pytest

from analysis.metrics.case import Case, Spent
from analysis.metrics.metric import Cost, Metric, Quality
from analysis.metrics.registry import (
    BY_NAME,
    COSTS,
    DISTANCES,
    QUALITIES,
    TABLE_COSTS,
    TABLE_METRICS,
    WASSERSTEIN,
)
from prosebench.energy.meter import Counts, Ledger
from prosebench.ensemble import Ensemble
from tests.prosebench.test_record import PROVENANCE

N = 8


def case(
    log_weights: np.ndarray | None = None, of_reference: np.ndarray | None = None, **changes: Any
) -> Case:
    nothing = np.zeros(N, dtype=bool)
    given: dict[str, Any] = {
        "ensemble": Ensemble(np.zeros((N, 2, 3)), np.zeros(N)),
        "weighting": "smoothed",
        "log_weights": log_weights,
        "used": log_weights,
        "places": np.arange(N),
        "chosen": Ensemble(np.zeros((N, 2, 3)), np.zeros(N)),
        "mirrored": nothing,
        "still_wrong": nothing,
        "turned": nothing,
        "of_reference": of_reference,
    }
    return Case(**given | changes)


def quality(name: str, of: Case) -> float | None:
    return cast(Quality, BY_NAME[name]).of(of)


def test_names_are_there_once_and_words_for_all():
    every = [*DISTANCES, *QUALITIES, *COSTS]
    assert len(BY_NAME) == len(every)
    for metric in every:
        assert metric.heading, metric.name
        assert metric.bounds[0] < metric.bounds[1]
        assert metric.least in ("", *BY_NAME)
        # A percentage is one in its unit and in its factor.
        assert (metric.unit == "%") == (metric.factor == 100.0), metric.name
        if isinstance(metric, Cost):
            assert metric.adds_to in ("", *(cost.name for cost in TABLE_COSTS))


def test_headings_tell_columns_apart():
    for columns in (TABLE_METRICS, TABLE_COSTS):
        assert len({metric.label for metric in columns}) == len(columns)
    assert set(WASSERSTEIN) == {"energy-w2", "torus-w2", "tica-w2"}
    assert all(BY_NAME[name].bounds == (0.0, math.inf) for name in WASSERSTEIN)


@pytest.mark.parametrize(
    ("metric", "label"), [("energy-w2", "E-W2 (kT)"), ("ess", "ESS"), ("mass-seen", "mass seen (%)")]
)
def test_a_label_has_its_unit(metric: str, label: str):
    assert BY_NAME[metric].label == label


def test_wins_are_on_the_better_side():
    less, more = (Metric(name="x", heading="X", what="x", better=better) for better in ("less", "more"))
    assert (less.wins(7, 3), more.wins(7, 3)) == (7, 3)


def test_qualities_of_weights_have_no_value_without_weights():
    for name in ("ess", "ess-bound", "k-hat", "log-z", "log-z-bar", "mass-seen", "weight-missed"):
        assert quality(name, case()) is None
    for name in ("log-z-bar", "mass-seen", "weight-missed"):
        assert quality(name, case(np.zeros(N))) is None


def test_equal_weights_see_all_that_there_is():
    """All weights are e^3, those of the reference too: Z is e^3, and nothing is missed."""
    of = case(np.full(N, 3.0), np.full(5, 3.0))
    assert quality("ess", of) == pytest.approx(1.0)
    assert quality("ess-bound", of) == pytest.approx(1.0 / N)
    assert quality("log-z", of) == pytest.approx(3.0)
    assert quality("log-z-bar", of) == pytest.approx(3.0)
    assert quality("mass-seen", of) == pytest.approx(1.0)
    assert quality("weight-missed", of) == 0.0


def test_one_weight_that_is_all_gives_the_least_ess():
    weights = np.full(N, -1000.0)
    weights[3] = 0.0
    of = case(weights, np.array([-1.0, 0.0, 1.0, 2.0]))
    assert quality("ess", of) == pytest.approx(quality("ess-bound", of))
    assert quality("log-z", of) == pytest.approx(-math.log(N))
    # Two of four reference frames weigh more than the heaviest proposal; one as much does not.
    assert quality("weight-missed", of) == 0.5


def test_shares_are_of_what_their_words_say():
    half = np.arange(N) % 2 == 0
    energies = np.where(np.arange(N) < 2, np.inf, 0.0)
    of = case(
        mirrored=half,
        still_wrong=np.arange(N) < 1,
        turned=~half,
        ensemble=Ensemble(np.zeros((N, 2, 3)), energies),
    )
    found = {
        name: quality(name, of)
        for name in ("mirrored", "chirality-wrong", "peptide-bonds-turned", "non-finite")
    }
    assert found == {
        "mirrored": 0.5,
        "chirality-wrong": 0.125,
        "peptide-bonds-turned": 0.5,
        "non-finite": 0.25,
    }


def test_draws_count_as_often_as_they_were_drawn_and_thinned_frames_once():
    twice = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    assert case(np.zeros(N), places=twice).n_frames == N
    assert case(places=twice).n_frames == 4


def spent(evaluations: int = 250, is_last: bool = False, **where: Any) -> Spent:
    ledger = Ledger(
        sampling=Counts(evaluations=1000, energies=1000, failures=3),
        preparation=Counts(evaluations=40, energies=40, failures=2),
    )
    seconds = {"sampling": 8.0, "preparation": 1.0, "training": 0.5, "target": 7.0}
    provenance = PROVENANCE.model_copy(update={"seconds": seconds, "ranks": 2, "threads": 3} | where)
    return Spent(evaluations, is_last, ledger, provenance)


def cost(name: str, of: Spent) -> float | None:
    return cast(Cost, BY_NAME[name]).of(of)


def test_a_budget_has_its_share_of_the_sampling_time_and_all_of_the_rest():
    assert cost("sampling-evaluations", spent()) == 250.0
    assert cost("preparation-evaluations", spent()) == 40.0
    assert cost("sampling-seconds", spent()) == pytest.approx(2.0)
    assert cost("wall-seconds", spent()) == pytest.approx(3.5)
    assert cost("wall-seconds", spent(1000)) == pytest.approx(9.5)


@pytest.mark.parametrize(("device", "devices"), [("cpu", 6), ("cuda: NVIDIA H100", 2)])
def test_cores_share_the_time_of_a_cpu_and_ranks_that_of_gpus(device: str, devices: int):
    assert cost("device-seconds", spent(device=device)) == pytest.approx(2.0 * devices)


def test_failures_are_of_the_whole_cell_and_stand_at_its_last_budget():
    assert cost("failures", spent()) is None
    assert cost("failures", spent(1000, is_last=True)) == 5.0


def test_without_provenance_or_evaluations_nothing_is_made_up():
    unknown = Spent(10, True, Ledger(), None)
    for name in ("wall-seconds", "sampling-seconds", "device-seconds", "annealed-to"):
        assert cost(name, unknown) is None
    # Nothing was counted, as of frames that were made elsewhere: the time is the whole time.
    whole = Spent(10, True, Ledger(), PROVENANCE.model_copy(update={"seconds": {"sampling": 8.0}}))
    assert cost("sampling-seconds", whole) == 8.0
    assert cost("wall-seconds", whole) == 8.0
