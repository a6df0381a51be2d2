"""Flows by the name of their weights, whatever kind of flow that is.

load_flow("arbg-small").sample("ARIP", 1000)
"""

import json
from pathlib import Path
from typing import Any

from prosebench.arbg.flow import Arbg
from prosebench.flows.flow import Flow
from prosebench.flows.weights.files import WeightsError
from prosebench.prose.flow import Prose
from prosebench.robin.flow import Robin
from prosebench.store.storage import DamagedFile, array_text, read_arrays

KINDS: tuple[type[Flow[Any]], ...] = (Prose, Arbg, Robin)
"""The kinds of flows that `load_flow` can load by the name of their weights."""


def load_flow(
    name_or_path: str | Path, *, size: str | Path | None = None, device: str | None = None
) -> Flow[Any]:
    """A bundled model, published weights by name, or a file: an own `.npz` knows its kind, any other is taken for
    Prose.

    size tells what a published file holds, where its name does not. Raises WeightsError.
    """
    return kind_of(name_or_path).from_pretrained(name_or_path, size=size, device=device)


def kind_of(name_or_path: str | Path) -> type[Flow[Any]]:
    """The class of flow that weights belong to. Raises WeightsError for an unknown name, or a damaged file."""
    name = str(name_or_path)
    for kind in KINDS:
        if name in _names(kind):
            return kind
    path = Path(name)
    if path.suffix == ".npz" and path.is_file():
        return _kind_of_file(path)
    if path.suffix or path.is_file():
        return Prose
    known = [one for kind in KINDS for one in _names(kind)]
    raise WeightsError(f"there are no weights {name!r}; known: {', '.join(known)}, or the path of a file")


def _names(kind: type[Flow[Any]]) -> list[str]:
    return [*kind.weight_format.names(), *kind.weight_format.published]


def _kind_of_file(path: Path) -> type[Flow[Any]]:
    try:
        config = json.loads(array_text(read_arrays(path)["meta"]))["config"]
    except (DamagedFile, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is not a model of prosebench ({error}); get it again") from error
    for kind in KINDS:
        if set(config) <= set(kind.weight_format.config.model_fields):
            return kind
    raise WeightsError(f"{path} holds weights of a flow that frames cannot be drawn from by name")
