import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from baselines.tbg import TBG
from prosebench.contract import run_chunks
from prosebench.ecnf.weights import save_weights, to_published
from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import Meter
from prosebench.ensemble import concatenate
from prosebench.flows.weights.files import WeightsError
from prosebench.frames.importance import ess, normalise, pareto_k
from prosebench.method import Run
from prosebench.peptide import Peptide
from prosebench.store.storage import file_sha256
from tests.prosebench.ecnf.conftest import tiny_field

GG = Peptide.from_sequence("GG")
TARGET = HarmonicTarget.free_wells(GG.n_atoms, 0.31)


def run_of(sequence: str = "GG", budgets: tuple[int, ...] = (300,)) -> Run:
    peptide = Peptide.from_sequence(sequence)
    target = HarmonicTarget.free_wells(peptide.n_atoms, 0.31)
    return Run("a", peptide, Meter(target, budgets[-1]), budgets, 100)


def method_of(**settings) -> TBG:
    return TBG(TBG.Settings(**{"weights": "breathing", "steps": 1, "batch": 100} | settings))


def test_weighted_energy_is_that_of_the_target_and_not_without_the_divergence() -> None:
    run = run_of(budgets=(2500,))
    ensemble = concatenate([chunk.ensemble for chunk in run_chunks(method_of(chunk_proposals=500), run)])
    weights = normalise(ensemble.log_weights)
    error = np.sqrt((weights**2 * (ensemble.energies_kt - TARGET.mean_energy_kt) ** 2).sum())
    assert error < 0.04 * TARGET.mean_energy_kt
    assert abs((weights * ensemble.energies_kt).sum() - TARGET.mean_energy_kt) < 4 * error
    assert abs(ensemble.energies_kt.mean() - TARGET.mean_energy_kt) > 8 * error
    assert ensemble.evaluations.tolist() == list(range(1, 2501))


def test_diagnostics_are_those_of_all_weights_so_far() -> None:
    chunks = run_chunks(method_of(chunk_proposals=120), run_of())
    ensemble = concatenate([chunk.ensemble for chunk in chunks])
    said = chunks[-1].diagnostics
    assert [len(chunk.ensemble) for chunk in chunks] == [120, 120, 60]
    assert said["ess"] == pytest.approx(ess(ensemble.log_weights))
    assert said["k-hat"] == pytest.approx(pareto_k(ensemble.log_weights))
    assert (said["mirrored"], said["field-evaluations"], said["density-estimated"]) == (0.0, 6.0, 0.0)
    noisy = run_chunks(method_of(divergence="hutchinson"), run_of(budgets=(5,)))
    assert noisy[-1].diagnostics["density-estimated"] == 1.0


def test_a_restart_after_any_chunk_changes_nothing() -> None:
    adaptive = {"steps": 0, "chunk_proposals": 8, "batch": 4}
    one, other = (
        concatenate([chunk.ensemble for chunk in run_chunks(method, run_of(budgets=(20,)))])
        for method in (method_of(**adaptive), lambda: method_of(**adaptive))
    )
    assert np.array_equal(one.positions_nm, other.positions_nm)
    assert np.array_equal(one.log_weights, other.log_weights)


def test_what_the_flow_does_not_know_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_weights(path, tiny_field(dtype=torch.float32), {"residues": "AG"})
    method = method_of(weights=str(path))
    for sequence, reason in {
        "GGGGG": "made for peptides of 2 to 4 residues",
        "PG": "trained without N-terminal proline",
        "AKS": "has never seen K, S; it knows AG",
        "AG": None,
    }.items():
        said = method.skip(run_of(sequence))
        assert (reason in said) if reason else (said is None)


def test_the_content_of_a_weights_file_is_part_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    digest = save_weights(path, tiny_field(dtype=torch.float32), {})
    planned = TBG.Settings(weights=str(path))
    assert planned.weights_sha256 == digest
    save_weights(path, tiny_field(1, dtype=torch.float32), {})
    with pytest.raises(ValidationError, match="has changed since this cell was planned"):
        TBG.Settings(**planned.model_dump(mode="json"))
    assert TBG.Settings(weights="tbg-up-to-4aa").weights_sha256 == ""
    with pytest.raises(ValidationError, match=r"there is no weights file gone\.npz"):
        TBG.Settings(weights="gone.npz")


def test_published_weights_are_those_of_the_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, size, field = tmp_path / "a.pth", tmp_path / "tiny.toml", tiny_field(dtype=torch.float32)
    torch.save(to_published(field), path)
    config = field.config.model_dump(mode="json", exclude={"description"})
    size.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items()))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda **where: str(path))
    published = {"weights": "tbg-up-to-4aa", "size": str(size)}
    assert method_of(**published, weights_sha256=file_sha256(path)).skip(run_of()) is None
    with pytest.raises(WeightsError, match="and weights_sha256 is 0123: get the file again"):
        method_of(**published, weights_sha256="0123").skip(run_of())


def test_it_is_a_proposal_for_annealing() -> None:
    proposal = method_of().proposal(run_of(), {})
    draws = proposal.draw(3, np.random.default_rng(0))
    value, gradient = proposal.log_density_and_gradient(draws.frames_nm)
    np.testing.assert_allclose(value, draws.log_density, atol=0.02)
    assert np.isfinite(gradient).all()
