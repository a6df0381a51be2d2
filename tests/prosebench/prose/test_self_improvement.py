from pathlib import Path

import numpy as np
import pytest
import torch

from prosebench.contract import run_chunks
from prosebench.energy.meter import Meter
from prosebench.ensemble import concatenate
from prosebench.flows.molecule.tokens import Tokens
from prosebench.frames.importance import ess, normalise
from prosebench.method import Run
from prosebench.peptide import Peptide
from prosebench.prose.fine_tuning import TuningSettings, draw_buffer, fine_tune, weights_of
from prosebench.prose.flow import Prose
from prosebench.prose.network import Network
from prosebench.prose.self_improvement import ProseSelfImprove, _with_weights
from prosebench.prose.weights import save_weights

from .conftest import tiny_config
from .test_snis import CentredGaussian

PEPTIDE = Peptide.from_sequence("GG")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("improve")
    torch.manual_seed(0)
    save_weights(path / "untrained.npz", Network(tiny_config()), {})
    return path


def improve(scratch: Path, budget: int, spread_nm: float = 0.31, kelvin: float = 310.0, **settings):
    target = CentredGaussian(spread_nm, kelvin)
    run = Run("a", PEPTIDE, Meter(target, budget), (budget,), 1000)
    chosen = ProseSelfImprove.Settings(weights=str(scratch / "untrained.npz"), **settings)
    chunks = run_chunks(ProseSelfImprove(chosen), run)
    return concatenate([chunk.ensemble for chunk in chunks if chunk.ensemble is not None]), chunks, run


def test_it_improves_and_stays_unbiased(scratch: Path) -> None:
    options = {"rounds": 2, "steps": 40, "tuning_batch": 64, "learning_rate": 1e-2, "teacher": 0.0}
    plain, _, _ = improve(scratch, 1000, rounds=0)
    tuned, chunks, run = improve(scratch, 3000, chunk_proposals=750, **options)
    assert len(tuned) == 1000
    assert run.meter.spent == 3000
    assert ess(tuned.log_weights) > 1.3 * ess(plain.log_weights)
    weights, expected = normalise(tuned.log_weights), 1.5 * (PEPTIDE.n_atoms - 1)
    error = np.sqrt((weights**2 * (tuned.energies_kt - expected) ** 2).sum())
    assert abs((weights * tuned.energies_kt).sum() - expected) < 4 * error
    assert [chunk.diagnostics["round"] for chunk in chunks] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert run.meter.clock.training > 0.0


@pytest.mark.parametrize("temperature", ["scaled", "naive"])
def test_training_knows_the_latent_of_a_temperature(scratch: Path, temperature: str) -> None:
    """At 620 K, wells a little narrower than the proposals: with a latent that the training does not know, the tuned
    flow would be 40 % wider or narrower than they are."""
    width = 0.35 * np.sqrt(2.0) if temperature == "scaled" else 0.35
    options = {"spread_nm": 0.9 * width / np.sqrt(2.0), "kelvin": 620.0, "temperature": temperature}
    plain, _, _ = improve(scratch, 1000, rounds=0, **options)
    learning = {"rounds": 1, "steps": 40, "tuning_batch": 64, "learning_rate": 1e-2, "teacher": 0.0}
    tuned, _, _ = improve(scratch, 2000, **options, **learning)
    assert np.std(plain.positions_nm) == pytest.approx(width, rel=0.1)
    assert ess(tuned.log_weights) > 1.2 * ess(plain.log_weights)


def test_the_budget_is_what_the_rounds_share(scratch: Path) -> None:
    ensemble, _, run = improve(scratch, 103, rounds=4, steps=1, tuning_batch=4)
    assert (run.meter.spent, len(ensemble)) == (103, 103 - 4 * 20)
    assert ensemble.evaluations.tolist() == list(range(81, 104))
    ensemble, _, _ = improve(scratch, 3, rounds=4)
    assert len(ensemble) == 3


def test_a_tuned_flow_draws_as_the_first_one() -> None:
    start = Prose(Network(tiny_config()), {"name": "tiny"}, "cpu", "tf32")
    tuned = _with_weights(start, weights_of(Network(tiny_config())))
    assert tuned is not start
    assert (tuned.precision, tuned.source, tuned.device) == ("tf32", {"name": "tiny"}, "cpu")


def test_the_teacher_holds_back() -> None:
    frames = 0.3 * np.random.default_rng(0).standard_normal((200, PEPTIDE.n_atoms, 3)).astype(np.float32)
    moved = []
    for teacher in (0.0, 10.0):
        torch.manual_seed(0)
        start, tuned = Network(tiny_config()), Network(tiny_config())
        tuned.load_state_dict(start.state_dict())
        settings = TuningSettings(steps=20, tuning_batch=32, learning_rate=1e-2, teacher=teacher)
        fine_tune(tuned, start, {PEPTIDE: frames}, settings, np.random.default_rng(1))
        x = torch.from_numpy(frames / 0.35)
        tokens = Tokens.of([PEPTIDE.topology], tuned.config.block_orders)
        with torch.no_grad():
            moved.append(float((tuned(x, tokens)[1] - start(x, tokens)[1]).square().mean()))
    assert moved[1] < 0.2 * moved[0]


def test_several_peptides_share_the_steps() -> None:
    torch.manual_seed(0)
    start, tuned = Network(tiny_config()), Network(tiny_config())
    tuned.load_state_dict(start.state_dict())
    peptides = [PEPTIDE, Peptide.from_sequence("GA")]
    buffers = {
        peptide: np.repeat(peptide.start_nm[None], 5, axis=0).astype(np.float32) for peptide in peptides
    }
    settings = TuningSettings(steps=4, tuning_batch=4)
    assert np.isfinite(fine_tune(tuned, start, buffers, settings, np.random.default_rng(0)))


def test_without_any_weight_nothing_is_learnt() -> None:
    frames = np.zeros((10, 3, 3), dtype=np.float32)
    assert draw_buffer(frames, np.full(10, -np.inf), np.random.default_rng(0)) is None
