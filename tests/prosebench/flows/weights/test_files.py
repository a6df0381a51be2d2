"""Files of weights: ours come back, others are refused with the first differences, and content is what counts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from prosebench.flows.weights.files import (
    ChangedWeights,
    WeightsError,
    bundled_in,
    check_content,
    check_listed,
    compare,
    content_sha256,
    file_of,
    hub_source,
    read_own,
    write_own,
)
from prosebench.store.manifest import Manifest, PublishedFile, write_manifest
from prosebench.store.places import HubFile
from prosebench.store.storage import FileElsewhere, file_sha256, text_array, write_arrays

WANTED = {"a": torch.zeros(2, 3), "b": torch.zeros(4), "c": torch.zeros(1), "d": torch.zeros(1)}


class _Config(BaseModel):
    channels: int = 3


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(3, 2)
        self.count = nn.Parameter(torch.tensor(70_000.0))


def refusal(given: dict[str, Tensor]) -> str:
    with pytest.raises(WeightsError) as wrong:
        compare(given, WANTED, "the file")
    return str(wrong.value)


def test_equal_names_and_shapes_fit_whatever_the_order_and_precision() -> None:
    compare({name: WANTED[name].half() for name in reversed(WANTED)}, WANTED, "the file")


def test_the_first_differences_are_told_and_the_others_counted() -> None:
    assert (
        refusal({**WANTED, "b": torch.zeros(4, 1)})
        == "the file does not fit this size: b is (4, 1) and should be (4,)"
    )
    said = refusal({"a": WANTED["a"], "x": torch.zeros(2)})
    assert said.startswith("the file does not fit this size: lacks b (4,); lacks c (1,); lacks d (1,)")
    assert said.endswith("; and 1 more")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_not_finite_is_enough(bad: float) -> None:
    broken = {**WANTED, "b": torch.tensor([0.0, 0.0, bad, 0.0])}
    assert "not finite in b; get it again" in refusal(broken)


@pytest.mark.parametrize("half", [False, True])
def test_an_own_file_comes_back(half: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, path = _Net(), tmp_path / "mine.npz"
    digest = write_own(path, network, _Config(channels=5), {"residues": "AG"}, half=half, whole=["count"])
    state, config, source = read_own(path, _Config)
    assert config == _Config(channels=5)
    assert source == {"file": "mine.npz", "sha256": digest, "notes": {"residues": "AG"}}
    assert digest == file_sha256(path)
    assert {value.dtype for value in state.values()} == {torch.float32}
    # In half precision it would be infinite.
    assert float(state["count"]) == 70_000.0
    expected = network.map.weight.detach()
    assert torch.equal(state["map.weight"], expected.half().float() if half else expected)


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    network = _Net()
    first, second = (
        write_own(tmp_path / f"{i}.npz", network, _Config(), notes)
        for i, notes in enumerate([{"a": 1, "b": 2}, {"b": 2, "a": 1}])
    )
    assert first == second


@pytest.mark.parametrize(
    "content",
    [
        {"map.weight": torch.zeros(1).numpy()},
        {"meta": text_array("no JSON")},
        {"meta": text_array("{}")},
        {"meta": text_array('{"config": {"channels": "none"}}')},
    ],
    ids=["no meta", "no JSON", "no config", "another config"],
)
def test_other_arrays_are_no_model(content: dict[str, Any], tmp_path: Path) -> None:
    write_arrays(tmp_path / "x.npz", content)
    with pytest.raises(
        WeightsError, match=r"x.npz is not a model of prosebench \(.*\); get it again"
    ) as error:
        read_own(tmp_path / "x.npz", _Config)
    assert "\n" not in str(error.value)


def test_bundled_models_are_found_by_name_and_others_by_path(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("b.npz", "a.npz", "notes.txt"):
        (folder / name).touch()
    mine = tmp_path / "mine.pth"
    mine.touch()
    assert bundled_in(folder) == ["a", "b"]
    assert file_of("a", folder) == folder / "a.npz"
    assert file_of(str(mine), folder) == mine
    assert file_of("c", folder) is None
    # A folder is no file.
    assert file_of(str(folder), folder) is None


def test_the_content_of_a_file_is_part_of_a_plan(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(b"abc")
    found = file_sha256(path)
    assert content_sha256(str(path), path, "") == content_sha256(str(path), path, found) == found
    # The user's own file may lie elsewhere now; a bundled one has changed with the program.
    with pytest.raises(FileElsewhere, match="has changed since this cell was planned"):
        content_sha256(str(path), path, "0" * 64)
    with pytest.raises(ChangedWeights, match="has changed since this cell was planned"):
        content_sha256("bundled", path, "0" * 64)
    with pytest.raises(FileElsewhere, match=r"there is no weights file gone\.ckpt"):
        content_sha256("gone.ckpt", None, "")
    assert content_sha256("prose-of-tomorrow", None, "1f") == "1f"


def test_a_pinned_hash_is_held_to() -> None:
    check_content("prose-up-to-8aa", "ab", "")
    check_content("prose-up-to-8aa", "ab", "ab")
    with pytest.raises(ChangedWeights, match="has the SHA-256 ab, and weights_sha256 is cd"):
        check_content("prose-up-to-8aa", "ab", "cd")


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    """A file of a fetched folder, with its list."""
    path = tmp_path / "transferable" / "one.pth"
    path.parent.mkdir()
    path.write_bytes(b"abc")
    entry = PublishedFile(
        repository="r", kind="model", revision="main", commit="c0ffee", size_bytes=3, sha256=file_sha256(path)
    )
    write_manifest(tmp_path, Manifest(files={"transferable/one.pth": entry}))
    return path


def test_a_fetched_file_is_held_to_its_list(fetched: Path) -> None:
    check_listed(fetched, file_sha256(fetched))
    with pytest.raises(WeightsError, match="it is damaged; `prosebench fetch` gets it again"):
        check_listed(fetched, "0" * 64)
    # Of what stands on no list nothing is known.
    check_listed(fetched.with_name("other.pth"), "0" * 64)


def test_the_commit_comes_from_the_list_or_from_the_hubs_cache(fetched: Path, tmp_path: Path) -> None:
    file = HubFile("transferable/one.pth", "s", "some/where")
    assert hub_source("one", file, fetched)["commit"] == "c0ffee"
    cached = tmp_path / "models--some--where" / "snapshots" / "f00d" / "transferable" / "one.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"abc")
    source = hub_source("one", file, cached)
    assert source["commit"] == "f00d"
    assert (source["name"], source["repository"], source["file"]) == ("one", "some/where", "one.pth")
    stray = tmp_path / "deep" / "er" / "one.pth"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"abc")
    assert hub_source("one", file, stray)["commit"] == ""
