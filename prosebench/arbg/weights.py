"""Weights of the autoregressive flow: our own `.npz` files; what those look like is in
`prosebench.flows.weight_files`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prosebench.arbg.config import ArbgConfig
from prosebench.arbg.network import Network
from prosebench.flows import weight_files
from prosebench.flows.weight_files import WeightsError

BUNDLED = Path(__file__).parent / "models"
"""Folder of the models that come with prosebench, `NAME.npz` each."""


@dataclass(frozen=True, eq=False)
class Weights:
    """A network in evaluation mode, its config, and where its weights came from (file, SHA-256, maker's notes)."""

    network: Network
    config: ArbgConfig
    source: dict[str, Any]


def load_weights(name_or_path: str | Path) -> Weights:
    """The weights of a bundled model or of a file that `save_weights` wrote. Raises WeightsError."""
    path = weight_files.file_of(name_or_path, BUNDLED)
    if path is None or path.suffix != ".npz":
        known = ", ".join(weight_files.bundled_in(BUNDLED)) or "none"
        raise WeightsError(
            f"there are no weights {str(name_or_path)!r} of an autoregressive flow; bundled: {known}, or the path of "
            "a .npz file that `prosebench train` wrote"
        )
    state, config, source = weight_files.read_own(path, ArbgConfig)
    with weight_files.Uninitialised():
        network = Network(config)
    weight_files.compare(state, network.state_dict(), str(path))
    network.load_state_dict(state, assign=True)
    return Weights(network.eval(), config, source)


def save_weights(path: Path, network: Network, notes: Mapping[str, Any], *, half: bool = False) -> str:
    """Write our own `.npz` (float16 where half, but for the table, else float32), with notes; its SHA-256."""
    return weight_files.write_own(path, network, network.config, notes, half=half, whole=("mean", "std"))
