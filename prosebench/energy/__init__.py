"""The target: OpenMM as the oracle, the same physics for whole batches, and the meter around either."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prosebench.energy.batched import BatchedEnergy
    from prosebench.energy.openmm import OpenMMEnergy

__all__ = ["BatchedEnergy", "OpenMMEnergy"]

_HOMES = {"BatchedEnergy": "prosebench.energy.batched", "OpenMMEnergy": "prosebench.energy.openmm"}


def __getattr__(name: str) -> Any:
    """Import an engine when it is first asked for; importing the package alone stays cheap."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The names that tab completion offers, those that are imported later included."""
    return sorted({*globals(), *__all__})
