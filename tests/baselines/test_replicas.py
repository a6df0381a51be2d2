"""Replica methods: everything is charged, exchange keeps detailed balance, starts come from files."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from baselines.md_replicas import MDReplicas
from baselines.parallel_tempering import ParallelTempering
from prosebench.contract import Case, run_chunks
from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.dynamics import maxwell_velocities
from prosebench.energy.meter import Meter
from prosebench.ensemble import Ensemble, concatenate
from prosebench.method import Chunk, Method, Run
from prosebench.peptide import Peptide

PEPTIDE = Peptide.from_sequence("AA")
TARGET = HarmonicTarget(PEPTIDE.start_nm)


def make_run(budget: int, frames: int = 100) -> Run:
    return Run("cell", PEPTIDE, Meter(TARGET, budget), (budget,), frames)


def frames_of(chunks: list[Chunk]) -> Ensemble:
    return concatenate([chunk.ensemble for chunk in chunks if chunk.ensemble is not None])


def test_steps_of_all_replicas_are_charged() -> None:
    run = make_run(1000)
    ensemble = frames_of(run_chunks(MDReplicas(MDReplicas.Settings(replicas=7, chunk_evaluations=100)), run))
    assert run.meter.spent == 994
    assert len(ensemble) == 7 * 14
    assert ensemble.evaluations is not None
    assert ensemble.evaluations[-1] == 994


def test_starts_come_from_a_file_whose_content_is_part_of_the_settings(tmp_path: Path) -> None:
    starts = Ensemble(PEPTIDE.start_nm + np.arange(5)[:, None, None], np.zeros(5))
    starts.save(tmp_path / "starts.npz")
    settings = MDReplicas.Settings(starts=str(tmp_path / "starts.npz"), replicas=3, discard=0.0)
    run = make_run(3)
    ensemble = frames_of(run_chunks(MDReplicas(settings), run))
    offsets = (ensemble.positions_nm - PEPTIDE.start_nm).mean(axis=(1, 2))
    assert len(set(np.round(offsets).tolist())) == 3
    # What chose the starts is not drawn again for the velocities.
    velocities = MDReplicas(settings)._start(run).velocities_nm_ps
    again = maxwell_velocities(PEPTIDE, np.full(3, 310.0), run.rng(0))
    assert np.abs(velocities - again).min() > 0.0
    assert run.meter.ledger.preparation.evaluations == 0
    starts.select(slice(0, 4)).save(tmp_path / "starts.npz")
    with pytest.raises(ValidationError, match="has changed since"):
        MDReplicas.Settings(**settings.model_dump())
    with pytest.raises(ValidationError, match="no ensemble file"):
        MDReplicas.Settings(starts="nowhere.npz")


def test_a_ladder_that_does_not_rise_is_skipped() -> None:
    assert "not above 310" in (
        ParallelTempering(ParallelTempering.Settings(hottest_kelvin=300)).skip(make_run(10_000)) or ""
    )


@pytest.mark.parametrize(("ladders", "kept"), [(1, 200), (3, 198)])
def test_all_frames_that_are_scored_are_kept_at_small_budgets(ladders: int, kept: int) -> None:
    """Also between exchanges: evenly over the steps of the coldest levels that are not discarded."""
    settings = ParallelTempering.Settings(ladders=ladders, discard=0.1, chunk_evaluations=2000)
    run = make_run(12_050, frames=200)
    ensemble = frames_of(run_chunks(ParallelTempering(settings), run))
    replicas = 4 * ladders
    assert run.meter.spent == 12_050 // replicas * replicas
    assert len(ensemble) == kept
    assert ensemble.evaluations is not None
    assert ensemble.evaluations.min() > 0.1 * 12_050
    assert ensemble.evaluations.max() == run.meter.spent
    gaps = np.diff(np.unique(ensemble.evaluations)) // replicas
    assert gaps.max() - gaps.min() <= 1
    np.testing.assert_allclose(TARGET.energy(ensemble.positions_nm), ensemble.energies_kt, atol=1e-2)


@pytest.mark.parametrize("method", [ParallelTempering, MDReplicas])
def test_small_budgets_warm_up(method: type[Method]) -> None:
    """Wells have other masses than velocities, so replicas begin far too hot; half of 10,000 evaluations mends that."""
    means = []
    for seed in range(6):
        run = Run(f"seed {seed}", PEPTIDE, Meter(TARGET, 10_000), (10_000,), 500)
        # Per replica as many steps as a ladder of four levels has.
        settings = {"replicas": 4} if method is MDReplicas else {}
        ensemble = frames_of(run_chunks(method(method.Settings.model_validate(settings)), run))
        assert ensemble.evaluations is not None
        means.append(ensemble.energies_kt[ensemble.evaluations > 6000].mean())
    assert np.mean(means) == pytest.approx(TARGET.mean_energy_kt, rel=0.12)


def test_exchange_keeps_every_level_at_its_temperature(tmp_path: Path) -> None:
    """Mean energy of each level of a harmonic target, within 5 standard errors; exchanges happen."""
    case = Case(ParallelTempering, tmp_path)
    settings = ParallelTempering.Settings(
        ladders=8,
        levels=3,
        hottest_kelvin=380,
        exchange_steps=10,
        friction_per_ps=20.0,
        chunk_evaluations=2400,
    )
    run = make_run(480_000, frames=10_000)
    chunks = run_chunks(ParallelTempering(settings), run)
    acceptance = np.mean([chunk.diagnostics["exchange-acceptance"] for chunk in chunks])
    assert 0.1 < acceptance < 0.9
    state = chunks[-1].carry["positions_nm"]
    assert state.shape == (24, PEPTIDE.n_atoms, 3)
    # The end states of all chunks, level by level: independent after the friction time of 50 steps.
    energies = np.array([case.target.energy(chunk.carry["positions_nm"]) for chunk in chunks[20:]])
    levels = energies.reshape(len(energies), 8, 3)
    temperatures = np.geomspace(310, 380, 3)
    for level, temperature in enumerate(temperatures):
        expected = 1.5 * PEPTIDE.n_atoms * temperature / 310
        batches = levels[:, :, level].mean(axis=0)
        error = batches.std(ddof=1) / np.sqrt(len(batches))
        assert abs(batches.mean() - expected) < 5 * error
        assert error < 0.02 * expected
