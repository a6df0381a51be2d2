"""Weights of the flow: the published files and our own, from the hub or from disk.

NAMES maps the names of a published file to ours; the rest is in `prosebench.flows.weights.format`.
"""

import re
from pathlib import Path

from prosebench.flows.weights.format import WeightFormat
from prosebench.prose.config import SHIPPED, ProseConfig
from prosebench.prose.network import Network
from prosebench.store.places import PUBLISHED_WEIGHTS

PUBLISHED = {name: PUBLISHED_WEIGHTS[name] for name in ("prose-up-to-8aa", "tarflow-up-to-8aa")}
"""The published weights of this network, by their names."""

BUNDLED = Path(__file__).parent / "models"
"""The folder of the models that come with prosebench, one file `NAME.npz` for each."""

_LAYER = {
    "attention.norm": "attention.norm",
    "attention.qkv": "attention.qkv",
    "attention.query_norm": "attention.q_layer_norm",
    "attention.key_norm": "attention.k_layer_norm",
    "attention.out": "attention.proj",
    "feed_forward.norm": "mlp.norm",
    "feed_forward.up": "mlp.main.0",
    "feed_forward.down": "mlp.main.2",
}
_ADAPTION = {
    "norm": "adaln.norm_cond",
    "scale": "adaln.to_gamma.0",
    "shift": "adaln.to_beta",
    "output_scale": "scale_output.to_adaln_zero_gamma.0",
}
NAMES = {
    "embedding.atom": "cond_embed.atom_embed",
    "embedding.residue": "cond_embed.residue_embed",
    "embedding.mlp.*": "cond_embed.mlp.*",
    "blocks.*.position_scale": "blocks.*.pos_embed_scale",
    "blocks.*.project_in": "blocks.*.proj_in",
    "blocks.*.project_condition": "blocks.*.proj_cond",
    "blocks.*.project_condition.*": "blocks.*.proj_cond.*",
    "blocks.*.project_out": "blocks.*.proj_out",
    **{f"blocks.*.layers.*.{a}": f"blocks.*.attn_blocks.*.{b}" for a, b in _LAYER.items()},
    **{f"blocks.*.layers.*.core.{a}": f"blocks.*.attn_blocks.*.mha.mha.{b}" for a, b in _LAYER.items()},
    **{
        f"blocks.*.layers.*.core_adaption.{a}": f"blocks.*.attn_blocks.*.mha.{b}"
        for a, b in _ADAPTION.items()
    },
    **{
        f"blocks.*.layers.*.transition_adaption.{a}": f"blocks.*.attn_blocks.*.transition.{b}"
        for a, b in _ADAPTION.items()
    },
    "blocks.*.layers.*.transition.up": "blocks.*.attn_blocks.*.transition.transition.swish_linear.0",
    "blocks.*.layers.*.transition.down": "blocks.*.attn_blocks.*.transition.transition.linear_out",
}
"""Our name of every module or parameter, and its published name, in which * stands for a number."""


def published_name(name: str) -> str:
    """The published name of one of our parameters: blocks.0.project_in.weight -> blocks.0.proj_in.weight."""
    pattern = re.sub(r"\b\d+\b", "*", name)
    module, _, kind = pattern.rpartition(".")
    published = NAMES[pattern] if pattern in NAMES else f"{NAMES[module]}.{kind}"
    for number in re.findall(r"\b\d+\b", name):
        published = published.replace("*", number, 1)
    return published


FORMAT = WeightFormat(
    kind="a Prose or TarFlow",
    flow="Prose",
    network=Network,
    config=ProseConfig,
    bundled=BUNDLED,
    sizes=SHIPPED,
    published=PUBLISHED,
    anchor="cond_embed.atom_embed.weight",
    constants=("attn_mask",),
    published_name=published_name,
    rows={"atom_rows": "cond_embed.atom_embed", "residue_rows": "cond_embed.residue_embed"},
)
load_weights, save_weights = FORMAT.load, FORMAT.save
from_published, to_published = FORMAT.from_published, FORMAT.to_published
