"""Errors of one or two characters in scores, weights, references and budgets turn a test red.

Each is written into the source of a function, and the test that is named must then fail. Beside errors that were once
planted and seen by none, there are others in other rooms: a sample of what a slip of the keyboard can do.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from analysis.metrics import frames as scored_frames
from analysis.metrics import jsd, reference_error
from analysis.metrics import score as scoring
from analysis.statistics import comparisons, estimates
from analysis.submission import frames as their_frames
from analysis.submission import ledger as their_ledger
from analysis.wasserstein import _line_distance
from baselines.md import MD
from baselines.md_replicas import MDReplicas
from baselines.parallel_tempering import ParallelTempering
from baselines.reference_draw import ReferenceDraw
from jobs.making import references
from prosebench import ensemble as ensembles
from prosebench.energy import dynamics, meter
from prosebench.frames import features, geometry, importance, placement, tica
from prosebench.reference import reference
from tests.analysis import test_wasserstein
from tests.analysis.metrics import test_jsd, test_score
from tests.analysis.statistics import test_comparisons, test_estimates
from tests.analysis.submission import test_arithmetic
from tests.baselines import test_md, test_reference_draw, test_replicas, test_temperatures
from tests.jobs.making import test_reference_cuts
from tests.prosebench import test_record
from tests.prosebench.energy import test_meter
from tests.prosebench.frames import test_features, test_geometry, test_importance, test_placement, test_tica
from tests.prosebench.reference import test_reference
from tests.statistical import test_weighted_scores as weighted
from tests.statistical.test_broken_on_purpose import Error, put_in

PEPTIDE = test_md.PEPTIDE


def in_folder(test: Callable[[Path], None]) -> Callable[[], None]:
    """A test that is given an empty folder."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            test(Path(folder))

    return run


def of_the_spare_half(folder: Path) -> None:
    test_reference_draw.test_frames_are_of_the_spare_half(test_reference_draw.make_reference(folder))


def halves(test: Callable[..., None], *more: object) -> Callable[[], None]:
    """A test of a reference that is made when the error is in place."""

    def run() -> None:
        trajectories = [
            test_reference._trajectory(PEPTIDE, 400, 0),
            test_reference._trajectory(PEPTIDE, 300, 1),
        ]
        made = test_reference._build(PEPTIDE, trajectories)
        test(made, *([trajectories] if "trajectories" in test.__code__.co_varnames[:2] else []))

    return run


def weighted_reference(test: Callable[..., None], **settings: object) -> Callable[[], None]:
    return lambda: test(weighted.half_and_half(), **settings)


normals = weighted.test_a_normal_proposal_of_a_normal_target
baths = test_temperatures.test_baths_and_first_velocities_have_the_target_s_temperature
round_trips = partial(test_temperatures.test_round_trips_take_two_rounds_a_level, 4)

ONCE_UNSEEN = {
    "the square root of the weights": Error(
        importance.normalise, "np.exp(values - largest)", "np.exp((values - largest) / 2)", normals
    ),
    "a filter applied twice": Error(
        scored_frames.choose,
        "filter_top(weights)",
        "filter_top(weights, 0.004)",
        weighted.test_the_filter_is_applied_once,
    ),
    "no filter for so small a share": Error(
        importance.filter_top,
        "fraction == 0.0",
        "fraction <= 0.001",
        partial(weighted.test_any_fraction_is_filtered, 0.001),
    ),
    "k-hat of what the filter leaves": Error(
        scoring.make_case,
        "usable_log_weights(ensemble), used",
        "used, used",
        weighted_reference(weighted.test_k_hat_is_that_of_all_weights),
    ),
    "the control drawn from the scored half": Error(
        ReferenceDraw.chunk, ".spare", ".scored", in_folder(of_the_spare_half)
    ),
    "TICA with its mean": Error(
        tica.TicaBasis.transform,
        "(features - self.mean)",
        "features",
        test_tica.test_components_count_from_the_mean_of_the_data,
    ),
    "trajectories cut at wrong places": Error(
        references._replicas,
        "slice(replica, None, replicas)",
        "slice(replica * 30, (replica + 1) * 30)",
        in_folder(
            partial(
                test_reference_cuts.test_frames_know_their_replica_and_their_time, test_reference_cuts.PLAN
            )
        ),
    ),
    "tempering that keeps its warm-up": Error(
        ParallelTempering._schedule,
        "int(self.settings.discard * total)",
        "0",
        partial(test_replicas.test_all_frames_that_are_scored_are_kept_at_small_budgets, 1, 200),
    ),
    "references at 300 K": Error(
        MDReplicas._stretch,
        "langevin(run.meter.temperature_kelvin)",
        "langevin(300.0)",
        partial(baths, "md-replicas"),
    ),
    "pairs that never alternate": Error(ParallelTempering._exchange, "round_ % 2", "0", round_trips),
    "velocities at 300 K": Error(
        MD._start,
        "np.array([run.meter.temperature_kelvin])",
        "np.array([300.0])",
        test_temperatures.test_md_starts_at_its_temperature,
    ),
}

OTHERS = {
    "MD at 300 K": Error(
        MD._advance,
        "langevin(run.meter.temperature_kelvin)",
        "langevin(300.0)",
        partial(baths, "md"),
    ),
    "velocities that stay behind in an exchange": Error(
        ParallelTempering._round,
        "np.sqrt(temperatures / temperatures[order])",
        "np.ones(len(order))",
        test_temperatures.test_exchanged_velocities_have_the_new_temperature,
    ),
    "velocities without their masses": Error(
        dynamics.maxwell_velocities,
        "/ masses[:, None]",
        "/ masses.mean()",
        test_temperatures.test_light_atoms_are_faster,
    ),
    "resampling without weights": Error(importance.resample, "p=normalise(log_weights)", "p=None", normals),
    "ESS of the square root": Error(
        importance.ess,
        "logsumexp(2.0 * values)",
        "logsumexp(values)",
        test_importance.test_ess_of_equal_and_of_single_weights,
    ),
    "a frame without energy that is drawn": Error(
        scored_frames.usable_log_weights,
        "clean_log_weights(ensemble.log_weights), -np.inf",
        "clean_log_weights(ensemble.log_weights), 0.0",
        partial(test_score.test_a_frame_without_energy_is_never_drawn, PEPTIDE),
    ),
    "thinning from the beginning": Error(
        scored_frames.thin,
        "(np.arange(n_frames) + 1) * ((values[-1] - start) / n_frames)",
        "np.arange(n_frames) * ((values[-1] - start) / n_frames)",
        test_score.test_thinning_of_a_nested_schedule_is_even_in_evaluations,
    ),
    "a frame that stands for what was discarded": Error(
        scored_frames.thin,
        "max(0, 2 * values[0] - values[1])",
        "0",
        partial(test_score.test_no_frame_stands_for_what_was_discarded, 16),
    ),
    "a prefix one frame short": Error(
        scored_frames.prefix, "<= budget", "< budget", test_arithmetic.test_a_prefix_has_all_that_was_paid_for
    ),
    "the square of W2": Error(
        _line_distance, "** (1.0 / power)", "** 1.0", test_wasserstein.test_gaussians_on_a_line
    ),
    "divergence in nats": Error(
        jsd.kmeans_jsd, "base=2", "base=None", test_jsd.test_disjoint_states_have_one_bit
    ),
    "psi taken for phi": Error(
        features.torus_points,
        "[phi, psi]",
        "[psi, psi]",
        test_features.test_torus_points_are_all_phi_then_all_psi,
    ),
    "oxygen for sulphur": Error(
        features.distance_atoms,
        '"N", "S"',
        '"N", "O"',
        partial(test_features.test_number_of_tica_features_is_the_published_one, "AA", 34),
    ),
    "mirrored only where all centres are wrong": Error(
        geometry.fix_chirality,
        "(chirality_signs(frames_nm, centers) != reference).any(axis=-1)",
        "(chirality_signs(frames_nm, centers) != reference).all(axis=-1)",
        test_geometry.test_one_wrong_center_of_several_stays_wrong,
    ),
    "a frame too early": Error(
        dynamics.evenly_spaced,
        "np.arange(1, number + 1, dtype=np.int64)",
        "np.arange(number, dtype=np.int64)",
        partial(test_md.test_frames_are_evenly_spaced_and_end_at_the_budget.hypothesis.inner_test, 1000, 10),
    ),
    "energy and gradient paid twice": Error(
        meter._sealed,
        "counts.evaluations += granted",
        "counts.evaluations += granted * (energy + gradient)",
        test_meter.test_energy_and_gradient_of_one_frame_are_one_evaluation,
    ),
    "halves that overlap": Error(
        reference.Reference.scored.fget,
        "self.halves[0]",
        "np.append(self.halves[0], self.halves[1][:1])",
        halves(test_reference.test_halves_are_disjoint_and_make_the_whole),
    ),
    "energies of other frames": Error(
        reference.build_reference,
        "pool.energies_kt[drawn]",
        "pool.energies_kt[:n_frames]",
        halves(test_reference.test_frames_know_where_they_come_from),
    ),
    "frames drawn twice": Error(
        reference.build_reference,
        "replace=False",
        "replace=True",
        halves(test_reference.test_frames_know_where_they_come_from),
    ),
    "seeds that count as peptides": Error(
        estimates.estimate,
        "np.array([group.mean() for group in shown])",
        "np.concatenate(shown)",
        test_estimates.test_every_peptide_counts_the_same_whatever_its_number_of_seeds,
    ),
    "a reference without error": Error(
        estimates.seed_interval,
        "of_seeds + reference_error**2",
        "of_seeds",
        test_estimates.test_the_error_of_the_reference_widens_the_interval_of_one_peptide_alone,
    ),
    "intervals by n instead of n - 1": Error(
        estimates.student_interval,
        "ddof=1",
        "ddof=0",
        test_arithmetic.test_an_interval_of_two_draws_by_hand,
    ),
    "the smaller of two errors": Error(
        reference_error.mean_error,
        "max(by_blocks, by_number)",
        "min(by_blocks, by_number)",
        test_arithmetic.test_the_larger_of_two_errors_counts,
    ),
    "p-values that are not corrected": Error(
        comparisons.holm,
        "(len(values) - np.arange(len(values)))",
        "len(values)",
        test_comparisons.test_holm_by_hand,
    ),
    "a density that is not normalised": Error(
        placement.Orientation._log_density,
        "1.5 * math.log",
        "0.5 * math.log",
        partial(test_placement.test_the_density_is_normalised_over_all_rotations, 0.4),
    ),
    "weights of frames that are nowhere": Error(
        ensembles.tidied,
        "(np.abs(weights) <= LARGEST_NUMBER) & ~far",
        "(np.abs(weights) <= LARGEST_NUMBER)",
        test_record.test_a_tidied_ensemble_has_no_faults,
    ),
    "frames that nothing paid for": Error(
        their_ledger.check_claims,
        'side="right"',
        'side="left"',
        test_arithmetic.test_frames_cost_an_evaluation_each,
    ),
    "copies that go unseen": Error(
        their_frames.repeats, "np.unique(keys)", "keys", test_arithmetic.test_copies_are_counted
    ),
}


@pytest.mark.parametrize("name", [*ONCE_UNSEEN, *OTHERS])
def test_planted_errors_are_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = (ONCE_UNSEEN | OTHERS)[name]
    put_in(error, monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        error.test()
