"""A size is found by its name or its path, and what is wrong with one is said with what is known."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from prosebench.flows.sizes import ConfigError, load_config, names_in


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid")

    channels: int
    blocks: int = 2


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    folder = tmp_path / "sizes"
    folder.mkdir()
    (folder / "small.toml").write_text("channels = 16\n")
    (folder / "large.toml").write_text("channels = 64\nblocks = 8\n")
    (folder / "README.md").write_text("not a size")
    return folder


def test_names_and_paths(shipped: Path, tmp_path: Path) -> None:
    assert names_in(shipped) == ["large", "small"]
    assert load_config("large", _Config, shipped) == _Config(channels=64, blocks=8)
    mine = tmp_path / "mine.toml"
    mine.write_text("channels = 8\n")
    assert (
        load_config(mine, _Config, shipped) == load_config(str(mine), _Config, shipped) == _Config(channels=8)
    )


def test_a_shipped_name_wins_over_a_file_of_the_folder_one_stands_in(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small").write_text("channels = 1\n")
    assert load_config("small", _Config, shipped).channels == 16


@pytest.mark.parametrize("name", ["medium", "README.md", "nowhere.toml"])
def test_what_is_not_there_is_answered_with_what_is(name: str, shipped: Path) -> None:
    with pytest.raises(ConfigError, match=rf"unknown size '{name}'; known: large, small, or a .toml file"):
        load_config(name, _Config, shipped)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("channels = ", "is not TOML: "),
        ("chanels = 3\n", "unknown key 'chanels'; known keys: channels, blocks"),
        ("channels = 'many'\n", "channels: "),
        ("blocks = 3\n", "channels: Field required"),
    ],
)
def test_a_file_that_is_no_size_is_named_with_its_fault(
    text: str, said: str, shipped: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.toml") as wrong:
        load_config(path, _Config, shipped)
    assert said in str(wrong.value)
