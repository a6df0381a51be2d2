"""Make `prosebench/robin/models/breathing.npz`, the Robin on which the contract checks the weights of proposals.

    python -m tests.contract.make_breathing_bins

Its weights are set by hand. Coordinates are normals whose width grows with the squares of those before them, so that
frames differ in width and log-densities go with the energy in harmonic wells: weights without the density, or with that
of other frames, are wrong by many standard errors.

How it works: a constant K stands in channel 0, and the logits of the bin with centre c are -c^2 times what the last
norm leaves of it; the more there is in channel 1, the less is left, and the wider the normal. The block puts into
channel 1 the mean over tokens of channel 2, which holds the square of the coordinate before. Places in the sequence,
which cannot be switched off, are small beside K.
"""

import torch

from prosebench.robin.config import RobinConfig
from prosebench.robin.network import Network
from prosebench.robin.weights import BUNDLED, save_weights

K = 20.0
SQUARES = 0.1
FEEDBACK = 0.8
PRECISION = 1.0


@torch.no_grad()
def breathing_bins() -> Network:
    """The network: every atom of every peptide is the same to it."""
    config = RobinConfig(
        description="Normals whose width grows with the squares of the coordinates before",
        channels=8,
        heads=1,
        layers=1,
        hidden=1,
        bins=64,
        max_atoms=256,
        max_residues=50,
    )
    network = Network(config)
    for module in (network.bin, network.axis, network.atom_index, network.conditions, network.overview):
        for value in module.parameters():
            value.zero_()
    block = network.blocks[0]
    for linear in (block.qkv, block.out, block.gate, block.value, block.down, network.logits):
        for value in linear.parameters():
            value.zero_()
    squares = torch.linspace(config.lowest, config.highest, config.bins) ** 2
    network.axis.weight[:, 0] = K
    network.bin.weight[:, 2] = SQUARES * K * squares
    values_of_channel_2 = 2 * config.channels + 2
    block.qkv.weight[values_of_channel_2, 2] = 1.0
    block.out.weight[1, 2] = FEEDBACK * K
    network.logits.weight[:, 0] = -0.5 * PRECISION * squares
    return network


if __name__ == "__main__":
    notes = {
        "made_by": "tests/contract/make_breathing_bins.py; for the contract that every method is checked by"
    }
    save_weights(BUNDLED / "breathing.npz", breathing_bins(), notes)
