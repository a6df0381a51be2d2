"""Weights of the flow: the published files and our own, from the hub or from disk.

A published file is a torch pickle (`.pth`, `.pt`, a Lightning `.ckpt`) or `.safetensors`; NAMES maps its
names to ours. Our own file is an `.npz`: the weights under our names, and JSON with the config and what else
its maker wrote down.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import Tensor

from prosebench.prose.config import ProseConfig, load_size
from prosebench.prose.network import Network
from prosebench.prose.safetensors import read_safetensors
from prosebench.storage import DamagedFile, array_text, file_sha256, read_arrays, text_array, write_arrays

HUB_REPOSITORY = "transferable-samplers/model-weights"
HUB_REVISION = "main"
HUB_TIMEOUT_SECONDS = 10.0

PUBLISHED = {
    "prose-up-to-8aa": ("transferable/prose_up_to_8aa.pth", "prose-8aa"),
    "tarflow-up-to-8aa": ("transferable/tarflow_up_to_8aa.pth", "tarflow-8aa"),
}
"""Published weights by name: their file in HUB_REPOSITORY, and their size."""

BUNDLED = Path(__file__).parent / "models"
"""Folder of the models that come with prosebench, `NAME.npz` each."""

_ANCHOR = "cond_embed.atom_embed.weight"
_CONSTANTS = ("attn_mask",)


class WeightsError(ValueError):
    """Weights that cannot be had or do not fit; the message says what differs or what to do next."""


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

    size tells what a published file holds, where its name does not: the name of a size, or a TOML file.
    revision is a branch, tag or commit of the hub. Raises WeightsError, naming the first differences where a
    file does not fit.
    """
    name = str(name_or_path)
    if name in PUBLISHED:
        file, its_size = PUBLISHED[name]
        downloaded = _download(file, revision, cache)
        return _load_published(downloaded, load_size(size or its_size), _hub_source(name, downloaded))
    path = weights_file(name)
    if path is None:
        known = ", ".join([*bundled_names(), *PUBLISHED])
        raise WeightsError(f"there are no weights {name!r}; known: {known}, or the path of a file")
    if path.suffix == ".npz":
        return _load_own(path)
    sizes = {Path(file).name: its_size for file, its_size in PUBLISHED.values()}
    config = load_size(size or sizes.get(path.name, "prose-8aa"))
    return _load_published(path, config, {"file": path.name, "sha256": file_sha256(path)})


def save_weights(path: Path, network: Network, notes: Mapping[str, Any], *, half: bool = False) -> str:
    """Write our own `.npz` (float16 where half, else float32), with notes for `Weights.source`; its
    SHA-256."""
    meta = {"config": network.config.model_dump(mode="json"), "notes": dict(notes)}
    kind = np.float16 if half else np.float32
    state = {
        name: value.detach().cpu().float().numpy().astype(kind)
        for name, value in network.state_dict().items()
    }
    return write_arrays(path, {"meta": text_array(json.dumps(meta, sort_keys=True)), **state}, compress=True)


def weights_file(name_or_path: str | Path) -> Path | None:
    """The file of a bundled model, or the path of a file as it is; None where there is no such file."""
    name = str(name_or_path)
    path = BUNDLED / f"{name}.npz" if name in bundled_names() else Path(name)
    return path if path.is_file() else None


def bundled_names() -> list[str]:
    """Names of the models that come with prosebench."""
    return sorted(path.stem for path in BUNDLED.glob("*.npz"))


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
    _compare(given, wanted, origin)
    return _filled(network, {name: given[published_name(name)].float() for name in network.state_dict()})


def to_published(network: Network) -> dict[str, Tensor]:
    """The weights of a network under their published names."""
    return {published_name(name): value for name, value in network.state_dict().items()}


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a published file by their published names, whatever they are nested in.

    Where a checkpoint holds several sets of weights, the exponential moving average ("ema" in its name) is
    taken.
    """
    if path.suffix == ".safetensors":
        content: Any = read_safetensors(path)
    else:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:
            # torch raises many types for files that are damaged, of another kind, or hold more than weights.
            raise WeightsError(
                f"{path} cannot be read as torch weights ({str(error).splitlines()[0]})"
            ) from error
    sets = dict(_weight_sets(content, ""))
    if not sets:
        raise WeightsError(f"{path} holds no weights of a Prose or TarFlow: there is no {_ANCHOR}")
    best = min(sets, key=lambda where: ("ema" not in where.lower(), len(where)))
    return sets[best]


def _weight_sets(content: Any, where: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every set of weights in nested dictionaries, by the keys and name prefix that lead to it."""
    if not isinstance(content, Mapping):
        return
    names = {str(name): value for name, value in content.items()}
    for name in names:
        if name.endswith(_ANCHOR):
            prefix = name.removesuffix(_ANCHOR)
            tensors = {n.removeprefix(prefix): v for n, v in names.items() if n.startswith(prefix)}
            yield f"{where}{prefix}", {n: v for n, v in tensors.items() if isinstance(v, Tensor)}
    for name, value in names.items():
        yield from _weight_sets(value, f"{where}{name}/")


def _compare(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], origin: str) -> None:
    differences = [f"lacks {name} {tuple(wanted[name].shape)}" for name in wanted if name not in given]
    differences += [
        f"has an unknown {name} {tuple(given[name].shape)}" for name in given if name not in wanted
    ]
    differences += [
        f"{name} is {tuple(given[name].shape)} and should be {tuple(wanted[name].shape)}"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    if differences:
        more = f"; and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise WeightsError(f"{origin} does not fit this size: {'; '.join(differences[:3])}{more}")


def _empty_network(config: ProseConfig) -> Network:
    with torch.device("meta"):
        return Network(config)


def _filled(network: Network, state: Mapping[str, Tensor]) -> Network:
    network.load_state_dict(state, assign=True)
    return network.eval()


def _load_published(path: Path, config: ProseConfig, source: dict[str, Any]) -> Weights:
    network = from_published(read_state(path), config, str(path))
    return Weights(network, network.config, source)


def _load_own(path: Path) -> Weights:
    try:
        arrays = read_arrays(path)
        meta = json.loads(array_text(arrays.pop("meta")))
        config = ProseConfig.model_validate(meta["config"])
    except (DamagedFile, KeyError, ValueError) as error:
        raise WeightsError(f"{path} is not a model of prosebench ({error}); get it again") from error
    network = _empty_network(config)
    given = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
    _compare(given, network.state_dict(), str(path))
    source = {"file": path.name, "sha256": file_sha256(path), "notes": meta.get("notes", {})}
    return Weights(_filled(network, given), config, source)


def _download(file: str, revision: str, cache: Path | None) -> Path:
    """A file of the hub; from its cache on this machine where it is there already."""
    where: dict[str, Any] = {
        "repo_id": HUB_REPOSITORY,
        "filename": file,
        "revision": revision,
        "cache_dir": cache,
    }
    with contextlib.suppress(LocalEntryNotFoundError):
        return Path(huggingface_hub.hf_hub_download(**where, local_files_only=True))
    try:
        # One quick request first: the client itself would try again for half a minute.
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=HUB_TIMEOUT_SECONDS)
        return Path(huggingface_hub.hf_hub_download(**where))
    except Exception as error:
        # The client passes on what its HTTP library raises, and that library differs by version.
        raise WeightsError(
            f"{file} of https://huggingface.co/{HUB_REPOSITORY} at {revision} cannot be had "
            f"({type(error).__name__}); download it where the hub is in reach, and give the path of your copy "
            f'instead: Prose.from_pretrained("{Path(file).name}")'
        ) from error


def _hub_source(name: str, path: Path) -> dict[str, Any]:
    parts = path.parts
    commit = parts[parts.index("snapshots") + 1] if "snapshots" in parts else HUB_REVISION
    return {
        "name": name,
        "repository": HUB_REPOSITORY,
        "commit": commit,
        "file": path.name,
        "sha256": file_sha256(path),
    }
