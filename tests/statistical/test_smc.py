"""Sequential Monte Carlo against closed forms: log Z, populations, and what its moves leave alone.

Limits are counted in standard errors, from independent repeats or independent particles; seeds are fixed.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from baselines.annealing import Points, evaluated, langevin_move
from baselines.resampling import Scheme, resample
from baselines.smc import SMC, SMCMALA, SMCULA
from prosebench.contract import run_chunks
from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import Meter
from prosebench.ensemble import Ensemble
from prosebench.flows.molecule.local_frames import placing
from prosebench.flows.proposal import FlowProposal
from prosebench.frames.importance import normalise
from prosebench.frames.placement import Placement
from prosebench.method import Run
from prosebench.peptide import Peptide
from prosebench.proposal import GaussianProposal
from prosebench.prose.config import ProseConfig
from prosebench.prose.flow import Prose
from prosebench.prose.network import Network
from prosebench.prose.weights import save_weights

N_SIGMA = 4.0
PEPTIDE = Peptide.from_sequence("AA")
WELLS = HarmonicTarget(PEPTIDE.start_nm)
STD_NM = 1.2 * math.sqrt(WELLS.variance_nm2)
"""Of the proposal: a log-weight has a standard deviation of 1.8 kT over the whole path."""


@dataclass(frozen=True)
class DoubleWell(HarmonicTarget):
    """The harmonic wells, but for the first coordinate: two wells at +-1 in units of half_nm, one lower by 2 tilt."""

    barrier_kt: float = 3.0
    tilt_kt: float = 0.5
    half_nm: float = 0.05

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        energies, gradients = super().energy_and_gradient(frames_nm)
        shift = np.asarray(frames_nm, dtype=np.float64)[:, 0, 0] - self.centre_nm[0, 0]
        energies += self.along(shift / self.half_nm) - 0.5 * shift**2 / self.variance_nm2
        u = shift / self.half_nm
        gradients[:, 0, 0] = (4 * self.barrier_kt * u * (u**2 - 1) + self.tilt_kt) / self.half_nm
        return energies, gradients

    def along(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.barrier_kt * (u**2 - 1) ** 2 + self.tilt_kt * u


class Wall(HarmonicTarget):
    """The harmonic wells with a wall through the middle of the first."""

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        energies, gradients = super().energy_and_gradient(frames_nm)
        beyond = ~(np.asarray(frames_nm)[:, 0, 0] < self.centre_nm[0, 0])
        return np.where(beyond, np.inf, energies), np.where(beyond[:, None, None], 0.0, gradients)


DOUBLE_WELL, WALL = DoubleWell(PEPTIDE.start_nm), Wall(PEPTIDE.start_nm)
_GRID = np.linspace(-4.0, 4.0, 8001)
_DENSITY = np.exp(-DOUBLE_WELL.along(_GRID))
RIGHT_POPULATION = float(_DENSITY[_GRID > 0].sum() / _DENSITY.sum())


def log_z(target: HarmonicTarget) -> float:
    """Log of the integral of exp(-E), in nm^3atoms; of free wells, with a normalised density of the centre.

    Centred frames have the volume of an orthonormal basis, and the basis of the rest has the coordinates sqrt(atoms) c.
    """
    coordinates = 3 * (target.n_atoms - target.free)
    harmonic = 0.5 * coordinates * math.log(2 * math.pi * target.variance_nm2)
    if target.free:
        return harmonic + 1.5 * math.log(target.n_atoms)
    if isinstance(target, DoubleWell):
        step_nm = target.half_nm * (_GRID[1] - _GRID[0])
        return (
            harmonic - 0.5 * math.log(2 * math.pi * target.variance_nm2) + math.log(_DENSITY.sum() * step_nm)
        )
    return harmonic


def anneal(
    method: type[SMC],
    target: HarmonicTarget,
    seed: int,
    particles: int,
    name: str = "log-z",
    peptide: Peptide = PEPTIDE,
    **settings: Any,
) -> tuple[float, Ensemble]:
    """Estimate of log Z, under its name in the record, and the particles, of one run."""
    chosen: dict[str, Any] = {
        "proposal": "gaussian",
        "proposal_settings": {"std_nm": STD_NM},
        "particles": particles,
        "steps": 8,
        "epsilon": 0.01,
        "start_below_kt": 1e9,
        "start_filter": 0.0,
    }
    made = method(method.Settings(**chosen | settings))
    budget = 10 * particles * (1 + made.settings.steps * made.settings.moves)
    run = Run(f"seed {seed}", peptide, Meter(target, budget), (budget,), particles)
    last = run_chunks(made, run)[-1]
    assert last.ensemble is not None
    estimates = last.diagnostics[name]
    assert not isinstance(estimates, float)
    return float(estimates[-1]), last.ensemble


def sigmas(values: Any, expected: float) -> float:
    """How many standard errors the mean of independent values is off."""
    values = np.asarray(values)
    return float((values.mean() - expected) / (values.std(ddof=1) / math.sqrt(len(values))))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ess_threshold": 0.5},
        {"resampling": "multinomial", "moves": 2},
        {"resampling": "residual"},
        {"resampling": "stratified", "ess_threshold": 0.0},
    ],
    ids=str,
)
def test_the_estimate_of_z_is_unbiased(settings: dict[str, Any]) -> None:
    """Its mean over runs, not that of its logarithm, is Z (Del Moral 2004, prop. 7.4.1), for fixed moves."""
    found = [anneal(SMCMALA, WELLS, seed, 60, adapt=1.0, **settings)[0] for seed in range(40)]
    assert abs(sigmas(np.exp(np.array(found) - log_z(WELLS)), 1.0)) < N_SIGMA
    assert np.std(found) < 0.5


@pytest.mark.parametrize("settings", [{}, {"adaptive_ess": 0.8, "steps": 12}], ids=str)
def test_double_well(settings: dict[str, Any]) -> None:
    """log Z and the population of a well that only the weights can fill rightly."""
    runs = [anneal(SMCMALA, DOUBLE_WELL, seed, 200, **settings) for seed in range(24)]
    assert abs(sigmas([np.exp(z - log_z(DOUBLE_WELL)) for z, _ in runs], 1.0)) < N_SIGMA
    right = [float((e.positions_nm[:, 0, 0] > PEPTIDE.start_nm[0, 0]).mean()) for _, e in runs]
    assert np.std(right) / math.sqrt(len(right)) < 0.03 < abs(RIGHT_POPULATION - 0.5) / 5
    assert abs(sigmas(right, RIGHT_POPULATION)) < N_SIGMA


def test_draws_that_are_dead_count_in_z() -> None:
    """Half of the target behind a wall, where the energy is not finite: half of Z."""
    runs = [anneal(SMCMALA, WALL, seed, 60)[0] for seed in range(40)]
    assert abs(sigmas(np.exp(np.array(runs) - log_z(WELLS)), 0.5)) < N_SIGMA


def test_a_start_that_is_cut_gives_a_lower_bound() -> None:
    """Half of the draws left out, those with the highest energies or with the highest weights."""
    for cut, too_low in (
        ({"start_below_kt": 1.44 * WELLS.mean_energy_kt}, False),
        ({"start_filter": 0.5}, True),
    ):
        found = [anneal(SMCMALA, WELLS, seed, 60, name="log-z-at-least", **cut)[0] for seed in range(20)]
        assert sigmas(np.exp(np.array(found) - log_z(WELLS)), 1.0) < (-N_SIGMA if too_low else N_SIGMA)


FLOWS: dict[str, tuple[float, int, dict[str, Any]]] = {
    "prose-snis": (0.3, 4, {"weights": "breathing"}),
    "tbg": (0.3, 3, {"weights": "breathing", "steps": 1, "gradient_steps": 1}),
    "bg": (
        0.19,
        3,
        {"size": "bg-mini", "replicas": 2, "minimise_steps": 0, "steps": 3, "training_batch": 8},
    ),
}
"""Width of the wells (nm), steps of annealing, and settings of each proposal."""


@pytest.mark.parametrize("flow", FLOWS)
def test_a_flow_with_its_centre(flow: str) -> None:
    """A target that does not know the centre, and a flow that does: log Z and mean energy."""
    spread_nm, steps, settings = FLOWS[flow]
    target = HarmonicTarget.free_wells(PEPTIDE.n_atoms, spread_nm)
    made = {"proposal": flow, "proposal_settings": settings, "epsilon": 0.5, "steps": steps}
    runs = [anneal(SMCMALA, target, seed, 60, **made) for seed in range(6)]
    check_z_and_energy(target, runs)
    assert np.abs(runs[0][1].positions_nm.mean(axis=1)).max() < 1e-6


@dataclass(frozen=True, kw_only=True)
class FlowAsTarget(HarmonicTarget):
    """The density of a flow itself, without its placement in space, which annealing gives back to the target."""

    flow: FlowProposal
    placement: Placement

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        log_q, gradients = self.flow.log_density_and_gradient(frames_nm)
        placed, placed_gradients = self.placement.energy_and_gradient(frames_nm)
        return -log_q - placed, -gradients - placed_gradients


def test_draws_without_a_density_have_no_part_in_z(tmp_path: Path) -> None:
    """Of an untrained flow in local coordinates, a draw has a distance above 0 for each dihedral in half of all cases.

    The target is that flow with a narrower latent: the integral of its density is that share, 2^-dihedrals.
    """
    peptide, path = Peptide.from_sequence("GG"), tmp_path / "untrained.npz"
    size = {"channels": 8, "head_dim": 8, "blocks": 1, "layers_per_block": 1, "nm_per_unit": 0.21}
    network = Network(ProseConfig(coordinates="local", **size))
    save_weights(path, network, {})
    wide, narrow = (FlowProposal(Prose(network, device="cpu"), peptide, kelvin) for kelvin in (310.0, 280.0))
    target = FlowAsTarget(centre_nm=peptide.start_nm, flow=narrow, placement=wide.placement)
    made = {"proposal": "prose-snis", "proposal_settings": {"weights": str(path)}, "steps": 3, "adapt": 1.0}
    expected = 0.5 ** placing(peptide.topology).turns.sum()
    made |= {"epsilon": 0.05, "peptide": peptide}
    found = np.exp([anneal(SMCMALA, target, seed, 1000, **made)[0] for seed in range(12)])
    assert abs(sigmas(found, expected)) < N_SIGMA
    assert found.std() / math.sqrt(len(found)) < 0.1 * expected


@pytest.mark.parametrize("threshold", [1.0, 0.0])
def test_weights_are_left_where_nothing_resamples(threshold: float) -> None:
    runs = [anneal(SMCMALA, WELLS, seed, 100, ess_threshold=threshold) for seed in range(20)]
    assert all((run.log_weights is None) == (threshold == 1.0) for _, run in runs)
    check_z_and_energy(WELLS, runs)


def check_z_and_energy(target: HarmonicTarget, runs: list[tuple[float, Ensemble]]) -> None:
    """Estimates of Z, and of the integral of (energy - its mean), which have no bias however few the particles."""
    ratios = np.array([np.exp(z - log_z(target)) for z, _ in runs])
    assert abs(sigmas(ratios, 1.0)) < N_SIGMA
    means = np.array([(weights(run) * run.energies_kt).sum() for _, run in runs])
    assert abs(sigmas(ratios * (means - target.mean_energy_kt), 0.0)) < N_SIGMA
    assert means.std() < 0.1 * target.mean_energy_kt


def weights(ensemble: Ensemble) -> NDArray[np.float64]:
    return normalise(np.zeros(len(ensemble)) if ensemble.log_weights is None else ensemble.log_weights)


def moved(
    target: HarmonicTarget, start: NDArray[np.float64], step_nm2: float, n: int, *, mala: bool
) -> Points:
    """Points after n moves at t = 1."""
    proposal = GaussianProposal(PEPTIDE.start_nm, 0.05)
    run = Run("moves", PEPTIDE, Meter(target, 10**9), (10**9,), 1)
    rng = np.random.default_rng(5)
    evaluate = partial(evaluated, run, proposal)
    points = evaluate(start.astype(np.float32))
    for _ in range(n):
        uniforms = rng.random(len(start)) if mala else None
        points, accepted = langevin_move(
            points, 1.0, step_nm2, evaluate, rng.standard_normal(start.shape), uniforms
        )
        assert not mala or 0.2 < accepted.mean() < 0.95
    assert run.meter.spent == len(start) * (1 + n)
    return points


@pytest.mark.parametrize("step_nm2", [1.5e-4, 3e-4])
def test_mala_leaves_the_target_alone(step_nm2: float) -> None:
    """Exact draws stay exact draws in every second moment, and keep to their wells in number, whatever the step."""
    rng = np.random.default_rng(1)
    points = moved(WELLS, WELLS.draw(4000, rng), step_nm2, 8, mala=True)
    assert abs(sigmas(points.energies_kt, WELLS.mean_energy_kt)) < N_SIGMA
    shifts = points.positions_nm - PEPTIDE.start_nm
    assert abs(sigmas((shifts[:, 0] ** 2).mean(axis=1), WELLS.variance_nm2)) < N_SIGMA
    start = WELLS.draw(4000, rng)
    u = rng.choice(_GRID, size=len(start), p=_DENSITY / _DENSITY.sum())
    start[:, 0, 0] = PEPTIDE.start_nm[0, 0] + DOUBLE_WELL.half_nm * u
    points = moved(DOUBLE_WELL, start, step_nm2, 8, mala=True)
    right = points.positions_nm[:, 0, 0] > PEPTIDE.start_nm[0, 0]
    assert (right != (u > 0)).sum() > 50
    assert abs(sigmas(right, RIGHT_POPULATION)) < N_SIGMA


def test_the_bias_of_ula_is_that_of_its_step() -> None:
    """In a well of variance s^2, its stationary variance is s^2 / (1 - h / (2 s^2)): it shrinks with h."""
    seen = []
    for share in (0.4, 0.1):
        step_nm2 = share * WELLS.variance_nm2
        start = WELLS.draw(500, np.random.default_rng(2))
        shifts = moved(WELLS, start, step_nm2, round(12 / share), mala=False).positions_nm - PEPTIDE.start_nm
        ratios = (shifts**2).mean(axis=(1, 2)) / WELLS.variance_nm2
        assert abs(sigmas(ratios, 1 / (1 - share / 2))) < N_SIGMA
        seen.append(ratios.mean() - 1)
    assert seen[0] > 3 * seen[1] > 0


def test_smc_with_short_ula_moves_is_nearly_right() -> None:
    check_z_and_energy(WELLS, [anneal(SMCULA, WELLS, seed, 100, epsilon=1e-4) for seed in range(20)])


@pytest.mark.parametrize("scheme", ["systematic", "stratified", "residual"])
def test_equal_weights_copy_every_particle_once(scheme: Scheme) -> None:
    """Also where rounding has n times 1/n below 1, as for 49."""
    for n in (49, 98, 100):
        chosen = resample(np.full(n, -np.log(n)), n, scheme, np.random.default_rng(0))
        np.testing.assert_array_equal(chosen, np.arange(n))


@pytest.mark.parametrize("scheme", get_args(Scheme))
def test_resampling_is_unbiased(scheme: Scheme) -> None:
    """Each particle is drawn n W times on average, one of weight 0 never."""
    rng = np.random.default_rng(3)
    log_weights = np.array([-np.inf, 0.0, 1.3, np.nan, -2.0, 0.7, 0.0, -np.inf])
    n, expected = 11, normalise(log_weights)
    counts = np.array([np.bincount(resample(log_weights, n, scheme, rng), minlength=8) for _ in range(4000)])
    assert (counts.sum(axis=1) == n).all()
    assert (counts[:, expected == 0] == 0).all()
    for index in np.flatnonzero(expected):
        assert abs(sigmas(counts[:, index], n * expected[index])) < N_SIGMA
    spread = counts.var(axis=0)
    multinomial = n * expected * (1 - expected)
    if scheme == "multinomial":
        np.testing.assert_allclose(spread, multinomial, rtol=0.1)
    else:
        assert (spread[expected > 0] < multinomial[expected > 0]).all()
    if scheme in ("systematic", "residual"):
        assert (counts >= np.floor(n * expected)).all()
