"""Which sequences are peptides here: checked before anything that takes time is imported."""

from prosebench.peptide.residues import ONE_LETTER

MAX_RESIDUES = 50
"""Longest peptide built here; beyond it, the minimisation of an extended chain takes minutes."""


class PeptideError(ValueError):
    """The input is no peptide that can be simulated here; the message names it, the reason and what to do."""


def check_sequence(sequence: str) -> None:
    """Raise PeptideError unless these are 2 to MAX_RESIDUES one-letter codes of the 20 amino acids, in capitals."""
    letters = "".join(sorted(ONE_LETTER.values()))
    unknown = sorted(set(sequence) - set(letters))
    if unknown:
        raise PeptideError(
            f"peptide {sequence!r}: no amino acid is {', '.join(map(repr, unknown))}; use {letters}"
        )
    if not 2 <= len(sequence) <= MAX_RESIDUES:
        count = f"{len(sequence)} residue{'' if len(sequence) == 1 else 's'}"
        raise PeptideError(f"peptide {sequence!r} has {count}; give 2 to {MAX_RESIDUES}")
