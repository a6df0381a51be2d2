"""A peptide: its sequence, topology, atom names, start structure and OpenMM System."""

from typing import TYPE_CHECKING, Any

from prosebench.peptide.residues import number_of_atoms
from prosebench.peptide.sequence import MAX_RESIDUES, PeptideError, check_sequence

if TYPE_CHECKING:
    from prosebench.peptide.peptide import Peptide

__all__ = ["MAX_RESIDUES", "Peptide", "PeptideError", "check_sequence", "number_of_atoms"]


def __getattr__(name: str) -> Any:
    """Import OpenMM and mdtraj, which take seconds, when a peptide is first asked for."""
    if name == "Peptide":
        from prosebench.peptide.peptide import Peptide

        return Peptide
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The names that tab completion offers, those that are imported later included."""
    return sorted({*globals(), *__all__})
