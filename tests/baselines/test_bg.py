from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from baselines.bg import BoltzmannGenerator
from prosebench.contract import run_chunks
from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import Meter
from prosebench.ensemble import Ensemble, concatenate
from prosebench.frames.importance import ess, normalise
from prosebench.method import Chunk, Run
from prosebench.peptide import Peptide

torch.set_num_threads(1)

PEPTIDE = Peptide.from_sequence("GG")
TARGET = HarmonicTarget.free_wells(PEPTIDE.n_atoms, 0.17)


def run_of(budget: int) -> Run:
    return Run("a", PEPTIDE, Meter(TARGET, budget), (budget,), 1000)


def sample(budget: int, **settings) -> tuple[Ensemble, list[Chunk], Run]:
    quick = {
        "size": "bg-mini",
        "training_batch": 32,
        "friction_per_ps": 5.0,
        "time_step_fs": 20.0,
        "replicas": 4,
    }
    chosen = quick | {"minimise_steps": 5} | settings
    run = run_of(budget)
    chunks = run_chunks(BoltzmannGenerator(BoltzmannGenerator.Settings(**chosen)), run)
    return concatenate([chunk.ensemble for chunk in chunks if chunk.ensemble is not None]), chunks, run


def test_training_helps_and_weights_stay_right() -> None:
    untrained, _, _ = sample(2400, steps=1, learning_rate=1e-9)
    trained, chunks, run = sample(2400, steps=30, chunk_steps=10, learning_rate=5e-3)
    assert ess(trained.log_weights) > 1.5 * ess(untrained.log_weights)
    losses = [c.diagnostics["training-loss"] for c in chunks if "training-loss" in c.diagnostics]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    weights = normalise(trained.log_weights)
    error = np.sqrt((weights**2 * (trained.energies_kt - TARGET.mean_energy_kt) ** 2).sum())
    assert abs((weights * trained.energies_kt).sum() - TARGET.mean_energy_kt) < 4 * error
    assert run.meter.clock.training > 0.0


def test_dynamics_and_proposals_share_the_budget() -> None:
    ensemble, chunks, run = sample(1000, md_share=0.3, steps=1)
    prepared = run.meter.ledger.preparation.evaluations
    assert 240 < prepared <= 300
    assert run.meter.spent == len(ensemble) == 1000 - prepared
    assert chunks[-1].done
    assert ensemble.evaluations.tolist() == list(range(1, len(ensemble) + 1))


def test_small_budgets_are_refused() -> None:
    method = BoltzmannGenerator(BoltzmannGenerator.Settings())
    assert method.skip(run_of(855)) == "a budget of 855 gives 8 trajectories no step; 856 would"
    assert method.skip(run_of(856)) is None


def test_the_optimiser_is_carried_from_chunk_to_chunk() -> None:
    """Steps in chunks of any length end with the same weights, if the random numbers are the same."""

    class SameNumbers(Run):
        def rng(self, index: int) -> np.random.Generator:
            return self._one

    def weights(chunk_steps: int) -> np.ndarray:
        run = SameNumbers(**vars(replace(run_of(100))))
        object.__setattr__(run, "_one", np.random.default_rng(0))
        method = BoltzmannGenerator(
            BoltzmannGenerator.Settings(steps=6, training_batch=8, chunk_steps=chunk_steps)
        )
        carry = {"frames": TARGET.draw(50, np.random.default_rng(1)).astype(np.float32), "step": np.array(0)}
        for index in range(6 // chunk_steps):
            carry = dict(method.chunk(run, index, carry).carry)
        assert sorted(carry) == ["step", "weights"]
        return carry["weights"]

    np.testing.assert_array_equal(weights(6), weights(2))


def test_the_default_size_is_trained_in_a_narrow_orientation() -> None:
    """Before training, one draw in 32 has a density; of frames turned at random, the median of log h is some -150."""
    start = PEPTIDE.start_nm - PEPTIDE.start_nm.mean(axis=0)
    wells = HarmonicTarget(start, constant_kj_mol_nm2=1600.0)
    settings = BoltzmannGenerator.Settings(steps=60, chunk_steps=20, training_batch=32, learning_rate=5e-3)
    method, run = BoltzmannGenerator(settings), run_of(1000)
    assert settings.size == "bg-mini-local"
    losses = []
    carry = {"frames": wells.draw(500, np.random.default_rng(0)).astype(np.float32), "step": np.array(0)}
    for index in range(3):
        chunk = method.chunk(run, index, carry)
        carry = dict(chunk.carry)
        losses.append(chunk.diagnostics["training-loss"])
    assert losses[0] > losses[1] > losses[2]
    flow = method.proposal(run, carry).flow
    proposals = flow.propose(PEPTIDE, 500, np.random.default_rng(1), mirror=False)
    assert np.isfinite(proposals.log_q_full).mean() > 0.75
    orientation = flow.placement(PEPTIDE).orientation
    assert orientation is not None
    assert np.median(orientation.log_density(proposals.frames_nm)) > -20


def test_sizes_are_shipped_ones() -> None:
    with pytest.raises(ValidationError, match=r"unknown size 'huge'; known: .*bg-mini"):
        BoltzmannGenerator.Settings(size="huge")
