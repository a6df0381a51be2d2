"""Every method that is installed holds to the contract; methods that break it are caught."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.md import MD
from prosebench import contract
from prosebench.check import moments
from prosebench.contract import CHECKS, Case, ContractBroken
from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.target import LangevinSettings
from prosebench.ensemble import Ensemble
from prosebench.method import Carry, Chunk, Method, MethodSettings, Run, load_method, method_entry_points
from prosebench.prose.flow import ProseProposals
from prosebench.prose.inverse import Inverter
from prosebench.prose.snis import ProseSNIS

COARSE = 0.35
"""Standard deviations: what `prosebench check` would see is a third of it, and takes ten times as long."""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", method_entry_points())
def test_installed_methods(name: str, check, scratch: Path) -> None:
    assert check(Case(load_method(name), scratch, smallest_bias=COARSE))


@cache
def _target() -> HarmonicTarget:
    return Case(_Draws, Path()).target


class _Draws(Method):
    """Exact draws from the harmonic target of the contract, in chunks; the broken methods below derive from it."""

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        number = min(100, run.meter.remaining)
        frames = self.draw(run, index, number)
        done = run.meter.spent
        energies = run.meter.energy(frames)
        return Chunk(Ensemble(frames, energies, evaluations=done + np.arange(1, number + 1)), carry={})

    def draw(self, run: Run, index: int, number: int) -> np.ndarray:
        return _target().draw(number, run.rng(index))


class _Greedy(_Draws):
    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        frames = self.draw(run, index, 1000)
        return Chunk(Ensemble(frames, run.meter.energy(frames), evaluations=np.arange(1, 1001)), carry={})


class _Unseeded(_Draws):
    def draw(self, run: Run, index: int, number: int) -> np.ndarray:
        return super().draw(replace(run, cell_id="always the same"), index, number)


class _Restless(_Draws):
    def draw(self, run: Run, index: int, number: int) -> np.ndarray:
        return super().draw(replace(run, cell_id=str(np.random.default_rng().random())), index, number)


class _Forgetful(_Draws):
    """Keeps state in the object, where a restart loses it."""

    seen = 0

    def draw(self, run: Run, index: int, number: int) -> np.ndarray:
        self.seen += 1
        return super().draw(run, 1000 * self.seen + index, number)


class _Wide(_Draws):
    """Three per cent too wide: the error of a temperature that is six per cent off."""

    def draw(self, run: Run, index: int, number: int) -> np.ndarray:
        frames = super().draw(run, index, number)
        return frames + 0.03 * (frames - _target().centre_nm)


class _Boastful(_Draws):
    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        chunk = super().chunk(run, index, carry)
        assert chunk.ensemble is not None
        lower = Ensemble(
            chunk.ensemble.positions_nm,
            chunk.ensemble.energies_kt - 1.0,
            evaluations=chunk.ensemble.evaluations,
        )
        return replace(chunk, ensemble=lower)


class _Backdated(_Draws):
    """Says of every frame that it was there from the first evaluation, and so enters the smallest budget with all."""

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        chunk = super().chunk(run, index, carry)
        assert chunk.ensemble is not None
        early = np.ones(len(chunk.ensemble), dtype=int)
        return replace(chunk, ensemble=replace(chunk.ensemble, evaluations=early))


class _Hiding(_Draws):
    """Calls its evaluations preparation, of which it declares none."""

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        frames = self.draw(run, index, 100)
        with run.meter.phase("preparation"):
            energies = run.meter.energy(frames)
        paid = run.meter.energy(frames[:1])
        return Chunk(
            Ensemble(frames, np.append(paid, energies[1:]), evaluations=np.full(100, run.meter.spent)), {}
        )


class _Scaled(_Draws):
    """Does something else at every budget, and says that small ones are prefixes of large ones."""

    def draw(self, run: Run, index: int, number: int) -> np.ndarray:
        return super().draw(run, index + run.budgets[-1], number)


class _Warm(_Draws):
    """At 103 % of the temperature."""

    def draw(self, run: Run, index: int, number: int) -> np.ndarray:
        frames = super().draw(run, index, number)
        return frames + (np.sqrt(1.03) - 1) * (frames - _target().centre_nm)


class _Aside(_Draws):
    """A tenth of a standard deviation of the mean position aside: of the mean of every second atom's coordinates."""

    def draw(self, run: Run, index: int, number: int) -> np.ndarray:
        frames = super().draw(run, index, number)
        half = (run.peptide.n_atoms + 1) // 2
        return frames + 0.1 * np.sqrt(_target().variance_nm2 / (3 * half))


class _Paid(Method):
    """Keeps frames of a random walk as its `kept` says; each move is an evaluation."""

    class Settings(MethodSettings):
        step_nm: float = 0.01

    settings: Settings
    contract_settings = {}

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        rng, before = run.rng(index), run.meter.spent
        x, energy = carry.get("x", run.peptide.start_nm), carry.get("energy", np.inf)
        kept = []
        for spent in range(before + 1, before + 1 + min(200, run.meter.remaining)):
            trial = x + self.settings.step_nm * rng.standard_normal(x.shape)
            trial_energy = run.meter.energy(trial[None])[0]
            accepted = self.accepts(rng, trial_energy - energy)
            if accepted:
                x, energy = trial, trial_energy
            kept += self.kept(x, energy, spent, accepted)
        ensemble = Ensemble(*map(np.array, zip(*kept, strict=True))) if kept else None
        if ensemble is not None:
            ensemble = Ensemble(ensemble.positions_nm, ensemble.energies_kt, None, ensemble.log_weights)
        return Chunk(ensemble, {"x": x, "energy": energy})

    def accepts(self, rng: np.random.Generator, rise: float) -> bool:
        return np.log(rng.random()) < -rise

    def kept(self, x: np.ndarray, energy: float, spent: int, accepted: bool) -> list[tuple]:
        return [(x, energy, spent)]


class _AcceptedOnly(_Paid):
    def kept(self, x: np.ndarray, energy: float, spent: int, accepted: bool) -> list[tuple]:
        return [(x, energy, spent)] if accepted else []


class _AcceptedOnlySmallSteps(_AcceptedOnly):
    contract_settings = {"step_nm": 0.002}


class _Twice(_Paid):
    """Every second state, twice."""

    def kept(self, x: np.ndarray, energy: float, spent: int, accepted: bool) -> list[tuple]:
        return [] if spent % 2 else [(x, energy, spent - 1), (x, energy, spent)]


class _TwiceAtOnce(_Paid):
    def kept(self, x: np.ndarray, energy: float, spent: int, accepted: bool) -> list[tuple]:
        return [] if spent % 2 else 2 * [(x, energy, spent)]


class _TwiceTheFrames(_Paid):
    def kept(self, x: np.ndarray, energy: float, spent: int, accepted: bool) -> list[tuple]:
        return 2 * [(x, energy, spent)]


class _WrongSign(_Paid):
    """Accepts what should be rejected, and from its infinite start nothing at all."""

    def accepts(self, rng: np.random.Generator, rise: float) -> bool:
        return np.log(rng.random()) < rise


class _Frozen(_Paid):
    """Steps that the wells accept and a peptide does not."""

    contract_settings = {"step_nm": 0.004}


class _Stuck(_Draws):
    """Says the same few frames over and over: right within its errors, which are huge."""

    def draw(self, run: Run, index: int, number: int) -> np.ndarray:
        few = super().draw(run, index * 100 // (1 + run.budgets[-1] // 20), 1)
        return np.repeat(few, number, axis=0)


def test_exact_draws_hold(scratch: Path) -> None:
    said = {
        check: check(Case(_Draws, scratch)) for check in CHECKS if check is not contract.moves_on_a_peptide
    }
    seen = re.findall(r"(0\.\d\d) of", said[contract.moments_are_right])
    assert len(seen) == 3
    assert max(map(float, seen)) <= 0.1
    hotter = re.search(r"([\d.]+)% in temperature", said[contract.moments_are_right])
    assert hotter
    assert float(hotter[1]) < 3


def test_a_walk_that_stores_every_state_holds(scratch: Path) -> None:
    class Walk(_Paid):
        contract_settings = {"step_nm": 0.01}

    case = Case(Walk, scratch, smallest_bias=COARSE)
    for check in CHECKS:
        if check is not contract.moves_on_a_peptide:
            check(case)


def test_a_walk_that_stores_states_at_random_times_holds(scratch: Path) -> None:
    class Coin(_Paid):
        def kept(self, x: np.ndarray, energy: float, spent: int, accepted: bool) -> list[tuple]:
            self.coins = getattr(self, "coins", None) or np.random.default_rng(int(1e12 * abs(x[0, 0])))
            return [(x, energy, spent)] if self.coins.random() < 0.2 else []

    assert "their energy is right" in contract.rejected_moves_count(Case(Coin, scratch))


@pytest.mark.parametrize(
    ("method", "check", "said"),
    [
        (_Greedy, contract.budget_is_kept, "overspends: .* 1000 were asked for, 1 were left"),
        (_Backdated, contract.budget_is_kept, "claim 1 to 1 evaluations, but their chunk began at 100"),
        (_Unseeded, contract.seeds_are_honoured, "ignores Run.rng"),
        (_Restless, contract.seeds_are_honoured, "not from Run.rng"),
        (_Restless, contract.chunks_resume, "state outside of the carry"),
        (_Forgetful, contract.chunks_resume, "state outside of the carry"),
        (_Wide, contract.moments_are_right, "standard errors off"),
        (_Stuck, contract.moments_are_right, "which proves nothing"),
        (_Hiding, contract.budget_is_kept, r"preparation, but preparation\(\) declares 0"),
        (_Scaled, contract.prefixes_are_prefixes, "set prefixes = False"),
        (_Boastful, contract.energies_belong_to_frames, "off that of its frame"),
        (_Warm, contract.moments_are_right, "standard errors off"),
        (_Aside, contract.moments_are_right, "mean position .* standard errors off"),
        (_AcceptedOnly, contract.rejected_moves_count, "are only accepted moves stored"),
        (_AcceptedOnlySmallSteps, contract.rejected_moves_count, "are only accepted moves stored"),
        (_Twice, contract.frames_are_single, "every frame is stored 2 times"),
        (_TwiceAtOnce, contract.frames_are_single, "repeat the one before at the same evaluation"),
        (_TwiceTheFrames, contract.budget_is_kept, "frames came out of 1 evaluations"),
        (_WrongSign, contract.seeds_are_honoured, "does it ever move"),
        (_Frozen, contract.moves_on_a_peptide, "hardly ever moves"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_broken_methods_are_caught(method: type[Method], check, said: str, scratch: Path) -> None:
    with pytest.raises(ContractBroken, match=said):
        check(Case(method, scratch))


def test_a_hot_thermostat_is_caught(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hot(temperature: float, *rest: float) -> LangevinSettings:
        return LangevinSettings(1.25 * temperature, *rest)

    monkeypatch.setattr("baselines.dynamics.LangevinSettings", hot)
    with pytest.raises(ContractBroken, match="standard errors off"):
        contract.moments_are_right(Case(MD, scratch))


def _wrong_sign(proposals: ProseProposals, energies: np.ndarray, com: str = "gaussian") -> np.ndarray:
    return energies + proposals.log_q(com)


def _no_density(proposals: ProseProposals, energies: np.ndarray, com: str = "gaussian") -> np.ndarray:
    return -energies


def _no_weights(proposals: ProseProposals, energies: np.ndarray, com: str = "gaussian") -> np.ndarray:
    return np.zeros(len(energies))


@pytest.fixture
def _fewer_proposals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "PROPOSAL_BUDGET", 5000)


@pytest.mark.usefixtures("_fewer_proposals")
@pytest.mark.parametrize("broken", [_wrong_sign, _no_density, _no_weights])
def test_wrong_weights_of_a_flow_are_caught(broken, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProseProposals, "log_weights", broken)
    with pytest.raises(ContractBroken, match="standard errors off"):
        contract.moments_are_right(Case(ProseSNIS, scratch))


@pytest.mark.usefixtures("_fewer_proposals")
def test_a_missing_log_determinant_is_caught(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complete = Inverter.of

    def without(inverter: Inverter, tokens):
        invert = complete(inverter, tokens)
        return lambda *given: (invert(*given)[0], torch.zeros(len(given[0])))

    monkeypatch.setattr(Inverter, "of", without)
    with pytest.raises(ContractBroken, match="standard errors off"):
        contract.moments_are_right(Case(ProseSNIS, scratch))


def test_free_wells_do_not_know_where_a_frame_is() -> None:
    target = HarmonicTarget.free_wells(5, 0.3)
    rng = np.random.default_rng(0)
    frames = target.draw(20_000, rng)
    energies, gradients = target.energy_and_gradient(frames)
    moved = target.energy_and_gradient(frames + rng.standard_normal((len(frames), 1, 3)))
    np.testing.assert_allclose(moved[0], energies)
    np.testing.assert_allclose(moved[1], gradients, atol=1e-9)
    assert abs(energies.mean() - target.mean_energy_kt) < 4 * energies.std() / np.sqrt(len(frames))
    assert target.mean_energy_kt == 6.0
    step = 1e-6 * rng.standard_normal(frames[:1].shape)
    difference = target.energy(frames[:1] + step) - target.energy(frames[:1] - step)
    assert difference[0] == pytest.approx(2 * (gradients[:1] * step).sum(), rel=1e-5)
