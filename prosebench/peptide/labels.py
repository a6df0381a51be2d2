"""Labels of atoms, by which frames and references say in which order they are: 1ALA-CA."""

from typing import TYPE_CHECKING

from mdtraj.core.topology import Atom

if TYPE_CHECKING:
    from prosebench.peptide.peptide import Peptide


def atom_label(atom: Atom, residue: str | None = None, name: str | None = None) -> str:
    """Number of its residue (from 1), name of its residue, its own name: 1ALA-CA; residue and name replace those."""
    return f"{atom.residue.index + 1}{residue or atom.residue.name}-{name or atom.name}"


def atom_labels(peptide: "Peptide") -> tuple[str, ...]:
    """Labels of a peptide's atoms in the order of its arrays."""
    return tuple(atom_label(atom) for atom in peptide.topology.atoms)
