"""Weights of the velocity field: the published file and our own; what files look like is in
`prosebench.flows.weight_files`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from prosebench.ecnf.config import EcnfConfig, load_size
from prosebench.ecnf.network import VelocityField
from prosebench.flows import weight_files
from prosebench.flows.weight_files import HUB_REVISION, WeightsError
from prosebench.store.places import PUBLISHED_WEIGHTS
from prosebench.store.storage import file_sha256

PUBLISHED = {"tbg-up-to-4aa": PUBLISHED_WEIGHTS["tbg-up-to-4aa"]}
"""Published weights by name."""

BUNDLED = Path(__file__).parent / "models"
"""Folder of the models that come with prosebench, `NAME.npz` each."""

ANCHOR = "egnn.gcl_0.coord_mlp.2.weight"

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
"""Our name of every module, and its published name; * stands for a number."""


@dataclass(frozen=True, eq=False)
class Weights:
    """A velocity field in evaluation mode, and where its weights came from (file, SHA-256, maker's notes)."""

    field: VelocityField
    source: dict[str, Any]


def published_name(name: str) -> str:
    """The published name of one of our parameters: layers.0.gate.bias -> egnn.gcl_0.att_mlp.0.bias."""
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

    size tells what a published file holds, where its name does not: the name of a size, or a TOML file. Raises
    WeightsError, naming the first differences where a file does not fit.
    """
    name = str(name_or_path)
    if name in PUBLISHED:
        published = PUBLISHED[name]
        example = f'weights = "{Path(published.file).name}"'
        downloaded = weight_files.download(published, revision, cache, example)
        source = weight_files.hub_source(name, published, downloaded)
        return _load_published(downloaded, size or published.size, source)
    path = weights_file(name)
    if path is None:
        known = ", ".join([*bundled_names(), *PUBLISHED])
        raise WeightsError(f"there are no weights {name!r}; known: {known}, or the path of a file")
    if path.suffix == ".npz":
        state, config, source = weight_files.read_own(path, EcnfConfig)
        field = _empty_field(config)
        weight_files.compare(state, field.state_dict(), str(path))
        return Weights(_filled(field, state), source)
    source = {"file": path.name, "sha256": file_sha256(path)}
    return _load_published(path, size or "ecnf++_up_to_4aa", source)


def save_weights(path: Path, field: VelocityField, notes: Mapping[str, Any], *, half: bool = False) -> str:
    """Write our own `.npz` (float16 where half, else float32), with notes for `Weights.source`; its SHA-256."""
    return weight_files.write_own(path, field, field.config, notes, half=half)


def weights_file(name_or_path: str | Path) -> Path | None:
    """The file of a bundled model, or the path of a file as it is; None where there is no such file."""
    return weight_files.file_of(name_or_path, BUNDLED)


def bundled_names() -> list[str]:
    """Names of the models that come with prosebench."""
    return weight_files.bundled_in(BUNDLED)


def from_published(
    state: Mapping[str, Tensor], config: EcnfConfig, origin: str = "the state"
) -> VelocityField:
    """A velocity field with published weights. Raises WeightsError with the first names and shapes that differ.

    A published file also holds maps that no velocity depends on: features after the last layer, and their read-out.
    """
    field = _empty_field(config)
    wanted = {published_name(name): value for name, value in field.state_dict().items()}
    unused = ("egnn.embedding_out.", f"egnn.gcl_{config.layers - 1}.node_mlp.")
    given = {name: value for name, value in state.items() if not name.startswith(unused)}
    weight_files.compare(given, wanted, origin)
    return _filled(field, {name: given[published_name(name)].float() for name in field.state_dict()})


def to_published(field: VelocityField) -> dict[str, Tensor]:
    """The weights of a velocity field under their published names."""
    return {published_name(name): value for name, value in field.state_dict().items()}


def _load_published(path: Path, size: str | Path, source: dict[str, Any]) -> Weights:
    state, taken = weight_files.read_state(path, ANCHOR, "an ECNF++")
    return Weights(from_published(state, load_size(size), str(path)), source | taken)


def _empty_field(config: EcnfConfig) -> VelocityField:
    with weight_files.Uninitialised():
        return VelocityField(config)


def _filled(field: VelocityField, state: Mapping[str, Tensor]) -> VelocityField:
    field.load_state_dict(state, assign=True)
    return field.eval()
