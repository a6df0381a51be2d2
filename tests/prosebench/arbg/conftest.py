from functools import cache

import numpy as np
import pytest
import torch

from prosebench.arbg.config import ArbgConfig
from prosebench.arbg.internal import to_internal
from prosebench.arbg.network import Network
from prosebench.arbg.scaffold import Scaffold
from prosebench.flows.molecule.handedness import one_handed
from prosebench.peptide import Peptide

torch.set_num_threads(1)

SEQUENCES = ["GG", "WP", "PHC"]
"""Short ones with rings on either side, and one whose middle bond is not its only one."""

peptide_of = cache(Peptide.from_sequence)


@cache
def scaffold_of(sequence: str) -> Scaffold:
    return Scaffold.of(peptide_of(sequence).topology)


@cache
def tiny_network(pair_channels: int = 4) -> Network:
    """A network in double precision that knows the shapes of all SEQUENCES, with weights that matter everywhere."""
    torch.manual_seed(0)
    config = ArbgConfig(
        channels=16,
        head_dim=8,
        layers=2,
        pair_channels=pair_channels,
        pair_hidden=8,
        components=2,
        circle_components=3,
    )
    network = Network(config).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.03 * torch.randn_like(parameter)
        for sequence in SEQUENCES:
            scaffold = scaffold_of(sequence)
            network.mean[scaffold.key] = to_internal(start(sequence), scaffold)[0]
            network.std[scaffold.key] = torch.tensor([0.003, 0.05, 0.1], dtype=torch.float64)
    return network.eval()


def start(sequence: str) -> torch.Tensor:
    """Positions (1, atoms, 3) of the start structure in placing order."""
    peptide = peptide_of(sequence)
    frames = one_handed(np.array(peptide.start_nm)[None], [peptide.topology])
    return torch.from_numpy(frames)[:, scaffold_of(sequence).order]


def shaken(sequence: str, n: int, spread_nm: float = 0.01, seed: int = 0) -> torch.Tensor:
    """Positions (n, atoms, 3) around the start structure in placing order."""
    noise = np.random.default_rng(seed).standard_normal((n, scaffold_of(sequence).n_atoms, 3))
    return start(sequence) + spread_nm * torch.from_numpy(noise)


@pytest.fixture(params=SEQUENCES)
def sequence(request: pytest.FixtureRequest) -> str:
    return request.param
