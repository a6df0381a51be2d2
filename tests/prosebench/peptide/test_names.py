"""Names of CHARMM, Amber and older PDB files are read as those of PDB v3."""

import pytest

from prosebench.peptide.names import standard_atom, standard_residue
from prosebench.peptide.residues import ONE_LETTER, residue_atoms


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("ALA", "ALA"),
        (" ala ", "ALA"),
        ("HIE", "HIS"),
        ("HSE", "HIS"),
        ("CYX", "CYS"),
        ("NALA", "ALA"),
        ("CALA", "ALA"),
        ("NHIE", "HIS"),
        ("CCYX", "CYS"),
        ("WAT1", "WAT1"),
        ("NOPE", "NOPE"),
        ("ACE", "ACE"),
        ("", ""),
    ],
)
def test_residues(given: str, ours: str) -> None:
    assert standard_residue(given) == ours


@pytest.mark.parametrize("name", list(ONE_LETTER))
def test_names_that_are_ours_stay(name: str) -> None:
    assert standard_residue(name) == name
    for first in (True, False):
        atoms = residue_atoms(name, first=first, last=not first)
        assert [standard_atom(name, atom) for atom in atoms] == list(atoms)


@pytest.mark.parametrize(
    ("residue", "given", "ours"),
    [
        ("ALA", "HN", "H"),
        ("ALA", "1HB", "HB1"),
        ("LEU", "OT1", "O"),
        ("LEU", "OT2", "OXT"),
        ("LEU", " OXT", "OXT"),
        ("ALA", "strange", "strange"),
        ("UNK", "HN", "HN"),
    ],
)
def test_atoms(residue: str, given: str, ours: str) -> None:
    assert standard_atom(residue, given) == ours


def test_no_two_atoms_of_a_residue_get_one_name() -> None:
    """Whatever program wrote them: names that stand beside each other in one file stay apart."""
    for name in ONE_LETTER:
        atoms = residue_atoms(name, first=True, last=True)
        assert len({standard_atom(name, atom) for atom in atoms}) == len(atoms)
