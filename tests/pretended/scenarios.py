"""What runs on a device, from small parts to whole methods; each scenario is run here and on the pretended GPU.

A scenario takes the device's name and gives numbers by name. Sizes are arguments, so that a test can ask whether the
waits of the host grow with them.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

import baselines.tbg
import prosebench.flows.snis
from prosebench.ecnf.flow import Ecnf, Integration
from prosebench.ecnf.proposal import EcnfProposal
from prosebench.energy.meter import Meter
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.flows.flow import Flow
from prosebench.flows.proposal import FlowProposal, SmoothFlow
from prosebench.method import Method, Run
from prosebench.peptide import Peptide
from prosebench.prose.fine_tuning import TuningSettings, fine_tune
from prosebench.prose.flow import Prose
from prosebench.prose.prepared_layers import Precision
from prosebench.training.bench import _step
from prosebench.training.recipe import load_recipe
from prosebench.training.trainable import make_trainable
from tests.pretended.gpu import PretendedGpu
from tests.pretended.operators import LIST, listed, used
from tests.prosebench.ecnf.conftest import tiny_field
from tests.prosebench.prose.conftest import tiny_network

torch.set_num_threads(1)
GG, AA = Peptide.from_sequence("GG"), Peptide.from_sequence("AA")
Numbers = Mapping[str, NDArray[Any]]
Scenario = Callable[[str], Numbers]


def on_both(scenario: Scenario, tolerance: float = 1e-4) -> PretendedGpu:
    """Run a scenario here and on the pretended GPU; numbers must agree. What the GPU has counted."""
    forget()
    with mock.patch.object(torch.cuda, "is_available", return_value=False):
        here = scenario("cpu")
    forget()
    with PretendedGpu(memory_bytes=2**17) as gpu:  # so small that batches are as small as they are asked for
        there = scenario("cuda")
    forget()
    assert gpu.kernels, "nothing ran on the device"
    new = used(gpu) - listed()
    assert not new, f"write {sorted(new)} into {LIST.name}: a test looks whether there are kernels for CUDA"
    for name, values in here.items():
        np.testing.assert_allclose(there[name], values, rtol=tolerance, atol=tolerance, err_msg=name)
    return gpu


def forget() -> None:
    """Flows that a process keeps are those of one device."""
    prosebench.flows.snis._load.cache_clear()
    baselines.tbg._load.cache_clear()


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def frames(n: int, peptide: Peptide = GG) -> NDArray[np.float64]:
    return peptide.start_nm + np.random.default_rng(1).normal(scale=0.004, size=(n, peptide.n_atoms, 3))


def flow(device: str, precision: Precision = "float32", **changes: Any) -> Prose:
    return Prose(tiny_network(dtype=torch.float32, **changes), device=device, precision=precision)


def draws(peptide: Peptide = GG, n: int = 8, batch: int = 8, **changes: Any) -> Scenario:
    """Proposals of a flow."""

    def scenario(device: str) -> Numbers:
        found = flow(device, **changes).propose(peptide, n, rng(), batch=batch)
        return {"x": found.frames_nm, "log_q": found.log_q_full}

    return scenario


def density(peptide: Peptide = GG, n: int = 8, **changes: Any) -> Scenario:
    """The direction x -> z."""
    return lambda device: {"log_q": flow(device, **changes).log_prob(peptide, frames(n, peptide))}


def density_gradient(peptide: Peptide = GG, n: int = 4, **changes: Any) -> Scenario:
    """Log-density and gradient, as annealing needs them."""

    return lambda device: _density_gradient(flow(device, **changes), peptide, n)


def _density_gradient(found: SmoothFlow[Any], peptide: Peptide, n: int) -> Numbers:
    q, gradient = FlowProposal(found, peptide).log_density_and_gradient(frames(n, peptide))
    return {"q": q, "gradient": gradient / (1 + np.abs(gradient).max())}


def fine_tuning(steps: int = 2, **changes: Any) -> Scenario:
    """Some steps on weighted proposals."""

    def scenario(device: str) -> Numbers:
        start = flow(device, **changes).network
        tuned, settings = copy.deepcopy(start), TuningSettings(steps=steps, tuning_batch=16)
        loss = fine_tune(tuned, start, {GG: frames(32).astype(np.float32)}, settings, rng())
        return {"loss": np.array(loss)}

    return scenario


def training(recipe: str, *settings: str, steps: int = 1, model: dict[str, Any] | None = None) -> Scenario:
    """Whole steps of training, by a recipe."""

    def scenario(device: str) -> Numbers:
        followed = load_recipe(recipe, ["compile=no", *settings])
        if model:
            followed = followed.model_copy(update={"model": model})
        trainable = make_trainable(followed, device)
        step = _step(trainable, followed, GG, 4)
        for _ in range(steps):
            step()
        return {"norm": np.array([float(one.detach().norm()) for one in trainable.module.parameters()])}

    return scenario


def of_kind(
    kind: Callable[..., Flow[Any]],
    network: Callable[[], torch.nn.Module],
    what: str,
    peptide: Peptide = GG,
    n: int = 6,
) -> Scenario:
    """Draws, densities, or gradients of densities, of a flow of another kind, in double precision."""

    def scenario(device: str) -> Numbers:
        other = kind(copy.deepcopy(network()), device=device)
        if what == "draws":
            found = other.propose(peptide, n, rng(), batch=3)
            return {"x": found.frames_nm, "log_q": found.log_q_full}
        if what == "gradients":
            return _density_gradient(cast(SmoothFlow[Any], other), peptide, n)
        return {"log_q": other.log_prob(peptide, frames(n, peptide))}

    return scenario


def ecnf(device: str, **how: Any) -> Ecnf:
    return Ecnf(tiny_field(dtype=torch.float32), {}, device, Integration(**how))


def ecnf_draws(tolerance: float = 1e-2, **how: Any) -> Scenario:
    """Proposals of the continuous flow; the numbers with them are of field evaluations."""

    def scenario(device: str) -> Numbers:
        found = ecnf(device, tolerance=tolerance, **how).propose(GG, 3, rng(), batch=3)
        return {"x": found.frames_nm, "log_q": found.log_q, "evaluations": found.field_evaluations}

    return scenario


def ecnf_gradient(steps: int = 1) -> Scenario:
    """Log-density and gradient of the continuous flow."""

    def scenario(device: str) -> Numbers:
        q, gradient = EcnfProposal(ecnf(device), GG, steps).log_density_and_gradient(frames(2))
        return {"q": q, "gradient": gradient / (1 + np.abs(gradient).max())}

    return scenario


def method(kind: type[Method], budget: int, peptide: Peptide = GG, **settings: Any) -> Scenario:
    """A method from its first chunk to its last, on the native energies."""

    def scenario(device: str) -> Numbers:
        run = Run("cell", peptide, Meter(make_target(peptide, TargetSettings()), budget), (budget,), 50)
        one, carry, kept = kind(kind.Settings(**settings)), {}, []
        for index in range(100):
            chunk = one.chunk(run, index, carry)
            kept += [chunk.ensemble.positions_nm] if chunk.ensemble is not None else []
            carry = chunk.carry
            if chunk.done or run.meter.remaining == 0:
                break
        return {"x": np.concatenate(kept)}

    return scenario
