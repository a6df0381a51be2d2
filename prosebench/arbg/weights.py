"""Weights of the autoregressive flow: our own `.npz` files; see `prosebench.flows.weights.format`."""

from pathlib import Path

from prosebench.arbg.config import SHIPPED, ArbgConfig
from prosebench.arbg.network import Network
from prosebench.flows.weights.format import WeightFormat

BUNDLED = Path(__file__).parent / "models"
"""The folder of the models that come with prosebench, one file `NAME.npz` for each."""

FORMAT = WeightFormat(
    kind="an autoregressive flow",
    flow="Arbg",
    network=Network,
    config=ArbgConfig,
    bundled=BUNDLED,
    sizes=SHIPPED,
    whole=("mean", "std"),
)
"""How the weights are stored. The table of means and spreads stays in float32, also where all else is halved
to float16."""

load_weights, save_weights = FORMAT.load, FORMAT.save
