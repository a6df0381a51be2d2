"""What is installed, by name: read from the files of packages, so that nothing of them is imported."""

import ast
from importlib import resources
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

ENTRY_POINT_GROUP = "prosebench.methods"


def method_entry_points() -> dict[str, EntryPoint]:
    """All methods that installed packages offer, by name, not yet imported."""
    return {
        point.name: point for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name)
    }


def what_it_is(point: EntryPoint) -> str:
    """The first line of the docstring of an entry point's class, from its source; a word on what is missing there."""
    source = _source(point.module)
    if source is None:
        return f"cannot be used: there is no module {point.module}"
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError) as error:
        return f"cannot be used: {source.name} is not Python ({error})"
    classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    name = point.attr.rpartition(".")[2]
    if name not in classes:
        return ""
    return (ast.get_docstring(classes[name]) or "").partition("\n")[0]


def _source(module: str) -> Path | None:
    """The file of a module. Its packages are not imported either, as `find_spec` of a dotted name would."""
    top, *rest = module.split(".")
    found = find_spec(top)
    if found is None:
        return None
    places = [Path(folder).joinpath(*rest) for folder in found.submodule_search_locations or ()]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    files += [Path(found.origin)] if found.origin and not rest else []
    return next((file for file in files if file.is_file() and file.suffix == ".py"), None)


def suite_names() -> list[str]:
    """Names of the suites that come with prosebench."""
    shipped = resources.files("prosebench") / "suites"
    return sorted(
        path.name.removesuffix(".toml") for path in shipped.iterdir() if path.name.endswith(".toml")
    )
