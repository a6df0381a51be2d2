"""The list of fetched files: what it holds comes back, and what it cannot hold is named."""

import json
from pathlib import Path

import pytest

from prosebench.store.manifest import MANIFEST, Manifest, PublishedFile, read_manifest, write_manifest
from prosebench.store.storage import DamagedFile

FILE = PublishedFile(
    repository="some/where",
    kind="model",
    revision="main",
    commit="c0ffee",
    size_bytes=3,
    sha256="ab" * 32,
)


def test_a_list_comes_back_and_its_bytes_do_not_depend_on_the_order_of_fetching(tmp_path: Path) -> None:
    one, other = (
        Manifest(files={name: FILE.model_copy(update={"size_bytes": len(name)}) for name in names})
        for names in (["a/x", "b/yy"], ["b/yy", "a/x"])
    )
    write_manifest(tmp_path / "one", one)
    write_manifest(tmp_path / "other", other)
    assert read_manifest(tmp_path / "one") == one
    assert (tmp_path / "one" / MANIFEST).read_bytes() == (tmp_path / "other" / MANIFEST).read_bytes()


def test_a_folder_without_a_list_has_fetched_nothing(tmp_path: Path) -> None:
    assert read_manifest(tmp_path).files == {}
    # A list that was written for one folder is not shared with the next.
    read_manifest(tmp_path).files["a"] = FILE
    assert read_manifest(tmp_path).files == {}


@pytest.mark.parametrize(
    ("revision", "is_of"), [("main", True), ("c0ffee", True), ("c0ff", False), ("", False)]
)
def test_a_file_is_of_its_branch_and_of_its_commit(revision: str, is_of: bool) -> None:
    assert FILE.is_of(revision) == is_of


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "AB" * 32}, "files.a.sha256"),
        ({"size_bytes": -1}, "files.a.size_bytes"),
        ({"kind": "space"}, "files.a.kind"),
        ({"sise_bytes": 3}, "unknown key 'files.a.sise_bytes'"),
    ],
)
def test_a_list_that_cannot_be_is_named_with_what_to_do(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    content = {"schema_version": 1, "files": {"a": FILE.model_dump() | change}}
    (tmp_path / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(DamagedFile, match=r"remove it, and fetch again") as damaged:
        read_manifest(tmp_path)
    assert said in str(damaged.value)
    assert MANIFEST in str(damaged.value)


def test_a_list_of_a_later_version_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps({"schema_version": 2, "files": {}}))
    with pytest.raises(DamagedFile, match="schema_version"):
        read_manifest(tmp_path)
