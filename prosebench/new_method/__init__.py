"""A package for a new method: a folder with pyproject.toml, the method and its test, ready to be installed."""

import keyword
import re
from importlib import resources
from pathlib import Path

from prosebench.machine.installed import method_entry_points
from prosebench.store.storage import make_folder

_FILES = {
    "pyproject.toml": "pyproject.toml.template",
    "README.md": "README.md.template",
    "{module}.py": "module.py.template",
    "tests/test_{module}.py": "test_module.py.template",
}


def check_name(name: str) -> None:
    """Raise ValueError for a name that no method can have, or that one has already."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise ValueError(
            f"{name!r} cannot be the name of a method; take small letters, digits and dashes: my-sampler"
        )
    if name in method_entry_points():
        raise ValueError(f"there is a method {name!r} already; `prosebench list methods` shows all")


def write_package(name: str, folder: Path) -> list[Path]:
    """Write the package of a method into a folder that is new or empty; returns the files.

    Raises ValueError for a name or a folder that cannot be taken.
    """
    check_name(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already and is not an empty folder; give another with --to")
    words = {
        "name": name,
        "distribution": f"prosebench-{name}",
        "module": name.replace("-", "_"),
        "kind": "".join(part.capitalize() for part in name.split("-")),
    }
    templates = resources.files("prosebench") / "new_method"
    files = []
    for place, template in _FILES.items():
        path = folder / _filled(place, words)
        make_folder(path.parent)
        path.write_text(_filled((templates / template).read_text(encoding="utf-8"), words), encoding="utf-8")
        files.append(path)
    return files


def _filled(text: str, words: dict[str, str]) -> str:
    """The text with each {word} replaced; other braces stay."""
    return re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], found[0]), text)
