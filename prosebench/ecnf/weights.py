"""Weights of the velocity field: the published file and our own; see `prosebench.flows.weights.format`."""

import re
from pathlib import Path

from prosebench.ecnf.config import SHIPPED, EcnfConfig
from prosebench.ecnf.network import VelocityField
from prosebench.flows.weights.format import WeightFormat
from prosebench.store.places import PUBLISHED_WEIGHTS

PUBLISHED = {"tbg-up-to-4aa": PUBLISHED_WEIGHTS["tbg-up-to-4aa"]}
"""The published weights of this network, by their names."""

BUNDLED = Path(__file__).parent / "models"
"""The folder of the models that come with prosebench, one file `NAME.npz` for each."""

_LAYER = {
    "edge_in": "edge_mlp.0",
    "edge_out": "edge_mlp.2",
    "gate": "att_mlp.0",
    "pull_in": "coord_mlp.0",
    "pull_out": "coord_mlp.2",
    "node_in": "node_mlp.0",
    "node_out": "node_mlp.2",
}
NAMES = {
    "embedding": "egnn.embedding",
    **{f"layers.*.{ours}": f"egnn.gcl_*.{theirs}" for ours, theirs in _LAYER.items()},
}
"""Our name of every module and its published name, in which * stands for a number."""


def published_name(name: str) -> str:
    """The published name of one of our parameters: layers.0.gate.bias -> egnn.gcl_0.att_mlp.0.bias."""
    module, _, kind = re.sub(r"\b\d+\b", "*", name).rpartition(".")
    number = re.search(r"\b\d+\b", name)
    return f"{NAMES[module]}.{kind}".replace("*", number[0] if number else "")


def _unused(config: EcnfConfig) -> tuple[str, ...]:
    """Linear maps of a published file that no velocity depends on: they change the features after the last
    layer, or read them out."""
    return "egnn.embedding_out.", f"egnn.gcl_{config.layers - 1}.node_mlp."


FORMAT = WeightFormat(
    kind="an ECNF++",
    flow="Ecnf",
    network=VelocityField,
    config=EcnfConfig,
    bundled=BUNDLED,
    sizes=SHIPPED,
    published=PUBLISHED,
    anchor="egnn.gcl_0.coord_mlp.2.weight",
    unused=_unused,
    published_name=published_name,
)
load_weights, save_weights = FORMAT.load, FORMAT.save
from_published, to_published = FORMAT.from_published, FORMAT.to_published
