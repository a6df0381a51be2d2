import torch

from prosebench.ecnf.config import EcnfConfig
from prosebench.ecnf.network import VelocityField
from prosebench.ecnf.nodes import Nodes
from prosebench.peptide import Peptide

torch.set_num_threads(1)

GG = Peptide.from_sequence("GG")


def tiny_field(
    seed: int = 0, dtype: torch.dtype = torch.float64, scale: float = 0.3, **changes
) -> VelocityField:
    """A small velocity field with weights that matter everywhere."""
    torch.manual_seed(seed)
    field = VelocityField(EcnfConfig(**{"channels": 8, "layers": 3} | changes)).to(dtype)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter += scale * torch.randn_like(parameter)
    return field.eval()


def some(
    field: VelocityField, frames: int = 3, peptide: Peptide = GG
) -> tuple[torch.Tensor, torch.Tensor, Nodes]:
    """Times, centred positions and nodes."""
    dtype = next(field.parameters()).dtype
    torch.manual_seed(1)
    x = torch.randn(frames, peptide.n_atoms, 3, dtype=dtype)
    nodes = Nodes.of(peptide.topology, field.config).to("cpu", dtype)
    return torch.rand(frames, dtype=dtype), x - x.mean(dim=1, keepdim=True), nodes
