import numpy as np
import pytest

from prosebench.contract import run_chunks
from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import Meter
from prosebench.ensemble import concatenate
from prosebench.frames.importance import ess, normalise, pareto_k
from prosebench.method import Run
from prosebench.peptide import Peptide
from prosebench.proposal import UnknownProposal, load_proposal
from prosebench.robin.flow import Robin
from prosebench.robin.snis import RobinSNIS

PEPTIDE = Peptide.from_sequence("GG")
SPREAD_NM = RobinSNIS.contract_spread_nm


def sample(budget: int, **settings):
    target = HarmonicTarget.free_wells(PEPTIDE.n_atoms, SPREAD_NM)
    method = RobinSNIS(RobinSNIS.Settings(**{"weights": "breathing", "batch": 500} | settings))
    chunks = run_chunks(method, Run("a", PEPTIDE, Meter(target, budget), (budget,), 1000))
    return concatenate([chunk.ensemble for chunk in chunks]), chunks


def test_weighted_energy_is_that_of_the_target():
    """Equipartition: half a kT for each of the 3 (atoms - 1) coordinates that the energy knows."""
    ensemble, chunks = sample(10_000, chunk_proposals=5000)
    weights, expected = normalise(ensemble.log_weights), 1.5 * (PEPTIDE.n_atoms - 1)
    error = np.sqrt((weights**2 * (ensemble.energies_kt - expected) ** 2).sum())
    assert error < 0.02 * expected
    assert abs((weights * ensemble.energies_kt).sum() - expected) < 4 * error
    assert abs(ensemble.energies_kt.mean() - expected) > 8 * error
    last = chunks[-1].diagnostics
    assert last["ess"] == pytest.approx(ess(ensemble.log_weights))
    assert last["k-hat"] == pytest.approx(pareto_k(ensemble.log_weights))


def test_the_centre_without_a_density_costs_effective_samples():
    """What the published evaluation leaves out: without it the scatter of the centre is in the weights."""
    proposals = Robin.from_pretrained("breathing", device="cpu").propose(
        PEPTIDE, 2000, np.random.default_rng(0)
    )
    energies = HarmonicTarget.free_wells(PEPTIDE.n_atoms, SPREAD_NM).energy(proposals.frames_nm)
    left_out = -energies - proposals.log_q_full
    assert ess(left_out) < 0.8 * ess(proposals.log_weights(energies))


def test_published_weights_are_the_default_and_read_no_file():
    settings = RobinSNIS.Settings()
    assert (settings.weights, settings.weights_sha256, settings.revision) == ("robin-up-to-8aa", "", "main")


def test_nothing_is_annealed_from_a_density_without_a_gradient():
    with pytest.raises(UnknownProposal, match="gives no log-density and gradient"):
        load_proposal("robin-snis", {})
