import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from prosebench.contract import run_chunks
from prosebench.energy.meter import Meter
from prosebench.ensemble import Ensemble, concatenate
from prosebench.flows.diagnostics import clashing
from prosebench.flows.weights.files import WeightsError
from prosebench.frames.importance import ess, normalise, pareto_k
from prosebench.method import Run
from prosebench.peptide import Peptide
from prosebench.prose.flow import Prose
from prosebench.prose.snis import ProseSNIS
from prosebench.prose.weights import save_weights, to_published
from prosebench.store.storage import file_sha256

from .conftest import tiny_network

PEPTIDE = Peptide.from_sequence("GG")


class CentredGaussian:
    """Positions around their centre are normal, with a standard deviation of spread_nm along each axis."""

    n_atoms = PEPTIDE.n_atoms

    def __init__(self, spread_nm: float = 0.33, temperature_kelvin: float = 310.0) -> None:
        self.spread_nm, self.temperature_kelvin = spread_nm, temperature_kelvin

    def energy(self, frames_nm: np.ndarray) -> np.ndarray:
        frames = frames_nm.astype(np.float64)
        centred = frames - frames.mean(axis=1, keepdims=True)
        return 0.5 * 310.0 / self.temperature_kelvin * (centred**2).sum(axis=(1, 2)) / self.spread_nm**2


def run_of(target, budgets=(3000,), cell_id="a", peptide=PEPTIDE) -> Run:
    return Run(cell_id, peptide, Meter(target, budgets[-1]), budgets, 1000)


def sample(target, budgets=(3000,), **settings) -> tuple[Ensemble, list]:
    method = ProseSNIS(ProseSNIS.Settings(**{"weights": "identity"} | settings))
    chunks = run_chunks(method, run_of(target, budgets))
    return concatenate([chunk.ensemble for chunk in chunks]), chunks


@pytest.mark.parametrize("com", ["gaussian", "published"])
@pytest.mark.parametrize("temperature", ["scaled", "naive"])
def test_weighted_energy_is_that_of_the_target(com: str, temperature: str) -> None:
    """Equipartition: half a kT for each of the 3 (atoms - 1) coordinates that the energy knows."""
    target = CentredGaussian(temperature_kelvin=330.0)
    ensemble, _ = sample(target, (20_000,), com=com, temperature=temperature, chunk_proposals=5000)
    weights = normalise(ensemble.log_weights)
    expected = 1.5 * (target.n_atoms - 1)
    error = np.sqrt((weights**2 * (ensemble.energies_kt - expected) ** 2).sum())
    assert error < 0.02 * expected
    assert abs((weights * ensemble.energies_kt).sum() - expected) < 4 * error
    assert abs(ensemble.energies_kt.mean() - expected) > 8 * error


def test_temperature_is_known_to_latent_or_to_weights_alone() -> None:
    target = CentredGaussian(0.35, temperature_kelvin=400.0)
    scaled, naive = (sample(target, temperature=how)[0] for how in ("scaled", "naive"))
    ratio = scaled.positions_nm.std() / naive.positions_nm.std()
    assert ratio == pytest.approx(np.sqrt(400 / 310), rel=1e-5)
    assert ess(scaled.log_weights) > 0.99 > ess(naive.log_weights)


def test_small_budgets_are_prefixes_whatever_the_chunks_before_them() -> None:
    few, _ = sample(CentredGaussian(), (1500,))
    many, _ = sample(CentredGaussian(), (1500, 4000))
    np.testing.assert_allclose(many.positions_nm[:1500], few.positions_nm, atol=1e-6)
    assert many.evaluations.tolist() == list(range(1, 4001))


def test_diagnostics_so_far_are_those_of_all_weights() -> None:
    ensemble, chunks = sample(CentredGaussian(), chunk_proposals=700)
    last = chunks[-1].diagnostics
    assert len(chunks) == 5
    assert last["ess-gaussian"] == pytest.approx(ess(ensemble.log_weights))
    assert last["k-hat"] == pytest.approx(pareto_k(ensemble.log_weights))
    assert last["ess-published"] < last["ess-gaussian"]
    assert last["mirrored"] == 0.0  # GG has no chirality centre
    assert 0.05 < last["clashing"] < 0.3
    published, chunks = sample(CentredGaussian(), chunk_proposals=700, com="published")
    assert chunks[-1].diagnostics["ess-published"] == pytest.approx(ess(published.log_weights))


def test_frames_that_are_not_finite_are_counted_and_weigh_nothing() -> None:
    class Holed(CentredGaussian):
        def energy(self, frames_nm: np.ndarray) -> np.ndarray:
            return np.where(frames_nm[:, 0, 0] > 0, np.inf, super().energy(frames_nm))

    ensemble, chunks = sample(Holed())
    holes = np.isinf(ensemble.energies_kt)
    assert 0.4 < holes.mean() < 0.6
    assert np.isneginf(ensemble.log_weights[holes]).all()
    shares = [chunk.diagnostics["non-finite"] for chunk in chunks]
    assert np.mean(shares) == pytest.approx(holes.mean())
    assert chunks[-1].diagnostics["ess-gaussian"] == pytest.approx(ess(ensemble.log_weights))


def test_nothing_finite_at_all_still_leaves_a_record() -> None:
    class Blown(CentredGaussian):
        def energy(self, frames_nm: np.ndarray) -> np.ndarray:
            return np.full(len(frames_nm), np.inf)

    _, chunks = sample(Blown())
    assert chunks[-1].diagnostics["ess-gaussian"] == 0.0
    assert all(np.isfinite(value) for value in chunks[-1].diagnostics.values())


def test_longer_peptides_are_skipped_unless_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "two.npz"
    save_weights(path, tiny_network(dtype=torch.float32, max_residues=2), {})
    three = Peptide.from_sequence("GGG")
    for extrapolate, reason in ((False, "made for peptides of up to 2 residues"), (True, None)):
        settings = ProseSNIS.Settings(weights=str(path), extrapolate=extrapolate)
        said = ProseSNIS(settings).skip(run_of(CentredGaussian(), peptide=three))
        assert (reason in said) if reason else (said is None)
        assert ProseSNIS(settings).skip(run_of(CentredGaussian())) is None


def test_residues_that_were_not_trained_on_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "glycine.npz"
    save_weights(path, tiny_network(dtype=torch.float32), {"residues": "GK"})
    method = ProseSNIS(ProseSNIS.Settings(weights=str(path)))
    assert method.skip(run_of(CentredGaussian())) is None
    said = method.skip(run_of(CentredGaussian(), peptide=Peptide.from_sequence("AGS")))
    assert said is not None
    assert said.endswith("has never seen A, S; it knows GK")


def test_the_content_of_a_weights_file_is_part_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    digest = save_weights(path, tiny_network(dtype=torch.float32), {})
    planned = ProseSNIS.Settings(weights=str(path))
    assert planned.weights_sha256 == digest
    assert ProseSNIS.Settings(**planned.model_dump(mode="json")) == planned
    save_weights(path, tiny_network(1, dtype=torch.float32), {})
    with pytest.raises(ValidationError, match="has changed since this cell was planned"):
        ProseSNIS.Settings(**planned.model_dump(mode="json"))
    with pytest.raises(ValidationError, match=r"there is no weights file gone\.npz"):
        ProseSNIS.Settings(weights="gone.npz")


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(WeightsError, match=r"there are no weights 'prose-maxi'; known: .*identity"):
        ProseSNIS(ProseSNIS.Settings(weights="prose-maxi")).skip(run_of(CentredGaussian()))


def test_settings_with_published_weights_read_no_file() -> None:
    settings = ProseSNIS.Settings(weights="prose-up-to-8aa")
    assert (settings.weights_sha256, settings.revision) == ("", "main")


def test_published_weights_can_be_pinned_by_their_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, size = tmp_path / "prose_up_to_8aa.pth", tmp_path / "tiny.toml"
    network = tiny_network(dtype=torch.float32)
    torch.save(to_published(network), path)
    config = network.config.model_dump(mode="json", exclude={"description"})
    size.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items()))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda **where: str(path))
    published = {"weights": "prose-up-to-8aa", "size": str(size)}
    right = ProseSNIS.Settings(**published, weights_sha256=file_sha256(path))
    assert right.load().source["sha256"] == right.weights_sha256
    with pytest.raises(WeightsError, match="and weights_sha256 is 0123: get the file again"):
        ProseSNIS.Settings(**published, weights_sha256="0123").load()


def test_the_bundled_identity_is_a_gaussian() -> None:
    proposals = Prose.from_pretrained("identity", device="cpu").propose("GG", 500, np.random.default_rng(0))
    assert proposals.frames_nm.std() == pytest.approx(0.35 * np.sqrt(16 / 17), rel=0.02)


def test_clashes_are_two_atoms_too_close() -> None:
    line = 0.2 * np.arange(5.0)[:, None] * np.ones(3)
    frames = np.repeat(line[None], 3, axis=0)
    frames[1, 3] = frames[1, 0] + [0.09, 0.0, 0.0]
    frames[2, 3] = frames[2, 0] + [0.07, 0.0, 0.0]
    assert clashing(frames).tolist() == [False, False, True]
