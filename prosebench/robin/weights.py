"""Weights of Robin: the published Lightning checkpoint and our own files.

NAMES maps the names of a checkpoint to ours. A checkpoint is large, since it also holds what training needs;
`load_weights` reads it as it is, and `save_weights` makes our own file of the weights alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from prosebench.flows import weight_files
from prosebench.flows.weight_files import HUB_REVISION, WeightsError
from prosebench.robin.config import RobinConfig, load_size
from prosebench.robin.network import Network
from prosebench.store.places import PUBLISHED_WEIGHTS
from prosebench.store.storage import file_sha256

PUBLISHED = {"robin-up-to-8aa": PUBLISHED_WEIGHTS["robin-up-to-8aa"]}
"""Published weights by name."""

BUNDLED = Path(__file__).parent / "models"
"""Folder of the models that come with prosebench, `NAME.npz` each."""

ANCHOR = "global_cond_attn.in_proj_weight"

CONSTANTS = ("pe", "causal_mask")
"""Ends of names of what a checkpoint holds and no training changes: the sinusoids of places, and masks."""

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
"""Our name of every module but one, and its published name; * stands for a number."""

WHOLE = {
    "overview.qkv.weight": "global_cond_attn.in_proj_weight",
    "overview.qkv.bias": "global_cond_attn.in_proj_bias",
}
"""Our names of parameters whose published names do not end as ours."""

ROWS = {"bins": "token_embed", "max_atoms": "atom_pos_embed", "atom_rows": "cond_embed.atom_embed"} | {
    "residue_rows": "cond_embed.residue_embed"
}
"""Numbers of rows that a checkpoint decides, and where."""


@dataclass(frozen=True, eq=False)
class Weights:
    """A network in evaluation mode, and where its weights came from (file, SHA-256, maker's notes)."""

    network: Network
    source: dict[str, Any]


def published_name(name: str) -> str:
    """The published name of one of our parameters: blocks.3.gate.weight -> blocks.3.ff.net.0.w1.weight."""
    if name in WHOLE:
        return WHOLE[name]
    module, _, kind = re.sub(r"\b\d+\b", "*", name).rpartition(".")
    number = re.search(r"\b\d+\b", name)
    return f"{NAMES[module]}.{kind}".replace("*", number[0] if number else "")


def load_weights(
    name_or_path: str | Path,
    *,
    size: str | Path | None = None,
    revision: str = HUB_REVISION,
    cache: Path | None = None,
) -> Weights:
    """The weights of a bundled model, of a published one (from the hub, kept in a cache), or of a file.

    size tells what a checkpoint holds, where it is not of the published size: the name of a size, or a TOML file; our
    own `.npz` files know theirs. Raises WeightsError, naming the first differences where a file does not fit.
    """
    name = str(name_or_path)
    if name in PUBLISHED:
        published = PUBLISHED[name]
        downloaded = weight_files.download(published, revision, cache, f'weights = "{published.file}"')
        source = weight_files.hub_source(name, published, downloaded)
        return _load_published(downloaded, size or published.size, source)
    path = weight_files.file_of(name, BUNDLED)
    if path is None:
        known = ", ".join([*weight_files.bundled_in(BUNDLED), *PUBLISHED])
        raise WeightsError(f"there are no weights {name!r}; known: {known}, or the path of a file")
    if path.suffix == ".npz":
        if size:
            raise WeightsError(f"{name} knows its own size; leave size {str(size)!r} out")
        state, config, source = weight_files.read_own(path, RobinConfig)
        network = _empty_network(config)
        weight_files.compare(state, network.state_dict(), str(path))
        return Weights(_filled(network, state), source)
    return _load_published(path, size or "robin-8aa", {"file": path.name, "sha256": file_sha256(path)})


def save_weights(path: Path, network: Network, notes: Mapping[str, Any], *, half: bool = False) -> str:
    """Write our own `.npz` (float16 where half, else float32), with notes for `Weights.source`; its SHA-256."""
    return weight_files.write_own(path, network, network.config, notes, half=half)


def from_published(state: Mapping[str, Tensor], config: RobinConfig, origin: str = "the state") -> Network:
    """A network with published weights. Raises WeightsError with the first names and shapes that differ.

    Numbers of rows of the embedding tables are those of the state; everything else must be as the config says.
    """
    rows = {key: len(state[f"{name}.weight"]) for key, name in ROWS.items() if f"{name}.weight" in state}
    network = _empty_network(config.model_copy(update=rows))
    wanted = {published_name(name): value for name, value in network.state_dict().items()}
    given = {name: value for name, value in state.items() if name.rpartition(".")[2] not in CONSTANTS}
    weight_files.compare(given, wanted, origin)
    return _filled(network, {name: given[published_name(name)].float() for name in network.state_dict()})


def to_published(network: Network) -> dict[str, Tensor]:
    """The weights of a network under their published names."""
    return {published_name(name): value for name, value in network.state_dict().items()}


def _load_published(path: Path, size: str | Path, source: dict[str, Any]) -> Weights:
    state, taken = weight_files.read_state(path, ANCHOR, "a Robin", CONSTANTS)
    return Weights(from_published(state, load_size(size), str(path)), source | taken)


def _empty_network(config: RobinConfig) -> Network:
    with weight_files.Uninitialised():
        return Network(config)


def _filled(network: Network, state: Mapping[str, Tensor]) -> Network:
    network.load_state_dict(state, assign=True)
    return network.eval()
