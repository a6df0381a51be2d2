"""Files with the weights of a network, whatever the network: the hub, torch pickles, and our own `.npz`.

A published file is a torch pickle (`.pth`, `.pt`, a Lightning `.ckpt`) or `.safetensors`, under names that are not
ours. Our own file is an `.npz`: the weights under our names, and JSON with the config and what else its maker wrote
down.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import huggingface_hub
import numpy as np
import torch
from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError
from pydantic import BaseModel, ValidationError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prosebench.flows.weights.sets import SetError, choose
from prosebench.store.fields import explained
from prosebench.store.hub import first_line, hub_problem
from prosebench.store.manifest import PublishedFile, read_manifest
from prosebench.store.places import HUB_REVISION, HubFile, stored_weights
from prosebench.store.storage import (
    DamagedFile,
    FileElsewhere,
    array_text,
    file_sha256,
    read_arrays,
    text_array,
    write_arrays,
)

Config = TypeVar("Config", bound=BaseModel)


class WeightsError(ValueError):
    """Weights that cannot be had or do not fit; the message says what differs or what to do next."""


class WeightsOutOfReach(WeightsError):
    """Published weights that are not on this machine, and that the hub does not give at the moment; `why` is short."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class ChangedWeights(WeightsError):
    """Bundled or published weights whose SHA-256 is not the one that settings give."""


class Uninitialised(TorchFunctionMode):
    """Within this context `torch.nn.init` does nothing: for networks that are about to be filled from a file.

    A network on the device "meta" would do as well, but making one imports a thousand modules: a second.
    """

    def __torch_function__(
        self,
        function: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if getattr(function, "__module__", None) == "torch.nn.init":
            return (kwargs or {}).get("tensor", args[0] if args else None)
        return function(*args, **(kwargs or {}))


class Shell:
    """Stands for every class and function of a checkpoint that is not torch's own: it takes what they are given and
    does nothing. Checkpoints of Lightning hold the arguments of what was trained beside its weights."""

    def __init__(self, *arguments: Any, **named: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def read_state(
    path: Path, anchor: str, kind: str, constants: Sequence[str] = ()
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of a published file by their published names, whatever they are nested in, and, where the file holds
    several sets of weights, which was taken (`set`) and which were not (`other_sets`).

    anchor is a name that every file of this kind of network has; constants are ends of names of what is not learned.
    The exponential moving average is taken where there is one (`prosebench.flows.weights.sets`). Raises WeightsError.
    """
    content = _read_tensors(path)
    try:
        found, others = choose(content, anchor, constants)
    except KeyError:
        raise WeightsError(f"{path} holds no weights of {kind}: there is no {anchor}") from None
    except SetError as error:
        raise WeightsError(f"{path}: {error}") from error
    return found.tensors, {"set": found.where, "other_sets": others} if others else {}


def _read_tensors(path: Path) -> Any:
    """What a file of torch or safetensors holds."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Files from before torch 1.6 are no zip archives, and only those can be mapped into memory.
        mmap = zipfile.is_zipfile(path)
        strangers = torch.serialization.get_unsafe_globals_in_checkpoint(path) if mmap else []
        with torch.serialization.safe_globals([(Shell, name) for name in strangers]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:
        # Both raise many types for files that are damaged, of another kind, or hold more than weights.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise WeightsError(
            f"{path} cannot be read as weights ({reason}); get it again, or give a file that holds weights and nothing "
            "else"
        ) from error


def compare(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], origin: str) -> None:
    """Raise WeightsError with the first names and shapes that differ, or with a name whose weights are not finite."""
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
    broken = next((name for name in wanted if not torch.isfinite(given[name]).all()), None)
    if broken:
        raise WeightsError(
            f"{origin} holds numbers that are not finite in {broken}; get it again, or take an earlier checkpoint"
        )


def bundled_in(folder: Path) -> list[str]:
    """Names of the models that come with prosebench, `NAME.npz` each, in a folder."""
    return sorted(path.stem for path in folder.glob("*.npz"))


def file_of(name_or_path: str | Path, folder: Path) -> Path | None:
    """The file of a model bundled in a folder, or the path of a file as it is; None where there is no such file."""
    name = str(name_or_path)
    path = folder / f"{name}.npz" if name in bundled_in(folder) else Path(name)
    return path if path.is_file() else None


def write_own(
    path: Path,
    network: nn.Module,
    config: BaseModel,
    notes: Mapping[str, Any],
    *,
    half: bool = False,
    whole: Sequence[str] = (),
) -> str:
    """Write an own `.npz` (float16 where half, but for the names in `whole`, else float32); its SHA-256."""
    meta = {"config": config.model_dump(mode="json"), "notes": dict(notes)}
    state = {
        name: value.detach()
        .cpu()
        .float()
        .numpy()
        .astype(np.float16 if half and name not in whole else np.float32)
        for name, value in network.state_dict().items()
    }
    return write_arrays(path, {"meta": text_array(json.dumps(meta, sort_keys=True)), **state}, compress=True)


def read_own(path: Path, kind: type[Config]) -> tuple[dict[str, Tensor], Config, dict[str, Any]]:
    """Weights in float32 by our names, the config, and the source: file, SHA-256, maker's notes."""
    try:
        arrays = read_arrays(path)
        meta = json.loads(array_text(arrays.pop("meta")))
        config = kind.model_validate(meta["config"])
    except (DamagedFile, KeyError, ValueError) as error:
        reason = explained(error) if isinstance(error, ValidationError) else error
        raise WeightsError(f"{path} is not a model of prosebench ({reason}); get it again") from error
    state = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
    return state, config, {"file": path.name, "sha256": file_sha256(path), "notes": meta.get("notes", {})}


def content_sha256(weights: str, path: Path | None, planned: str) -> str:
    """The SHA-256 of a weights file, by which its content is part of a method's settings; "" where the file
    is not here.

    path is where the file of these weights is, planned what the settings say already. Raises ChangedWeights where they
    differ for a bundled model, FileElsewhere where they do for a file that weights name by its path, or where there is
    none: one must be there to be identified. A model of another name that is not there is reported where it is needed.
    """
    if path is None:
        if weights.endswith((".npz", ".pth", ".pt", ".ckpt", ".safetensors")):
            raise FileElsewhere(f"there is no weights file {weights}")
        return planned
    found = file_sha256(path)
    if planned not in ("", found):
        kind = FileElsewhere if path == Path(weights) else ChangedWeights
        raise kind(
            f"{weights} has changed since this cell was planned: its SHA-256 is {found}, planned was {planned}"
        )
    return found


def check_content(weights: str, found: str, given: str) -> None:
    """Raise ChangedWeights where the SHA-256 of weights is not the one that was given; "" stands for any."""
    if given not in ("", found):
        raise ChangedWeights(
            f"{weights} has the SHA-256 {found}, and weights_sha256 is {given}: get the file again, or name the "
            "revision that it was taken from"
        )


def download(published: HubFile, revision: str, cache: Path | None, example: str) -> Path:
    """A file of the hub; from this machine where it is there already.

    example ends the message of WeightsOutOfReach: how the path of a copy is given. Raises WeightsError for a revision
    or a file that does not exist.
    """
    path = stored_weights(published, revision, cache)
    if path:
        return path
    where = f"{published.file} of https://huggingface.co/{published.repository}"
    why = hub_problem()
    try:
        if why is None:
            return _from_hub(published, revision, cache)
    except (RevisionNotFoundError, RemoteEntryNotFoundError) as error:
        raise WeightsError(
            f"{where} does not exist at revision {revision!r}; give a branch, tag or commit that has it, "
            f"as in revision = {HUB_REVISION!r}"
        ) from error
    except Exception as error:
        # The client passes on what its HTTP library raises, and that library differs by version. An answer that it does
        # not know, as of a mirror, it calls a lack of connection: what it was is the cause of that.
        why = first_line(error.__cause__ or error)
    raise WeightsOutOfReach(
        f"{where} at {revision} cannot be had ({why}); fetch it where the hub is in reach (`prosebench fetch`), "
        f"and give the path of your copy instead: {example}",
        str(why),
    )


def _from_hub(published: HubFile, revision: str, cache: Path | None) -> Path:
    where: dict[str, Any] = {
        "repo_id": published.repository,
        "filename": published.file,
        "revision": revision,
        "cache_dir": cache,
    }
    return Path(huggingface_hub.hf_hub_download(**where))


def hub_source(name: str, published: HubFile, path: Path) -> dict[str, Any]:
    """The source of a file that `download` gave; the commit is "" where a copy does not tell it."""
    return {
        "name": name,
        "repository": published.repository,
        "commit": _commit(path),
        "file": path.name,
        "sha256": file_sha256(path),
    }


def _commit(path: Path) -> str:
    if "snapshots" in path.parts:
        return path.parts[path.parts.index("snapshots") + 1]
    known = _listed(path)
    return known.commit if known else ""


def check_listed(path: Path, found: str) -> None:
    """Raise WeightsError where a file of a fetched folder has not the SHA-256 that it was fetched with."""
    known = _listed(path)
    if known and known.sha256 != found:
        raise WeightsError(
            f"{path} has the SHA-256 {found}, and was fetched with {known.sha256}: it is damaged; "
            "`prosebench fetch` gets it again"
        )


def _listed(path: Path) -> PublishedFile | None:
    """What the list of a fetched folder says of a file; files lie one level below the folder."""
    return read_manifest(path.parents[1]).files.get(f"{path.parent.name}/{path.name}")
