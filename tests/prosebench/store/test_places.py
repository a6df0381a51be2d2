"""Where files are looked for: a folder of one's own first, at the revision that was asked for, without the hub."""

from pathlib import Path

import pytest

from prosebench.store.hub import HubError, data_folder, first_line
from prosebench.store.manifest import Manifest, PublishedFile, write_manifest
from prosebench.store.places import (
    PUBLISHED_WEIGHTS,
    HubFile,
    frames_file,
    has_reference,
    published_here,
    published_weights,
    readable,
    stored_weights,
    topologies_file,
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("PROSEBENCH_DATA", str(folder))
    return folder


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"abc")
    return path


def test_files_of_a_folder_of_their_own_repository_keep_apart() -> None:
    assert HubFile("deep/one.pth", "s").place == "deep/one.pth"
    assert HubFile("one.ckpt", "s", "somebody/their-weights").place == "their-weights/one.ckpt"
    places = [file.place for file in PUBLISHED_WEIGHTS.values()]
    assert len(set(places)) == len(places)
    # Lists of a fetched folder know files one level below it.
    assert {place.count("/") for place in places} == {1}


def test_frames_lie_by_split_and_number_of_residues() -> None:
    assert frames_file("ARIP", "test") == "trajectories_subsampled/test/4AA/ARIP_subsampled.npz"
    assert topologies_file("val") == "pdb_tarfiles/val.tar"


def test_frames_are_found_in_either_split(data: Path) -> None:
    assert not published_here("ARIP")
    put(data / frames_file("ARIP", "val"))
    assert published_here("ARIP")
    assert readable("ARIP", 310.0)
    # Published frames are of one temperature.
    assert not readable("ARIP", 393.0)
    (data / frames_file("GG", "test")).mkdir(parents=True)
    assert not published_here("GG")


def test_without_a_folder_nothing_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PROSEBENCH_DATA", raising=False)
    assert data_folder() is None
    assert not published_here("ARIP")
    monkeypatch.setenv("PROSEBENCH_DATA", "")
    assert data_folder() is None
    monkeypatch.setenv("PROSEBENCH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(HubError, match=r"PROSEBENCH_DATA is .*nowhere, which is not a folder"):
        published_here("ARIP")
    with pytest.raises(HubError, match="not a folder"):
        stored_weights(PUBLISHED_WEIGHTS["robin-up-to-8aa"], "main")


def test_the_folder_may_begin_with_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PROSEBENCH_DATA", "~/mine")
    assert data_folder() == tmp_path / "mine"


def test_a_reference_counts_at_its_own_temperature_alone(tmp_path: Path) -> None:
    put(tmp_path / "mine" / "WWWWWW-393K.npz")
    folders = [tmp_path / "other", tmp_path / "mine"]
    assert has_reference("WWWWWW", 393.0, folders)
    assert not has_reference("WWWWWW", 310.0, folders)
    assert not has_reference("WWWWWW", 393.0, folders[:1])
    # Bundled ones are there whatever folders are given.
    assert has_reference("AA", 310.0, [])


def test_weights_of_another_revision_are_not_taken_for_those_asked_for(data: Path, tmp_path: Path) -> None:
    file, cache = PUBLISHED_WEIGHTS["prose-up-to-8aa"], tmp_path / "cache"
    assert stored_weights(file, "main", cache) is None
    path = put(data / file.place)
    # Nobody has listed it: it is the user's own copy, and is taken.
    assert stored_weights(file, "v2", cache) == path
    entry = PublishedFile(
        repository=file.repository,
        kind="model",
        revision="main",
        commit="c0ffee",
        size_bytes=3,
        sha256="0" * 64,
    )
    write_manifest(data, Manifest(files={file.place: entry}))
    assert stored_weights(file, "main", cache) == stored_weights(file, "c0ffee", cache) == path
    assert stored_weights(file, "v2", cache) is None


def test_weights_are_found_wherever_rows_name_them() -> None:
    rows = {
        "weights": "prose-up-to-8aa",
        "proposal_settings": {
            "weights": "robin-up-to-8aa",
            "revision": "v3",
            "deeper": {"weights": "mine.npz"},
        },
        "batch": 4,
    }
    assert list(published_weights(rows)) == [("prose-up-to-8aa", "main"), ("robin-up-to-8aa", "v3")]
    assert list(published_weights({"row": {"weights": "prose-mini"}})) == []


def test_an_error_is_told_by_its_kind_and_first_line() -> None:
    assert first_line(OSError("no room\nat all")) == "OSError: no room"
    assert first_line(TimeoutError()) == "TimeoutError"
