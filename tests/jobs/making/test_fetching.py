"""Whether files of a folder are whole is told by size and hash, and a suite's needs without the hub."""

import subprocess
from pathlib import Path

import pytest

from jobs.making.fetching import (
    FetchError,
    Listed,
    Needs,
    Source,
    _blob_hash,
    _broken_off,
    check_folder,
    fetch,
    missing_files,
    weights_of,
)
from prosebench.store.manifest import Manifest, PublishedFile, write_manifest
from prosebench.store.places import frames_file, topologies_file
from prosebench.store.storage import file_sha256
from prosebench.suite import Suite

SOURCE = Source("some/where", "dataset", "main")


def suite(*peptides: str, **methods: dict[str, object]) -> Suite:
    return Suite.model_validate(
        {"name": "mine", "peptides": peptides or ("AA",), "budgets": (100,), "methods": methods or {"md": {}}}
    )


def listed(path: Path, place: str, **changes: object) -> Listed:
    known = {"size_bytes": path.stat().st_size, "sha256": file_sha256(path), "blob": ""} | changes
    return Listed(place, place, SOURCE, "c0ffee", **known)  # type: ignore[arg-type]


def put(folder: Path, place: str, content: bytes = b"abc") -> Path:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def entry(path: Path, **changes: object) -> PublishedFile:
    return PublishedFile.model_validate(
        {
            "repository": SOURCE.repository,
            "kind": "dataset",
            "revision": "main",
            "commit": "c0ffee",
            "size_bytes": path.stat().st_size,
            "sha256": file_sha256(path),
        }
        | changes
    )


def test_small_files_are_known_by_the_hash_that_git_gives_them(tmp_path: Path) -> None:
    path = put(tmp_path, "x", b"some\x00content\n")
    asked = ["git", "hash-object", "--no-filters", str(path)]
    by_git = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    assert _blob_hash(path) == by_git
    assert listed(path, "x", sha256=None, blob=by_git).is_whole(path)
    assert not listed(path, "x", sha256=None, blob="0" * 40).is_whole(path)


def test_a_file_is_whole_down_to_its_last_byte(tmp_path: Path) -> None:
    path = put(tmp_path, "x")
    file = listed(path, "x")
    assert file.is_whole(path)
    path.write_bytes(b"abd")
    assert not file.is_whole(path)
    path.write_bytes(b"ab")
    assert not file.is_whole(path)


def test_what_is_verified_at_the_same_commit_is_not_got_again(tmp_path: Path) -> None:
    files = [
        listed(put(tmp_path, f"d/{name}"), f"d/{name}") for name in ("kept", "unlisted", "other", "short")
    ]
    write_manifest(
        tmp_path,
        Manifest(
            files={
                "d/kept": entry(tmp_path / "d/kept"),
                "d/other": entry(tmp_path / "d/other", commit="0ld"),
                "d/short": entry(tmp_path / "d/short"),
            }
        ),
    )
    put(tmp_path, "d/short", b"a")
    needs = Needs(tuple(files), ())
    assert [file.path for file in missing_files(needs, tmp_path)] == ["d/unlisted", "d/other", "d/short"]
    assert needs.size_bytes == 12


def test_two_revisions_of_one_file_do_not_fit_into_a_folder() -> None:
    flow = {"method": "prose-snis", "weights": "prose-up-to-8aa"}
    one = suite(a=flow, b=flow | {"batch": 16})
    assert [(file.file, revision) for file, revision in weights_of(one).items()] == [
        ("transferable/prose_up_to_8aa.pth", "main")
    ]
    with pytest.raises(
        FetchError, match=r"want transferable/prose_up_to_8aa\.pth at the revisions main and v2"
    ):
        weights_of(suite(a=flow, b=flow | {"revision": "v2"}))
    assert weights_of(suite()) == {}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A folder with all that a suite of AA needs, and its list."""
    places = [frames_file("AA", "test"), topologies_file("test")]
    paths = {place: put(tmp_path, place) for place in places}
    write_manifest(tmp_path, Manifest(files={place: entry(path) for place, path in paths.items()}))
    return tmp_path


def test_a_folder_that_holds_all_lacks_nothing(whole: Path) -> None:
    found, lacks = check_folder(suite("AA"), whole)
    assert found == [frames_file("AA", "test"), topologies_file("test")]
    assert lacks == []


def test_topologies_may_be_unpacked(whole: Path) -> None:
    (whole / topologies_file("test")).unlink()
    assert [lack.path for lack in check_folder(suite("AA"), whole)[1]] == [topologies_file("test")]
    (whole / "pdbs" / "test").mkdir(parents=True)
    assert check_folder(suite("AA"), whole)[1] == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"abd", "damaged: its SHA-256 is not "), (b"ab", "damaged: 2 bytes, not 3"), (None, "not there")],
)
def test_what_lacks_is_said_with_its_reason(content: bytes | None, reason: str, whole: Path) -> None:
    path = whole / topologies_file("test")
    path.unlink() if content is None else path.write_bytes(content)
    (lack,) = check_folder(suite("AA"), whole)[1]
    assert (lack.path, lack.reason.startswith(reason)) == (topologies_file("test"), True)


def test_files_that_nobody_verified_and_peptides_of_no_split_lack(whole: Path) -> None:
    put(whole, frames_file("GG", "val"))
    found, lacks = check_folder(suite("AA", "GG", "WW"), whole)
    assert [(lack.path, lack.reason.partition(":")[0]) for lack in lacks] == [
        ("frames of WW", "not there"),
        ("pdb_tarfiles/val.tar", "not there"),
        (frames_file("GG", "val"), "not on the folder's list"),
    ]
    assert len(found) == 2
    with pytest.raises(FetchError, match=r"there is no folder .*; `prosebench fetch --suite NAME --to '"):
        check_folder(suite("AA"), whole / "no such folder")


def test_nothing_is_begun_where_there_is_no_room(tmp_path: Path) -> None:
    huge = listed(put(tmp_path, "x"), "x", size_bytes=10**18)
    with pytest.raises(FetchError, match=r"has room for .* GB, and 1000000000\.0 GB are to be got"):
        fetch([huge], tmp_path / "target")
    assert not (tmp_path / "target" / "x").exists()


def test_a_full_disk_is_found_however_deep_it_lies_in_an_error(tmp_path: Path) -> None:
    file = listed(put(tmp_path, "x"), "x")
    full = RuntimeError("the client's own words")
    full.__cause__ = ValueError("in between")
    full.__cause__.__context__ = OSError(28, "No space left on device")
    assert _broken_off(file, tmp_path, full).startswith(f"there is no room left in {tmp_path} for x")
    other = RuntimeError("outer")
    other.__cause__ = ConnectionError("reset by peer")
    assert _broken_off(file, tmp_path, other) == (
        "x broke off (ConnectionError: reset by peer); what is there stays, and the same command goes on"
    )
