import torch

from prosebench.peptide import Peptide
from prosebench.robin.config import RobinConfig
from prosebench.robin.network import Network

torch.set_num_threads(1)

PEPTIDE = Peptide.from_sequence("GG")


def tiny_config(**changes) -> RobinConfig:
    return RobinConfig(
        **{"channels": 16, "heads": 2, "layers": 2, "hidden": 24, "bins": 32, "max_atoms": 40} | changes
    )


def tiny_network(seed: int = 0, dtype: torch.dtype = torch.float64, **changes) -> Network:
    """A small network with weights that matter everywhere."""
    torch.manual_seed(seed)
    network = Network(tiny_config(**changes)).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return network.eval()
