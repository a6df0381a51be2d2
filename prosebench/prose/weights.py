"""Weights of the flow: the published files and our own, from the hub or from disk.

NAMES maps the names of a published file to ours; what files look like is in `prosebench.flows.weight_files`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from prosebench.flows import weight_files
from prosebench.flows.weight_files import HUB_REVISION, WeightsError
from prosebench.prose.config import ProseConfig, load_size
from prosebench.prose.network import Network
from prosebench.store.places import PUBLISHED_WEIGHTS
from prosebench.store.storage import file_sha256

PUBLISHED = {name: PUBLISHED_WEIGHTS[name] for name in ("prose-up-to-8aa", "tarflow-up-to-8aa")}
"""Published weights by name."""

BUNDLED = Path(__file__).parent / "models"
"""Folder of the models that come with prosebench, `NAME.npz` each."""

_ANCHOR = "cond_embed.atom_embed.weight"
_CONSTANTS = ("attn_mask",)


@dataclass(frozen=True, eq=False)
class Weights:
    """A network in evaluation mode, its config, and where its weights came from (file, SHA-256, maker's
    notes)."""

    network: Network
    config: ProseConfig
    source: dict[str, Any]


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
"""Our name of every module or parameter, and its published name; * stands for a number."""


def published_name(name: str) -> str:
    """The published name of one of our parameters: blocks.0.project_in.weight -> blocks.0.proj_in.weight."""
    pattern = re.sub(r"\b\d+\b", "*", name)
    module, _, kind = pattern.rpartition(".")
    published = NAMES[pattern] if pattern in NAMES else f"{NAMES[module]}.{kind}"
    for number in re.findall(r"\b\d+\b", name):
        published = published.replace("*", number, 1)
    return published


def load_weights(
    name_or_path: str | Path,
    *,
    size: str | Path | None = None,
    revision: str = HUB_REVISION,
    cache: Path | None = None,
) -> Weights:
    """The weights of a bundled model, of a published one (from the hub, kept in a cache), or of a file.

    size tells what a published file holds, where its name does not: the name of a size, or a TOML file; our own
    `.npz` files know theirs. revision is a branch, tag or commit of the hub. Raises WeightsError, naming the first
    differences where a file does not fit.
    """
    name = str(name_or_path)
    if name in PUBLISHED:
        published = PUBLISHED[name]
        example = f'Prose.from_pretrained("{Path(published.file).name}"), or in a suite weights = "PATH"'
        downloaded = weight_files.download(published, revision, cache, example)
        source = weight_files.hub_source(name, published, downloaded)
        return _load_published(downloaded, load_size(size or published.size), source)
    path = weights_file(name)
    if path is None:
        known = ", ".join([*bundled_names(), *PUBLISHED])
        raise WeightsError(f"there are no weights {name!r}; known: {known}, or the path of a file")
    if path.suffix == ".npz":
        if size:
            raise WeightsError(f"{name} knows its own size; leave size {str(size)!r} out")
        return _load_own(path)
    sizes = {Path(published.file).name: published.size for published in PUBLISHED.values()}
    config = load_size(size or sizes.get(path.name, "prose-8aa"))
    return _load_published(path, config, {"file": path.name, "sha256": file_sha256(path)})


def save_weights(path: Path, network: Network, notes: Mapping[str, Any], *, half: bool = False) -> str:
    """Write our own `.npz` (float16 where half, else float32), with notes for `Weights.source`; its
    SHA-256."""
    return weight_files.write_own(path, network, network.config, notes, half=half)


def weights_file(name_or_path: str | Path) -> Path | None:
    """The file of a bundled model, or the path of a file as it is; None where there is no such file."""
    return weight_files.file_of(name_or_path, BUNDLED)


def bundled_names() -> list[str]:
    """Names of the models that come with prosebench."""
    return weight_files.bundled_in(BUNDLED)


def from_published(state: Mapping[str, Tensor], config: ProseConfig, origin: str = "the state") -> Network:
    """A network with published weights. Raises WeightsError with the first names and shapes that differ.

    Numbers of rows of the embedding tables are those of the state; everything else must be as the config
    says.
    """
    rows = {
        key: len(state[f"cond_embed.{name}.weight"])
        for key, name in (("atom_rows", "atom_embed"), ("residue_rows", "residue_embed"))
        if f"cond_embed.{name}.weight" in state
    }
    network = _empty_network(config.model_copy(update=rows))
    wanted = {published_name(name): value for name, value in network.state_dict().items()}
    given = {name: value for name, value in state.items() if name.rpartition(".")[2] not in _CONSTANTS}
    weight_files.compare(given, wanted, origin)
    return _filled(network, {name: given[published_name(name)].float() for name in network.state_dict()})


def to_published(network: Network) -> dict[str, Tensor]:
    """The weights of a network under their published names."""
    return {published_name(name): value for name, value in network.state_dict().items()}


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of a published file by their published names, and which set; see `weight_files.read_state`."""
    return weight_files.read_state(path, _ANCHOR, "a Prose or TarFlow", _CONSTANTS)


def _empty_network(config: ProseConfig) -> Network:
    with weight_files.Uninitialised():
        return Network(config)


def _filled(network: Network, state: Mapping[str, Tensor]) -> Network:
    network.load_state_dict(state, assign=True)
    return network.eval()


def _load_published(path: Path, config: ProseConfig, source: dict[str, Any]) -> Weights:
    state, taken = read_state(path)
    network = from_published(state, config, str(path))
    return Weights(network, network.config, source | taken)


def _load_own(path: Path) -> Weights:
    state, config, source = weight_files.read_own(path, ProseConfig)
    network = _empty_network(config)
    weight_files.compare(state, network.state_dict(), str(path))
    return Weights(_filled(network, state), config, source)
