"""The folders beside this package, `analysis`, `baselines` and `jobs`, under names that no other package has.

They are packages of their own, and their names are not rare: `prosebench.analysis.wasserstein` is the very module
`analysis.wasserstein`. Whoever has a package of one of these names imports ours so, and is told where one hides ours.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

ROOMS = ("analysis", "baselines", "jobs")
HOME = Path(__file__).resolve().parent.parent


class HiddenRoom(ImportError):
    """Another package has the name of one of ours and is found before it."""


def check_room(name: str) -> None:
    """Raise HiddenRoom where `import name` finds a package that is not ours."""
    spec = find_spec(name)
    places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin or ""]
    if not any(Path(place).resolve().is_relative_to(HOME / name) for place in places if place):
        where = f"it is at {places[0]}" if places else "it is not installed"
        raise HiddenRoom(
            f"prosebench needs its own package {name!r}, and Python finds another: {where}. Start the command "
            f"`prosebench` or Python from a folder without it, or leave that package out of this environment"
        )


def check_rooms() -> None:
    """Raise HiddenRoom for the first room that another package hides."""
    for name in ROOMS:
        check_room(name)


class _Alias(Loader):
    """A loader that gives the module of another name, as it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        check_room(self.name.partition(".")[0])
        module = import_module(self.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # It has run already; what the import machinery has just put there belongs to the other name.
        module.__spec__ = self.spec


class _Rooms(MetaPathFinder):
    """A finder that imports prosebench.ROOM... as ROOM..."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != "prosebench" or name.partition(".")[0] not in ROOMS:
            return None
        return ModuleSpec(fullname, _Alias(name))


def open_rooms() -> None:
    """Make the folders importable under `prosebench.`; first of all finders, or each module would be there twice."""
    if not any(isinstance(finder, _Rooms) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Rooms())
