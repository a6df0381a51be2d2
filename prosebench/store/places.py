"""Where files are found by name: references, and what is published of weights and frames. Loads no engine, no network.

Layout of the published frames (dataset transferable-samplers/many-peptides-md): `pdb_tarfiles/{split}.tar` holds
`{SEQ}.pdb`, and `trajectories_subsampled/{split}/{L}AA/{SEQ}_subsampled.npz` positions and the TICA basis.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from prosebench.names import PUBLISHED_KELVIN, name_at
from prosebench.store.hub import data_folder
from prosebench.store.manifest import read_manifest

DATASET = "transferable-samplers/many-peptides-md"
SPLITS = ("test", "val")

HUB_REPOSITORY = "transferable-samplers/model-weights"
HUB_REVISION = "main"


class HubFile(NamedTuple):
    """A published file: its name in a repository of the hub, and the size of the network that it holds."""

    file: str
    size: str
    repository: str = HUB_REPOSITORY

    @property
    def place(self) -> str:
        """The path of the file in a fetched folder, always one level below it. A file that has no folder in
        its repository gets one with the repository's name."""
        return self.file if "/" in self.file else f"{self.repository.rpartition('/')[2]}/{self.file}"


PUBLISHED_WEIGHTS = {
    "prose-up-to-8aa": HubFile("transferable/prose_up_to_8aa.pth", "prose-8aa"),
    "tarflow-up-to-8aa": HubFile("transferable/tarflow_up_to_8aa.pth", "tarflow-8aa"),
    "tbg-up-to-4aa": HubFile("transferable/ecnf++_up_to_4aa.pth", "ecnf++_up_to_4aa"),
    "robin-up-to-8aa": HubFile("robin.ckpt", "robin-8aa", "danyalrehman17/robin-transferable"),
}
"""The published weights of all networks, by their names."""


def bundled_folder() -> Path:
    """Folder of the references that come with the package."""
    return Path(str(files("prosebench").joinpath("data", "references")))


def checkout_folder() -> Path:
    """Folder of the further references of a checkout of the repository; a wheel has none there."""
    return Path(str(files("prosebench"))).parent / "results" / "references"


def frames_file(sequence: str, split: str) -> str:
    """The file of the dataset that holds the frames of a test or validation peptide."""
    return f"trajectories_subsampled/{split}/{len(sequence)}AA/{sequence}_subsampled.npz"


def topologies_file(split: str) -> str:
    """The file of the dataset that holds the PDB files of its test or validation peptides."""
    return f"pdb_tarfiles/{split}.tar"


def published_here(sequence: str) -> bool:
    """Whether the folder that PROSEBENCH_DATA names holds published frames of a peptide. Raises HubError."""
    folder = data_folder()
    return folder is not None and any((folder / frames_file(sequence, split)).is_file() for split in SPLITS)


def has_reference(sequence: str, kelvin: float, folders: Sequence[Path]) -> bool:
    """Whether there is a reference of a peptide at this very temperature."""
    name = f"{name_at(sequence, kelvin)}.npz"
    return any((Path(folder) / name).is_file() for folder in (*folders, bundled_folder(), checkout_folder()))


def readable(sequence: str, kelvin: float) -> bool:
    """Whether a reference can be made of the data in the folder that PROSEBENCH_DATA names. Raises HubError."""
    return kelvin == PUBLISHED_KELVIN and published_here(sequence)


def stored_weights(published: HubFile, revision: str, cache: Path | None = None) -> Path | None:
    """Published weights where they are on this machine: in the folder of PROSEBENCH_DATA, or in the hub's cache.

    The hub is not asked. Raises HubError where PROSEBENCH_DATA names no folder.
    """
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    folder = data_folder()
    if folder and (folder / published.place).is_file():
        known = read_manifest(folder).files.get(published.place)
        if known is None or known.is_of(revision):
            return folder / published.place
    where: dict[str, Any] = {
        "repo_id": published.repository,
        "filename": published.file,
        "revision": revision,
    }
    with contextlib.suppress(LocalEntryNotFoundError):
        return Path(huggingface_hub.hf_hub_download(**where, cache_dir=cache, local_files_only=True))
    return None


def published_weights(rows: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and revision of all published weights that rows of a suite name, as they stand in its file."""
    if rows.get("weights") in PUBLISHED_WEIGHTS:
        yield rows["weights"], rows.get("revision", HUB_REVISION)
    for value in rows.values():
        if isinstance(value, dict):
            yield from published_weights(value)
