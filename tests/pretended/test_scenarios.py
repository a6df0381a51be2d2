"""Everything that computes on a device: nothing mixes devices, numbers are those of the CPU, and the host does not wait
inside: the waits do not grow with tokens, layers, blocks or steps inside a call."""

import pytest

from baselines.bg import BoltzmannGenerator
from baselines.md_flow import MDFlow
from baselines.smc import SMCMALA, SMCULA
from baselines.tarflow import TarFlowSNIS
from baselines.tbg import TBG
from prosebench.arbg.flow import Arbg
from prosebench.arbg.snis import ArbgSNIS
from prosebench.prose.self_improvement import ProseSelfImprove
from prosebench.prose.snis import ProseSNIS
from prosebench.robin.flow import Robin
from prosebench.robin.snis import RobinSNIS
from tests.pretended import scenarios
from tests.pretended.scenarios import AA, Scenario, on_both
from tests.prosebench.arbg.conftest import tiny_network as arbg_network
from tests.prosebench.robin.conftest import tiny_network as robin_network

PLAIN = {"conditioning": "additive", "transition": False, "lookahead": False}
WELLS = {"weights": "wells"}
ANNEALING = {"steps": 2, "proposal": "prose-snis", "start_below_kt": 1e9, "start_filter": 0.0}

SAME = {
    "draws in seven batches, the last one short": scenarios.draws(n=20, batch=3),
    "draws in keys and values of bfloat16": scenarios.draws(n=20, batch=8, precision="bfloat16"),
    "draws in local coordinates": scenarios.draws(coordinates="local"),
    "draws of the plain flow": scenarios.draws(**PLAIN),
    "densities": scenarios.density(),
    "densities in local coordinates": scenarios.density(coordinates="local"),
    "gradient in local coordinates": scenarios.density_gradient(coordinates="local"),
    "draws of the autoregressive flow": scenarios.of_kind(Arbg, arbg_network, "draws"),
    "densities of the autoregressive flow": scenarios.of_kind(Arbg, arbg_network, "densities"),
    "gradients of the autoregressive flow": scenarios.of_kind(Arbg, arbg_network, "gradients"),
    "draws of Robin": scenarios.of_kind(Robin, robin_network, "draws"),
    "densities of Robin": scenarios.of_kind(Robin, robin_network, "densities"),
    "training in float32": scenarios.training(
        "prose-mini", "precision=float32", model={"size": "bg-mini-local"}
    ),
    "training in bfloat16": scenarios.training("prose-mini", "precision=bfloat16", model={"size": "bg-mini"}),
    "training of the autoregressive flow": scenarios.training("arbg-mini", "precision=float32", model=WELLS),
    "training of the autoregressive flow in bfloat16": scenarios.training("arbg-mini", model=WELLS),
    "training of the continuous flow": scenarios.training("tbg-mini"),
    "continuous flow, estimated divergence": scenarios.ecnf_draws(steps=2, divergence="hutchinson"),
    "prose-snis": scenarios.method(ProseSNIS, 24, AA, chunk_proposals=12, batch=8),
    "arbg-snis": scenarios.method(ArbgSNIS, 12, weights="wells", chunk_proposals=12, batch=8),
    "robin-snis": scenarios.method(RobinSNIS, 12, weights="breathing", chunk_proposals=6, batch=6),
    "tarflow-snis": scenarios.method(TarFlowSNIS, 8, AA, chunk_proposals=8, batch=8),
    "prose-self-improve": scenarios.method(
        ProseSelfImprove, 40, AA, rounds=1, steps=1, tuning_batch=8, batch=8
    ),
    "smc-ula": scenarios.method(SMCULA, 48, AA, **ANNEALING),
    "smc-mala": scenarios.method(SMCMALA, 48, AA, **ANNEALING),
    "md-flow": scenarios.method(MDFlow, 48, AA, proposal="prose-snis", replicas=2, md_steps=4, proposals=6),
    "tbg": scenarios.method(TBG, 2, tolerance=0.5),
    "bg": scenarios.method(
        BoltzmannGenerator,
        60,
        replicas=2,
        steps=2,
        chunk_steps=1,
        training_batch=4,
        minimise_steps=3,
        batch=8,
    ),
}

GROWING: dict[str, tuple[Scenario, Scenario, int]] = {
    "tokens": (scenarios.draws(), scenarios.draws(AA), 0),
    "tokens in local coordinates": (
        scenarios.draws(coordinates="local"), scenarios.draws(AA, coordinates="local"), 0
    ),
    "tokens of the autoregressive flow": (
        scenarios.of_kind(Arbg, arbg_network, "draws"), scenarios.of_kind(Arbg, arbg_network, "draws", AA), 0
    ),
    "layers": (scenarios.draws(), scenarios.draws(layers_per_block=3), 0),
    "blocks": (scenarios.draws(), scenarios.draws(blocks=4), 0),
    "atoms of a density": (scenarios.density_gradient(), scenarios.density_gradient(AA), 0),
    "layers of a density": (scenarios.density_gradient(), scenarios.density_gradient(layers_per_block=3), 0),
    "steps of the continuous flow's gradient": (scenarios.ecnf_gradient(1), scenarios.ecnf_gradient(2), 0),
    "steps of fine-tuning, one look each": (scenarios.fine_tuning(1), scenarios.fine_tuning(3), 2),
}  # fmt: skip
"""A smaller and a larger scenario, and by how many the waits may grow from the one to the other."""


@pytest.mark.parametrize("what", SAME)
def test_numbers_are_those_of_the_cpu(what: str) -> None:
    on_both(SAME[what])


@pytest.mark.parametrize("what", GROWING)
def test_waits_do_not_grow(what: str) -> None:
    small, large, more = GROWING[what]
    few, many = on_both(small), on_both(large)
    assert many.waits.total() <= few.waits.total() + more, (many.waits, few.waits)


def test_a_batch_is_launched_once_recorded_once_and_then_repeated() -> None:
    few, many = (on_both(scenarios.draws(n=n, batch=4, coordinates="local")) for n in (12, 40))
    assert many.kernels.total() - few.kernels.total() < 7 * 10  # copies in and out of seven more batches
    assert many.waits.total() == few.waits.total()


def test_the_random_state_of_the_device_is_left_alone_by_bg() -> None:
    assert not on_both(SAME["bg"]).random_states


def test_the_continuous_flow_is_looked_at_once_in_four_steps() -> None:
    rough, fine = (on_both(scenarios.ecnf_draws(tolerance)) for tolerance in (1.0, 0.1))
    inside = [sum(n for line, n in gpu.waits.items() if "integrator" in line) for gpu in (rough, fine)]
    assert inside[1] <= 10, (inside, fine.waits)
