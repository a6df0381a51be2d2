"""The list of files in a folder that `prosebench fetch` has filled: where each came from, and what it must hold."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prosebench.store.fields import explained
from prosebench.store.storage import DamagedFile, read_json, write_json

MANIFEST = "prosebench-files.json"


class PublishedFile(BaseModel):
    """A file of a repository on the hub: the revision that was asked for, its commit, and what it holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    kind: Literal["model", "dataset"]
    revision: str
    commit: str
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    def is_of(self, revision: str) -> bool:
        """Whether this is the file of a branch, tag or commit."""
        return revision in (self.revision, self.commit)


class Manifest(BaseModel):
    """All files of a folder, by their path in it, which is that in their repository."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    files: dict[str, PublishedFile] = {}


def read_manifest(folder: Path) -> Manifest:
    """The list of a folder; an empty one where there is none. Raises DamagedFile."""
    try:
        content = read_json(folder / MANIFEST)
        return Manifest.model_validate(content)
    except FileNotFoundError:
        return Manifest()
    except ValidationError as error:
        raise DamagedFile(
            f"{folder / MANIFEST} is not a list of fetched files ({explained(error)}); remove it, and fetch again"
        ) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the list of a folder; the same content gives the same bytes."""
    files = dict(sorted(manifest.files.items()))
    write_json(folder / MANIFEST, manifest.model_copy(update={"files": files}).model_dump(mode="json"))
