"""Errors of one or two characters in what is counted, weighed and halved turn a test red.

As in `test_planted_errors`: the meter of a run, effective sample size and k-hat, what the weights miss, mirrored
frames, and the half of the reference that is never scored against.
"""

from functools import partial

import numpy as np
import pytest

from analysis.metrics import case, coverage, registry
from analysis.scores import convergence
from prosebench.energy import meter
from prosebench.frames import importance
from prosebench.reference import reference
from tests.analysis.metrics import test_coverage, test_score
from tests.analysis.scores import test_convergence
from tests.prosebench.energy import test_meter
from tests.prosebench.frames import test_importance
from tests.prosebench.reference import test_reference
from tests.statistical.test_broken_on_purpose import Error, put_in
from tests.statistical.test_planted_errors import halves

stopped_exactly = test_meter.test_an_overspending_call_is_stopped_at_the_exact_frame_and_its_result_is_kept
failures = test_meter.test_every_failure_counts_whatever_the_call
tail_of = test_importance.test_the_tail_is_a_fifth_of_few_weights_and_three_roots_of_many
known_tail = partial(
    test_importance.test_pareto_smoothing_gives_the_numbers_of_arviz,
    -0.7 * np.log(test_importance.GRID),
    0.6699004120429832,
    0.06004057186689693,
    0.1392296077485886,
)
missed_state = partial(test_coverage.test_the_missed_state_is_seen_although_the_weights_look_well, 0.28)
without_weight = test_coverage.test_proposals_without_weight_count_in_both_constants
mirrored = halves(test_score.test_mirrored_frames_are_mirrored_back)

METER = {
    "a budget that stops nothing": ("else min(asked, budget - spent())", "else asked", stopped_exactly),
    "a frame beyond the budget": ("budget - spent())", "budget - spent() + 1)", stopped_exactly),
    "training beside the budget": (
        'return asked if account.phase == "preparation"',
        'return asked if account.phase != "sampling"',
        test_meter.test_training_is_paid_for_out_of_the_budget,
    ),
    "preparation counted as sampling": (
        'counts = account.ledger.preparation if account.phase == "preparation" else account.ledger.sampling',
        "counts = account.ledger.sampling",
        test_meter.test_preparation_stands_apart_from_the_budget,
    ),
    "one replica that pays for all": (
        "charge(asked * replicas, steps * replicas,",
        "charge(asked, steps,",
        test_meter.test_a_step_of_every_replica_is_an_evaluation,
    ),
    "energies of a batch counted once": ("granted * energy", "energy", partial(failures, "energy")),
    "gradients of a batch counted once": (
        "granted * gradient",
        "gradient",
        partial(failures, "energy_and_gradient"),
    ),
    "infinite energies that are no failures": (
        "np.isinf(found), energy=True",
        "np.isnan(found), energy=True",
        test_meter.test_failures_are_counted_and_paid_for,
    ),
    "infinite energies with gradients that are no failures": (
        "np.isinf(found[0])",
        "np.isnan(found[0])",
        partial(failures, "energy_and_gradient"),
    ),
    "replicas that fail unseen": (
        "found.failed, energy",
        "np.zeros(1, bool), energy",
        partial(failures, "langevin"),
    ),
    "one failure a call": ("int(failed.sum())", "int(failed.any())", partial(failures, "energy")),
    "a ledger that forgets its preparation": (
        "account.ledger = ledger.model_copy(deep=True)",
        "account.ledger.sampling = ledger.sampling",
        test_meter.test_a_ledger_is_taken_over_forwards_only,
    ),
}
"""Errors in what a meter does."""

OTHERS = {
    "steps of one replica in the count of the worker": Error(
        meter.count_calls,
        "n_steps * len(state.positions_nm)",
        "n_steps",
        test_meter.test_calls_of_a_target_are_counted_whoever_makes_them,
    ),
    "ESS of the frames that have a weight": Error(
        importance.ess,
        "/ len(values)",
        "/ np.isfinite(values).sum()",
        test_importance.test_frames_without_an_energy_weigh_nothing_but_count,
    ),
    "the larger of two tails": Error(importance.pareto_tail_size, "min(0.2", "max(0.2", known_tail),
    "a tail of a tenth": Error(importance.pareto_tail_size, "0.2 * n", "0.1 * n", partial(tail_of, 100, 20)),
    "k-hat without its prior": Error(
        importance._fit_pareto, "(n * shape + 5.0) / (n + 10.0)", "shape", known_tail
    ),
    "mirrored frames that stay as they were": Error(
        case.right_handed, "Ensemble(positions,", "Ensemble(chosen.positions_nm,", mirrored
    ),
    "another energy of mirrored frames": Error(
        case.right_handed, "chosen.energies_kt,", "chosen.energies_kt + 5.0 * mirrored,", mirrored
    ),
    "spare frames of the scored half": Error(
        reference.Reference.spare.fget,
        "self.halves[1]",
        "self.halves[0]",
        halves(test_reference.test_halves_are_disjoint_and_make_the_whole),
    ),
    "a floor of the scored half against itself": Error(
        convergence.floor,
        "reference.scored, reference.spare",
        "reference.scored, reference.scored",
        lambda: test_convergence.test_numbers_and_statement(test_convergence.make()),
    ),
    "reference frames that weigh less": Error(
        registry._missed, "case.of_reference >", "case.of_reference <", missed_state
    ),
    "the mass seen upside down": Error(registry._mass_seen, "seen - whole", "whole - seen", missed_state),
    "a mean of the weights that are not zero": Error(
        coverage.log_z, "len(of_proposals)", "np.isfinite(of_proposals).sum()", without_weight
    ),
    "a ratio of draws that have a weight": Error(
        coverage.log_z_bar, "len(of_proposals) /", "len(draws) /", without_weight
    ),
}


@pytest.mark.parametrize("name", [*METER, *OTHERS])
def test_planted_errors_are_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = Error(meter._sealed, *METER[name]) if name in METER else OTHERS[name]
    put_in(error, monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        error.test()
