"""Sequential Monte Carlo: what is charged, which times it visits, what becomes of the dead, where it goes on."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from baselines import annealing
from baselines.annealing import Points, blocks, conditional_ess, evaluated, next_time, reweighted
from baselines.smc import SMC, SMCMALA, SMCULA, points_of
from jobs.cells.chunks import StoredChunk, read_chunk, write_chunk
from prosebench.contract import run_chunks
from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import Ledger, Meter
from prosebench.frames.placement import Orientation, Placement
from prosebench.method import Chunk, Run
from prosebench.peptide import Peptide
from prosebench.proposal import GaussianProposal
from prosebench.ranks import Ranks
from prosebench.store.storage import arrays_bytes
from tests.statistical.test_smc import WALL

PEPTIDE = Peptide.from_sequence("AA")
TARGET = HarmonicTarget(PEPTIDE.start_nm)
FIELD = {"weights": "breathing", "steps": 1, "gradient_steps": 1}
PLAIN: dict[str, Any] = {"proposal": "gaussian", "epsilon": 0.02, "chunk_evaluations": 100}


def make_run(
    budget: int, target: HarmonicTarget = TARGET, cell: str = "cell", ranks: Ranks | None = None
) -> Run:
    return Run(cell, PEPTIDE, Meter(target, budget), (budget,), 100, ranks=ranks or Ranks())


def made(method: type[SMC] = SMCMALA, **settings: Any) -> SMC:
    return method(method.Settings(**PLAIN | settings))


def trace(chunks: list[Chunk], name: str) -> list[float]:
    """One number a step."""
    numbers: list[float] = []
    for chunk in chunks:
        said = chunk.diagnostics.get(name, [])
        assert not isinstance(said, float)
        numbers += said
    return numbers


def last_frames(chunks: list[Chunk]) -> bytes:
    assert [chunk.ensemble is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].ensemble is not None
    return arrays_bytes(chunks[-1].ensemble.arrays())


@pytest.mark.parametrize("method", [SMCULA, SMCMALA])
@pytest.mark.parametrize(
    ("budget", "settings", "particles", "spent"),
    [
        (1111, {"steps": 10}, 101, 1111),
        (1120, {"steps": 10}, 101, 1111),
        (1120, {"steps": 10, "moves": 3}, 36, 1116),
        (5000, {"steps": 7, "particles": 300}, 300, 2400),
        (1120, {"steps": 10, "adaptive_ess": 0.3}, 101, 1111),
        (1120, {"steps": 10, "published_schedule": True}, 101, 1111),
        (1120, {"steps": 10, "ess_threshold": 0.0}, 101, 1111),
    ],
    ids=str,
)
def test_start_and_every_move_are_charged_once(
    method: type[SMC], budget: int, settings: dict[str, Any], particles: int, spent: int
) -> None:
    run = make_run(budget)
    chunks = run_chunks(made(method, **settings), run)
    counts = run.meter.ledger.sampling
    assert counts.evaluations == counts.energies == counts.gradients == spent
    ensemble = chunks[-1].ensemble
    assert ensemble is not None
    assert len(ensemble) == particles
    assert (ensemble.evaluations == spent).all()
    assert run.meter.ledger.preparation.evaluations == 0


@pytest.mark.parametrize(
    ("method", "published"), [(SMCULA, (9900, 100)), (SMCMALA, (19607, 50))], ids=["ula", "mala"]
)
def test_a_million_is_a_million(method: type[SMC], published: tuple[int, int]) -> None:
    settings = method.Settings(proposal="gaussian")
    particles = 1_000_000 // (1 + settings.steps * settings.moves)
    assert (particles, settings.steps) == published
    assert method(settings).skip(make_run(2 * (1 + settings.steps))) is None
    assert "is less than 2 particles" in (method(settings).skip(make_run(2 * (1 + settings.steps) - 1)) or "")
    wanted = method(method.Settings(proposal="gaussian", particles=10_000))
    assert "is less than 10000 particles" in (wanted.skip(make_run(100_000)) or "")


def test_times_of_the_schedules() -> None:
    to_one = trace(run_chunks(made(steps=5), make_run(600)), "t")
    assert to_one == [0.2, 0.4, 0.6, 0.8, 1.0]
    published = trace(run_chunks(made(steps=5, published_schedule=True), make_run(600)), "t")
    assert published == [0.0, 0.2, 0.4, 0.6, 0.8]
    with pytest.raises(ValidationError, match="leave one out"):
        made(published_schedule=True, adaptive_ess=0.5)


def test_the_adaptive_schedule_keeps_its_share() -> None:
    chunks = run_chunks(
        made(steps=25, adaptive_ess=0.7, start_filter=0.0, start_below_kt=1e9), make_run(26 * 400)
    )
    t, ess = np.array(trace(chunks, "t")), np.array(trace(chunks, "ess"))
    assert (np.diff(t) >= 0).all()
    assert t[-1] == 1.0
    at_work = t < 1
    assert 3 < at_work.sum() < 24
    np.testing.assert_allclose(ess[at_work], 0.7, atol=1e-6)
    assert (ess[~at_work] >= 0.7).all()
    np.testing.assert_allclose(ess[~at_work][1:], 1.0)


def test_too_few_steps_for_the_adaptive_schedule_still_end_at_one() -> None:
    assert trace(run_chunks(made(steps=3, adaptive_ess=0.99), make_run(400)), "t")[-1] == 1.0


def test_bisection_finds_the_time_of_an_effective_share() -> None:
    rng = np.random.default_rng(0)
    log_ratio = np.append(30 * rng.standard_normal(500), -np.inf)
    log_weights = np.full(501, -math.log(501))
    t = next_time(log_weights, log_ratio, 0.25, 0.6)
    assert 0.25 < t < 1
    assert conditional_ess(log_weights, log_ratio, t - 0.25) == pytest.approx(0.6, abs=1e-6)
    assert next_time(log_weights, 1e-3 * log_ratio, 0.25, 0.6) == 1.0


@pytest.mark.parametrize(
    ("settings", "target", "said"),
    [
        ({}, TARGET, {"log-z"}),
        ({"start_filter": 0.01}, TARGET, {"log-z-at-least"}),
        ({"start_below_kt": 2 * TARGET.mean_energy_kt}, TARGET, {"log-z-at-least"}),
        ({"published_schedule": True}, TARGET, {"no-log-z-before-t-1"}),
        ({}, HarmonicTarget.free_wells(PEPTIDE.n_atoms, 0.04), {"no-log-z-without-centre"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_log_z_is_said_where_it_is_known(
    settings: dict[str, Any], target: HarmonicTarget, said: set[str]
) -> None:
    whole = {"start_filter": 0.0, "start_below_kt": 1e9}
    chunks = run_chunks(made(steps=3, **whole | settings), make_run(4 * 150, target))
    assert {name for chunk in chunks for name in chunk.diagnostics if "log-z" in name} == said


def test_steps_count_in_the_unit_of_the_proposal() -> None:
    """h = epsilon / steps in normalised units: 1e-7 for unadjusted and 1e-5 for adjusted moves, as published."""
    for method, published in ((SMCULA, 1e-7), (SMCMALA, 1e-5)):
        settings = method.Settings(proposal="gaussian")
        assert settings.epsilon / settings.steps == pytest.approx(published)
    target = HarmonicTarget.free_wells(PEPTIDE.n_atoms, 0.3)
    for flow, unit_nm in (({"proposal": "tbg", "proposal_settings": FIELD}, 0.33), ({}, 0.35)):
        for given, length_nm in ((None, unit_nm), (0.1, 0.1)):
            settings = {"steps": 2, "length_unit_nm": given, "start_below_kt": 1e9} | flow
            steps = trace(run_chunks(made(SMCULA, **settings), make_run(3 * 5, target)), "step-nm2")
            assert steps == pytest.approx([0.02 / 2 * length_nm**2] * 2)


def test_densities_that_disagree_show() -> None:
    chunks = run_chunks(made(steps=2), make_run(3 * 20))
    assert chunks[0].diagnostics["density-gap"] == 0.0
    target = HarmonicTarget.free_wells(PEPTIDE.n_atoms, 0.3)
    for divergence, low, high in (("exact", 0.0, 0.1), ("hutchinson", 0.2, 100.0)):
        field = {"proposal": "tbg", "proposal_settings": FIELD | {"divergence": divergence}}
        chunks = run_chunks(made(steps=2, start_below_kt=1e9, **field), make_run(3 * 20, target))
        gap = chunks[0].diagnostics["density-gap"]
        assert isinstance(gap, float)
        assert low <= gap < high


def test_draws_without_a_density_are_dead() -> None:
    """However ordinary their frames are."""
    proposal = GaussianProposal(PEPTIDE.start_nm, 0.05)
    draws = proposal.draw(6, np.random.default_rng(0))
    draws.log_density[[0, 3]] = np.nan, np.inf
    points, has_density = points_of(make_run(100), proposal, [draws])
    assert points.alive.tolist() == has_density.tolist() == [False, True, True, False, True, True]
    assert np.isfinite(points.log_q).all()
    assert (np.abs(points.force(0.5)).max(axis=(1, 2)) > 0).tolist() == has_density.tolist()
    assert run_chunks(made(steps=2), make_run(60))[0].diagnostics["without-density"] == 0.0


def test_what_prepares_a_proposal_is_paid_for() -> None:
    """The budget is that of the dynamics and the annealing together; every chunk may be another process's."""
    target = HarmonicTarget.free_wells(PEPTIDE.n_atoms, 0.17)
    training = {"size": "bg-mini", "replicas": 2, "steps": 4, "chunk_steps": 2, "training_batch": 8}
    training |= {"minimise_steps": 2}
    settings = {"proposal": "bg", "proposal_settings": training, "steps": 3, "start_below_kt": 1e9}
    run = make_run(401, target)
    chunks = run_chunks(lambda: made(**settings), run)
    prepared = run.meter.ledger.preparation.evaluations
    assert 150 < prepared <= 200 == made(**settings).preparation(run)
    assert run.meter.spent == (401 - prepared) // 4 * 4
    assert sum("training-loss" in chunk.diagnostics for chunk in chunks) == 2
    assert last_frames(chunks) == last_frames(run_chunks(made(**settings), make_run(401, target)))
    assert "a budget of 14, 7 of it for the proposal, is less than 2 particles" in (
        made(**settings).skip(make_run(14, target)) or ""
    )


def test_acceptance_decides_the_step() -> None:
    for epsilon, grows in ((1e-6, True), (1.0, False)):
        chunks = run_chunks(made(steps=12, epsilon=epsilon), make_run(1300))
        lengths = np.array(trace(chunks, "step-nm2"))
        assert lengths[0] == pytest.approx(epsilon / 12 * 0.35**2)
        factors = lengths[1:] / lengths[:-1]
        np.testing.assert_allclose(factors, 1.1 if grows else 1 / 1.1)
    between = {"longer_above": 1.0, "shorter_below": 0.0}
    assert len(set(trace(run_chunks(made(steps=5, **between), make_run(600)), "step-nm2"))) == 1
    assert "acceptance" not in run_chunks(made(SMCULA, steps=5), make_run(600))[-1].diagnostics
    steady = trace(run_chunks(made(SMCULA, steps=5), make_run(600)), "step-nm2")
    assert len(set(steady)) == 1


def test_the_dead_do_not_live_on() -> None:
    for settings in ({}, {"ess_threshold": 0.0}):
        chunks = run_chunks(made(steps=5, **settings), make_run(6 * 100, WALL))
        ensemble = chunks[-1].ensemble
        assert ensemble is not None
        assert np.isfinite(ensemble.energies_kt).all()
        used = chunks[0].diagnostics["start-used"]
        assert isinstance(used, float)
        assert 0.3 < used < 0.6
        estimates = trace(chunks, "log-z-at-least")
        assert len(estimates) == 5
        assert np.isfinite(estimates).all()
    # Unadjusted moves may end beyond the wall: such particles are there, without a weight.
    chunks = run_chunks(made(SMCULA, steps=5), make_run(600, WALL))
    ensemble = chunks[-1].ensemble
    assert ensemble is not None
    assert ensemble.log_weights is not None
    assert (np.isfinite(ensemble.log_weights) == np.isfinite(ensemble.energies_kt)).all()
    assert np.isinf(ensemble.energies_kt).any()


@pytest.mark.parametrize(("steps", "epsilon"), [(5, 1e30), (1, 1e80)], ids=["on the way", "at the end"])
def test_moves_that_leave_all_numbers_end_the_run(steps: int, epsilon: float) -> None:
    with pytest.raises(FloatingPointError, match="none of 100 particles has a finite energy"):
        run_chunks(made(SMCULA, steps=steps, epsilon=epsilon), make_run(100 * (1 + steps)))


def test_a_start_without_a_usable_draw_says_so() -> None:
    with pytest.raises(FloatingPointError, match="raise it, or take a better proposal"):
        run_chunks(made(start_below_kt=1.0), make_run(600))


def test_the_start_filter_takes_the_highest_weights() -> None:
    run = make_run(6 * 1000)
    chunks = run_chunks(made(steps=5, start_filter=0.05, start_below_kt=1e9), run)
    used = [chunk.diagnostics["start-used"] for chunk in chunks if "start-used" in chunk.diagnostics]
    assert used == [0.95]


def test_log_weights_count_what_is_gone() -> None:
    log_weights, growth = reweighted(np.log([0.5, 0.5]), np.array([-np.inf, 3.0]), 0.5)
    np.testing.assert_array_equal(log_weights, [-np.inf, 0.0])
    assert growth == pytest.approx(math.log(0.5) + 1.5)
    np.testing.assert_array_equal(reweighted(np.zeros(1), np.array([5.0]), 0.0)[0], [0.0])
    with pytest.raises(FloatingPointError, match="lower epsilon"):
        reweighted(np.log([0.5, 0.5]), np.array([-np.inf, np.nan]), 0.0)


@pytest.mark.parametrize("settings", [{}, {"ess_threshold": 0.5}, {"adaptive_ess": 0.7}], ids=str)
def test_a_killed_run_goes_on_from_its_files(settings: dict[str, Any], tmp_path: Path) -> None:
    """After every chunk a new process reads what was stored, and ends with the same bytes."""
    undisturbed = run_chunks(made(steps=12, **settings), make_run(13 * 700))
    run, chunks = make_run(13 * 700), list[Chunk]()
    while not (chunks and chunks[-1].done):
        carry = chunks[-1].carry if chunks else {}
        chunk = made(steps=12, **settings).chunk(run, len(chunks), carry)
        stored = StoredChunk(chunk, Ledger(), {}, "sitting")
        write_chunk(tmp_path, "cell", len(chunks), stored)
        chunks.append(read_chunk(tmp_path, "cell", len(chunks)).chunk)
    assert len(chunks) > 5
    assert last_frames(chunks) == last_frames(undisturbed)
    assert json.dumps([c.diagnostics for c in chunks]) == json.dumps([c.diagnostics for c in undisturbed])


def test_chunks_do_not_change_the_numbers() -> None:
    """Neither how many evaluations a chunk has, nor which rank does a block."""
    one = last_frames(run_chunks(made(steps=6), make_run(7 * 700)))
    assert one == last_frames(run_chunks(made(steps=6, chunk_evaluations=10**6), make_run(7 * 700)))
    assert one != last_frames(run_chunks(made(steps=6), make_run(7 * 700, cell="other")))

    class Backwards(Ranks):
        def map(self, work: Any, pieces: Any) -> Any:
            return [work(piece) for piece in reversed(pieces)][::-1]

    assert one == last_frames(run_chunks(made(steps=6), make_run(7 * 700, ranks=Backwards())))


def test_blocks_begin_at_multiples() -> None:
    assert [(b.start, b.stop) for b in blocks(600)] == [(0, 256), (256, 512), (512, 600)]
    assert blocks(600, 512) == blocks(600)[2:]


def test_results_of_a_molecule_are_centred_and_of_one_hand() -> None:
    target = HarmonicTarget.free_wells(PEPTIDE.n_atoms, 0.3)
    flow = {"proposal": "prose-snis", "proposal_settings": {"weights": "identity"}, "start_below_kt": 1e9}
    chunks = run_chunks(made(steps=2, **flow), make_run(3 * 60, target))
    ensemble = chunks[-1].ensemble
    assert ensemble is not None
    np.testing.assert_allclose(ensemble.positions_nm.mean(axis=1), 0.0, atol=1e-6)
    np.testing.assert_allclose(target.energy(ensemble.positions_nm), ensemble.energies_kt, atol=1e-2)
    numbers = chunks[-1].diagnostics
    # Two centres of either hand at random: three of four frames have a wrong one, and of those two keep one.
    assert numbers["mirrored"] == pytest.approx(0.75, abs=0.2)
    assert numbers["chirality-wrong"] == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("std_rad", [None, 0.2])
def test_the_target_is_placed_as_the_proposal_is(std_rad: float | None) -> None:
    orientation = Orientation.of([PEPTIDE.topology], std_rad) if std_rad else None
    placement = Placement(0.03, orientation)
    proposal = GaussianProposal(PEPTIDE.start_nm, 0.05, placement)
    frames = proposal.draw(8, np.random.default_rng(0)).frames_nm.astype(np.float64)
    run = make_run(1000)
    points = evaluated(run, proposal, frames)
    placed = placement.energy_and_gradient(frames)[0]
    log_q = proposal.log_density_and_gradient(frames)[0]
    np.testing.assert_allclose(points.log_ratio, -points.energies_kt - placed - log_q)
    directions = np.random.default_rng(1).standard_normal(frames.shape)
    ahead, behind = (evaluated(run, proposal, frames + s * directions).log_ratio for s in (1e-6, -1e-6))
    slope = (points.log_ratio_gradient * directions).sum(axis=(1, 2))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-4, atol=1e-3)


def test_settings_name_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match=r"method 'md' gives no log-density .* gaussian, .*prose-snis"):
        made(proposal="md")
    with pytest.raises(ValidationError, match="no_such"):
        made(proposal_settings={"no_such": 1})
    with pytest.raises(ValidationError, match="com = 'published' has no meaning for a proposal"):
        made(proposal="prose-snis", proposal_settings={"weights": "identity", "com": "published"})
    with pytest.raises(ValidationError, match=r"must be at most longer_above = 0\.3"):
        made(longer_above=0.3)
    settings = SMCMALA.Settings(proposal="gaussian")
    assert settings.proposal_settings == {"std_nm": 0.05}
    assert SMCMALA.Settings(**json.loads(json.dumps(settings.model_dump(mode="json")))) == settings
    flow = SMCULA.Settings(proposal_settings={"weights": "identity"})
    assert len(flow.proposal_settings["weights_sha256"]) == 64


def test_points_keep_their_density_apart_from_their_death() -> None:
    frames = np.zeros((2, 1, 3), dtype=np.float32)
    points = Points(frames, np.zeros(2), np.array([-1.0, -2.0]), np.array([4.0, -np.inf]), frames, frames)
    np.testing.assert_array_equal(points.log_density(0.25), [0.0, -np.inf])
    np.testing.assert_array_equal(points.log_density(0.0), [-1.0, -np.inf])
    assert annealing.joined([points, points.select(slice(1, 2))]).log_ratio.tolist() == [
        4.0,
        -np.inf,
        -np.inf,
    ]
