"""Sizes of networks: TOML files that decide a network's shape, shipped in a folder or given by their path."""

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from prosebench.store.fields import explained
from prosebench.store.storage import read_text

Config = TypeVar("Config", bound=BaseModel)


class ConfigError(ValueError):
    """A size that does not exist or cannot be built; the message says what is known."""


def names_in(folder: Path) -> list[str]:
    """Names of the sizes in a folder."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_config(name_or_path: str | Path, kind: type[Config], shipped: Path) -> Config:
    """A size of the folder `shipped` by its name, or any by the path of its TOML file. Raises ConfigError."""
    path = Path(name_or_path)
    if str(name_or_path) in names_in(shipped):
        text = (shipped / f"{name_or_path}.toml").read_text()
    elif path.suffix == ".toml" and path.exists():
        text = read_text(path)
    else:
        known = ", ".join(names_in(shipped))
        raise ConfigError(f"unknown size {str(name_or_path)!r}; known: {known}, or a .toml file")
    try:
        return kind.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"size {name_or_path} is not TOML: {error}") from error
    except ValidationError as error:
        known = ", ".join(kind.model_fields)
        raise ConfigError(f"size {name_or_path}: {explained(error)}; known keys: {known}") from error
