"""Sample peptides, and find out which sampler of molecular Boltzmann distributions is better at equal cost.

    import prosebench

    ensemble = prosebench.load_flow("arbg-small").sample("ARIP", 10_000)   # a trained flow: frames with weights
    ensemble = prosebench.sample("ARIP", "md", budget=1_000_000)           # 1 ns of molecular dynamics
    ensemble.mean(mdtraj.compute_rg)                                       # a mean with its standard error
    ensemble.free_energy(ensemble.phi_psi(2), bins=60)                     # a map in kT with errors
    ensemble.save("arip.xtc")                                              # for other programs

Lengths are in nm, energies in kT, temperatures in kelvin. Peptides are chains of the 20 natural L amino acids with
charged ends, in the force field amber14 with OBC1 implicit water (see `prosebench.Peptide`). The command `prosebench`
compares methods; `prosebench --help` lists what it does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prosebench.rooms import open_rooms

if TYPE_CHECKING:
    from prosebench.ensemble import Ensemble
    from prosebench.peptide import Peptide
    from prosebench.pretrained import load_flow
    from prosebench.prose import Prose
    from prosebench.reference import Reference
    from prosebench.sampling import sample
    from prosebench.suite import load_suite

__version__ = "0.1.0"

__all__ = ["Ensemble", "Peptide", "Prose", "Reference", "__version__", "load_flow", "load_suite", "sample"]

_HOMES = {
    "Ensemble": "prosebench.ensemble",
    "Peptide": "prosebench.peptide",
    "Prose": "prosebench.prose",
    "Reference": "prosebench.reference",
    "load_flow": "prosebench.pretrained",
    "load_suite": "prosebench.suite",
    "sample": "prosebench.sampling",
}

open_rooms()


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch and OpenMM take seconds."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The names that tab completion offers, those that are imported later included."""
    return sorted({*globals(), *__all__})
