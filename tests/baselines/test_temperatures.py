"""Every bath and every velocity has the temperature that was asked for; frames and exchanges are where they belong."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from baselines.md import MD
from baselines.md_replicas import MDReplicas
from baselines.parallel_tempering import ParallelTempering
from jobs.making.reference_plan import ReferencePlan
from jobs.making.references import _md_cell, tempering_cell
from prosebench.contract import run_chunks
from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.dynamics import maxwell_velocities
from prosebench.energy.meter import Meter
from prosebench.energy.settings import TargetSettings
from prosebench.energy.target import BOLTZMANN_KJ_MOL_K, LangevinResult, PhaseState, Stretch
from prosebench.ensemble import Ensemble, concatenate
from prosebench.method import Method, Run
from prosebench.peptide import Peptide

PEPTIDE = Peptide.from_sequence("AA")
MASSES = np.array([atom.element.mass for atom in PEPTIDE.topology.atoms])
KELVIN = 350.0


@dataclass(frozen=True)
class Watched(HarmonicTarget):
    """Harmonic wells that remember what dynamics they were asked for: temperatures of the baths, and states."""

    asked: list[tuple[NDArray[np.float64], PhaseState]] = field(default_factory=list)

    def langevin(self, state: PhaseState, stretch: Stretch) -> LangevinResult:
        self.asked.append((stretch.temperatures_of(len(state.positions_nm)), state))
        return super().langevin(state, stretch)


def watched(method: Method, budget: int = 2000, frames: int = 20) -> tuple[Watched, Ensemble]:
    target = Watched(PEPTIDE.start_nm, KELVIN)
    run = Run("cell", PEPTIDE, Meter(target, budget), (budget,), frames)
    parts = [chunk.ensemble for chunk in run_chunks(method, run) if chunk.ensemble is not None]
    return target, concatenate(parts)


def kelvins(velocities_nm_ps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kinetic temperature of each replica."""
    return (MASSES[:, None] * velocities_nm_ps**2).mean(axis=(1, 2)) / BOLTZMANN_KJ_MOL_K


def test_maxwell_velocities_have_the_temperature() -> None:
    asked = np.repeat([250.0, 310.0, 600.0], 200)
    found = kelvins(maxwell_velocities(PEPTIDE, asked, np.random.default_rng(0))).reshape(3, 200)
    error = asked[::200] * np.sqrt(2 / (3 * PEPTIDE.n_atoms * 200))
    assert (np.abs(found.mean(axis=1) - asked[::200]) < 4 * error).all()


def test_light_atoms_are_faster() -> None:
    """Every atom has its share, whatever its mass."""
    velocities = maxwell_velocities(PEPTIDE, np.full(2000, 310.0), np.random.default_rng(1))
    found = (MASSES[:, None] * velocities**2).mean(axis=(0, 2)) / BOLTZMANN_KJ_MOL_K
    assert (np.abs(found / 310.0 - 1.0) < 5 * np.sqrt(2 / (3 * 2000))).all()


def test_md_starts_at_its_temperature() -> None:
    """One trajectory tells little: here are many."""
    method, target, found = MD(MD.Settings(minimise_steps=0)), Watched(PEPTIDE.start_nm, KELVIN), []
    for seed in range(200):
        run = Run(f"seed {seed}", PEPTIDE, Meter(target, 10), (10,), 10)
        found.append(kelvins(method.chunk(run, 0, {}).carry["velocities_nm_ps"])[0])
    assert abs(np.mean(found) / KELVIN - 1.0) < 4 * np.sqrt(2 / (3 * PEPTIDE.n_atoms * len(found)))


METHODS: dict[str, tuple[Method, list[float]]] = {
    "md": (MD(MD.Settings(warm_up_ps=0.1)), [KELVIN]),
    "md-replicas": (MDReplicas(MDReplicas.Settings(replicas=40)), [KELVIN] * 40),
    "parallel-tempering": (
        ParallelTempering(ParallelTempering.Settings(ladders=8, exchange_steps=10)),
        np.geomspace(KELVIN, 600.0, 4).tolist() * 8,
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_baths_and_first_velocities_have_the_target_s_temperature(name: str) -> None:
    method, expected = METHODS[name]
    target, _ = watched(method)
    for baths, _ in target.asked:
        np.testing.assert_allclose(baths, expected)
    first = kelvins(target.asked[0][1].velocities_nm_ps) / expected
    assert abs(first.mean() - 1.0) < 4.5 * np.sqrt(2 / (3 * PEPTIDE.n_atoms * len(expected)))


def test_exchanged_velocities_have_the_new_temperature() -> None:
    """All neighbours meet: over many rounds, every level's velocities keep its temperature."""
    settings = ParallelTempering.Settings(ladders=16, exchange_steps=1, hottest_kelvin=1200.0)
    target, _ = watched(ParallelTempering(settings), budget=64 * 12)
    # Right after an exchange, before one step of dynamics could correct anything.
    found = np.array([kelvins(state.velocities_nm_ps) for _, state in target.asked[1:]]).reshape(-1, 4)
    expected = np.geomspace(KELVIN, 1200.0, 4)
    assert (np.abs(found.mean(axis=0) / expected - 1.0) < 0.15).all()


def test_replicas_stand_time_by_time(tmp_path: Path) -> None:
    """Frames of one time together, each replica in its place: references are cut by it."""
    apart = Ensemble(PEPTIDE.start_nm + 10.0 * np.arange(4)[:, None, None], np.zeros(4))
    apart.save(tmp_path / "starts.npz")
    settings = MDReplicas.Settings(starts=str(tmp_path / "starts.npz"), replicas=4, discard=0.0)
    _, ensemble = watched(MDReplicas(settings), budget=20, frames=20)
    place = np.round((ensemble.positions_nm - PEPTIDE.start_nm).mean(axis=(1, 2)) / 10.0).reshape(5, 4)
    assert sorted(place[0].tolist()) == [0, 1, 2, 3]
    assert (place == place[0]).all()


def equal_energies(levels: int) -> tuple[ParallelTempering, Run]:
    settings = ParallelTempering.Settings(levels=levels, ladders=1)
    return ParallelTempering(settings), Run(
        "cell", PEPTIDE, Meter(Watched(PEPTIDE.start_nm, KELVIN), 10**6), (10**6,), 10
    )


@pytest.mark.parametrize("levels", [2, 3, 4, 7])
def test_round_trips_take_two_rounds_a_level(levels: int) -> None:
    """Where every exchange is accepted, alternating pairs carry each replica straight up and down.

    A round trip takes 2 levels rounds; a random walk takes about levels^2, and pairs that never alternate never end.
    """
    method, run = equal_energies(levels)
    places = np.arange(levels)
    cold, trips = [], 0
    visited_hot = np.zeros(levels, dtype=bool)
    for number in range(1, 8 * levels + 1):
        order, *_ = method._exchange(np.zeros(levels), number, run.rng(number), run)
        places = places[order]
        visited_hot[places[-1]] = True
        if visited_hot[places[0]]:
            trips, visited_hot[places[0]] = trips + 1, False
        cold.append(places[0])
    assert set(cold) == set(range(levels))
    assert trips >= 3 * levels


def test_the_coldest_level_is_what_is_kept() -> None:
    """Frames of the coldest level have its energies: those of hotter ones are far higher."""
    settings = ParallelTempering.Settings(
        ladders=8, levels=2, hottest_kelvin=3000.0, exchange_steps=50, friction_per_ps=20.0, discard=0.5
    )
    target, ensemble = watched(ParallelTempering(settings), budget=16 * 600, frames=80)
    mean = target.mean_energy_kt
    assert abs(ensemble.energies_kt.mean() - mean) < 0.3 * mean


@pytest.mark.parametrize("kelvin", [310.0, 393.0])
def test_references_are_made_at_their_temperature(kelvin: float) -> None:
    settings, plan = TargetSettings(temperature_kelvin=kelvin), ReferencePlan()
    starts = Path(__file__).parents[2] / "prosebench" / "data" / "references" / "AA.npz"
    hot = tempering_cell("AA", plan, settings)
    cold = _md_cell("AA", plan, settings, starts)
    for cell in (hot, cold):
        assert cell.target == settings
    # Tempering warms up for a quarter; its frames are all equilibrium, so those of plain MD are all kept.
    assert hot.settings["discard"] == 0.25
    assert cold.settings["discard"] == 0.0
