"""Weights of Robin: the published Lightning checkpoint and our own files.

NAMES maps the names of a checkpoint to ours. A checkpoint is large, since it also holds what training needs;
`load_weights` reads it as it is, and `save_weights` makes our own file of the weights alone.
"""

import re
from pathlib import Path

from prosebench.flows.weights.format import WeightFormat
from prosebench.robin.config import SHIPPED, RobinConfig
from prosebench.robin.network import Network
from prosebench.store.places import PUBLISHED_WEIGHTS

PUBLISHED = {"robin-up-to-8aa": PUBLISHED_WEIGHTS["robin-up-to-8aa"]}
"""The published weights of this network, by their names."""

BUNDLED = Path(__file__).parent / "models"
"""The folder of the models that come with prosebench, one file `NAME.npz` for each."""

NAMES = {
    "bin": "token_embed",
    "axis": "coord_dim_embed",
    "atom_index": "atom_pos_embed",
    "conditions.atom": "cond_embed.atom_embed",
    "conditions.residue": "cond_embed.residue_embed",
    "conditions.mlp.*": "cond_embed.proj.*",
    "overview.out": "global_cond_attn.out_proj",
    "blocks.*.attention_norm": "blocks.*.norm1",
    "blocks.*.qkv": "blocks.*.attn.qkv",
    "blocks.*.out": "blocks.*.attn.out_proj",
    "blocks.*.mlp_norm": "blocks.*.norm2",
    "blocks.*.gate": "blocks.*.ff.net.0.w1",
    "blocks.*.value": "blocks.*.ff.net.0.w2",
    "blocks.*.down": "blocks.*.ff.net.2",
    "norm": "final_norm",
    "logits": "output_proj",
}
"""Our name of every module and its published name, in which * stands for a number. WHOLE has the one that is
missing."""

WHOLE = {
    "overview.qkv.weight": "global_cond_attn.in_proj_weight",
    "overview.qkv.bias": "global_cond_attn.in_proj_bias",
}
"""The published names of parameters that do not end like ours, by our names."""

ROWS = {"bins": "token_embed", "max_atoms": "atom_pos_embed", "atom_rows": "cond_embed.atom_embed"} | {
    "residue_rows": "cond_embed.residue_embed"
}
"""The keys of the config that a checkpoint decides, each with the table whose number of rows it is."""


def published_name(name: str) -> str:
    """The published name of one of our parameters: blocks.3.gate.weight -> blocks.3.ff.net.0.w1.weight."""
    if name in WHOLE:
        return WHOLE[name]
    module, _, kind = re.sub(r"\b\d+\b", "*", name).rpartition(".")
    number = re.search(r"\b\d+\b", name)
    return f"{NAMES[module]}.{kind}".replace("*", number[0] if number else "")


FORMAT = WeightFormat(
    kind="a Robin",
    flow="Robin",
    network=Network,
    config=RobinConfig,
    bundled=BUNDLED,
    sizes=SHIPPED,
    published=PUBLISHED,
    anchor="global_cond_attn.in_proj_weight",
    constants=("pe", "causal_mask"),
    published_name=published_name,
    rows=ROWS,
)
load_weights, save_weights = FORMAT.load, FORMAT.save
from_published, to_published = FORMAT.from_published, FORMAT.to_published
