"""Make `prosebench/prose/models/breathing.npz`, the flow on which the contract checks the weights of proposals.

    python -m tests.contract.make_breathing

It learns normals whose common width differs from frame to frame. Its log-determinant then goes with the energy in
harmonic wells, and weights without it are wrong by many standard errors, as those of a flow that is the identity, or
whose weights are drawn at random, would not be.
"""

import numpy as np
import torch

from prosebench.flows.molecule.tokens import Tokens
from prosebench.peptide import Peptide
from prosebench.prose.config import ProseConfig
from prosebench.prose.network import Network
from prosebench.prose.trainable import FlowLoss
from prosebench.prose.weights import BUNDLED, save_weights

STEPS = 2000
BATCH = 256
WIDTHS = 0.2  # standard deviation of the logarithm of the width, whose median is 0.35 nm
LEARNING_RATE = 5e-3


def breathing_flow() -> Network:
    """The trained network; half a minute on one core."""
    torch.manual_seed(0)
    config = ProseConfig(
        description="Trained on normals whose common width, 0.35 nm in the median, differs from frame to frame",
        channels=8,
        head_dim=8,
        blocks=1,
        layers_per_block=1,
        expansion=2,
        atom_rows=64,
        residue_rows=32,
        max_residues=50,
    )
    network, rng = Network(config), np.random.default_rng(0)
    # Every atom of every peptide is the same to it.
    network.embedding.requires_grad_(False)
    for value in network.embedding.parameters():
        value.zero_()
    peptides = [Peptide.from_sequence(sequence) for sequence in ("GG", "AA", "KG")]
    tokens = [Tokens.of([peptide.topology], config.block_orders) for peptide in peptides]
    loss = FlowLoss(network)
    optimiser = torch.optim.AdamW([value for value in network.parameters() if value.requires_grad])
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 50) * (1.0 - step / STEPS)
        atoms = peptides[step % 3].n_atoms
        widths = np.exp(WIDTHS * rng.standard_normal((BATCH, 1, 1)))
        frames = (widths * rng.standard_normal((BATCH, atoms, 3))).astype(np.float32)
        loss(torch.from_numpy(frames), tokens[step % 3]).mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    return network


if __name__ == "__main__":
    torch.set_num_threads(1)
    notes = {"made_by": "tests/contract/make_breathing.py; for the contract that every method is checked by"}
    save_weights(BUNDLED / "breathing.npz", breathing_flow(), notes, half=True)
