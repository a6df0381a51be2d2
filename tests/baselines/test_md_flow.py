"""Dynamics with draws of a flow: everything is charged, the target stays as it is, and only proper draws are taken."""

from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest

from baselines.md_flow import MDFlow
from prosebench.contract import run_chunks
from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import Meter
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble, concatenate
from prosebench.flows.molecule.handedness import one_handed
from prosebench.frames.features import same_peptide_bonds, torsions
from prosebench.method import Chunk, Run
from prosebench.peptide import Peptide
from prosebench.proposal import Draws, GaussianProposal, ProposalMethod
from tests.molecules.turned_bond import turned_bond

PEPTIDE = Peptide.from_sequence("AA")
LIGHT = HarmonicTarget(PEPTIDE.start_nm, mass_dalton=0.2)
"""Wells in which a step of 1 fs covers a sixtieth of a period."""


def make_run(budget: int, frames: int = 100, target: HarmonicTarget = LIGHT) -> Run:
    return Run("cell", PEPTIDE, Meter(target, budget), (budget,), frames)


def settings(**changes: object) -> MDFlow.Settings:
    given = {"proposal": "gaussian", "proposal_settings": {"std_nm": 0.038}, "friction_per_ps": 100.0}
    return MDFlow.Settings.model_validate(given | changes)


def frames_of(chunks: list[Chunk]) -> Ensemble:
    return concatenate([chunk.ensemble for chunk in chunks if chunk.ensemble is not None])


def test_steps_draws_and_kicks_are_charged() -> None:
    run = make_run(1000, frames=60)
    chosen = settings(replicas=3, md_steps=10, proposals=4, discard=0.25, chunk_evaluations=100)
    ensemble = frames_of(run_chunks(MDFlow(chosen), run))
    assert run.meter.spent == 20 * 3 * (10 + 4 + 2)
    assert run.meter.ledger.preparation.evaluations > 0
    assert len(ensemble) == 60
    claims = ensemble.evaluations
    assert claims is not None
    assert (np.diff(claims) >= 0).all()
    assert claims[0] > 5 * 48
    assert claims[-1] <= 960
    np.testing.assert_allclose(LIGHT.energy(ensemble.positions_nm), ensemble.energies_kt, atol=1e-2)


def test_the_target_stays_as_it_is() -> None:
    """Mean energy of wells within 5 standard errors, also of frames just after a jump."""
    chosen = settings(replicas=300, md_steps=10, proposals=3, friction_per_ps=20.0, discard=0.5)
    run = make_run(300 * 15 * 80, frames=300 * 80)
    chunks = run_chunks(MDFlow(chosen), run)
    assert 0.3 < np.mean([chunk.diagnostics["flow-acceptance"] for chunk in chunks]) < 0.9
    means = frames_of(chunks).energies_kt.reshape(-1, 300).mean(axis=0)
    error = means.std(ddof=1) / np.sqrt(len(means))
    assert error < 0.01 * LIGHT.mean_energy_kt
    assert abs(means.mean() - LIGHT.mean_energy_kt) < 5 * error


def test_a_flow_takes_replicas_between_basins() -> None:
    """One picosecond of dynamics from one start, and yet all of phi and psi; hydrogens keep one handedness."""
    run = Run("cell", PEPTIDE, Meter(make_target(PEPTIDE, TargetSettings()), 4000), (4000,), 500)
    chosen = MDFlow.Settings(replicas=25, md_steps=10, proposals=20, discard=0.2)
    chunks = run_chunks(MDFlow(chosen), run)
    assert chunks[-1].diagnostics["never-moved"] == 0.0
    ensemble = frames_of(chunks)
    phi, psi, _ = torsions(ensemble.positions_nm, PEPTIDE.topology)
    assert min(np.mean(phi > 0), np.mean(psi > 0), np.mean(psi < 0)) > 0.01
    frames = ensemble.positions_nm
    np.testing.assert_array_equal(one_handed(frames, [PEPTIDE.topology]), frames)
    assert same_peptide_bonds(frames, PEPTIDE.topology, PEPTIDE.start_nm).all()


class Improper(MDFlow):
    """Draws as good as the state itself, were they not mirrored, cis, or without a density."""

    fault: str

    @cached_property
    def _source(self) -> ProposalMethod:
        return _Source(self.fault)


class _Source:
    def __init__(self, fault: str) -> None:
        self.fault = fault

    def skip(self, run: Run) -> None:
        return None

    def proposal(self, run: Run, carry: object) -> "Faulty":
        return Faulty(self.fault)


class Faulty(GaussianProposal):
    """Frames near the start that anyone would accept by energy and density."""

    def __init__(self, fault: str) -> None:
        super().__init__(PEPTIDE.start_nm, 0.001)
        object.__setattr__(self, "fault", fault)
        # Any placement: it only says that energies do not know where a frame is.
        object.__setattr__(self, "placement", _Anywhere())

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        drawn = super().draw(n, rng)
        if self.fault == "mirrored":
            return drawn._replace(frames_nm=-drawn.frames_nm)
        if self.fault == "cis":
            return drawn._replace(
                frames_nm=np.repeat(turned_bond(PEPTIDE, PEPTIDE.start_nm)[None], n, axis=0).astype(
                    np.float32
                )
            )
        return drawn if self.fault == "" else drawn._replace(log_density=np.full(n, np.nan))


class _Anywhere:
    def energy_and_gradient(self, frames_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(frames_nm)), np.zeros(frames_nm.shape)


@pytest.mark.parametrize(
    ("fault", "accepts"), [("", True), ("mirrored", False), ("cis", False), ("no density", False)]
)
def test_improper_draws_are_refused(fault: str, accepts: bool) -> None:
    flat = replace(LIGHT, constant_kj_mol_nm2=1e-9)
    method = type("One", (Improper,), {"fault": fault})(settings(replicas=4, md_steps=1, proposals=20))
    method._log_weights = lambda proposal, frames_nm, energies_kt, log_q: np.zeros(len(frames_nm))
    chunks = run_chunks(method, make_run(4 * 23 * 3, target=flat))
    assert (chunks[-1].diagnostics["never-moved"] < 1.0) is accepts


def test_what_cannot_be_done_is_said() -> None:
    too_small = MDFlow(settings(replicas=4)).skip(make_run(207))
    assert too_small == "a budget of 207 is less than a round of 208 evaluations"
    assert MDFlow(settings(replicas=4)).skip(make_run(208)) is None
    untrained = MDFlow(MDFlow.Settings(proposal="bg", replicas=4)).skip(make_run(10_000))
    assert "bg must be trained first" in (untrained or "")
    unknown = MDFlow(MDFlow.Settings(replicas=4))
    long = replace(make_run(10_000), peptide=Peptide.from_sequence("AAAAA"))
    assert "was made for peptides of up to 4 residues" in (unknown.skip(long) or "")
