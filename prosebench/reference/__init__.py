"""The reference of a peptide: its stored form, where references are found, and the readers of the published ones."""

from prosebench.names import name_at
from prosebench.reference.reference import (
    InvalidReferenceError,
    MissingReferenceError,
    Reference,
    build_reference,
    bundled_folder,
    find_reference,
    known_reference,
    missing_message,
    peptide_from_text,
    reference_name,
)

__all__ = [
    "InvalidReferenceError",
    "MissingReferenceError",
    "Reference",
    "build_reference",
    "bundled_folder",
    "find_reference",
    "known_reference",
    "missing_message",
    "name_at",
    "peptide_from_text",
    "reference_name",
]
