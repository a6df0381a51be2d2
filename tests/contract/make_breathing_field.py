"""Make `prosebench/ecnf/models/breathing.npz`, the velocity field on which the contract checks the weights of TBG.

    python -m tests.contract.make_breathing_field

One layer of one channel, its weights set by hand: atoms push each other apart, the more the further they are from each
other. Wide frames become wider, so the divergence goes with the energy in harmonic wells, and weights without it are
wrong by many standard errors, as those of a field that stands still would not be.
"""

import torch

from prosebench.ecnf.config import EcnfConfig
from prosebench.ecnf.network import VelocityField
from prosebench.ecnf.weights import BUNDLED, save_weights

PUSH = 3e-4
OPEN_GATE = 4.0


def breathing_field() -> VelocityField:
    """The field; every atom of every peptide is the same to it."""
    config = EcnfConfig(
        description="Pushes atoms apart, the more the further they are from each other",
        channels=1,
        layers=1,
        residues_min=1,
        residues_max=50,
        nm_per_unit=0.33,
    )
    field = VelocityField(config)
    layer = field.layers[0]
    with torch.no_grad():
        for value in field.parameters():
            value.zero_()
        layer.edge_in.weight[0, -1] = 0.5
        layer.edge_out.weight.fill_(1.0)
        layer.gate.bias.fill_(OPEN_GATE)
        layer.pull_in.weight.fill_(1.0)
        layer.pull_out.weight.fill_(PUSH)
    return field


if __name__ == "__main__":
    notes = {
        "made_by": "tests/contract/make_breathing_field.py; for the contract that every method is checked by"
    }
    save_weights(BUNDLED / "breathing.npz", breathing_field(), notes)
