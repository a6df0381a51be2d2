"""The flow: network, exact likelihood, fast inverse, weights, and sampling with them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prosebench.prose.flow import Prose

__all__ = ["Prose"]


def __getattr__(name: str) -> Any:
    """Import the flow, and torch with it, when it is first asked for."""
    if name == "Prose":
        return import_module("prosebench.prose.flow").Prose
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The names that tab completion offers, those that are imported later included."""
    return sorted({*globals(), *__all__})
