"""Make `prosebench/arbg/models/wells.npz`, the autoregressive flow on which the contract checks the weights of
proposals.

    python -m tests.contract.make_wells

It learns atoms in one harmonic well, of a width that differs from frame to frame. Its densities then go with the energy
in such wells, and weights without them are wrong by many standard errors.
"""

import numpy as np
import torch

from prosebench.arbg.config import ArbgConfig
from prosebench.arbg.internal import log_volume, to_internal
from prosebench.arbg.network import Network
from prosebench.arbg.scaffold import Scaffold
from prosebench.arbg.table import table_of
from prosebench.arbg.weights import BUNDLED, save_weights
from prosebench.peptide import Peptide
from prosebench.training.optimiser import RunOptimiser
from prosebench.training.recipe import OptimiserRecipe
from prosebench.training.schedule import one_cycle

STEPS = 1500
BATCH = 128
WIDTH_NM, SPREAD_OF_WIDTHS = 0.35, 0.1
LEARNING_RATE = 5e-3


def draw(scaffold: Scaffold, n: int, rng: np.random.Generator) -> torch.Tensor:
    """Internal coordinates (n, atoms, 3) of normal frames."""
    widths = WIDTH_NM * np.exp(SPREAD_OF_WIDTHS * rng.standard_normal((n, 1, 1)))
    x = widths * rng.standard_normal((n, scaffold.n_atoms, 3))
    return to_internal(torch.from_numpy(x.astype(np.float32)), scaffold)


def wells_flow() -> Network:
    """The trained network; a minute or two on one core."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    scaffold = Scaffold.of(Peptide.from_sequence("AA").topology)
    config = ArbgConfig(
        description=f"Trained on AA as normals of the width {WIDTH_NM} nm, which differs from frame to frame",
        channels=32,
        head_dim=16,
        layers=2,
        pair_hidden=16,
        pair_channels=8,
        components=6,
        circle_components=6,
        max_residues=50,
    )
    network = Network(config)
    network.set_table(table_of([(draw(scaffold, 4000, rng), scaffold)]))
    optimiser = RunOptimiser(network, OptimiserRecipe(kind="muon"))
    for step in range(STEPS):
        internal = draw(scaffold, BATCH, rng)
        log_q = network(internal, network.know(scaffold)) - log_volume(internal)
        (-log_q.mean() / (3 * scaffold.n_atoms)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step(one_cycle(step, STEPS, LEARNING_RATE))
        optimiser.zero_grad()
    return network.eval()


if __name__ == "__main__":
    torch.set_num_threads(1)
    notes = {"made_by": "tests/contract/make_wells.py; for the contract that every method is checked by"}
    save_weights(BUNDLED / "wells.npz", wells_flow(), notes, half=True)
