"""Which sequences are peptides here: checked before anything that takes time is imported."""

import re

from prosebench.peptide.residues import ONE_LETTER

MAX_RESIDUES = 50
"""The largest number of residues of a peptide. For longer ones, minimising the extended chain takes minutes."""

SUPPORTED = (
    f"2 to {MAX_RESIDUES} natural L amino acids with charged ends; no caps (ACE, NME), D or N-methyl residues"
)
"""A short definition of a peptide in this package, for messages and help texts."""

_CAPS = ("ACE-", "-NME", "-NMA", "-NH2", "AC-")
"""The ways in which caps are written before or behind a sequence."""


class PeptideError(ValueError):
    """The input is no peptide that can be simulated here; the message names it, the reason and what to do."""


def check_sequence(sequence: str) -> None:
    """Raise PeptideError unless these are 2 to MAX_RESIDUES one-letter codes of the 20 amino acids, in capitals."""
    letters = "".join(sorted(ONE_LETTER.values()))
    unknown = sorted(set(sequence) - set(letters))
    if unknown:
        raise PeptideError(
            f"peptide {sequence!r}: no amino acid is {', '.join(map(repr, unknown))}; use {letters}{_hint(sequence)}"
        )
    if not 2 <= len(sequence) <= MAX_RESIDUES:
        count = f"{len(sequence)} residue{'' if len(sequence) == 1 else 's'}"
        raise PeptideError(f"peptide {sequence!r} has {count}; give 2 to {MAX_RESIDUES}")


def _hint(sequence: str) -> str:
    """A hint at what the letters may mean that are none of the 20, and that it cannot be sampled here."""
    if any(cap in sequence.upper() for cap in _CAPS):
        return f". Caps cannot be sampled here: peptides are {SUPPORTED}"
    if re.search(r"[Nn]-?[Mm]e|\(Me\)|\[", sequence):
        return f". Modified residues cannot be sampled here: peptides are {SUPPORTED}"
    if any(letter.islower() for letter in sequence):
        return (
            f". Small letters often mean D residues, which cannot be sampled here: peptides are {SUPPORTED}"
        )
    return ""
