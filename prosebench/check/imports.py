"""Imports by which a method could compute energies that no meter counts, read from its source without running it."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from prosebench.method import Method

_OURS = ("prosebench", "baselines")
_ENERGIES = ("openmm", "simtk", "prosebench.energy")
_HARMLESS = ("prosebench.energy.target", "prosebench.energy.dynamics")
"""Modules of `prosebench.energy` that a method may import. One that moves replicas needs the types, the
checks and the start velocities in them, and no energy comes from them."""


def energy_imports(method: type[Method]) -> list[str]:
    """Where a method, or what it imports of its own package, imports energies: "openmm (my_sampler.py, line 7)".

    Empty for methods that come with prosebench. What is imported by a name that only a run makes stays unseen, and so
    does an energy that is written out in the method itself.
    """
    top = method.__module__.partition(".")[0]
    return [] if top in _OURS else list(_of_module(method.__module__, top, set()))


def _of_module(module: str, top: str, seen: set[str]) -> Iterator[str]:
    """The imports of energies in a module, and in those of its package that it imports; seen: names of
    modules already looked at."""
    file = _source(module)
    if file is None or module in seen:
        return
    seen.add(module)
    for name, line in _imported(ast.parse(file.read_bytes()), module):
        if _is_in(name, _ENERGIES) and not _is_in(name, _HARMLESS):
            yield f"{name} ({file.name}, line {line})"
        elif _is_in(name, (top,)):
            yield from _of_module(name, top, seen)


def _imported(tree: ast.Module, module: str) -> Iterator[tuple[str, int]]:
    """Whole names of what a module imports anywhere, and the lines: `from a import b` may name the module a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(module.split(".")[: -node.level]) if node.level else ""
            base = ".".join(filter(None, (package, node.module)))
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
            if node.level:
                yield base, node.lineno


def _is_in(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _source(module: str) -> Path | None:
    """The file of a module, None where a name is none of a module."""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None
    path = Path(found.origin) if found and found.origin else None
    return path if path is not None and path.suffix == ".py" else None
