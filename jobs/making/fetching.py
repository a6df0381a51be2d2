"""Getting what a suite needs from the hub into one folder: which files, of which commit, and whether they are whole.

huggingface_hub does the transfers; the list of the folder (`prosebench.store.manifest`) says what was got and verified.
"""

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Literal, NamedTuple

import huggingface_hub
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from jobs.making.weights import published_uses
from prosebench.rows import method_settings
from prosebench.store.hub import first_line, hub_problem
from prosebench.store.locks import file_lock
from prosebench.store.manifest import Manifest, PublishedFile, read_manifest, write_manifest
from prosebench.store.places import (
    DATASET,
    PUBLISHED_WEIGHTS,
    SPLITS,
    HubFile,
    frames_file,
    topologies_file,
)
from prosebench.store.storage import file_sha256, make_folder
from prosebench.suite import Suite

DATA_REVISION = "main"
_TIMEOUT_SECONDS = 10.0
_LOCK = ".prosebench-fetch"


class FetchError(ValueError):
    """Files that cannot be got, or are not what the hub says; the message says what to do."""


class Source(NamedTuple):
    """A repository on the hub, at the revision that was asked for."""

    repository: str
    kind: Literal["model", "dataset"]
    revision: str


@dataclass(frozen=True)
class Listed:
    """A file as the hub lists it, by its path there; place: that in a fetched folder.

    sha256 is known of large files; of small ones there is the hash of git's blob.
    """

    path: str
    place: str
    source: Source
    commit: str
    size_bytes: int
    sha256: str | None
    blob: str

    def is_whole(self, path: Path) -> bool:
        """Whether the file at a path is this one, down to its last byte."""
        if path.stat().st_size != self.size_bytes:
            return False
        return file_sha256(path) == self.sha256 if self.sha256 else _blob_hash(path) == self.blob


@dataclass(frozen=True)
class Needs:
    """The files of a suite on the hub, and the peptides that nothing is published of."""

    files: tuple[Listed, ...]
    unpublished: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """The size of all files together, in bytes."""
        return sum(file.size_bytes for file in self.files)


def weights_of(suite: Suite) -> dict[HubFile, str]:
    """Revision of each file of published weights that the rows of a suite name. Raises FetchError for two of a file."""
    complete = {row: method_settings(suite, row)[1] for row in suite.methods}
    found: dict[HubFile, str] = {}
    for use in published_uses(complete):
        file, revision = PUBLISHED_WEIGHTS[use.settings["weights"]], use.settings["revision"]
        if found.setdefault(file, revision) != revision:
            raise FetchError(
                f"rows of suite {suite.name} want {file.file} at the revisions {found[file]} and {revision}; one "
                "folder holds one of them: fetch for a suite with either"
            )
    return found


def list_needs(suite: Suite, folder: Path) -> Needs:
    """What the hub has of what a suite needs. A folder that was begun stays at the commits that it began with.

    Raises FetchError where the hub is out of reach or lacks weights.
    """
    problem = hub_problem()
    if problem:
        endpoint = huggingface_hub.constants.ENDPOINT
        raise FetchError(
            f"{endpoint} cannot be reached ({problem}); fetch on a machine that reaches it, and copy the folder"
        )
    begun, files = read_manifest(folder), list[Listed]()
    for weights, revision in weights_of(suite).items():
        found = _listing(Source(weights.repository, "model", revision), [weights.file], begun)
        if not found:
            raise FetchError(f"{weights.repository} has no {weights.file} at revision {revision}")
        files += [replace(file, place=weights.place) for file in found]
    candidates = [frames_file(sequence, split) for sequence in suite.peptides for split in SPLITS]
    topologies = [topologies_file(split) for split in SPLITS]
    data = _listing(Source(DATASET, "dataset", DATA_REVISION), [*candidates, *topologies], begun)
    there = {file.path for file in data}
    splits = {
        split: [sequence for sequence in suite.peptides if frames_file(sequence, split) in there]
        for split in SPLITS
    }
    unused = {topologies_file(split) for split in SPLITS if not splits[split]}
    files += [file for file in data if file.path not in unused]
    published = {sequence for sequences in splits.values() for sequence in sequences}
    return Needs(tuple(files), tuple(one for one in suite.peptides if one not in published))


def missing_files(needs: Needs, folder: Path) -> list[Listed]:
    """Files that are not in a folder yet, going by its list of verified files, their sizes and commits."""
    known = read_manifest(folder).files
    return [file for file in needs.files if not _is_there(file, known.get(file.place), folder / file.place)]


def fetch(files: Sequence[Listed], folder: Path, tell: Callable[[Listed], None] = lambda file: None) -> None:
    """Get files into a folder, each verified before it is on the folder's list; the same call goes on after a break.

    tell is called before each. Raises FetchError where there is no room, another process fetches into the folder, the
    hub gives no file, or one that is not what it lists.
    """
    make_folder(folder)
    room, needed = shutil.disk_usage(folder).free, sum(file.size_bytes for file in files)
    if needed > room:
        raise FetchError(
            f"{folder} has room for {room / 1e9:.1f} GB, and {needed / 1e9:.1f} GB are to be got"
        )
    with file_lock(folder / _LOCK) as mine:
        if not mine:
            raise FetchError(f"another process fetches into {folder}; wait for it, or name another folder")
        for file in files:
            tell(file)
            _get(file, folder)
            manifest = read_manifest(folder)
            manifest.files[file.place] = PublishedFile(
                repository=file.source.repository,
                kind=file.source.kind,
                revision=file.source.revision,
                commit=file.commit,
                size_bytes=file.size_bytes,
                sha256=file_sha256(folder / file.place),
            )
            write_manifest(folder, manifest)


class Lack(NamedTuple):
    """A file that a suite needs and a folder lacks, or has damaged."""

    path: str
    reason: str


def check_folder(suite: Suite, folder: Path) -> tuple[list[str], list[Lack]]:
    """Files of a folder that a suite needs and that are as they were fetched, and what lacks; the hub is not asked.

    Raises FetchError where there is no such folder, DamagedFile for a list that cannot be read.
    """
    if not folder.is_dir():
        raise FetchError(
            f"there is no folder {folder}; `prosebench fetch --suite NAME --to {quote(str(folder))}` makes it"
        )
    known = read_manifest(folder)
    whole, lacks = list[str](), list[Lack]()
    for path in _needed(suite, folder, lacks):
        reason = _fault(known, path, folder)
        if reason:
            lacks.append(Lack(path, reason))
        else:
            whole.append(path)
    return whole, sorted(lacks)


def _needed(suite: Suite, folder: Path, lacks: list[Lack]) -> Iterable[str]:
    """Paths that a suite needs, as far as they can be told without the hub; peptides of no split become lacks."""
    yield from (weights.place for weights in weights_of(suite))
    splits = set()
    for sequence in suite.peptides:
        there = [split for split in SPLITS if (folder / frames_file(sequence, split)).exists()]
        if not there:
            lacks.append(Lack(f"frames of {sequence}", "not there"))
            continue
        splits.add(there[0])
        yield frames_file(sequence, there[0])
    for split in SPLITS:
        unpacked = any((folder / place / split).is_dir() for place in ("pdbs", "pdb_tarfiles"))
        if split in splits and not unpacked:
            yield topologies_file(split)


def _fault(known: Manifest, path: str, folder: Path) -> str:
    """What is wrong with a file of a folder; empty where nothing is."""
    file = folder / path
    if not file.is_file():
        return "not there"
    entry = known.files.get(path)
    if entry is None:
        return "not on the folder's list: nobody has verified it"
    if file.stat().st_size != entry.size_bytes:
        return f"damaged: {file.stat().st_size:,} bytes, not {entry.size_bytes:,}"
    if file_sha256(file) != entry.sha256:
        return f"damaged: its SHA-256 is not {entry.sha256}"
    return ""


def _listing(source: Source, paths: list[str], begun: Manifest) -> list[Listed]:
    """The files among some paths that a repository has, at one commit."""
    api = huggingface_hub.HfApi()
    known = [file for file in begun.files.values() if file.repository == source.repository]
    commit = next((file.commit for file in known if file.revision == source.revision), None)
    where = f"{source.repository} at revision {source.revision}"
    try:
        if commit is None:
            info = api.repo_info(
                source.repository, repo_type=source.kind, revision=source.revision, timeout=_TIMEOUT_SECONDS
            )
            commit = str(info.sha)
        found = api.get_paths_info(source.repository, paths, repo_type=source.kind, revision=commit)
    except RepositoryNotFoundError as error:
        raise FetchError(
            f"{huggingface_hub.constants.ENDPOINT} has no {source.repository}, or does not show it to you: look at the "
            "endpoint (HF_ENDPOINT), or log in (`hf auth login`)"
        ) from error
    except RevisionNotFoundError as error:
        raise FetchError(f"{where} does not exist; name a branch, tag or commit that does") from error
    except Exception as error:
        # The client passes on what its HTTP library raises, and that library differs by version.
        raise FetchError(
            f"{where} cannot be listed ({first_line(error.__cause__ or error)}); try again"
        ) from error
    return [
        Listed(
            file.path,
            file.path,
            source,
            commit,
            file.size,
            file.lfs.sha256 if file.lfs else None,
            file.blob_id,
        )
        for file in found
        if isinstance(file, huggingface_hub.hf_api.RepoFile)
    ]


def _get(file: Listed, folder: Path) -> None:
    """Get a file, and once more where what came is not what the hub lists."""
    path = folder / file.place
    if path.is_file() and file.is_whole(path):
        return
    for _ in range(2):
        try:
            huggingface_hub.hf_hub_download(
                file.source.repository,
                file.path,
                repo_type=file.source.kind,
                revision=file.commit,
                local_dir=folder / file.place.removesuffix(file.path),
                # What lies there already is not whole.
                force_download=True,
                etag_timeout=_TIMEOUT_SECONDS,
            )
        except Exception as error:
            # See _listing.
            raise FetchError(_broken_off(file, folder, error)) from error
        if file.is_whole(path):
            return
        path.unlink()
    raise FetchError(
        f"{file.path} came twice with another content than {file.source.repository} lists "
        f"({file.size_bytes:,} bytes, SHA-256 {file.sha256 or 'unknown'}), and was removed; what is there stays: "
        "try again later, or through another network"
    )


def _broken_off(file: Listed, folder: Path, error: Exception) -> str:
    """What to tell of a transfer that failed, and what to do."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"there is no room left in {folder} for {file.path} ({file.size_bytes / 1e9:.1f} GB); what is there "
                "stays, and the same command goes on once there is"
            )
        cause = cause.__cause__ or cause.__context__
    why = first_line(error.__cause__ or error)
    return f"{file.path} broke off ({why}); what is there stays, and the same command goes on"


def _is_there(file: Listed, known: PublishedFile | None, path: Path) -> bool:
    return (
        known is not None
        and (known.repository, known.commit) == (file.source.repository, file.commit)
        and path.is_file()
        and path.stat().st_size == known.size_bytes == file.size_bytes
    )


def _blob_hash(path: Path) -> str:
    """The hash by which git knows a file's content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
