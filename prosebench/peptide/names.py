"""Names that other programs give to residues and atoms, and those of PDB v3, which are ours.

The synonyms are those that OpenMM reads in PDB files; files in other formats use them too.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from openmm import app

from prosebench.peptide.residues import ONE_LETTER

HISTIDINES = {"HSE": "HIS", "HIE": "HIS"}
"""Other names of the histidine tautomer that is supported: HSE is CHARMM's, which OpenMM's list does not
have, and HIE is Amber's."""


def standard_residue(name: str) -> str:
    """The name of a residue by PDB v3: HIE -> HIS, CYX -> CYS, and NALA or CALA, as Amber names the ends, -> ALA."""
    name = name.strip().upper()
    if len(name) == 4 and name[0] in "NC" and standard_residue(name[1:]) in ONE_LETTER:
        name = name[1:]
    return HISTIDINES.get(name) or _tables()[0].get(name, name)


def standard_atom(residue: str, name: str) -> str:
    """The name of an atom by PDB v3 in a residue whose name is standard: HN -> H, OT1 -> O."""
    return _tables()[1].get(residue, {}).get(name.strip(), name.strip())


@cache
def _tables() -> tuple[Mapping[str, str], Mapping[str, Mapping[str, str]]]:
    """Standard names of residues by all their names, and of atoms by all their names in each residue."""
    tree = ElementTree.parse(Path(app.__file__).parent / "data" / "pdbNames.xml")
    residues: dict[str, str] = {}
    atoms: dict[str, dict[str, str]] = {}
    shared: dict[str, str] = {}
    for residue in tree.getroot().findall("Residue"):
        name = residue.attrib["name"]
        own = {other: atom.attrib["name"] for atom in residue.findall("Atom") for other in _names(atom)}
        if name == "Protein":
            shared = own
        elif name in ONE_LETTER:
            residues |= dict.fromkeys(_names(residue), name)
            atoms[name] = own
    return residues, {name: shared | own for name, own in atoms.items()}


def _names(element: ElementTree.Element) -> list[str]:
    """All names of a residue or an atom in the list."""
    return [value for key, value in element.attrib.items() if key == "name" or key.startswith("alt")]
