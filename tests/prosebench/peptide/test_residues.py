"""The tables of residues against chemistry, and against peptides that are built."""

from collections import Counter

import pytest

from prosebench.peptide import Peptide
from prosebench.peptide.residues import (
    ONE_LETTER,
    SIDE_CHAINS,
    alpha_hydrogens,
    amide_hydrogens,
    number_of_atoms,
    residue_atoms,
    side_chain,
)

FORMULAS = {
    "ALA": "C3H5NO", "ARG": "C6H13N4O", "ASN": "C4H6N2O2", "ASP": "C4H4NO3", "CYS": "C3H5NOS", "GLN": "C5H8N2O2",
    "GLU": "C5H6NO3", "GLY": "C2H3NO", "HIS": "C6H7N3O", "ILE": "C6H11NO", "LEU": "C6H11NO", "LYS": "C6H13N2O",
    "MET": "C5H9NOS", "PHE": "C9H9NO", "PRO": "C5H7NO", "SER": "C3H5NO2", "THR": "C4H7NO2", "TRP": "C11H10N2O",
    "TYR": "C9H9NO2", "VAL": "C5H9NO",
}  # fmt: skip
"""Of residues within a chain at pH 7: ASP and GLU without a proton, ARG and LYS with one, HIS neutral."""


def formula(atoms: tuple[str, ...]) -> str:
    counts = Counter(name[0] for name in atoms)
    return "".join(
        f"{element}{counts[element] if counts[element] > 1 else ''}" for element in "CHNOS" if counts[element]
    )


@pytest.mark.parametrize("name", list(FORMULAS))
def test_residues_have_the_atoms_of_their_formula(name: str) -> None:
    atoms = residue_atoms(name, first=False, last=False)
    assert formula(atoms) == FORMULAS[name]
    assert len(set(atoms)) == len(atoms)


def test_letters_stand_for_one_residue_each() -> None:
    assert len(set(ONE_LETTER.values())) == len(ONE_LETTER) == 20
    assert set(ONE_LETTER) == set(SIDE_CHAINS) == set(FORMULAS)
    assert list(ONE_LETTER) == sorted(ONE_LETTER)


@pytest.mark.parametrize("name", list(ONE_LETTER))
def test_hydrogens_follow_their_heavy_atom(name: str) -> None:
    """The number in the name of a hydrogen, if any, is behind the letters of its heavy atom: HG12 sits on CG1."""
    heavy = ""
    for atom in side_chain(name):
        if atom.startswith("H"):
            assert atom[1:].startswith(heavy[1:]), (name, heavy, atom)
        else:
            heavy = atom


@pytest.mark.parametrize("name", list(ONE_LETTER))
def test_a_side_chain_that_is_walked_the_other_way_has_the_same_atoms(name: str) -> None:
    there, back = side_chain(name), side_chain(name, turned=True)
    assert sorted(there) == sorted(back)
    assert (there == back) == (len(SIDE_CHAINS[name]) <= 2)
    # The stem stays in front.
    stem = SIDE_CHAINS[name][0].split()
    assert list(back[: len(stem)]) == stem


def test_ends_are_charged() -> None:
    assert amide_hydrogens("ALA", first=True) == ("H", "H2", "H3")
    assert amide_hydrogens("PRO", first=True) == ("H2", "H3")
    assert amide_hydrogens("PRO", first=False) == ()
    assert alpha_hydrogens("GLY") == ("HA2", "HA3")
    inner, ended = (residue_atoms("SER", first=False, last=last) for last in (False, True))
    assert ended == (*inner, "OXT")


@pytest.mark.parametrize("sequence", ["GG", "PHC", "WKDE"])
def test_numbers_of_atoms_are_those_of_built_peptides(sequence: str) -> None:
    peptide = Peptide.from_sequence(sequence)
    assert number_of_atoms(sequence) == peptide.n_atoms
    names = {letter: name for name, letter in ONE_LETTER.items()}
    for place, (letter, residue) in enumerate(zip(sequence, peptide.topology.residues, strict=True)):
        expected = residue_atoms(names[letter], first=place == 0, last=place == len(sequence) - 1)
        assert sorted(atom.name for atom in residue.atoms) == sorted(expected)
