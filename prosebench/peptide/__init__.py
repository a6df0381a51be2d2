"""A peptide: its sequence, topology, atom names, start structure and OpenMM System."""

from prosebench.peptide.peptide import MAX_RESIDUES, Peptide, PeptideError, check_sequence
from prosebench.peptide.residues import number_of_atoms

__all__ = ["MAX_RESIDUES", "Peptide", "PeptideError", "check_sequence", "number_of_atoms"]
