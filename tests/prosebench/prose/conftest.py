from collections.abc import Callable
from functools import cache

import mdtraj
import pytest
import torch

from prosebench.peptide import Peptide
from prosebench.prose.config import ProseConfig
from prosebench.prose.network import Network

torch.set_num_threads(1)

topology_of: Callable[[str], mdtraj.Topology] = cache(
    lambda sequence: Peptide.from_sequence(sequence).topology
)


def tiny_config(**changes) -> ProseConfig:
    return ProseConfig(
        **{"channels": 16, "head_dim": 8, "blocks": 2, "layers_per_block": 2, "expansion": 2} | changes
    )


def tiny_network(seed: int = 0, dtype: torch.dtype = torch.float64, **changes) -> Network:
    """A small network with weights that matter everywhere, and scales that stay near 1."""
    torch.manual_seed(seed)
    network = Network(tiny_config(**changes)).to(dtype)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter += (0.03 if "project_out" in name else 0.1) * torch.randn_like(parameter)
    return network.eval()


VARIANTS = {
    "prose": {},
    "tarflow": {"conditioning": "additive", "transition": False, "lookahead": False},
    "no-transition": {"transition": False},
    "no-lookahead": {"lookahead": False},
    "additive-lookahead": {"conditioning": "additive", "transition": False},
    "local": {"coordinates": "local"},
}


@pytest.fixture(params=VARIANTS)
def variant(request) -> dict:
    return VARIANTS[request.param]
