"""A peptide: its sequence, topology, atom names, start structure and OpenMM System."""

from prosebench.peptide.peptide import MAX_RESIDUES, Peptide, PeptideError, check_sequence

__all__ = ["MAX_RESIDUES", "Peptide", "PeptideError", "check_sequence"]
